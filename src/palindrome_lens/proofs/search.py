"""Cutting cells into leaves until each is proved: what makes a certificate.

The search uses the checker's own bound, and asks for a little more than the checker does, so that
nothing that it finds is rejected where sums are rounded in another order.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from palindrome_lens.proofs import checker
from palindrome_lens.proofs.checker import Ball, Cell, Model, Verdict

ENOUGH = 1e-6
"""F from which on the search takes a leaf for proved; the checker asks for more than 0."""
Box = list[int]


class Cut(NamedTuple):
    """The leaves of one cell, each with its verdict."""

    boxes: list[Box]
    verdicts: list[Verdict]
    tried: int
    """How many boxes were judged, those that were cut further included."""


def cut(model: Model, table: Ball, cell: Cell, limit: int = 100_000) -> Cut:
    """Halve a cell until each part is proved right or wrong, or is a single string.

    Args:
        table: what :meth:`Model.attention` returns for the cell.
        limit: of boxes judged; what has not been judged by then is left open.
    """
    waiting, boxes, verdicts, tried = [cell.root], [], [], 0
    while waiting:
        box = waiting.pop()
        verdict = Verdict("open", np.nan, np.nan)
        if tried < limit:
            tried += 1
            verdict = checker.judge(model, checker.select(table, box), cell.target)
            proved = verdict.name != "open" and verdict.F > ENOUGH
            if not proved and checker.size(box) > 1:
                waiting += halves(table, box)
                continue
        boxes.append(box)
        verdicts.append(verdict)
    return Cut(boxes, verdicts, tried)


def halves(table: Ball, box: Box) -> list[Box]:
    """A box, cut in the slot whose letters move the residual stream most, along one line.

    The line is the first principal direction of what the slot's letters contribute; the cut is
    in the middle between the two outermost letters.
    """
    along = {slot: _along(table, box, slot) for slot, mask in enumerate(box) if mask & (mask - 1)}
    slot = max(along, key=lambda slot: np.ptp(along[slot]))
    middle = (along[slot].min() + along[slot].max()) / 2
    letters = np.array(checker.letters_of(box[slot]))
    sides = letters[along[slot] <= middle], letters[along[slot] > middle]
    masks = [sum(1 << letter for letter in side.tolist()) for side in sides]
    return [[*box[:slot], mask, *box[slot + 1 :]] for mask in masks]


def _along(table: Ball, box: Box, slot: int) -> Float[NDArray[np.float64], "letters"]:
    rows = checker.select(table, box).mid
    centre = rows.mean(1).sum(0)
    letters = checker.letters_of(box[slot])
    own = table.mid[slot + 1, letters]
    moved = own[:, :-1] - own[:, -1:] * centre[:-1] / centre[-1]
    left, widths, _ = np.linalg.svd(moved - moved.mean(0), full_matrices=False)
    return np.asarray(left[:, 0] * widths[0])


class Found(NamedTuple):
    """A certificate, and what the search did for it."""

    certificate: bytes
    tried: int
    open: list[tuple[int, Box]]
    """Queries and boxes that could be proved neither right nor wrong."""


def search(weights: bytes, limit: int = 100_000, queries: Iterable[int] | None = None) -> Found:
    """Look for a certificate of a model.

    Args:
        weights: a safetensors file as :func:`checker.read_weights` expects it.
        limit: of boxes judged in one cell.
        queries: those whose cells are cut; all of them unless said.

    Raises:
        ValueError: the file holds no model that the checker knows.
    """
    tensors, alphabet, half_length, eps = checker.read_weights(weights)
    model, leaves, open_boxes, tried = Model(tensors, half_length, eps), {}, [], 0
    every, chosen = checker.cells(half_length, alphabet), queries and set(queries)
    cells = [cell for cell in every if chosen is None or cell.query in chosen]
    with np.errstate(all="ignore"):
        for (query, own), group in itertools.groupby(cells, lambda cell: (cell.query, cell.own)):
            table = model.attention(query, own)
            for cell in group:
                division = cut(model, table, cell, limit)
                tried += division.tried
                if len(division.boxes) > 1:
                    leaves[cell.name] = division.boxes
                judged = zip(division.boxes, division.verdicts, strict=True)
                open_boxes += [(query, box) for box, verdict in judged if verdict.name == "open"]
    told = {"weights": hashlib.sha256(weights).hexdigest(), "leaves": leaves}
    return Found(json.dumps(told, separators=(",", ":")).encode(), tried, open_boxes)
