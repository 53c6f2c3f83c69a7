// The trained model, all of it: one layer, one head, 4,384 weights, computed in the page.
//
// The weights are those that the notebooks stored (weights.js). Names and formulas are those of
// PyTorch; tests/test_try_in_browser.py compares the two on all 17,576 strings.
(function () {
  "use strict";

  const stored = window.palindromeWeights;
  const { eps, characters, half_length: half } = stored.model;
  const w = unpack(stored.model);
  const means = unpack(stored.means);
  const dictionary = unpack(stored.dictionary);
  const numbers = stored.dictionary.latents.split(" ").map(Number);

  // Numbers are stored as whole multiples of 10^-decimals, in one string for each tensor.
  function unpack({ decimals, tensors }) {
    const open = ([name, { shape, values }]) => {
      const flat = values.split(" ").map((n) => Number(n) / 10 ** decimals);
      return [name, nested(flat, shape.split(" ").map(Number))];
    };
    return Object.fromEntries(Object.entries(tensors).map(open));
  }

  function nested(flat, shape) {
    if (shape.length === 1) return flat;
    const size = flat.length / shape[0];
    return Array.from({ length: shape[0] }, (_, i) =>
      nested(flat.slice(i * size, (i + 1) * size), shape.slice(1)));
  }

  // Vectors are arrays of numbers, matrices arrays of rows.
  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }
  const plus = (a, b) => a.map((value, i) => value + b[i]);
  const times = (a, factor) => a.map((value) => value * factor);
  const total = (vectors, start) => vectors.reduce(plus, start);
  const linear = (name, x) =>
    w[name + ".weight"].map((row, i) => dot(row, x) + (w[name + ".bias"] ? w[name + ".bias"][i] : 0));

  function layerNorm(name, x) {
    const mean = x.reduce((a, b) => a + b) / x.length;
    const centred = x.map((value) => value - mean);
    const deviation = Math.sqrt(dot(centred, centred) / x.length + eps);
    return centred.map((value, i) => (value / deviation) * w[name + ".weight"][i] + w[name + ".bias"][i]);
  }

  function logSoftmax(x) {
    const largest = Math.max(...x);
    const sum = x.reduce((so, value) => so + Math.exp(value - largest), 0);
    return x.map((value) => value - largest - Math.log(sum));
  }

  // Of all latents the k largest stay, the others and negative ones are 0 (TopK).
  function encode(x) {
    const centred = x.map((value, i) => value - dictionary.b_dec[i]);
    const before = dictionary.W_enc.map((row, j) => dot(row, centred) + dictionary.b_enc[j]);
    const least = [...before].sort((a, b) => b - a)[stored.dictionary.k - 1];
    return before.map((value) => (value >= least && value > 0 ? value : 0));
  }

  // What the model says to a string or its beginning, with some parts switched off:
  //   attention, mlp: true; keys: positions; latents: numbers of latents;
  //   by: "mean" (over all strings) or "zero", what stands in the place of the first three.
  // A latent is always set to 0, and the error of its dictionary stays. Returned are, for each
  // position, the log-probabilities of the next character and the attention on each position
  // before it; and the latents, which exist only where all positions are read.
  function forward(text, { attention, mlp, keys = [], latents = [], by = "mean" } = {}) {
    const layer = "layers.0.";
    const zero = w["pos.weight"][0].map(() => 0);
    const resid = [...text].map((c, p) =>
      plus(w["tok_embed.weight"][characters.indexOf(c)], w["pos.weight"][p]));

    const normalized = resid.map((x) => layerNorm(layer + "ln1", x));
    const [q, k, v] = ["q", "k", "v"].map((one) => normalized.map((x) => linear(layer + "attn." + one, x)));
    const pattern = q.map((query, i) =>
      logSoftmax(k.slice(0, i + 1).map((key) => dot(query, key) / Math.sqrt(query.length))).map(Math.exp));
    const out = w[layer + "attn.o.weight"];
    const values = v.map((value) => out.map((row) => dot(row, value)));
    const instead = (query, key) => (by === "mean" ? means.handed[query][key] : zero);
    const attended = pattern.map((weights, query) => {
      if (attention && by === "zero") return zero;
      const handed = weights.map((weight, key) =>
        attention || keys.includes(key) ? instead(query, key) : times(values[key], weight));
      return total(handed, w[layer + "attn.o.bias"]);
    });

    const middle = resid.map((x, p) => plus(x, attended[p]));
    const written = middle.map((x, p) => {
      if (mlp) return by === "mean" ? means.mlp[p] : zero;
      const hidden = linear(layer + "mlp.fc_in", layerNorm(layer + "ln2", x));
      return linear(layer + "mlp.fc_out", hidden.map((value) => Math.max(value, 0)));
    });

    const whole = !mlp && text.length === means.mlp.length;
    const active = whole ? encode(written.flat()) : [];
    const off = active.map((value, j) => (latents.includes(numbers[j]) ? value : 0));
    const logProbs = middle.map((x, p) => {
      let last = plus(x, written[p]);
      off.forEach((value, j) => {
        const atom = dictionary.W_dec[j].slice(p * x.length, (p + 1) * x.length);
        if (value) last = plus(last, times(atom, -value));
      });
      return logSoftmax(linear("head", layerNorm("ln_out", last)));
    });
    return { logProbs, pattern, latents: active };
  }

  window.palindrome = {
    forward: forward,
    run: (strings, off) => strings.map((text) => forward(text.slice(0, means.mlp.length), off)),
    characters: characters,
    half: half,
    latents: numbers,
    rules: stored.rules,
  };
})();
