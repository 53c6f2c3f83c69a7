"""Proves how many strings a model answers right, and trusts neither of the files it is given.

    python -m palindrome_lens.proofs.checker WEIGHTS CERTIFICATE

Strings are ``<abc|cba>``; the model has one layer, one head, ReLU and LayerNorm. A *cell* is a
query with the letters that it reads and must answer. This file alone knows the list of cells; a
certificate cuts some of them into *leaves*, boxes of one set of letters (a bit mask) for each slot:
``{"weights": SHA-256, "leaves": {"QUERY:LETTERS": [[MASK, ...], ...]}}``. Proved is what the real
function of the stored float64 weights answers on each leaf. Names are those of the book's chapter
on the proof. Trusted: IEEE 754, NumPy's products, mpmath's exp, and these lines.
"""

import hashlib
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np

U, TINY = 2.0**-53, 1e-300  # unit roundoff; more than underflow can lose in any step
ENUMERABLE = 1_000_000  # wrong strings that are listed, so that none is counted twice
PARTS = {f"layers.0.attn.{name}": ("kd", "k") for name in "qkv"} | {
    "layers.0.attn.o": ("dk", "d"),
    "layers.0.mlp.fc_in": ("md", "m"),
    "layers.0.mlp.fc_out": ("dm", "d"),
    **{name: ("d", "d") for name in ("layers.0.ln1", "layers.0.ln2", "ln_out")},
    **{"tok_embed": ("vd",), "pos": ("nd",), "head": ("vd",)},
}  # shapes of weight and bias: d, k, m as d_model, d_head, d_mlp, v tokens, n positions
BOTH = ("weight", "bias")
SHAPES = {f"{part}.{kind}": s for part, own in PARTS.items() for kind, s in zip(BOTH, own)}


def up(radius: Any) -> Any:
    """Above what a dozen roundings may have taken from a number that is not negative."""
    return radius * (1 + 16 * U) + TINY


class Ball(NamedTuple):
    """All numbers within ``rad`` of ``mid``; operations add their rounding (Higham 2002, ch. 3)."""

    mid: Any
    rad: Any

    @staticmethod
    def of(exact: Any) -> "Ball":
        return Ball(np.asarray(exact, dtype=float), np.zeros(np.shape(exact)))

    @staticmethod
    def between(lo: Any, hi: Any) -> "Ball":
        mid = lo / 2 + hi / 2
        return Ball(mid, up(np.maximum(hi - mid, mid - lo)))

    @property
    def lo(self) -> Any:
        return np.nextafter(self.mid - self.rad, -np.inf)

    @property
    def hi(self) -> Any:
        return np.nextafter(self.mid + self.rad, np.inf)

    @property
    def T(self) -> "Ball":
        return Ball(self.mid.T, self.rad.T)

    def at(self, *key: Any) -> "Ball":
        return Ball(self.mid[key], self.rad[key])

    def __add__(self, other: Any) -> "Ball":
        mid = self.mid + other.mid
        return Ball(mid, up(self.rad + other.rad + U * abs(mid)))

    def __sub__(self, other: "Ball") -> "Ball":
        return self + Ball(-other.mid, other.rad)

    def __mul__(self, other: Any) -> "Ball":
        mid = self.mid * other.mid
        rad = abs(self.mid) * other.rad + self.rad * (abs(other.mid) + other.rad)
        return Ball(mid, up(rad + U * abs(mid)))

    def __truediv__(self, other: "Ball") -> "Ball":
        """By what is certainly positive; elsewhere not a number."""
        mid, least = self.mid / other.mid, np.where(other.lo > 0, other.lo, np.nan)
        return Ball(mid, up((self.rad + abs(mid) * other.rad) / least + U * abs(mid)))

    def __matmul__(self, other: "Ball") -> "Ball":
        gamma, left, right = 2 * U * (self.mid.shape[-1] + 1), abs(self.mid), abs(other.mid)
        rad = left @ (other.rad + gamma * right) + self.rad @ (right + other.rad)
        return Ball(self.mid @ other.mid, up(rad * (1 + 4 * gamma)))

    def sqrt(self) -> "Ball":
        mid = np.sqrt(np.where(self.lo > 0, self.mid, np.nan))
        return Ball(mid, up(self.rad / mid + U * mid))

    def exp(self) -> "Ball":
        with mpmath.workprec(70):
            flat = [float(mpmath.exp(max(float(x), -700.0))) for x in self.mid.flat]
        mid = np.reshape(flat, self.mid.shape)
        grown = np.where(self.rad < 1, self.rad * (1 + self.rad), np.nan)  # e^r - 1 <= r + r^2
        return Ball(mid, up(mid * (grown + 2 * U)))


