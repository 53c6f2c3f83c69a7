// The trained model, all of it: one layer, whatever its heads, widths and letters, in the page.
//
// The weights are those that the notebooks stored (weights.js). Names and formulas are those of
// PyTorch; tests/browser/test_try.py compares the two on all 17,576 strings.
(function () {
  "use strict";

  const stored = window.palindromeWeights;
  const { eps, characters, half_length: half, n_heads: heads = 1 } = stored.model;
  const w = unpack(stored.model);
  const means = unpack(stored.means);
  // A book with other parameters may lack the chapter that stores the dictionary.
  const dictionary = stored.dictionary && unpack(stored.dictionary);
  const numbers = dictionary ? stored.dictionary.latents : [];

  const part = (name) => ({ weight: w[name + ".weight"], bias: w[name + ".bias"] });
  const token = w["tok_embed.weight"];
  const position = w["pos.weight"];
  const [ln1, ln2, query, key, value, out, fcIn, fcOut] = [
    "ln1", "ln2", "attn.q", "attn.k", "attn.v", "attn.o", "mlp.fc_in", "mlp.fc_out",
  ].map((name) => part("layers.0." + name));
  const [lnOut, head] = [part("ln_out"), part("head")];
  const encoder = dictionary && { weight: dictionary.W_enc, bias: dictionary.b_enc };
  const zero = token[0].map(() => 0);

  // Numbers are stored as whole multiples of 10^-decimals.
  function unpack({ decimals, tensors }) {
    const open = ([name, { shape, values }]) => {
      const flat = values.map((n) => n / 10 ** decimals);
      return [name, nested(flat, shape)];
    };
    return Object.fromEntries(Object.entries(tensors).map(open));
  }

  // Vectors are arrays of numbers, matrices arrays of rows.
  function nested(flat, shape) {
    if (shape.length === 1) return flat;
    const size = flat.length / shape[0];
    return Array.from({ length: shape[0] }, (_, i) =>
      nested(flat.slice(i * size, (i + 1) * size), shape.slice(1)));
  }

  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }

  // a + factor · b
  function plus(a, b, factor = 1) {
    const sum = new Array(a.length);
    for (let i = 0; i < a.length; i++) sum[i] = a[i] + factor * b[i];
    return sum;
  }

  function linear({ weight, bias }, x) {
    const y = new Array(weight.length);
    for (let i = 0; i < y.length; i++) y[i] = dot(weight[i], x) + (bias ? bias[i] : 0);
    return y;
  }

  function layerNorm({ weight, bias }, x) {
    let mean = 0;
    for (let i = 0; i < x.length; i++) mean += x[i] / x.length;
    const y = new Array(x.length);
    for (let i = 0; i < x.length; i++) y[i] = x[i] - mean;
    const deviation = Math.sqrt(dot(y, y) / x.length + eps);
    for (let i = 0; i < x.length; i++) y[i] = (y[i] / deviation) * weight[i] + bias[i];
    return y;
  }

  function relu(x) {
    const y = new Array(x.length);
    for (let i = 0; i < x.length; i++) y[i] = x[i] > 0 ? x[i] : 0;
    return y;
  }

  function logSoftmax(x) {
    const y = new Array(x.length);
    let largest = -Infinity;
    for (let i = 0; i < x.length; i++) if (x[i] > largest) largest = x[i];
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - largest);
    const all = largest + Math.log(sum);
    for (let i = 0; i < x.length; i++) y[i] = x[i] - all;
    return y;
  }

  // The heads' parts of a vector that holds one head after another.
  function split(x) {
    const size = x.length / heads;
    return Array.from({ length: heads }, (_, h) => x.slice(h * size, (h + 1) * size));
  }
  const rows = out.weight.map(split);
  const outOf = Array.from({ length: heads }, (_, h) => rows.map((row) => row[h]));

  // Before attention everything depends on one character at one position: computed once for each.
  const beginnings = new Map();
  function beginning(character, p) {
    const name = character + p;
    if (!beginnings.has(name)) {
      const resid = plus(token[characters.indexOf(character)], position[p]);
      const x = layerNorm(ln1, resid);
      const [q, k, v] = [query, key, value].map((one) => linear(one, x));
      // What each head writes where it looks here alone, without attention's bias.
      const read = split(v).map((part, h) => linear({ weight: outOf[h] }, part));
      beginnings.set(name, { resid, q: split(q), k: split(k), read });
    }
    return beginnings.get(name);
  }

  // Of all latents the k largest stay, the others and negative ones are 0 (TopK).
  function encode(x) {
    const before = linear(encoder, plus(x, dictionary.b_dec, -1));
    const least = before.slice().sort((a, b) => b - a)[stored.dictionary.k - 1];
    return relu(before).map((number) => (number < least ? 0 : number));
  }

  // What the model says to a string or its beginning, with some parts switched off:
  //   attention, mlp: true; keys: positions; latents: numbers of latents;
  //   by: "mean" (over all strings) or "zero", what stands in the place of the first three.
  // A latent is always set to 0, and the error of its dictionary stays. Returned are, for each
  // position, the log-probabilities of the next character and the attention on each position
  // up to it, the mean over the heads; and the latents, which exist only where all positions are read.
  function forward(text, { attention, mlp, keys = [], latents = [], by = "mean" } = {}) {
    const start = [...text].map(beginning);
    // By position, then by head.
    const patterns = start.map(({ q }, i) => q.map((ask, h) =>
      logSoftmax(start.slice(0, i + 1).map(({ k }) => dot(ask, k[h]) / Math.sqrt(ask.length))).map(Math.exp)));
    const pattern = patterns.map((byHead) =>
      byHead[0].map((_, j) => byHead.reduce((sum, row) => sum + row[j], 0) / heads));

    const middle = start.map(({ resid }, i) => {
      if (attention && by === "zero") return resid;
      let x = plus(resid, out.bias);
      for (let j = 0; j <= i; j++) {
        if (!attention && !keys.includes(j))
          for (let h = 0; h < heads; h++) x = plus(x, start[j].read[h], patterns[i][h][j]);
        else if (by === "mean") x = plus(x, means.handed[i][j]);
      }
      return x;
    });
    const written = middle.map((x, p) => {
      if (mlp) return by === "mean" ? means.mlp[p] : zero;
      return linear(fcOut, relu(linear(fcIn, layerNorm(ln2, x))));
    });

    const whole = dictionary && !mlp && text.length === means.mlp.length;
    const active = whole ? encode(written.flat()) : [];
    const off = latents.map((one) => numbers.indexOf(one)).filter((j) => active[j]);
    const logProbs = middle.map((x, p) => {
      let last = plus(x, written[p]);
      for (const j of off)
        last = plus(last, dictionary.W_dec[j].slice(p * x.length, (p + 1) * x.length), -active[j]);
      return logSoftmax(linear(head, layerNorm(lnOut, last)));
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
