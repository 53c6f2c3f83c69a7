"""The line from a donor's value at the mirror to the string's own: the lead on it, and its slopes.

The value is what a query reads at its mirror position, under the string's own attention weights;
its donors are the values that all letters would have there. On the straight line between the two,
0 is the donor's value and 1 the string's own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.attribution import CACHED, donors, lead_direction
from palindrome_lens.circuits.scrubbing import parts_of
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import mlp_out, normalized
from palindrome_lens.task import inputs, targets


class MirrorValue(NamedTuple):
    """The value at the mirror of one query, for all strings, and what stays beside it."""

    rest: Float[Tensor, "strings d_model"]
    """The residual stream after attention, without the value."""
    own: Float[Tensor, "strings d_model"]
    donors: Float[Tensor, "strings donor d_model"]
    """The value that each letter would have there, under the string's own weights."""
    along: Float[Tensor, "strings d_model"]
    """What the lead is linear in: the direction in which the last LayerNorm's output is read."""
    offset: Float[Tensor, "strings"]

    @property
    def mean_donor(self) -> "MirrorValue":
        """The same with one donor, the mean of all: a value that no letter has."""
        return self._replace(donors=self.donors.mean(dim=1, keepdim=True))


class Line(NamedTuple):
    """The lead on the way from a donor's value to the string's own, as means over the donors."""

    points: Float[Tensor, "point"]
    lead: Float[Tensor, "point strings"]
    """In nats."""
    through: Float[Tensor, "point strings"]
    """Slope of the lead where the value moves on its path through the MLP alone, in nats."""
    past: Float[Tensor, "point strings"]
    """Slope of the lead where it moves on the path past the MLP alone."""
    wrong: Float[Tensor, "point"]
    """Share of the (string, other donor) pairs in which the slope has another sign than what the
    swap costs."""

    @property
    def rise(self) -> Float[Tensor, "strings"]:
        """What the swap costs: the lead with the own value less that with a donor's."""
        return self.lead[-1] - self.lead[0]

    def slope(self, *points: float, path: str = "both") -> Float[Tensor, "strings"]:
        """The mean slope at some of the points, where the value moves on both paths or on one.

        Raises:
            ValueError: a point was not evaluated.
        """
        every = self.points.tolist()
        rows = [every.index(point) for point in points]
        slopes = self.through + self.past if path == "both" else getattr(self, path)
        return slopes[rows].mean(dim=0)

    def trapezoidal(self) -> Float[Tensor, "strings"]:
        """Integrated gradients by the trapezoidal rule over all points."""
        return torch.trapezoid(self.through + self.past, self.points, dim=0)