def join(*balls: Ball) -> Ball:
    return Ball(*(np.concatenate(parts, axis=-1) for parts in zip(*balls)))


def total(terms: Ball) -> Ball:
    """The sum over the last axis, which stays with length 1."""
    return terms @ Ball.of(np.ones((terms.mid.shape[-1], 1)))


def centred(x: Ball) -> Ball:
    return x - total(x) / Ball.of(x.mid.shape[-1])


def deviation(x: Ball, eps: Ball) -> Ball:
    """What a LayerNorm divides centred vectors by."""
    return (total(x * x) / Ball.of(x.mid.shape[-1]) + eps).sqrt()


class Model:
    """The weights as balls; what a LayerNorm multiplies and adds goes into the matrix behind it."""

    def __init__(self, weights: dict[str, Any], half_length: int, eps: float) -> None:
        w = {name.removeprefix("layers.0."): Ball.of(value) for name, value in weights.items()}
        t = {name: ball.T for name, ball in w.items()}
        self.h, self.letters, self.eps = half_length, len(weights["head.weight"]) - 3, Ball.of(eps)
        embedded = centred(w["tok_embed.weight"] + w["pos.weight"].at(slice(None), None))
        normed = embedded / deviation(embedded, self.eps) * w["ln1.weight"] + w["ln1.bias"]
        q, self.k, v = (normed @ t[f"attn.{x}.weight"] + w[f"attn.{x}.bias"] for x in "qkv")
        self.q, self.v = q / Ball.of(q.mid.shape[-1]).sqrt(), centred(v @ t["attn.o.weight"])
        self.base = embedded + centred(w["attn.o.bias"])
        self.A = t["mlp.fc_in.weight"] * w["ln2.weight"].at(slice(None), None)
        self.b = w["mlp.fc_in.bias"] + w["ln2.bias"] @ t["mlp.fc_in.weight"]
        self.W2, self.b2 = centred(t["mlp.fc_out.weight"]), centred(w["mlp.fc_out.bias"])
        self.u = t["head.weight"] * w["ln_out.weight"].at(slice(None), None)
        self.beta = w["ln_out.bias"] @ t["head.weight"]

    def attention(self, query: int, own: int) -> Ball:
        """N and D side by side, by slot and letter; before the slots the keys ``<`` and ``|``."""
        keys, places = slice(query + 1), np.arange(1, self.h + 1)
        again = 2 * self.h + 2 - places  # where the letter of a slot stands once more
        scores = self.k.at(keys) @ self.q.at(query, own)
        D = (scores - Ball.of(scores.mid.max())).exp().at(..., None)
        ND = join((self.v.at(keys) + self.base.at(query, own)) * D, D)
        seen = ND.at(np.minimum(again, query)) * Ball.of(again <= query).at(slice(None), None, None)
        slots = (ND.at(places) + seen).at(slice(None), slice(2, -1))
        fixed = ND.at(0, 0) + ND.at(min(query, self.h + 1), -1) * Ball.of(float(query > self.h))
        both = ((np.broadcast_to(f, (1, *s.shape[1:])), s) for f, s in zip(fixed, slots))
        return Ball(*map(np.concatenate, both))


