// Under each Plotly figure, a button that saves the numbers in it as CSV: one line for each point,
// taken from the JSON that stands in the page, so that it works from disk.
(function () {
  "use strict";

  const titleOf = (axis) => ((axis || {}).title || {}).text;
  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };

  // One row for each point of a trace: x and y, and the value where the trace is a heat map. What
  // has no coordinate is counted; a gap stays a gap.
  function points({ x, y, z }) {
    const at = (axis, k) => (axis ? axis[k] : k);
    if (z) return z.flatMap((row, i) => row.map((value, j) => [at(x, j), at(y, i), value]));
    return Array.from((y || x).keys(), (k) => [at(x, k), at(y, k)]);
  }

  // Every trace with the name of its frame: of a figure with a slider, each frame has its own.
  function tracesOf({ data, frames = [] }) {
    const still = { name: "", data };
    return (frames.length ? frames : [still]).flatMap((frame) =>
      frame.data.map((trace, i) => ({ ...data[i], ...trace, frame: frame.name })),
    );
  }

  function csv(spec) {
    const { layout = {}, frames = [] } = spec;
    const traces = tracesOf(spec);
    const named = traces.some((trace) => trace.name);
    const mapped = traces.some((trace) => trace.z);
    const lead = (frame, name) => [...(frames.length ? [frame] : []), ...(named ? [name] : [])];
    const axes = [titleOf(layout.xaxis) || "x", titleOf(layout.yaxis) || "y"];
    const head = [...lead("frame", "series"), ...axes, ...(mapped ? ["value"] : [])];
    const rows = traces.flatMap((trace) =>
      points(trace).map((point) => [...lead(trace.frame, trace.name), ...point]),
    );
    return [head, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
  }

  function save(text, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  const page = location.pathname.split("/").pop().replace(/\.html$/, "");

  document.querySelectorAll(".plotly-figure").forEach((element, i) => {
    const figure = element.closest("figure");
    const number = figure && figure.querySelector(".caption-number");
    const hidden = document.createElement("span");
    hidden.className = "visually-hidden";
    hidden.textContent = ": " + (number ? number.textContent : element.ariaLabel).trim();
    const button = document.createElement("button");
    button.type = "button";
    button.className = "figure-data";
    button.append("Data behind this figure (CSV)", hidden);
    button.addEventListener("click", () => {
      const spec = element.querySelector('script[type="application/json"]').textContent;
      save(csv(JSON.parse(spec)), `${page}-${(figure && figure.id) || "figure-" + (i + 1)}.csv`);
    });
    const caption = figure && figure.querySelector("figcaption");
    if (caption) caption.append(button);
    else element.after(button);
  });
})();
