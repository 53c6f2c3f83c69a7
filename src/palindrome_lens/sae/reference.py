"""What a dictionary should find: the effect of each letter in each slot, and where it is present.

In large models the true features are unknown. Here they are computed, and that they are these is a
choice (see the chapter on the reference).
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from palindrome_lens import anova
from palindrome_lens.task import Task


class Reference(NamedTuple):
    """The features that a dictionary should find, and exactly where each is present."""

    mean: Float[Tensor, "d_in"]
    vectors: Float[Tensor, "feature d_in"]
    """Feature = slot · letters + letter. The vectors of a slot sum to 0."""
    labels: Bool[Tensor, "sample feature"]
    slots: Int64[Tensor, "feature"]
    names: list[str]
    """``··m``: the letter in its slot, a dot where any will do."""


def reference(
    task: Task,
    x: Float[Tensor, "sample d_in"],
    inputs: Literal["string", "position"] = "string",
) -> Reference:
    """The effect of each letter in each slot (:mod:`palindrome_lens.anova`), as features.

    With "string" a vector is the letter's effect at all positions side by side. With "position" a
    sample is one position, and the vector is the effect at the one query that predicts the letter;
    only samples at that query have the feature. What a letter does elsewhere is left out.

    Args:
        x: activations of all strings in the order of ``Task.strings``; with "position" the
            positions of a string follow each other.

    Raises:
        ValueError: the number of samples is another, or an activation is not finite.
    """
    each = {"string": 1, "position": task.n_positions}[inputs]
    if len(x) != task.size * each:
        raise ValueError(
            f"There are {len(x):,} samples; this reference needs {task.size * each:,}."
        )
    check_finite(x, "activations")
    n, h = len(task.alphabet), task.half_length
    split = anova.decompose(anova.by_slot(task, x.reshape(task.size, each, -1)), h)
    strings = torch.cartesian_prod(*[torch.arange(n)] * h).reshape(task.size, h)
    has = F.one_hot(strings, n).bool().flatten(start_dim=1)
    slots = torch.arange(h).repeat_interleave(n)
    effects = torch.cat([split.effects[(slot,)].reshape(n, each, -1) for slot in range(h)])
    names = ["·" * slot + c + "·" * (h - slot - 1) for slot in range(h) for c in task.alphabet]
    query = torch.zeros_like(slots) if each == 1 else 2 * h - slots
    here = torch.arange(each)[:, None] == query
    labels = (has[:, None] & here).flatten(end_dim=1)
    return Reference(x.mean(dim=0), effects[torch.arange(h * n), query], labels, slots, names)


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinite numbers; ``name`` says in the error what they are numbers of."""
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{bad:,} numbers of the {name} are not finite (NaN or infinite).")