def highest(table: Ball, lines: Ball) -> Any:
    """Above c.x, for lines c and all x = N / D: c.N - lambda D <= e gives c.x <= lambda + e / D."""
    N, D = table.at(..., slice(-1)) @ lines, table.at(..., slice(-1, None))
    guess = N.mid.mean(1).sum(0) / D.mid.mean(1).sum(0)
    for _ in range(6):  # Dinkelbach (1967) approaches the best lambda; the bound holds for any
        best = (N.mid - guess * D.mid).argmax(1)[:, None]
        guess = np.divide(*(np.take_along_axis(part.mid, best, 1).sum((0, 1)) for part in (N, D)))
    e = total(Ball.of((N - Ball.of(guess) * D).hi.max(1).T)).at(..., 0)
    least = total(Ball.of(D.lo.min((1, 2))))
    return (Ball.of(guess) + Ball.of(np.maximum(e.hi, 0.0)) / least).hi


def ranges(table: Ball, *lines: Ball) -> list[Ball]:
    """Where c.x can lie, for groups of lines c."""
    every, ends = join(*lines), np.cumsum([0, *(group.mid.shape[1] for group in lines)])
    reach = Ball.between(-highest(table, Ball.of(0.0) - every), highest(table, every))
    return [reach.at(slice(*pair)) for pair in itertools.pairwise(ends)]


