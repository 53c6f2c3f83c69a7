// The panel that asks the model of palindrome.js. Nothing is fetched, so it works from disk.
(function () {
  "use strict";

  const root = document.querySelector(".tryit");
  if (!root || !window.palindrome) return;
  const { forward, characters, half, latents, rules } = window.palindrome;
  const LENGTH = 2 * half + 3; // of a whole string; the model reads all but its last character
  const READ = LENGTH - 1;
  const LETTERS = characters.slice(2, -1);
  // The first letters, from the beginning if they end.
  const FIRST = Array.from({ length: half }, (_, i) => LETTERS[i % LETTERS.length]);
  const EXAMPLE = `<${FIRST.join("")}|${[...FIRST].reverse().join("")}>`;
  const BEST = 3; // answers shown at each position
  const FIRST_DETERMINED = half; // the position that predicts the bar
  const SVG = "http://www.w3.org/2000/svg";

  const off = { attention: false, mlp: false, keys: [], latents: [], by: "mean" };
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
  const all = button("Switch everything on", { class: "tryit-reset" });
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
    make("details", { open: "" }, make("summary", {}, "Switch parts off"),
      group("A part of the layer", parts),
      group("What attention reads at one position", keys),
      group("In its place comes", ...choices),
      ...(latents.length ? [group("A latent that fires; in its place comes 0", chips)] : []),
      all));
  root.classList.add("live");

  // What is shown ------------------------------------------------------------------------------

  const nothingOff = () => !toggles.some((one) => isOff(one.part)) && !off.latents.length;
  const best = (logProbs) => characters[logProbs.indexOf(Math.max(...logProbs))];

  function show() {
    const text = input.value;
    const fault = wrong(text);
    input.setAttribute("aria-invalid", String(Boolean(fault)));
    body.hidden = Boolean(fault);
    for (const { part, element } of toggles) element.setAttribute("aria-pressed", String(isOff(part)));
    all.disabled = nothingOff();
    if (fault) return say(fault);
    const read = text.slice(0, READ);
    const now = forward(read, off);
    const before = forward(read);
    const query = chosen !== null && chosen < read.length ? chosen : Math.min(read.length - 1, READ - 2);
    drawArcs(now.pattern, query);
    columns.replaceChildren(...[...read].map((c, p) => column(text, p, now, before, query)));
    for (let p = read.length; p < READ; p++) columns.append(make("li", { class: "tryit-empty", "aria-hidden": "true" }));
    legend.textContent = `In percent: how much position ${query} looks at each, and below, what each expects next.`;
    weights.replaceChildren(table(read, now.pattern));
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
    const score = `${right(now)} of ${places.length} determined characters are right`;
    if (!places.length) sentences.push("The first letters are free: nothing determines them, and the model can only guess.");
    else if (nothingOff()) sentences.push(score + ".");
    else {
      const names = toggles.filter((one) => isOff(one.part)).map((one) => one.name)
        .concat(off.latents.map((one) => `latent ${one}`));
      sentences.push(`Without ${listed(names)}: ${score}; with everything on, ${right(before)}.`);
    }
    return sentences;
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
        class: (q === query ? "chosen" : "") + (off.attention || isOff(k) ? " off" : ""),
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

  function showLatents(active, read) {
    const firing = active.map((value, j) => [value, latents[j]]).filter(([value]) => value)
      .sort((a, b) => b[0] - a[0]);
    // One that is off stays in reach where it does not fire.
    for (const one of off.latents) if (!firing.some(([, number]) => number === one)) firing.push([0, one]);
    const made = firing.map(([value, number]) => {
      const press = button(`${number} `, { "aria-pressed": String(off.latents.includes(number)), "aria-label": `latent ${number}, ${rules[number] || ""}, ${value.toFixed(2)}` });
      press.append(code(rules[number] || "–"), ` ${value.toFixed(2)}`);
      press.addEventListener("click", () => {
        flip(off.latents, number);
        show();
        const again = [...chips.querySelectorAll("button")].find((one) => one.dataset.latent === press.dataset.latent);
        if (again) again.focus();
      });
      press.dataset.latent = number;
      const more = make("a", { href: `${root.dataset.latents}#latent-${number}` }, `about ${number}`);
      return make("span", { class: "tryit-latent" }, press, more);
    });
    if (off.mlp) made.push("The latents stand for what the MLP writes, and the MLP is off.");
    else if (read < READ)
      made.push(`The dictionary reads all ${READ} positions at once: it needs the string up to its last letter.`);
    else if (!firing.length) made.push("No latent fires.");
    chips.replaceChildren(...made);
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
    Object.assign(off, { attention: false, mlp: false, keys: [], latents: [] });
    show();
    input.focus();
  });
  show();
})();