def mirror_value(subject: Subject, query: int) -> MirrorValue:
    """Read the value at the mirror and all its donors off the tables.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    mirror, read = task.mirror_position(query), inputs(tokens)
    parts, wanted = parts_of(tables, read, query), targets(tokens)[:, query]
    donor_tokens = donors(task, tokens, query, "mirror")
    values = parts_of(tables, donor_tokens, query).values[:, :, mirror]
    swapped = torch.einsum("sh, nhd -> snd", parts.weights[:, :, mirror], values)
    # Own values are taken from among the donors', so that the way to the own letter has length 0.
    letter = (read[:, mirror, None] == donor_tokens[:, mirror]).double().argmax(dim=1)
    own = swapped[torch.arange(len(tokens)), letter]
    written = torch.einsum("shk, shkd -> sd", parts.weights, parts.values)
    along, offset = lead_direction(task, model, wanted)
    return MirrorValue(parts.direct + written + tables.bias - own, own, swapped, along, offset)


def walk(model: TransformerBridge, value: MirrorValue, between: Sequence[float] = ()) -> Line:
    """The lead and its slopes at both ends of every line from a donor's value to the own one.

    Args:
        between: more points of the line, between 0 and 1.

    Raises:
        ValueError: the MLP's activation is not ReLU, whose derivative is written out here.
    """
    if model.cfg.act_fn != "relu":
        raise ValueError(f"Slopes are written out for ReLU; this MLP has {model.cfg.act_fn}.")
    points = [0.0, *sorted(between), 1.0]
    pieces, wrong = [], torch.zeros(len(points), dtype=torch.float64)
    for part in chunks(value):
        end = (part.rest + part.own).unsqueeze(1)
        step = part.own.unsqueeze(1) - part.donors
        measured = [_slopes(model, part, end - (1 - point) * step, step) for point in points[:-1]]
        # At the own value all lines of a string meet: one place, and a direction for each donor.
        measured.append(_slopes(model, part, end, step))
        lost = measured[-1][0] - measured[0][0]
        for i, (_, through, past) in enumerate(measured):
            wrong[i] += ((through + past > 0) != (lost > 0)).sum()
        means = [torch.stack([leads.mean(dim=-1) for leads in at]) for at in measured]
        pieces.append(torch.stack(means, dim=1))
        # [quantity point strings]
    lead, through, past = torch.cat(pieces, dim=-1)
    n_pairs = max(1, len(value.own) * (value.donors.shape[1] - 1))
    return Line(torch.tensor(points).to(lead), lead, through, past, wrong / n_pairs)


def midpoints(n: int) -> list[float]:
    """The points of the midpoint rule: the middles of n equal parts of the line."""
    return [(2 * i + 1) / (2 * n) for i in range(n)]


def chunks(value: MirrorValue) -> Iterator[MirrorValue]:
    """The value in pieces of some strings each, so that what is computed stays in the cache."""
    size = max(1, CACHED // value.donors.shape[1])
    for pieces in zip(*(field.split(size) for field in value), strict=True):
        yield MirrorValue(*pieces)


def lead(
    model: TransformerBridge,
    part: MirrorValue,
    past: Float[Tensor, "strings donor d_model"],
    through: Float[Tensor, "strings donor d_model"],
) -> Float[Tensor, "strings donor"]:
    """The lead with one stream past the MLP and another, or the same, through it."""
    with torch.no_grad():
        final = normalized(model, model.ln_final, past + mlp_out(model, through))
    return torch.einsum("snd, sd -> sn", final, part.along) + part.offset.unsqueeze(1)


def _slopes(
    model: TransformerBridge,
    part: MirrorValue,
    middle: Float[Tensor, "strings #donor d_model"],
    step: Float[Tensor, "strings donor d_model"],
) -> tuple[Tensor, Tensor, Tensor]:
    """The lead where the stream after attention is so, and its slopes through the MLP and past it.

    Directional derivatives, written out: they take a third of the time of a backward pass.
    """
    block, mlp = model.blocks[0], model.blocks[0].mlp
    weight_in, weight_out = getattr(mlp, "in").weight, mlp.out.weight
    with torch.no_grad():
        normed, turn = _norm(model, block.ln2, middle)
        before = F.linear(normed, weight_in, getattr(mlp, "in").bias)
        # [strings donor d_mlp]
        hidden = before.relu_()
        change = F.linear(turn(step), weight_in).mul_(hidden.sign())
        written = F.linear(hidden, weight_out, mlp.out.bias)
        final, turn = _norm(model, model.ln_final, middle + written)
        read = [final, turn(F.linear(change, weight_out)), turn(step)]
    lead, through, past = (torch.einsum("snd, sd -> sn", slope, part.along) for slope in read)
    return lead + part.offset.unsqueeze(1), through, past


def _norm(
    model: TransformerBridge, norm: Any, value: Float[Tensor, "strings donor d_model"]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """A LayerNorm's output, and what becomes of a small step in its input."""
    if model.cfg.normalization_type is None:
        return value, lambda step: step
    centred = value - value.mean(dim=-1, keepdim=True)
    inverse = (centred.square().mean(dim=-1, keepdim=True) + model.cfg.eps).rsqrt()
    unit = centred * inverse

    def turn(step: Tensor) -> Tensor:
        flat = step - step.mean(dim=-1, keepdim=True)
        return (flat - unit * (unit * flat).mean(dim=-1, keepdim=True)) * inverse * norm.weight

    return unit * norm.weight + norm.bias, turn
