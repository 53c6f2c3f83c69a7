"""What a bound is made of, for pictures; nothing here is part of a proof."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from palindrome_lens.proofs import checker
from palindrome_lens.proofs.checker import Ball, Cell, Model

Floats = NDArray[np.float64]


def cell_named(half_length: int, alphabet: str, name: str) -> Cell:
    """The cell of a name such as ``8:h``.

    Raises:
        ValueError: there is no such cell.
    """
    for cell in checker.cells(half_length, alphabet):
        if cell.name == name:
            return Cell(*cell)
    raise ValueError(f"There is no cell {name!r} at half-length {half_length}.")


def read(weights: bytes) -> Model:
    """The model in a file, with what the checker derives from its weights."""
    tensors, _, half_length, eps = checker.read_weights(weights)
    return Model(tensors, half_length, eps)


class Shares(NamedTuple):
    """What each letter of each slot adds, along a line c; the most is at most 0 in all."""

    added: Float[Floats, "slot letter"]
    """c·N − λD of the letter; the row of a slot that the cell fixes is constant."""
    fixed: float
    """The same of the keys ``<`` and ``|``."""
    highest: float
    """λ, the certified highest value of c·x over the cell."""


def shares(model: Model, cell: Cell, line: Float[Floats, "d_model"]) -> Shares:
    """How the highest value of c·x over a whole cell comes about."""
    table = model.attention(cell.query, cell.own)
    highest = float(checker.highest(checker.select(table, cell.root), Ball.of(line[:, None]))[0])
    added = table.mid[..., :-1] @ line - highest * table.mid[..., -1]
    for slot, mask in enumerate(cell.root, 1):
        if len(letters := checker.letters_of(mask)) == 1:
            added[slot] = added[slot, letters[0]]
    return Shares(added[1:], float(added[0, 0]), highest)


class Switching(NamedTuple):
    """Between which values each neuron's input lies over a box, times the LayerNorm's divisor."""

    low: Float[Floats, "neuron"]
    high: Float[Floats, "neuron"]

    @property
    def undecided(self) -> int:
        """How many neurons may be on for some strings of the box and off for others."""
        return int(((self.low < 0) & (self.high > 0)).sum())


def switching(model: Model, cell: Cell) -> Switching:
    """The range of z = A·x + b σ over a whole cell, for each neuron of the MLP."""
    x0, table = checker.around(checker.select(model.attention(cell.query, cell.own), cell.root))
    s0 = checker.deviation(x0, model.eps)
    slope = (x0 / (Ball.of(len(x0.mid)) * s0)).at(slice(None), None)
    (reach,) = checker.ranges(table, model.A + slope * model.b)
    rho = Ball.between(np.zeros(1), checker.curvature(table, s0, slope))
    z = x0 @ model.A + model.b * s0 + reach + model.b * rho
    return Switching(z.lo, z.hi)