def pairwise(form: Any, slots: int) -> Any:
    """By slot, letter and slot: the most that the two can add to a quadratic form of sums."""
    form, own = form.reshape(slots, -1, slots, len(form) // slots), np.arange(slots)
    largest = form.max(-1)
    largest[own, :, own] = np.einsum("slsl->sl", form)  # one slot holds one letter
    largest[1:, :, 0] *= 2  # pairs with the fixed keys are counted with the other slot
    largest[0, :, 1:] = 0
    return largest


def curvature(table: Ball, s0: Ball, slope: Ball) -> Any:
    """Above rho = sigma - L, from N.N / d - (slope.N)^2 - rho D (2 L D + rho D) <= e.

    N is that of delta, so sigma^2 = L^2 + delta.delta / d - (slope.delta)^2 (Pythagoras).
    """
    slots, _, width = table.mid.shape
    rows = Ball(*(part.reshape(-1, width) for part in table))
    N, D, d = rows.at(..., slice(-1)), rows.at(..., slice(-1, None)), Ball.of(width - 1.0)
    a, least = N @ slope, total(Ball.of(D.lo.reshape(slots, -1).min(1)))
    line, minus_a = a + s0 * D, Ball(-a.mid, a.rad)
    cross, square = line.mid @ D.mid.T, D.mid @ D.mid.T
    flat = N.mid @ N.mid.T / d.mid - a.mid @ a.mid.T
    below, above, guess = 0.0, np.nan, 0.0
    for _ in range(8):  # any rho gives a bound
        form = flat - guess * (cross + cross.T + guess * square)
        e = pairwise(form, slots).sum(-1).max(1).sum()
        below = below if e <= 0 else guess
        above = guess if e <= 0 else np.fmin(above, guess + np.sqrt(e) / least.mid[0])
        guess = (below + above) / 2
    rho = Ball.of(above)
    last = Ball.of(-above) * (line + rho * D)
    form = join(N, a, line, D) @ join(N / d, minus_a, Ball.of(-above) * D, last).T
    e = total(Ball.of(pairwise(form.hi, slots))).hi.max((1, 2))
    return (rho + Ball.of(np.maximum(total(Ball.of(e)).hi, TINY)).sqrt() / least).hi


def around(table: Ball) -> tuple[Ball, Ball]:
    """A centre x0, any will do, and the table of delta = x - x0; no sum over slots changes."""
    centre, d = table.mid.mean(1).sum(0), table.mid.shape[-1] - 1
    x0 = Ball.of(centre[:-1] / centre[-1])
    table = table @ Ball.of(np.vstack([np.eye(d, d + 1), np.append(-x0.mid, 1.0)]))  # N - x0 D, D
    base = np.hstack([table.mid.mean(1)[:, :-1], table.mid.min(1)[:, -1:]])
    taken = total(Ball.of(base.T)).T  # from the slots, and given to the fixed keys
    fixed = Ball(*(np.eye(len(base), 1)[..., None] * part for part in taken))
    return x0, table - Ball.of(base[:, None]) + fixed


def between_lines(z: Ball) -> tuple[Any, Any, Any, Ball]:
    """flat z <= ReLU(z) <= chord z + over, and the range of ReLU(z)."""
    lo, hi = z.lo, z.hi
    chord = np.where(lo >= 0, 1.0, np.where(hi <= 0, 0.0, hi / (hi - lo)))
    ends = ((Ball.of(np.maximum(e, 0)) - Ball.of(chord) * Ball.of(e)).hi for e in (lo, hi))
    return hi > -lo, chord, np.maximum(*ends), Ball.between(np.maximum(lo, 0), np.maximum(hi, 0))


def bound(model: Model, table: Ball, target: int, rivals: Any) -> tuple[Any, Any]:
    """Below F = sigma sigma_f margin of a target over rivals, and where F > 0 below the margin."""
    x0, table = around(table)
    d, s0 = Ball.of(len(x0.mid)), deviation(x0, model.eps)
    slope = (x0 / (d * s0)).at(slice(None), None)  # L = s0 + slope.delta <= sigma (Cauchy, Schwarz)
    C, z0 = model.A + slope * model.b, x0 @ model.A + model.b * s0
    kappa = model.beta.at([target]) - model.beta.at(rivals)
    r0 = Ball.of(x0.mid + model.b2.mid + np.maximum(z0.mid, 0) @ model.W2.mid / s0.mid)
    s1, gain = deviation(r0, model.eps), Ball.of(np.maximum(kappa.lo, 0))  # any r0 will do
    tilt = (r0 / (d * s1)).at(slice(None), None)  # sigma_f >= tilt.r + eps / s1
    g = model.u.at(slice(None), [target]) - model.u.at(slice(None), rivals) + tilt * gain
    axes = Ball.of(np.eye(len(x0.mid)))
    by_axis, by_g, by_neuron, by_slope = ranges(table, axes, g, C, slope)
    L = s0 + by_slope
    rho = Ball.between(np.zeros(1), np.where(L.lo > 0, curvature(table, s0, slope), np.nan))
    sigma = Ball.between(L.lo, (L + rho).hi)
    flat, chord, over, relu = between_lines(z0 + by_neuron + model.b * rho)
    w = model.W2 @ g
    kept = Ball.of(w.mid * np.where(w.mid < 0, chord[:, None], flat[:, None]))
    y0 = (x0 + model.b2) @ g
    G = slope * y0 + g * s0 + C @ kept
    F = Ball.of(-highest(table, Ball.of(0.0) - G)) + s0 * y0 + z0 @ kept
    F += Ball.of(over) @ Ball.of(np.minimum(w.mid, 0.0)) + Ball.of(relu.hi) @ Ball(0 * w.mid, w.rad)
    F += by_slope * by_g + rho * (y0 + by_g + model.b @ kept)
    r = x0 + by_axis + model.b2 + relu @ model.W2 / sigma
    near, far = np.maximum(0, np.maximum(r.lo, -r.hi)), np.maximum(-r.lo, r.hi)
    least, most = (deviation(Ball.of(end), model.eps) for end in (near, far))
    norms = Ball.between((Ball.of(sigma.lo) * least).lo, (Ball.of(sigma.hi) * most).hi)
    F += (kappa - gain) * norms + gain * (model.eps / s1) * sigma
    return F.lo, (Ball.of(F.lo) / Ball.of(norms.hi)).lo


class Verdict(NamedTuple):
    """``right``, ``wrong`` or ``open``; bounds of the narrowest comparison, F and nats."""

    name: str
    F: float
    margin: float


def judge(model: Model, table: Ball, target: int) -> Verdict:
    rivals = np.delete(np.arange(model.letters + 3), target)
    F, margin = bound(model, table, target, rivals)
    if (F > 0).all():
        return Verdict("right", F.min(), margin.min())
    F, margin = bound(model, table, rivals[F.argmin()], [target])
    if F[0] > 0:
        return Verdict("wrong", F[0], margin[0])
    return Verdict("open", np.nan, np.nan)


class Cell(NamedTuple):
    """A query with the letters that it reads and must answer; ``root`` has a bit mask a slot."""

    query: int
    name: str
    own: int
    target: int
    root: list[int]


def cells(h: int, alphabet: str) -> Any:
    """Every query whose answer is determined, with every choice of the letters that fix it."""
    bar, letters = len(alphabet) + 2, range(len(alphabet))
    for query in range(h, 2 * h + 2):
        read, answer = h - 1 if query == h else 2 * h + 1 - query, 2 * h - query
        slots = [slot for slot in (read, answer) if slot in range(h)]
        for chosen in itertools.product(letters, repeat=len(slots)):
            fix = dict(zip(slots, chosen))
            root = [1 << fix[s] if s in fix else (1 << len(alphabet)) - 1 for s in range(h)]
            target = fix[answer] + 2 if answer in fix else bar if query == h else 1
            name = f"{query}:" + "".join(alphabet[letter] for letter in chosen)
            yield Cell(query, name, fix[read] + 2 if read in fix else bar, target, root)


def size(box: list[int]) -> int:
    return math.prod(mask.bit_count() for mask in box)


def leaves(cell: Cell, boxes: list[list[int]]) -> list[list[int]]:
    """The boxes, if they divide the cell."""
    for box in boxes:
        if len(box) != len(cell.root) or not all(type(mask) is int and mask > 0 for mask in box):
            raise ValueError(f"A leaf of the cell {cell.name} is not one set of letters a slot.")
        if any(mask & ~root for mask, root in zip(box, cell.root)):
            raise ValueError(f"A leaf of the cell {cell.name} reaches outside the cell.")
    masks = np.array(boxes)
    if not all(((masks[i] & masks[:i]) == 0).any(1).all() for i in range(len(masks))):
        raise ValueError(f"Two leaves of the cell {cell.name} overlap.")
    if (found := sum(map(size, boxes))) != (whole := size(cell.root)):
        raise ValueError(f"The leaves of the cell {cell.name} hold {found:,} of {whole:,} strings.")
    return boxes


def letters_of(mask: int) -> list[int]:
    return [letter for letter in range(mask.bit_length()) if mask >> letter & 1]


def select(table: Ball, box: list[int]) -> Ball:
    """The rows of a box: single letters join the fixed keys, and shorter sets repeat a letter."""
    sets = {slot: letters_of(mask) for slot, mask in enumerate(box, 1)}
    single = [slot for slot in sets if len(sets[slot]) == 1]
    fixed = table.at([0, *single], [0, *(sets.pop(slot)[0] for slot in single)])
    longest = max(map(len, sets.values()), default=1)
    rows = np.array([own + own[:1] * (longest - len(own)) for own in sets.values()], dtype=int)
    slots = table.at(np.array([*sets], dtype=int)[:, None], rows.reshape(-1, longest))
    first = (np.broadcast_to(part, (1, longest, part.shape[1])) for part in total(fixed.T).T)
    return Ball(*map(np.concatenate, zip(first, slots)))


def parsed(data: bytes | str, what: str) -> Any:
    """JSON in which no name stands twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"In {what} a name stands twice.")
        return dict(pairs)

    try:
        return json.loads(data, object_pairs_hook=unique)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"In {what} something is missing or damaged.") from None


def read_weights(data: bytes) -> tuple[dict[str, Any], str, int, float]:
    """A safetensors file: 8 bytes that count the header's, the header as JSON, then the numbers."""
    begin = end = 8 + int.from_bytes(data[:8], "little")
    header = parsed(data[8:begin], "the header of the weights")
    about = parsed(header.pop("__metadata__")["model"], "the description of the model")
    alphabet, h, eps = about["alphabet"], about["half_length"], float(about["eps"])
    if about["n_heads"] != 1 or about["act_fn"] != "relu" or not 0 < eps < math.inf:
        raise ValueError("The proof is for one head, ReLU, and a positive eps of LayerNorm.")
    if (
        type(h) is not int
        or type(alphabet) is not str
        or not 0 < len(alphabet) == len(set(alphabet))
        or not h > 0
    ):
        raise ValueError("The alphabet or the half-length in the weights cannot be.")
    if odd := sorted(set(header) ^ set(SHAPES)):
        raise ValueError(f"The proof is for one layer with MLP and LayerNorm; see {odd[0]}.")
    sizes, weights = {"v": len(alphabet) + 3, "n": 2 * h + 3}, {}
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        dtype, shape, (first, last) = (header[name][k] for k in ("dtype", "shape", "data_offsets"))
        own = zip(SHAPES[name], shape)
        fits = (type(n) is int and 0 < n == sizes.setdefault(kind, n) for kind, n in own)
        if len(shape) != len(SHAPES[name]) or not all(fits):
            raise ValueError(f"The shape {shape} of {name} does not fit the other tensors.")
        if dtype != "F64" or first != end - begin or last != first + 8 * math.prod(shape):
            raise ValueError(f"{name} is not float64, overlaps another tensor, or leaves a gap.")
        if (end := begin + last) > len(data):
            raise ValueError(f"The weights are cut off: {name} is missing or damaged.")
        weights[name] = np.frombuffer(data[:end], "<f8", offset=begin + first).reshape(shape)
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"The tensor {name} holds what is not a finite number.")
    if end != len(data):
        raise ValueError(f"The file of weights has {len(data):,} bytes instead of {end:,}.")
    return weights, alphabet, h, eps


