// The browser of latents: search, sort, and a view of each latent, made from the table and the JSON
// that stand in the page. Nothing is fetched, so it works from disk.
(function () {
  "use strict";

  const root = document.querySelector(".latents");
  if (!root) return;
  const { positions, cards } = JSON.parse(
    root.querySelector('script[type="application/json"]').textContent);
  const list = root.querySelector(".latents-list");
  const body = list.querySelector("tbody");
  const rows = [...body.rows];
  const headings = [...list.querySelectorAll("th")].map((cell) => cell.textContent);
  const FIRST_SORT = headings.indexOf("answers lost when off");
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes, ...children) {
    const drawn = ["svg", "rect", "title", "text"].includes(tag);
    const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const whole = (value) => value.toLocaleString("en");
  const strings = (n) => whole(n) + (n === 1 ? " string" : " strings");
  const link = (latent) => make("a", { href: "#latent-" + latent }, "latent " + latent);

  // The toolbar -------------------------------------------------------------------------------

  const search = make("input", { type: "search", id: "latents-search", autocomplete: "off" });
  const sort = make("select", { id: "latents-sort" });
  headings.forEach((name, i) => sort.append(make("option", { value: i }, name)));
  sort.value = FIRST_SORT;
  const turn = make("button", { type: "button", "aria-pressed": "false" }, "smallest first");
  const count = make("p", { class: "latents-count", role: "status" });
  const detail = make("section", { class: "latents-detail", "aria-live": "polite" });
  const named = (field, name) => make("label", { for: field.id }, name);
  root.prepend(make("div", { class: "latents-tools" },
    named(search, "Search"), search, named(sort, "Sort by"), sort, turn, count));
  root.append(detail);
  root.classList.add("live");

  const words = rows.map((row, i) => {
    const strongest = (cards[i].strongest || []).map((entry) => entry.letters);
    return [...row.cells].slice(0, 2).map((cell) => cell.textContent)
      .concat("latent " + i, cards[i].reference, strongest).join(" ").toLowerCase();
  });

  function keyOf(row, column) {
    const text = row.cells[column].textContent;
    if (headings[column] === "rule") return text;
    return text === "–" ? -Infinity : Number(text.replaceAll(",", ""));
  }

  function arrange() {
    const column = Number(sort.value);
    const up = turn.getAttribute("aria-pressed") === "true";
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const inOrder = rows.map((row, i) => ({ row, i, key: keyOf(row, column) }));
    inOrder.sort((a, b) => (up ? 1 : -1) * compare(a.key, b.key) || a.i - b.i);
    body.append(...inOrder.map((entry) => entry.row));
    const wanted = search.value.trim().toLowerCase();
    rows.forEach((row, i) => {
      row.hidden = !words[i].includes(wanted);
    });
    for (const row of list.querySelectorAll("tr"))
      [...row.cells].forEach((cell, i) => cell.classList.toggle("sorted", i === column));
    list.querySelectorAll("th").forEach((cell, i) => {
      cell.setAttribute("aria-sort", i !== column ? "none" : up ? "ascending" : "descending");
    });
    count.textContent = `${shown().length} of ${rows.length} latents`;
  }

  const shown = () => [...body.rows].filter((row) => !row.hidden);

  // One latent --------------------------------------------------------------------------------

  function atom(card) {
    const values = card.atom;
    const wide = values.length / positions;
    const largest = Math.max(...values.map(Math.abs)) || 1;
    const picture = make("svg", {
      viewBox: `-2 0 ${wide + 2} ${positions}`, role: "img", class: "latents-atom",
      "aria-label": `Atom: ${positions} positions of ${wide} numbers`,
    });
    for (let p = 0; p < positions; p++)
      picture.append(make("text", { x: -0.5, y: p + 0.72, "text-anchor": "end" }, String(p)));
    values.forEach((value, i) => {
      const where = `position ${Math.floor(i / wide)}, dimension ${i % wide}: ${value / 100}`;
      picture.append(make("rect", {
        x: i % wide, y: Math.floor(i / wide), width: 0.94, height: 0.94,
        class: value < 0 ? "minus" : "plus", "fill-opacity": Math.abs(value) / largest,
      }, make("title", {}, where)));
    });
    return figure(picture, "Atom: a row for each position. Blue is positive, red negative.");
  }

  function histogram(card) {
    const counts = card.histogram;
    const most = Math.max(...counts);
    const picture = make("svg", {
      viewBox: `0 0 ${counts.length} 8`, preserveAspectRatio: "none", role: "img",
      class: "latents-histogram", "aria-label": `Strings in ${counts.length} equal parts from 0 to ${card.largest}: ${counts.map(whole).join(", ")}`,
    });
    counts.forEach((n, i) => {
      const tall = n ? Math.max((8 * n) / most, 0.12) : 0;
      picture.append(make("rect", { x: i + 0.05, y: 8 - tall, width: 0.9, height: tall, class: "plus" },
        make("title", {}, strings(n))));
    });
    const scale = make("p", { class: "latents-scale", "aria-hidden": "true" },
      make("span", {}, "0"), make("span", {}, String(card.largest)));
    return figure(picture, scale, "The strings on which it fires, by activation: the mean is " +
      `${card.mean}, and the tallest bar stands for ${strings(most)}.`);
  }

  const figure = (...held) => make("figure", {}, ...held.slice(0, -1), make("figcaption", {}, held.at(-1)));

  function table(name, head, lines) {
    const cells = (tag, line) => line.map((one) => make(tag, {}, one instanceof Node ? one : String(one)));
    return make("div", { class: "latents-scroll", tabindex: "0", role: "region", "aria-label": name },
      make("p", {}, name), make("table", { class: "table" },
        make("thead", {}, make("tr", {}, ...cells("th", head))),
        make("tbody", {}, ...lines.map((line) => make("tr", {}, ...cells("td", line))))));
  }

  function strongest(card) {
    const lines = card.strongest.map((entry) => {
      const { letters, activation, lost: shares } = entry;
      const characters = "<" + letters + "|" + [...letters].reverse().join("");
      const places = shares.map((share, p) => {
        const cell = make("span", { class: "latents-place" }, characters[p], make("small", {}, share));
        cell.style.setProperty("--share", Math.min(Math.max(share, 0), 100) + "%");
        return cell;
      });
      return [activation, ...places];
    });
    return table("Strongest strings; percent of the activation lost without each position",
      ["", ...Array(positions).keys()], lines);
  }

  function effects(card) {
    const names = Object.keys(card.effects);
    const written = (one) => (one.wrote === undefined ? "–" : one.wrote);
    const lines = [
      ["strings changed", (one) => one.strings],
      ["loss on target, mean", (one) => one.on_mean], ["and worst", (one) => one.on_worst],
      ["answers lost on target", (one) => one.on_flips], ["its letter written", written],
      ["loss off target, mean", (one) => one.off_mean], ["and worst", (one) => one.off_worst],
      ["answers lost off target", (one) => one.off_flips],
    ].map(([name, of]) => [name, ...names.map((one) => of(card.effects[one]).toLocaleString("en"))]);
    const changes = names.map((one) => (one === "ablated" ? "off" : one));
    return table("What it does; losses are changes in nats", ["", ...changes], lines);
  }

  function facts(card) {
    const logits = (side) => card.logits[side].map(({ token, logit }) => `${token} ${logit}`).join(", ");
    const near = (others) => others.flatMap(({ latent, similarity }, i) =>
      [i ? ", " : "", link(latent), ` (${similarity})`]);
    const entries = [
      [`Direct effect at position ${card.logits.position}`, [`raises ${logits("up")}; lowers ${logits("down")}`]],
      ["Nearest reference feature", [make("code", {}, card.reference), ` (cosine ${card.reference_cosine})`]],
      ["Nearest atoms", near(card.similar)],
    ];
    if (card.together) entries.push(["Correlates with", near(card.together)]);
    if (card.partner) {
      const p = card.partner;
      entries.push(["Interacts most with", [link(p.latent),
        ` (${p.interaction} nats; shared strings: ${whole(p.strings)}; answers lost only without both: ${p.joint_flips})`]]);
    }
    return make("dl", {}, ...entries.flatMap(([term, held]) => [make("dt", {}, term), make("dd", {}, ...held)]));
  }

  function show(latent) {
    const card = cards[latent];
    rows.forEach((row, i) => {
      row.classList.toggle("chosen", i === latent);
      row.cells[0].firstChild.setAttribute("aria-current", String(i === latent));
    });
    const title = make("h2", { tabindex: "-1" }, `Latent ${latent} `);
    const parts = [title];
    if (card.rule) {
      title.append(make("code", {}, card.rule));
      parts.push(
        make("p", {}, `Fires on ${whole(card.support)} strings. Its rule has precision ${card.precision}, ` +
          `recall ${card.recall} and ${whole(card.exceptions)} exceptions; on target: ` +
          (card.queries.length ? `position ${card.queries.join(", ")}.` : "nowhere.")),
        make("div", { class: "latents-pictures" }, atom(card), histogram(card)),
        strongest(card), effects(card), facts(card));
    } else {
      parts.push(make("p", {}, "Dead: it is above 0 on no string."),
        make("div", { class: "latents-pictures" }, atom(card)), facts(card));
    }
    const back = make("button", { type: "button", class: "latents-back" }, "Back to the list");
    back.addEventListener("click", () => rows[latent].cells[0].firstChild.focus());
    detail.replaceChildren(...parts, back);
  }

  function asked() {
    const at = rows.findIndex((row) => "#" + row.id === location.hash);
    return at < 0 ? null : at;
  }

  function open(latent, step) {
    if (step !== "stay") history[step]({}, "", "#latent-" + latent);
    show(latent);
    const row = rows[latent];
    if (row.hidden) {
      search.value = "";
      arrange();
    }
    const top = row.offsetTop;
    if (top < list.scrollTop + 40 || top > list.scrollTop + list.clientHeight - 60)
      list.scrollTop = top - list.clientHeight / 2;
  }

  // What the reader does ----------------------------------------------------------------------

  root.addEventListener("click", (event) => {
    const anchor = event.target.closest('a[href^="#latent-"]');
    const row = anchor || event.target.closest("tbody tr[id]");
    if (!row) return;
    event.preventDefault();
    open(Number((anchor ? anchor.hash : "#" + row.id).slice(8)), "pushState");
    if (!list.contains(row) || matchMedia("(max-width: 900px)").matches) {
      detail.scrollIntoView();
      detail.querySelector("h2").focus({ preventScroll: true });
    }
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const now = shown();
    const at = now.indexOf(document.activeElement.closest("tr"));
    if (!step || at < 0 || !now[at + step]) return;
    event.preventDefault();
    now[at + step].cells[0].firstChild.focus({ preventScroll: true });
    open(Number(now[at + step].id.slice(7)), "replaceState");
  });
  search.addEventListener("input", arrange);
  sort.addEventListener("change", arrange);
  turn.addEventListener("click", () => {
    turn.setAttribute("aria-pressed", String(turn.getAttribute("aria-pressed") !== "true"));
    arrange();
  });
  addEventListener("popstate", () => asked() !== null && open(asked(), "stay"));

  arrange();
  const first = asked();
  open(first === null ? Number(shown()[0].id.slice(7)) : first, "stay");
  if (first !== null) detail.scrollIntoView();
})();
