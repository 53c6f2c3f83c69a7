// The panel that asks the model of palindrome.js, and changes it. Nothing is fetched, so it works from
// disk; what is asked stands in the address (#try=…), so it can be kept and sent.
(function () {
  "use strict";

  const root = document.querySelector(".tryit");
  if (!root || !window.palindrome) return;
  const { forward, characters, half, latents, rules, typical } = window.palindrome;
  const LENGTH = 2 * half + 3; // of a whole string; the model reads all but its last character
  const READ = LENGTH - 1;
  const LETTERS = characters.slice(2, -1);
  // The first letters, from the beginning if they end.
  const FIRST = Array.from({ length: half }, (_, i) => LETTERS[i % LETTERS.length]);
  const EXAMPLE = `<${FIRST.join("")}|${[...FIRST].reverse().join("")}>`;
  const BEST = 3; // answers shown at each position
  const FIRST_DETERMINED = half; // the position that predicts the bar
  const SVG = "http://www.w3.org/2000/svg";

  // What is changed: parts switched off, a weight by query ([key, weight]), values by latent.
  const UNCHANGED = { attention: false, mlp: false, keys: [], weights: {}, latents: {} };
  const off = { ...structuredClone(UNCHANGED), by: "mean" };
  let chosen = null; // the position that the reader has chosen

  function make(tag, attributes, ...children) {
    const drawn = ["svg", "path"].includes(tag);
    const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const code = (text) => make("code", {}, text);
  const button = (name, attributes) => make("button", { type: "button", ...attributes }, name);
  const whole = (share) => String(Math.round(100 * share) || (share ? "<1" : 0));
  const percent = (share) => whole(share) + " %";
  // On a phone the sign is left to the words under the picture.
  const inPercent = (share) => [whole(share), make("span", { class: "tryit-sign" }, " %")];
  const listed = (words) =>
    words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words.at(-1);

  // What a string may be -----------------------------------------------------------------------

  const mirrored = (p) => p > half + 1 && p < LENGTH - 1;
  const allowed = (p) =>
    p === 0 ? "<" : p === half + 1 ? "|" : p === LENGTH - 1 ? ">" : LETTERS;

  // Why the model is not asked, in words; empty if it is.
  function wrong(text) {
    const given = [...text];
    if (!given.length) return `There is nothing to read. A string begins with <, as ${EXAMPLE} does.`;
    for (const [p, c] of given.entries()) {
      const here = c === " " ? "a space" : `“${c}”`;
      if (characters.includes(c)) continue;
      if (LETTERS.includes(c.toLowerCase()))
        return `${here} at position ${p} is a capital letter; the model knows only small ones.`;
      return `The model does not know ${here} at position ${p}; it knows <, |, > and the letters ` +
        `${LETTERS[0]} to ${LETTERS.at(-1)}.`;
    }
    if (given.length > LENGTH)
      return `These are ${given.length} characters; a whole string has ${LENGTH}: <, ${half} letters, |, ` +
        "the same letters backwards, >.";
    const p = given.findIndex((c, at) => !allowed(at).includes(c));
    return p < 0 ? "" : misplaced(given[p], p);
  }

  function misplaced(c, p) {
    if (p === 0) return `A string begins with <, not with “${c}”.`;
    if (p === half + 1)
      return `The bar is missing: after ${half} letters comes |, and position ${p} holds “${c}”.`;
    if (p === LENGTH - 1) return `A string ends with >; position ${p} holds “${c}”.`;
    const [first, last] = p <= half ? [1, half] : [half + 2, LENGTH - 2];
    return `Position ${p} holds “${c}”; positions ${first} to ${last} hold letters.`;
  }

  // The character that follows position p, where the string determines it.
  function target(text, p) {
    if (p < FIRST_DETERMINED) return null;
    if (p === half) return "|";
    return p === READ - 1 ? ">" : text[READ - 1 - p];
  }

  // The panel ----------------------------------------------------------------------------------

  const input = make("input", {
    id: "tryit-text", type: "text", autocomplete: "off", autocapitalize: "none", autocorrect: "off",
    spellcheck: "false", "aria-describedby": "tryit-answer",
  });
  const go = button("Let the model continue");
  const another = button("Another string");
  const answer = make("div", { id: "tryit-answer", class: "tryit-answer", role: "status" });
  const arcs = make("svg", { class: "tryit-arcs", role: "img", preserveAspectRatio: "none" });
  const columns = make("ol", { class: "tryit-columns", "aria-label": "Positions" });
  const legend = make("p", { class: "tryit-legend" });
  const picture = make("div", { class: "tryit-picture" }, arcs, columns, legend);
  const weights = make("div", { class: "tryit-scroll", tabindex: "0", role: "region", "aria-label": "Attention weights" });
  const chips = make("div", { class: "tryit-chips" });
  const all = button("Undo all changes", { class: "tryit-reset" });
  const body = make("div", { class: "tryit-body" });

  const toggles = [
    ["attention", "attention", () => (off.attention = !off.attention)],
    ["the MLP", "mlp", () => (off.mlp = !off.mlp)],
    ...Array.from({ length: READ }, (_, p) => [`position ${p}`, p, () => flip(off.keys, p)]),
  ].map(([name, part, act]) => {
    const element = button(typeof part === "number" ? String(part) : name, { "aria-pressed": "false" });
    if (typeof part === "number") element.setAttribute("aria-label", `what is read at ${name}`);
    element.addEventListener("click", () => (act(), show()));
    return { name, part, element };
  });
  const isOff = (part) => (typeof part === "number" ? off.keys.includes(part) : off[part]);

  const choices = [["mean", "its mean over all strings"], ["zero", "zero"]].map(([value, name]) => {
    const radio = make("input", { type: "radio", name: "tryit-by", value: value });
    radio.checked = value === off.by;
    radio.addEventListener("change", () => ((off.by = value), show()));
    return make("label", {}, radio, " " + name);
  });

  function flip(list, one) {
    const at = list.indexOf(one);
    if (at < 0) list.push(one);
    else list.splice(at, 1);
  }

  // The weight that the chosen position has on another, to be moved.
  const from = make("legend");
  const key = make("select", { id: "tryit-key" });
  const weight = make("input", { id: "tryit-weight", type: "range", min: 0, max: 100, step: 1 });
  const weighed = make("output", { for: "tryit-weight" });
  const mover = make("fieldset", {}, from, make("div", { class: "tryit-chips" },
    make("label", { for: "tryit-key" }, "its weight on position"), key,
    make("label", { for: "tryit-weight", class: "visually-hidden" }, "weight in percent"), weight, weighed));
  key.addEventListener("change", () => show());
  weight.addEventListener("input", () => {
    off.weights[queryOf(input.value.slice(0, READ))] = [Number(key.value), Number(weight.value) / 100];
    show();
  });

  // A latent that does not fire, to be set to what it is where it does.
  const silent = make("select", { id: "tryit-silent" });
  silent.addEventListener("change", () => {
    off.latents[silent.value] = typical[silent.value];
    show();
    chips.querySelector(`[data-latent="${silent.value}"] input`)?.focus();
  });

  const group = (name, ...held) => make("fieldset", {}, make("legend", {}, name), ...held);
  const [parts, keys] = [toggles.slice(0, 2), toggles.slice(2)].map((some) =>
    make("div", { class: "tryit-chips" }, ...some.map((one) => one.element)));
  root.replaceChildren(
    make("div", { class: "tryit-ask" },
      make("label", { for: "tryit-text" }, "A string, or its beginning"),
      make("div", { class: "tryit-line" }, input, go, another)),
    answer, body);
  body.append(
    picture,
    make("details", {}, make("summary", {}, "All attention weights, in percent"), weights),
    make("details", { open: "" }, make("summary", {}, "Change the model"),
      group("Switch off a part of the layer", parts),
      group("Switch off what attention reads at one position", keys),
      group("In its place comes", ...choices),
      mover,
      ...(latents.length ? [group("Set a latent to another value; 0 switches it off", chips,
        make("div", { class: "tryit-chips tryit-more" },
          make("label", { for: "tryit-silent" }, "Another latent"), silent))] : []),
      all));
  root.classList.add("live");

  // What is shown ------------------------------------------------------------------------------

  const unchanged = () => Object.keys(UNCHANGED).every((name) =>
    typeof off[name] === "object" ? !Object.keys(off[name]).length : !off[name]);
  const queryOf = (read) =>
    chosen !== null && chosen < read.length ? chosen : Math.min(read.length - 1, READ - 2);
  const best = (logProbs) => characters[logProbs.indexOf(Math.max(...logProbs))];

  function show() {
    const text = input.value;
    const fault = wrong(text);
    input.setAttribute("aria-invalid", String(Boolean(fault)));
    // What was asked last stays, grey, until there is something to ask.
    body.classList.toggle("stale", Boolean(fault));
    body.inert = Boolean(fault);
    for (const { part, element } of toggles) element.setAttribute("aria-pressed", String(isOff(part)));
    all.disabled = unchanged();
    if (fault) return say(fault);
    keep();
    const read = text.slice(0, READ);
    const now = forward(read, off);
    const before = forward(read);
    const query = queryOf(read);
    drawArcs(now.pattern, query);
    columns.replaceChildren(...[...read].map((c, p) => column(text, p, now, before, query)));
    for (let p = read.length; p < READ; p++) columns.append(make("li", { class: "tryit-empty", "aria-hidden": "true" }));
    legend.textContent = `In percent: how much position ${query} looks at each, and below, what each expects next.`;
    weights.replaceChildren(table(read, now.pattern));
    showWeight(read, now.pattern[query], query);
    showLatents(now.latents, read.length);
    say(...summary(text, now, before), aboutQuery(text, now, query));
  }

  function say(...sentences) {
    answer.replaceChildren(...sentences.map((one) => make("p", {}, ...[].concat(one))));
  }

  function summary(text, now, before) {
    const places = [...text.slice(0, READ)].map((_, p) => p).filter((p) => p >= FIRST_DETERMINED);
    const right = (result) => places.filter((p) => best(result.logProbs[p]) === target(text, p)).length;
    const strange = [...text].findIndex((c, p) => mirrored(p) && c !== text[LENGTH - 1 - p]);
    const sentences = [];
    if (strange >= 0)
      sentences.push(`“${text[strange]}” at position ${strange} is not the letter at position ` +
        `${LENGTH - 1 - strange}: the model was never shown such a string.`);
    const written = (result) => code(places.map((p) => best(result.logProbs[p])).join(""));
    const score = (result) => `right at ${right(result)} of ${places.length}`;
    if (!places.length) sentences.push("The first letters are free: nothing determines them, and the model can only guess.");
    else if (unchanged())
      sentences.push([`The model is ${score(now)} determined characters: it writes `, written(now), "."]);
    else
      sentences.push([`${changed()} the model is ${score(now)} and writes `, written(now),
        `; unchanged it is ${score(before)} and writes `, written(before), "."]);
    return sentences;
  }

  // What is changed, in words.
  function changed() {
    const set = Object.entries(off.latents);
    const without = toggles.filter((one) => isOff(one.part)).map((one) => one.name)
      .concat(set.filter(([, value]) => !value).map(([number]) => `latent ${number}`));
    const moved = Object.entries(off.weights)
      .map(([query, [key, share]]) => `position ${query} looking at ${key} by ${percent(share)}`)
      .concat(set.filter(([, value]) => value).map(([number, value]) => `latent ${number} at ${value}`));
    const parts = [];
    if (without.length) parts.push("without " + listed(without));
    if (moved.length) parts.push("with " + listed(moved));
    const said = parts.join(", ");
    return said[0].toUpperCase() + said.slice(1);
  }

  function aboutQuery(text, now, query) {
    const weights = now.pattern[query];
    const key = weights.indexOf(Math.max(...weights));
    const next = best(now.logProbs[query]);
    const share = percent(Math.exp(Math.max(...now.logProbs[query])));
    const wanted = target(text, query);
    const verdict = wanted === null ? ["."] : wanted === next ? [": right."]
      : [": wrong, it is ", code(wanted), "."];
    return [
      make("b", {}, `Position ${query}`), " reads ", code(text[query]), ", looks most at position ",
      `${key} (`, code(text[key]), `, ${percent(weights[key])}) and expects `, code(next), ` (${share})`,
      ...verdict,
    ];
  }

  function column(text, p, now, before, query) {
    const order = [...characters].map((c, i) => [c, Math.exp(now.logProbs[p][i])]).sort((a, b) => b[1] - a[1]);
    const wanted = target(text, p);
    const tile = button("", {
      class: "tryit-tile", "aria-pressed": String(p === query), "aria-label": `position ${p}, ${text[p]}`,
    });
    tile.append(make("small", {}, String(p)), make("span", {}, text[p]));
    tile.addEventListener("click", () => {
      chosen = p;
      show();
      columns.children[p].firstChild.focus();
    });
    const seen = p <= query ? now.pattern[query][p] : null;
    const looked = make("span", { class: "tryit-looked" }, ...(seen === null ? ["–"] : inPercent(seen)));
    looked.style.setProperty("--share", 100 * (seen || 0) + "%");
    const answers = order.slice(0, BEST).map(([c, share], rank) => {
      const kind = rank || wanted === null ? "" : c === wanted ? "right" : "wrong";
      const mark = { right: "✓", wrong: "✗" }[kind] || "";
      const line = make("li", { class: kind }, code(c), " ", ...inPercent(share), mark && make("b", { title: kind }, mark));
      line.style.setProperty("--share", 100 * share + "%");
      return line;
    });
    const was = best(before.logProbs[p]);
    if (was !== order[0][0]) answers.push(make("li", { class: "was" }, "was ", code(was)));
    return make("li", { class: isOff(p) || off.attention ? "off" : "" }, tile, looked, make("ol", {}, ...answers));
  }

  // An arc from each query to each key; as thick as the weight.
  function drawArcs(pattern, query) {
    const tall = READ / 2;
    arcs.setAttribute("viewBox", `0 0 ${READ} ${tall}`);
    arcs.replaceChildren();
    pattern.forEach((row, q) => row.forEach((weight, k) => {
      if (weight < 0.02 || q === k) return;
      const high = tall - ((q - k) / READ) * tall * 1.25 - 0.4;
      const path = make("path", {
        d: `M${q + 0.5} ${tall} C${q + 0.5} ${high} ${k + 0.5} ${high} ${k + 0.5} ${tall}`,
        class: (q === query ? "chosen" : "") + (off.weights[q] && off.weights[q][0] === k ? " moved" : "") + (off.attention || isOff(k) ? " off" : ""),
      });
      path.style.strokeWidth = 1 + 6 * weight + "px";
      if (q === query) arcs.append(path);
      else arcs.prepend(path);
    }));
    const strongest = pattern.map((row, q) => `${q} to ${row.indexOf(Math.max(...row))}`);
    arcs.setAttribute("aria-label", `Arcs from each position to where it looks most: ${strongest.join(", ")}.`);
  }

  function table(read, pattern) {
    const head = [...read].map((c, p) => make("th", { scope: "col" }, `${p} `, code(c)));
    const lines = pattern.map((row, q) => {
      const cells = row.map((weight) => {
        const cell = make("td", {}, whole(weight));
        cell.style.setProperty("--share", 100 * weight + "%");
        return cell;
      });
      const empty = Array.from({ length: read.length - row.length }, () => make("td"));
      return make("tr", {}, make("th", { scope: "row" }, `${q} `, code(read[q])), ...cells, ...empty);
    });
    return make("table", { class: "table" },
      make("thead", {}, make("tr", {}, make("td", {}, "from, to"), ...head)), make("tbody", {}, ...lines));
  }

  function showWeight(read, row, query) {
    const at = off.weights[query] ? off.weights[query][0] : Number(key.value);
    const held = key.value !== "" && at <= query ? at : row.indexOf(Math.max(...row));
    from.textContent = `Move attention: position ${query} looks where it is told, the rest in proportion`;
    key.replaceChildren(...row.map((_, k) => make("option", { value: k }, `${k} (${read[k]})`)));
    key.value = held;
    key.disabled = weight.disabled = query === 0 || off.attention;
    weight.value = Math.round(100 * row[held]);
    weighed.textContent = percent(row[held]);
  }

  function showLatents(active, read) {
    const isSet = (number) => number in off.latents;
    const firing = active.map((value, j) => [value, latents[j]])
      .filter(([value, number]) => value || isSet(number)).sort((a, b) => b[0] - a[0]);
    const focus = chips.contains(document.activeElement) && document.activeElement;
    const part = focus && [focus.closest("[data-latent]").dataset.latent, focus.localName];
    const made = firing.map(([value, number]) => latent(value, number));
    if (off.mlp) made.push("The latents stand for what the MLP writes, and the MLP is off.");
    else if (read < READ)
      made.push(`The dictionary reads all ${READ} positions at once: it needs the string up to its last letter.`);
    else if (!firing.length) made.push("No latent fires.");
    chips.replaceChildren(...made);
    if (part) chips.querySelector(`[data-latent="${part[0]}"] ${part[1]}`)?.focus();
    const others = Object.keys(typical).map(Number)
      .filter((number) => !firing.some(([, one]) => one === number));
    silent.replaceChildren(make("option", { value: "" }, "choose one"),
      ...others.map((number) => make("option", { value: number }, `${number}  ${rules[number]}`)));
    silent.disabled = off.mlp || read < READ;
  }

  // A latent: its number and rule, which switch it off, its value, which can be set, and its card.
  function latent(value, number) {
    const now = off.latents[number] ?? value;
    const press = button(`${number} `, {
      "aria-pressed": String(off.latents[number] === 0),
      "aria-label": `latent ${number}, ${rules[number] || ""}, ${value.toFixed(2)}`,
    });
    press.append(code(rules[number] || "–"), ` ${value.toFixed(2)}`);
    press.addEventListener("click", () => {
      if (off.latents[number] === 0) delete off.latents[number];
      else off.latents[number] = 0;
      show();
    });
    const set = make("input", {
      type: "number", min: 0, step: 0.1, value: Number(now.toFixed(2)), "aria-label": `value of latent ${number}`,
    });
    set.addEventListener("change", () => {
      const wanted = Number(set.value);
      if (set.value === "" || wanted === Number(value.toFixed(2))) delete off.latents[number];
      else off.latents[number] = wanted;
      show();
    });
    const more = make("a", { href: `${root.dataset.latents}#latent-${number}` }, `about ${number}`);
    return make("span", { class: "tryit-latent", "data-latent": number }, press, set, more);
  }

  // What is asked, in the address -----------------------------------------------------------------

  const asked = new RegExp("^#try=");
  const pairs = (held) => Object.entries(held).map((one) => one.flat().join(":")).join(" ");

  function keep() {
    const named = { try: input.value };
    const parts = toggles.filter((one) => isOff(one.part)).map((one) => one.part);
    if (parts.length) named.off = parts.join(" ");
    if (parts.length && off.by !== "mean") named.by = off.by;
    if (Object.keys(off.weights).length) named.weights = pairs(off.weights);
    if (Object.keys(off.latents).length) named.latents = pairs(off.latents);
    if (chosen !== null) named.at = chosen;
    const first = input.value === root.dataset.start && Object.keys(named).length === 1;
    const hash = first ? "" : "#" + new URLSearchParams(named);
    if (hash === location.hash || (first && !asked.test(location.hash))) return;
    history.replaceState(null, "", hash || location.pathname + location.search);
  }

  function take() {
    if (!asked.test(location.hash)) return;
    const named = new URLSearchParams(location.hash.slice(1));
    const words = (name) => (named.get(name) || "").split(" ").filter(Boolean);
    const numbers = (name) => words(name).map((one) => one.split(":").map(Number));
    const parts = words("off");
    input.value = named.get("try");
    Object.assign(off, structuredClone(UNCHANGED), {
      attention: parts.includes("attention"), mlp: parts.includes("mlp"),
      keys: parts.map(Number).filter((p) => p >= 0 && p < READ),
      by: named.get("by") === "zero" ? "zero" : "mean",
    });
    for (const [query, key, share] of numbers("weights"))
      if (key <= query && query < READ && share >= 0 && share <= 1) off.weights[query] = [key, share];
    for (const [number, value] of numbers("latents"))
      if (latents.includes(number) && value >= 0) off.latents[number] = value;
    chosen = named.has("at") && Number(named.get("at")) < READ ? Number(named.get("at")) : null;
    for (const one of root.querySelectorAll('input[type="radio"]')) one.checked = one.value === off.by;
    root.scrollIntoView();
  }

  // What the reader does -----------------------------------------------------------------------

  // The model writes what it thinks most probable, until the string is whole or out of shape.
  function proceed() {
    let text = input.value;
    while (!wrong(text) && text.length < LENGTH) text += best(forward(text, off).logProbs.at(-1));
    input.value = text;
    show();
    if (wrong(text)) say("The model wrote this. " + wrong(text));
  }

  // A page may begin with a string of another task than the one that was trained.
  const start = root.dataset.start;
  input.value = !wrong(start) ? start : start.endsWith(">") ? EXAMPLE : EXAMPLE.slice(0, half + 2);
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") proceed();
  });
  go.addEventListener("click", proceed);
  another.addEventListener("click", () => {
    const letters = Array.from({ length: half }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]);
    input.value = `<${letters.join("")}|${letters.reverse().join("")}>`;
    show();
  });
  all.addEventListener("click", () => {
    Object.assign(off, structuredClone(UNCHANGED));
    show();
    input.focus();
  });
  addEventListener("hashchange", () => (take(), show()));
  take();
  show();
})();
