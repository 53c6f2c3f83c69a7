"""What one vector for each letter in each slot accounts for, and what a model loses with it alone.

These vectors are the reference that a learned dictionary is held against. A model that has learned
nothing has such vectors too, so each number here can be asked of it as well.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import anova
from palindrome_lens.anova import Decomposition
from palindrome_lens.circuits.interventions import evaluate_replaced
from palindrome_lens.evaluation import Evaluation
from palindrome_lens.model import activations
from palindrome_lens.task import Task, inputs


def decomposed(
    task: Task, model: TransformerBridge, tokens: Int64[Tensor, "strings length"], hook: str
) -> Decomposition:
    """The activations at a hook, split exactly by slots; the rest is position and dimension.

    Raises:
        ValueError: an unknown hook, or tokens that are not those of all strings in order.
    """
    x = activations(model, inputs(tokens), [hook])[hook]
    return anova.decompose(anova.by_slot(task, x), task.half_length)


def by_position(split: Decomposition) -> dict[int, Float[Tensor, "position"]]:
    """The share of the whole variance that lies at each position and needs one letter, two, …"""
    orders = range(1, max(map(len, split.effects)) + 1)
    variance = torch.zeros(len(orders), split.mean.shape[0], dtype=torch.float64)
    for axes in split.effects:
        if axes:
            variance[len(axes) - 1] += split.variance(axes).sum(dim=-1)
    return dict(zip(orders, variance / variance.sum(), strict=True))


def by_order(split: Decomposition) -> dict[int, float]:
    """The share of the variance that needs one letter, two letters, and so on."""
    return {order: float(share.sum()) for order, share in by_position(split).items()}


def parts_at(task: Task, split: Decomposition, query: int) -> Float[Tensor, "part"]:
    """Shares of the variance at one position: of each slot's letter alone, and of what needs more.

    Raises:
        ValueError: the activations at this position are the same on all strings.
    """
    at = {axes: float(split.variance(axes)[query].sum()) for axes in split.effects if axes}
    total = sum(at.values())
    if total == 0:
        raise ValueError(f"The activations at position {query} do not vary.")
    alone = [at[(slot,)] for slot in range(task.half_length)]
    return torch.tensor([*alone, total - sum(alone)], dtype=torch.float64) / total


def own_letter(task: Task, split: Decomposition) -> dict[int, float]:
    """At each query that predicts a mirrored letter, the share of the variance that this letter
    accounts for alone."""
    queries = task.mirrored_positions
    return {query: float(parts_at(task, split, query)[task.slot_of(query)]) for query in queries}


def similarity(task: Task, split: Decomposition) -> Float[Tensor, "slot"]:
    """The mean |cosine| of two letters' vectors at the query that predicts the slot."""
    means = []
    for slot in range(task.half_length):
        vectors = split.effects[(slot,)].flatten(end_dim=task.half_length - 1)
        means.append(_mean_cosine(vectors[:, task.query_of(slot)]))
    return torch.stack(means)


def similarity_by_chance(
    n_vectors: int, width: int, draws: int = 1000, seed: int = 0
) -> Float[Tensor, "draw"]:
    """The same for random directions, in ascending order.

    Like the vectors of a slot, those of a draw sum to 0.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(draws, n_vectors, width, dtype=torch.float64, generator=generator)
    return _mean_cosine(drawn - drawn.mean(dim=1, keepdim=True)).sort().values


def _mean_cosine(vectors: Float[Tensor, "*draw vector width"]) -> Float[Tensor, "*draw"]:
    directions = F.normalize(vectors, dim=-1)
    n = directions.shape[-2]
    cosines = (directions @ directions.transpose(-1, -2)).abs()
    # The n cosines of a vector with itself are 1.
    return (cosines.sum(dim=(-1, -2)) - n) / (n * (n - 1))


class Cost(NamedTuple):
    """What other values in place of the activations cost the model."""

    solved: int
    """Strings that are solved with them."""
    change: float
    """Of the mean loss, in nats, against the model as it is."""


class Replaced(NamedTuple):
    """What the model does with other values in place of the activations at a hook."""

    kept: dict[int, Evaluation]
    """With all effects of at most so many letters; with the highest order nothing is changed."""
    foreign: Evaluation
    """With the additive part of each string, and what is left over of another string: as large an
    error as leaving it out, or larger, and of the same kind."""

    def costs(self, task: Task) -> list[Cost]:
        """Of each shorter sum, the mean alone first, and of what is foreign."""
        *shorter, whole = self.kept.values()
        return [
            Cost(int(run.solved(task).sum()), run.mean_loss - whole.mean_loss)
            for run in (*shorter, self.foreign)
        ]


def replaced(
    task: Task,
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    hook: str,
    split: Decomposition,
    seed: int = 0,
) -> Replaced:
    """Run the model on shorter sums of effects, over all strings.

    Args:
        split: of the activations at this hook.
        seed: of the order in which strings hand their interactions on to each other.
    """
    grid = [len(task.alphabet)] * task.half_length

    def flat(values: Tensor) -> Tensor:
        rest = values.shape[task.half_length :]
        return values.expand(*grid, *rest).reshape(task.size, *rest)

    sums = {order: flat(split.up_to(order)) for order in range(task.half_length + 1)}
    order = torch.randperm(task.size, generator=torch.Generator().manual_seed(seed))
    interactions = sums[task.half_length] - sums[1]
    foreign = sums[1] + interactions[order]
    return Replaced(
        {n: evaluate_replaced(model, tokens, hook, values) for n, values in sums.items()},
        evaluate_replaced(model, tokens, hook, foreign),
    )
