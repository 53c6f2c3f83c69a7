"""Estimators of one value's effect, held against the exhaustive truth.

A gradient times the difference of two values is the slope of the lead along the straight line
between them (:mod:`~palindrome_lens.circuits.lines`). So every gradient method is a choice of
points on this line, and they share slopes.
Attribution patching (Nanda 2023) takes the point 0, edge attribution patching (Syed et al. 2023)
and AtP* (Kramár et al. 2024) the point 1, integrated gradients (Sundararajan et al. 2017) many.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.lines import (
    Line,
    MirrorValue,
    chunks,
    lead,
    midpoints,
    mirror_value,
    walk,
)
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import mlp_out

NORMS = ("ln2", "ln_final")
"""The LayerNorms behind attention: before the MLP, and before the unembedding."""
HELD = {"none": (), "ln2": ("ln2",), "ln_final": ("ln_final",), "ln2 and ln_final": NORMS}
"""Every set of scales that a gradient can take for constants."""

ESTIMATORS = {
    "own end": lambda donors: 3,
    "donor end": lambda donors: 3 * donors,
    "mean donor": lambda donors: 3,
    "both ends": lambda donors: 3 + 3 * donors,
    "one point": lambda donors: 3 * donors,
    "two points": lambda donors: 6 * donors,
    "paths apart": lambda donors: 5,
    "dla": lambda donors: 1,
    "zero": lambda donors: 2,
    "mean": lambda donors: 2,
}
"""What each estimator costs: forward passes a string with so many donors other than its own value.

A backward pass counts as two. The truth takes one pass for each donor, and one for the string."""


class Verdict(NamedTuple):
    """An estimate over strings against the truth."""

    wrong: float
    """Share of the strings on which its sign is not the truth's."""
    rank: float
    """Spearman's rank correlation with the truth."""
    mean: float
    """Mean estimate, as a share of the mean truth."""


class Verdicts(NamedTuple):
    """Verdicts on one estimator, in several models or at several queries."""

    wrong: list[float]
    rank: list[float]
    mean: list[float]


class Bench(NamedTuple):
    """Estimates of what the value at the mirror does for each string, and the truth."""

    truth: Float[Tensor, "strings"]
    """Mean over all donors of what the swap costs, in nats of lead."""
    estimates: dict[str, Float[Tensor, "strings"]]
    """By ``ESTIMATORS``."""
    paths: dict[str, Float[Tensor, "strings"]]
    """What :func:`paths` says of the two edges."""
    line: Line
    held: dict[str, Float[Tensor, "strings"]]
    """:func:`held_gradient`, by the scales of ``HELD``."""
    reached: Float[Tensor, "strings"]
    """:func:`reached`: the lead as a share of the largest."""
    shrunk: float
    """What the last LayerNorm divides by where the value is the mean of its donors, as a share of
    what it divides by at the own value; means over the strings."""


def measure(subject: Subject, query: int, between: Sequence[float] = ()) -> Bench:
    """The estimators on the value at the mirror of a query, and the truth.

    ``own end``, ``donor end`` and ``both ends`` are gradients there, averaged over the donors;
    ``mean donor`` is the gradient at the mean of all donors. ``one point`` and ``two points`` are
    integrated gradients by the midpoint rule, there if their points are among those between.
    ``paths apart`` adds the absolute slopes of the two paths at the own end, as GradDrop of AtP*
    does (Kramár et al. 2024), and has no sign. ``dla`` is the share that the value writes itself,
    past the MLP, with the scale of the last LayerNorm frozen.

    Args:
        between: as in :func:`walk`.

    Raises:
        ValueError: the model has no LayerNorm, or its activation is not ReLU.
    """
    model, value = subject.model, mirror_value(subject, query)
    line = walk(model, value, between)
    estimates = {
        "own end": line.slope(1.0),
        "donor end": line.slope(0.0),
        "mean donor": walk(model, value.mean_donor).slope(0.0),
        "both ends": line.slope(0.0, 1.0),
        "paths apart": line.through[-1].abs() + line.past[-1].abs(),
        "dla": _direct(model, value),
        **ablations(model, value),
    }
    for n, name in ((1, "one point"), (2, "two points")):
        if set(midpoints(n)) <= set(between):
            estimates[name] = line.slope(*midpoints(n))
    held = {name: held_gradient(model, value, scales) for name, scales in HELD.items()}
    at_own, at_mean = (
        last_scale(model, value.rest + read).mean()
        for read in (value.own, value.mean_donor.donors[:, 0])
    )
    edges, share = paths(model, value), reached(model, value)
    return Bench(line.rise, estimates, edges, line, held, share, float(at_mean / at_own))


def _direct(model: TransformerBridge, value: MirrorValue) -> Float[Tensor, "strings"]:
    """The value itself as a step at the end of the model, past the MLP and under a held scale."""
    scale = last_scale(model, value.rest + value.own).unsqueeze(1)
    centred = value.own - value.own.mean(dim=-1, keepdim=True)
    return (centred / scale * model.ln_final.weight.detach() * value.along).sum(dim=-1)


