"""The exact analysis of variance of a quantity over a full product space.

A quantity that is known for every combination of letters splits into a mean, an effect of each
letter, and interactions, in exactly one way such that each effect sums to 0 along each of its own
axes; the squares of these effects then add up to the variance (Hoeffding 1948; Sobol 2001).
Nothing is estimated: all combinations are there.
"""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.task import Task


class Decomposition(NamedTuple):
    """Effects of all subsets of axes."""

    effects: dict[tuple[int, ...], Tensor]
    """For each subset of the axes its effect: size 1 along every other axis, then the rest. The
    empty subset holds the mean."""

    @property
    def mean(self) -> Float[Tensor, "*rest"]:
        empty = self.effects[()]
        n_axes = max(map(len, self.effects))
        return empty.reshape(empty.shape[n_axes:])

    def variance(self, axes: tuple[int, ...]) -> Float[Tensor, "*rest"]:
        """The variance over all combinations that the effect of these axes contributes."""
        n_axes = max(map(len, self.effects))
        return self.effects[axes].square().mean(dim=tuple(range(n_axes)))

    def shares(self) -> dict[tuple[int, ...], float]:
        """The part of the variance, summed over the rest, that each effect contributes.

        Raises:
            ValueError: the quantity is constant, and has no variance to divide.
        """
        parts = {axes: float(self.variance(axes).sum()) for axes in self.effects if axes}
        total = sum(parts.values())
        if total == 0:
            raise ValueError("The quantity is the same everywhere; its variance has no parts.")
        return {axes: part / total for axes, part in parts.items()}

    def up_to(self, order: int) -> Tensor:
        """The sum of all effects of at most so many axes; order 1 is the additive part."""
        kept = [effect for axes, effect in self.effects.items() if len(axes) <= order]
        return torch.stack(torch.broadcast_tensors(*kept)).sum(dim=0)


def decompose(values: Tensor, n_axes: int) -> Decomposition:
    """Decompose over the first ``n_axes`` axes; each further entry is a quantity of its own.

    Raises:
        ValueError: there are fewer axes, or none is to be decomposed over.
    """
    if not 1 <= n_axes <= values.dim():
        raise ValueError(f"{n_axes} axes were asked for; the values have {values.dim()}.")
    effects: dict[tuple[int, ...], Tensor] = {}
    for size in range(n_axes + 1):
        for axes in itertools.combinations(range(n_axes), size):
            others = tuple(axis for axis in range(n_axes) if axis not in axes)
            effect = values.mean(dim=others, keepdim=True) if others else values.clone()
            for smaller, known in effects.items():
                if set(smaller) < set(axes):
                    effect = effect - known
            effects[axes] = effect
    return Decomposition(effects)


def by_slot(task: Task, values: Float[Tensor, "strings *rest"]) -> Tensor:
    """Values of all strings, in the order of ``Task.strings``, with one axis for each slot.

    Raises:
        ValueError: there is not one value for each string of the task.
    """
    if len(values) != task.size:
        raise ValueError(f"There are {len(values):,} values for the {task.size:,} strings.")
    return values.reshape(*[len(task.alphabet)] * task.half_length, *values.shape[1:])