class Leaf(NamedTuple):
    """A box at a query, and what was proved there."""

    query: int
    box: list[int]
    verdict: Verdict


def check(weights: bytes, certificate: bytes, part: Any = None) -> list[Leaf]:
    """All leaves of all cells; of a part of them, if queries or names of cells are given.

    Raises:
        ValueError: what is wrong with a file, in one sentence.
    """
    try:
        (tensors, alphabet, h, eps), told = (
            read_weights(weights),
            parsed(certificate, "the certificate"),
        )
        made_for, boxes_of = told["weights"], dict(told["leaves"])
    except (KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError("In one of the files something is missing or damaged.") from None
    if made_for != hashlib.sha256(weights).hexdigest():
        raise ValueError("The certificate is for other weights than these.")
    every = [
        cell for cell in cells(h, alphabet) if part is None or {cell.query, cell.name} & {*part}
    ]
    if extra := set(boxes_of) - {cell.name for cell in cells(h, alphabet)}:
        raise ValueError(f"The certificate cuts {min(extra)}, which is no cell.")
    model, judged = Model(tensors, h, eps), []
    for (query, own), group in itertools.groupby(every, lambda cell: (cell.query, cell.own)):
        table = model.attention(query, own)
        for cell in group:
            for box in leaves(cell, boxes_of.get(cell.name, [cell.root])):
                verdict = judge(model, select(table, box), cell.target)
                judged.append(Leaf(query, box, verdict))
    return judged


def wrong_strings(judged: list[Leaf]) -> int | None:
    """How many strings are wrong at some query; None if they are too many to list."""
    boxes = [leaf.box for leaf in judged if leaf.verdict.name == "wrong"]
    if sum(map(size, boxes)) > ENUMERABLE:
        return None
    return len({string for box in boxes for string in itertools.product(*map(letters_of, box))})


def main(weights: str, certificate: str) -> None:
    with np.errstate(all="ignore"):
        judged = check(Path(weights).read_bytes(), Path(certificate).read_bytes())
    for query, group in itertools.groupby(judged, lambda leaf: leaf.query):
        own, counts = list(group), dict.fromkeys(("right", "wrong", "open"), 0)
        for leaf in own:
            counts[leaf.verdict.name] += size(leaf.box)
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        right = [leaf.verdict for leaf in own if leaf.verdict.name == "right"]
        least = [min((verdict[k] for verdict in right), default=math.nan) for k in (1, 2)]
        print(f"query {query}, {len(own)} leaves: {said}; ", end="")
        print(f"F at least {least[0]:.4g}, margin at least {least[1]:.4g} nats where right")
    print(f"strings that are wrong at some query: {wrong_strings(judged)}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(str(error))