def last_scale(
    model: TransformerBridge, middle: Float[Tensor, "strings d_model"]
) -> Float[Tensor, "strings"]:
    """What the last LayerNorm divides by, where the stream after attention is so.

    Raises:
        ValueError: the model has no LayerNorm.
    """
    _needs_norms(model)
    with torch.no_grad():
        final = middle + mlp_out(model, middle)
    return (final.var(dim=-1, correction=0) + model.cfg.eps).sqrt()


def paths(model: TransformerBridge, value: MirrorValue) -> dict[str, Float[Tensor, "strings"]]:
    """What is lost when a donor's value goes ``through`` the MLP alone, or ``past`` it alone.

    Path patching (Goldowsky-Dill et al. 2023), in nats of lead, as the mean over all donors.
    """
    lost: dict[str, list[Tensor]] = {"through": [], "past": []}
    for part in chunks(value):
        start, end = part.rest.unsqueeze(1) + part.donors, (part.rest + part.own).unsqueeze(1)
        own = lead(model, part, end, end)
        lost["through"].append((own - lead(model, part, end, start)).mean(dim=1))
        lost["past"].append((own - lead(model, part, start, end)).mean(dim=1))
    return {path: torch.cat(chunks) for path, chunks in lost.items()}


def ablations(model: TransformerBridge, value: MirrorValue) -> dict[str, Float[Tensor, "strings"]]:
    """What is lost when the value is 0, and when it is the mean of its donors, in nats of lead."""
    own = (value.rest + value.own).unsqueeze(1)
    zero = value.rest.unsqueeze(1)
    mean = zero + value.donors.mean(dim=1, keepdim=True)
    whole = lead(model, value, own, own)
    lost = {name: whole - lead(model, value, x, x) for name, x in (("zero", zero), ("mean", mean))}
    return {name: values.squeeze(1) for name, values in lost.items()}


def held_gradient(
    model: TransformerBridge, value: MirrorValue, held: Collection[str]
) -> Float[Tensor, "strings"]:
    """The gradient at the own value times own minus mean donor, past the scale of some ``NORMS``.

    A held scale keeps each string's own value, and the gradient takes it for a constant. With none
    held this is the slope at the point 1.

    Raises:
        ValueError: an unknown LayerNorm, or the model has none.
    """
    if unknown := set(held) - set(NORMS):
        raise ValueError(f"{', '.join(sorted(unknown))} cannot be held; {', '.join(NORMS)} can.")
    _needs_norms(model)

    def normed(name: str, norm: Any, stream: Tensor) -> Tensor:
        scale = (stream.var(dim=-1, correction=0, keepdim=True) + model.cfg.eps).sqrt()
        centred = stream - stream.mean(dim=-1, keepdim=True)
        return centred / (scale.detach() if name in held else scale) * norm.weight + norm.bias

    own, block = value.own.clone().requires_grad_(), model.blocks[0]
    middle = value.rest + own
    final = middle + block.mlp(normed("ln2", block.ln2, middle))
    lead = (normed("ln_final", model.ln_final, final) * value.along).sum()
    (gradient,) = torch.autograd.grad(lead, own)
    return ((value.own - value.donors.mean(dim=1)) * gradient).sum(dim=-1)


def reached(model: TransformerBridge, value: MirrorValue) -> Float[Tensor, "strings"]:
    """The lead with the string's own value, as a share of the largest that the last LayerNorm lets.

    Its output has a fixed length before its weights are applied, so that the lead is the cosine of
    an angle times a constant, plus another; at the largest lead the cosine is 1.

    Raises:
        ValueError: the model has no LayerNorm.
    """
    _needs_norms(model)
    norm, own = model.ln_final, (value.rest + value.own).unsqueeze(1)
    with torch.no_grad():
        read = value.along * norm.weight
        length = (read - read.mean(dim=-1, keepdim=True)).norm(dim=-1)
        largest = length * model.cfg.d_model**0.5 + value.along @ norm.bias + value.offset
    return lead(model, value, own, own).squeeze(1) / largest


def judge(estimate: Float[Tensor, "cases"], truth: Float[Tensor, "cases"]) -> Verdict:
    """Hold an estimate against the truth."""
    return Verdict(
        float(((estimate > 0) != (truth > 0)).double().mean()),
        float(spearmanr(estimate.numpy(), truth.numpy()).statistic),
        float(estimate.mean() / truth.mean()),
    )


def judged(
    pairs: Iterable[tuple[Float[Tensor, "cases"], Float[Tensor, "cases"]]],
) -> Verdicts:
    """Hold several estimates each against its truth."""
    verdicts = [judge(estimate, truth) for estimate, truth in pairs]
    return Verdicts(*map(list, zip(*verdicts, strict=True)))


def _needs_norms(model: TransformerBridge) -> None:
    if model.cfg.normalization_type is None:
        raise ValueError("The model has no LayerNorm.")
