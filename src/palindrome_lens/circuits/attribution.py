"""Attribution held against the truth: what each node of a query does for the answer, four ways.

The nodes are those of :mod:`~palindrome_lens.circuits.scrubbing`, weighted by attention, and the
MLP's output. What each does is measured in *lead*: the target's logit minus the mean logit of the
other letters. It is linear in the logits, so that direct logit attribution (Elhage et al. 2021)
divides it without a remainder.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from pandas import DataFrame, Series
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.scrubbing import Node, Parts, parts_of, slots
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import mlp_out, normalized
from palindrome_lens.task import Task, inputs, letters, targets
from palindrome_lens.tokenizer import vocabulary

CACHED = 2048
"""Cases at a time: what they need in between stays in the processor's cache."""
PARTS = ("direct", "mirror", "others", "mlp")
"""What the audit replaces: embedding at the query, weighted values from the mirror position and
from all other keys, output of the MLP."""


class Effects(NamedTuple):
    """What a node adds to the lead of each string: positive where it helps the right answer."""

    resample: Float[Tensor, "strings"]
    """The truth: the mean over all donors of what is lost when one takes the node's place."""
    zero: Float[Tensor, "strings"]
    """What is lost when the node is 0."""
    mean: Float[Tensor, "strings"]
    """What is lost when the node is the mean of its donors."""
    gradient: Float[Tensor, "strings"]
    """The gradient at the string's own value times own minus mean donor, from one backward pass:
    attribution patching from the clean end, as in AtP (Kramár et al. 2024)."""
    dla: Float[Tensor, "strings"]
    """Direct logit attribution: the node's share of the lead, past the MLP."""


def lead(
    task: Task, logits: Float[Tensor, "*cases vocab"], wanted: Int64[Tensor, "*cases"]
) -> Float[Tensor, "*cases"]:
    """The logit of the wanted letter minus the mean logit of all other letters, in nats."""
    ids = vocabulary(task)
    total = logits[..., [ids[letter] for letter in task.alphabet]].sum(dim=-1)
    own = logits.gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
    return own - (total - own) / (len(task.alphabet) - 1)


def lead_direction(
    task: Task, model: TransformerBridge, wanted: Int64[Tensor, "strings"]
) -> tuple[Float[Tensor, "strings d_model"], Float[Tensor, "strings"]]:
    """The lead is linear in what is unembedded: one direction for each string, and an offset."""
    with torch.no_grad():
        basis = torch.eye(model.cfg.d_model, dtype=model.unembed.weight.dtype)
        nothing = model.unembed(torch.zeros_like(basis))
        every = (model.unembed(basis) - nothing).expand(len(wanted), -1, -1)
        along = lead(task, every, wanted.unsqueeze(1).expand(every.shape[:-1]))
        return along, lead(task, nothing[:1].expand(len(wanted), -1), wanted)


def vectors(
    subject: Subject, parts: Parts, query: int
) -> dict[str, Float[Tensor, "strings d_model"]]:
    """What is added up at a query: ``PARTS`` and attention's ``bias``; in all, ``resid_post``."""
    # (strings, key, d_model)
    weighted = torch.einsum("shk, shkd -> skd", parts.weights, parts.values)
    mirror = weighted[:, subject.task.mirror_position(query)]
    added = {
        "direct": parts.direct,
        "mirror": mirror,
        "others": weighted.sum(dim=1) - mirror,
        "bias": subject.tables.bias.expand_as(mirror),
    }
    return added | {
        "mlp": written_by_mlp(subject.model, torch.stack(list(added.values())).sum(dim=0))
    }


def direct_logit_attribution(
    task: Task,
    model: TransformerBridge,
    added: dict[str, Float[Tensor, "strings d_model"]],
    wanted: Int64[Tensor, "strings"],
) -> dict[str, Float[Tensor, "strings"]]:
    """The share of each part of :func:`vectors` in the lead; the shares add up to the lead.

    The final LayerNorm's scale is frozen at the string's own value. ``constant`` is the share of
    its bias and the unembedding's, which no part brings.
    """
    norm = model.ln_final
    with torch.no_grad():
        whole = torch.stack(list(added.values())).sum(dim=0)
        scale = (whole.var(dim=-1, correction=0, keepdim=True) + model.cfg.eps).sqrt()
        nothing = model.unembed(torch.zeros_like(whole))
        shares = {}
        for name, part in added.items():
            centred = (part - part.mean(dim=-1, keepdim=True)) / scale * norm.weight
            shares[name] = lead(task, model.unembed(centred) - nothing, wanted)
        shares["constant"] = lead(task, model.unembed(norm.bias.expand_as(whole)), wanted)
    return shares


def shares(subject: Subject, query: int, by_key: bool = False) -> DataFrame:
    """:func:`direct_logit_attribution` of a query: a row for each string, a column for each part.

    Args:
        by_key: each key apart, ``key 0`` and so on, in place of ``mirror`` and ``others``.
    """
    parts = parts_of(subject.tables, subject.read, query)
    added = vectors(subject, parts, query)
    if by_key:
        del added["mirror"], added["others"]
        weighted = torch.einsum("shk, shkd -> ksd", parts.weights, parts.values)
        added |= {f"key {key}": value for key, value in enumerate(weighted)}
    wanted = subject.wanted(query)
    by_part = direct_logit_attribution(subject.task, subject.model, added, wanted)
    return DataFrame({name: share.numpy() for name, share in by_part.items()})


