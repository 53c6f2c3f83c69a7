// Draws the figures of a page from the JSON that stands inside them.
//
// A figure is drawn when it comes near the screen, so one inside something folded waits until it is
// unfolded; printing draws them all. What a figure says about its own looks stays; what it leaves
// open follows the theme.
(function () {
  "use strict";

  const NARROW = 560; // px; below it, text and margins shrink and the legend moves under the plot
  const CELL = 44; // px; numbers in cells narrower than this would touch
  const PAPER = 640; // px; what fits between the margins of A4 and of US Letter
  const NEAR = "1000px 0px";
  // Few buttons, for each is a stop of the Tab key; none that would send a figure anywhere.
  const BUTTONS = [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const CONFIG = {
    displaylogo: false, displayModeBar: "hover", responsive: false, modeBarButtons: BUTTONS,
  };
  const HERE = document.currentScript.src;

  function specOf(element) {
    return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
  }

  function merged(under, over) {
    if (!isObject(under) || !isObject(over)) return over === undefined ? under : over;
    const result = { ...under };
    for (const key of Object.keys(over)) result[key] = merged(under[key], over[key]);
    return result;
  }

  function isObject(value) {
    return value !== null && typeof value === "object" && !Array.isArray(value);
  }

  function cssColour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // The part of a Plotly template that follows the theme of the page and the width of the figure.
  function themeTemplate(width) {
    const text = cssColour("--figure-text");
    const grid = cssColour("--figure-grid");
    const line = cssColour("--figure-line");
    const narrow = width < NARROW;
    const axis = {
      gridcolor: grid,
      zerolinecolor: line,
      linecolor: line,
      tickcolor: line,
      automargin: true,
      title: { standoff: 8 },
    };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, size: narrow ? 11 : 13, family: cssColour("--figure-font") },
      margin: narrow ? { l: 44, r: 12, t: 24, b: 44 } : { l: 60, r: 24, t: 24, b: 52 },
      xaxis: axis,
      yaxis: axis,
      coloraxis: { colorbar: { thickness: narrow ? 10 : 16, outlinewidth: 0 } },
      shapedefaults: { line: { color: line } },
      annotationdefaults: { arrowcolor: line },
      hoverlabel: {
        bgcolor: cssColour("--figure-hover"),
        bordercolor: line,
        font: { color: text },
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: text },
      // Plotly paints the chosen button and the slider's grip light in any theme: dark text on them.
      updatemenudefaults: { bgcolor: "#eef1f5", bordercolor: "#9aa4b2", font: { color: "#1f2933" } },
      sliderdefaults: { bgcolor: grid, bordercolor: line, tickcolor: line },
    };
    if (narrow) layout.legend = { orientation: "h", x: 0, y: -0.22, yanchor: "top" };
    return { layout: layout };
  }

  function templateFor(spec, width) {
    return merged(spec.layout.template || {}, themeTemplate(width));
  }

  // Heat maps go from the ground of the page to what stands out from it, in either theme.
  function scaleFor(trace) {
    const plus = ["ground", "tint", "depth"];
    const names = trace.zmid === 0 ? ["minus-depth", "minus-tint", ...plus] : plus;
    return names.map((name, i) => [i / (names.length - 1), cssColour("--scale-" + name)]);
  }

  function themed(trace, width) {
    if (trace.type !== "heatmap") return trace;
    const scaled = { ...trace, colorscale: scaleFor(trace) };
    return trace.texttemplate ? { ...scaled, texttemplate: cellText(trace, width) } : scaled;
  }

  // The names along the horizontal axis, broken into lines where that lets them stand upright.
  function labelled(spec, width) {
    const axis = spec.layout.xaxis || {};
    if (axis.type !== "category") return axis;
    const names = [...new Set(spec.data.flatMap((trace) => trace.x || []))];
    const letter = width < NARROW ? 5.5 : 6.5; // px; about the width of one, in either size of text
    const plot = width * (spec.data[0].type === "heatmap" ? 0.6 : 0.85);
    const room = Math.floor(plot / names.length / letter);
    const longest = Math.max(...names.flatMap((name) => name.split(" ")).map((it) => it.length));
    const all = { ...axis, tickvals: names, ticktext: names, tickangle: 0 };
    if (names.every((name) => name.length <= room)) return all;
    if (longest > room) return axis;
    const lines = names.map((name) => inLines(name, room).join("<br>"));
    const small = width < NARROW ? { tickfont: { size: 10 } } : {};
    return { ...axis, tickvals: names, ticktext: lines, tickangle: 0, ...small };
  }

  function inLines(name, room) {
    return name.split(" ").reduce((lines, word) => {
      const last = lines[lines.length - 1];
      if (last !== undefined && (last + " " + word).length <= room)
        return [...lines.slice(0, -1), last + " " + word];
      return [...lines, word];
    }, []);
  }

  // Pictures made of squares are less tall where they are less wide.
  function heightFor(spec, width) {
    const height = spec.layout.height || 420;
    const square = (spec.layout.yaxis || {}).scaleanchor;
    return square ? Math.round(height * Math.min(1, width / PAPER)) : height;
  }

  // A number that has no room in its cell is left out; a tap shows it.
  function cellText(trace, width) {
    return width / (trace.x || []).length < CELL ? "" : trace.texttemplate;
  }

  function plotly(element) {
    const spec = specOf(element);
    spec.layout = spec.layout || {};
    // The page decides how wide a figure is, and has a slider of its own.
    const layout = { ...spec.layout, autosize: true };
    delete layout.width;
    delete layout.sliders;
    const canvas = document.createElement("div");
    canvas.className = "figure-canvas";
    element.append(canvas);
    for (const given of spec.layout.sliders || []) element.append(slider(given, element, canvas));

    function template() {
      return templateFor(spec, element.clientWidth);
    }
    let state = "new";
    let width = 0;

    async function draw() {
      state = "drawing";
      width = element.clientWidth;
      layout.template = template();
      layout.xaxis = labelled(spec, width);
      layout.height = heightFor(spec, width);
      canvas.style.height = layout.height + "px";
      await window.Plotly.newPlot(canvas, {
        data: spec.data.map((trace) => themed(trace, width)),
        layout: { ...layout, ...size() },
        frames: spec.frames || [],
        config: CONFIG,
      });
      // The figure has its words; the letters and numbers in the drawing make no sense read alone.
      canvas.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
      state = "drawn";
      element.dataset.drawn = "true";
    }

    function fit() {
      const now = element.clientWidth;
      if (state !== "drawn" || printing || now === 0 || now === width) return;
      const crossed = now < NARROW !== width < NARROW;
      width = now;
      if (crossed) restyle();
      if (crossed) window.Plotly.relayout(canvas, { xaxis: labelled(spec, width) });
      spec.data.forEach((trace, i) => {
        if (!trace.texttemplate) return;
        window.Plotly.restyle(canvas, { texttemplate: cellText(trace, width) }, [i]);
      });
      const height = heightFor(spec, width);
      canvas.style.height = height + "px";
      window.Plotly.relayout(canvas, { height });
      window.Plotly.Plots.resize(canvas);
    }

    function restyle() {
      if (state !== "drawn") return;
      window.Plotly.relayout(canvas, { template: template() });
      spec.data.forEach((trace, i) => {
        if (trace.type !== "heatmap") return;
        window.Plotly.restyle(canvas, { colorscale: [scaleFor(trace)] }, [i]);
      });
    }

    new ResizeObserver(fit).observe(element);
    onThemeChange(restyle);
    for (const moment of ["beforeprint", "afterprint"]) addEventListener(moment, resize);
    return draw;

    function resize() {
      if (state === "drawn") window.Plotly.relayout(canvas, size());
    }
  }

  function size() {
    return printing ? { width: PAPER, autosize: false } : { width: null, autosize: true };
  }

  // Plotly's own slider answers to a mouse alone; this one answers to the keyboard too.
  function slider(given, element, canvas) {
    const title = (given.currentvalue || {}).prefix || "";
    const range = document.createElement("input");
    const shown = document.createElement("output");
    Object.assign(range, { type: "range", min: 0, max: given.steps.length - 1, value: given.active || 0 });
    range.setAttribute("aria-label", title.trim());
    function say() {
      const { label } = given.steps[range.value];
      shown.textContent = title + label;
      range.setAttribute("aria-valuetext", label);
    }
    say();
    range.addEventListener("input", () => {
      say();
      const { method, args } = given.steps[range.value];
      if (element.dataset.drawn) window.Plotly[method](canvas, ...args);
    });
    const bar = document.createElement("div");
    bar.className = "figure-slider";
    bar.append(range, shown);
    return bar;
  }

  function circuitsvis(element, index) {
    const spec = specOf(element);
    const canvas = document.createElement("div");
    canvas.className = "figure-canvas";
    canvas.id = "circuitsvis-" + index;
    element.append(canvas);
    return function draw() {
      const component = window.CircuitsVis[spec.component];
      if (!component) throw new Error("CircuitsVis has no component " + spec.component);
      new MutationObserver(() => {
        const menus = canvas.querySelectorAll("select:not([aria-label])");
        for (const menu of menus) menu.setAttribute("aria-label", "Direction of attention");
      }).observe(canvas, { childList: true, subtree: true });
      window.CircuitsVis.render(canvas.id, component, spec.props);
      element.dataset.drawn = "true";
    };
  }

  function onThemeChange(callback) {
    new MutationObserver(callback).observe(document.documentElement, {
      attributes: true,
      attributeFilter: ["data-theme"],
    });
  }

  // Which figures are drawn when ----------------------------------------------------------------

  const loading = {}; // each library once, and not before the page can be read and used
  const loaded = new Set();
  const waiting = new Map();
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries)
      if (isIntersecting && waiting.has(target)) soon(target);
  }, { rootMargin: NEAR });
  let line = Promise.resolve();
  let printing = false;

  function library(kind) {
    loading[kind] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(kind + ".min.js", HERE);
      script.onload = () => resolve(loaded.add(kind));
      script.onerror = () => reject(new Error("could not load " + script.src));
      document.head.append(script);
    });
    return loading[kind];
  }

  // One after the other, so that what the reader does is answered in between.
  function soon(element) {
    near.unobserve(element);
    const { kind } = waiting.get(element);
    const pause = () => new Promise((go) => setTimeout(go));
    line = line.then(() => library(kind)).then(pause).then(() => draw(element)).catch(reportError);
  }

  function draw(element) {
    const figure = waiting.get(element);
    waiting.delete(element);
    return figure && figure.draw();
  }

  addEventListener("beforeprint", () => {
    printing = true;
    for (const [element, { kind }] of waiting) if (loaded.has(kind)) draw(element);
  });
  addEventListener("afterprint", () => {
    printing = false;
  });
  for (const [kind, prepare] of Object.entries({ plotly, circuitsvis }))
    document.querySelectorAll(`.${kind}-figure`).forEach((element, i) => {
      waiting.set(element, { kind, draw: prepare(element, i) });
      near.observe(element);
    });
  // Printing cannot wait for a library: it is there before anyone has scrolled to a figure.
  addEventListener("load", () => setTimeout(() => waiting.forEach(({ kind }) => library(kind))));
})();