def mean_shares(subject: Subject) -> Series:
    """The mean of :func:`shares` over all strings and queries, by part."""
    return sum(shares(subject, query).mean() for query in subject.queries) / len(subject.queries)


def donors(
    task: Task, tokens: Int64[Tensor, "strings length"], query: int, node: Node
) -> Int64[Tensor, "donors position"]:
    """Inputs that between them give a node every value it can take, each once.

    Letters that the node does not depend on are the alphabet's first.
    """
    free = letters(task, tokens)
    fixed = sorted(set(range(task.half_length)) - slots(task, node, query))
    return inputs(tokens)[(free[:, fixed] == free[0, fixed]).all(dim=1)]


def audit(subject: Subject, query: int, part: str) -> Effects:
    """The effect of one of ``PARTS`` at a query on every string, exactly and by the estimators.

    Values are replaced under the string's own attention weights. The MLP's donors are the outputs
    it would have, had the mirror value been read from each letter.

    Raises:
        ValueError: an unknown part, or the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    if part not in PARTS:
        raise ValueError(f"The part is {part!r}; {', '.join(PARTS)} are audited.")
    node: Node = "mirror" if part == "mlp" else part  # type: ignore[assignment]
    donor_parts = parts_of(tables, donors(task, tokens, query, node), query)
    parts = parts_of(tables, inputs(tokens), query)
    added = vectors(subject, parts, query)
    wanted = targets(tokens)[:, query]
    along, _ = lead_direction(task, model, wanted)
    stream = middle_of(added)
    swapped, means = [], []
    for rows in torch.arange(len(tokens)).split(max(1, CACHED // len(donor_parts.direct))):
        new = _replacements(donor_parts, parts.weights[rows], node, _keys(task, query, node))
        middle = stream[rows].unsqueeze(1)
        rest = middle - added[node][rows].unsqueeze(1)
        if part == "mlp":
            new, rest = written_by_mlp(model, rest + new), middle
        with torch.no_grad():
            swapped.append(_lead_with(model, part, rest, new, along[rows]).mean(dim=1))
        means.append(new.mean(dim=1))
    rest = stream - (0 if part == "mlp" else added[part])
    whole, zero, mean, linear = _lost(model, part, rest, added[part], torch.cat(means), along)
    share = direct_logit_attribution(task, model, added, wanted)[part]
    return Effects(whole - torch.cat(swapped), zero, mean, linear, share)


def middle_of(
    added: dict[str, Float[Tensor, "strings d_model"]],
) -> Float[Tensor, "strings d_model"]:
    """The residual stream after attention: all of :func:`vectors` but the MLP."""
    return torch.stack([value for name, value in added.items() if name != "mlp"]).sum(dim=0)


def _replacements(
    donor_parts: Parts, weights: Float[Tensor, "strings head key"], node: Node, keys: list[int]
) -> Float[Tensor, "strings donor d_model"]:
    """What a node would add with each donor, under the strings' own weights."""
    if node == "direct":
        return donor_parts.direct.expand(len(weights), -1, -1)
    values = donor_parts.values[:, :, keys]
    return torch.einsum("shk, nhkd -> snd", weights[:, :, keys], values)


def _keys(task: Task, query: int, node: Node) -> list[int]:
    mirror = task.mirror_position(query)
    return [mirror] if node == "mirror" else [k for k in range(query + 1) if k != mirror]


def written_by_mlp(
    model: TransformerBridge, middle: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases d_model"]:
    with torch.no_grad():
        return mlp_out(model, middle)


def _lead_with(
    model: TransformerBridge,
    part: str,
    rest: Float[Tensor, "strings #case d_model"],
    value: Float[Tensor, "strings case d_model"],
    along: Float[Tensor, "strings d_model"],
) -> Float[Tensor, "strings case"]:
    """The lead, less its offset, with a value in place of a part."""
    middle = rest if part == "mlp" else rest + value
    after = value if part == "mlp" else mlp_out(model, middle)
    return torch.einsum("scd, sd -> sc", normalized(model, model.ln_final, middle + after), along)


def _lost(
    model: TransformerBridge,
    part: str,
    rest: Float[Tensor, "strings d_model"],
    own: Float[Tensor, "strings d_model"],
    mean: Float[Tensor, "strings d_model"],
    along: Float[Tensor, "strings d_model"],
) -> list[Float[Tensor, "strings"]]:
    """The lead less its offset, and what zeros, the mean and the gradient say is lost of it."""
    start, rest = own.unsqueeze(1).clone().requires_grad_(), rest.unsqueeze(1)
    whole = _lead_with(model, part, rest, start, along)
    (gradient,) = torch.autograd.grad(whole.sum(), start)
    with torch.no_grad():
        ablated = [torch.zeros_like(start), mean.unsqueeze(1)]
        lost = [whole - _lead_with(model, part, rest, value, along) for value in ablated]
        linear = (own - mean) * gradient.squeeze(1)
    return [whole.detach().squeeze(1), *(loss.squeeze(1) for loss in lost), linear.sum(dim=-1)]
