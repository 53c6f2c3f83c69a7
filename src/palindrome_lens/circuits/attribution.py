"""Attribution held against the truth: what each node of a query does for the answer, four ways.

The nodes are those of :mod:`~palindrome_lens.circuits.scrubbing`, weighted by attention, and the
MLP's output. What each does is measured in *lead*: the target's logit minus the mean logit of the
other letters. It is linear in the logits, so that direct logit attribution (Elhage et al. 2021)
divides it without a remainder.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.scrubbing import (
    NODES,
    Node,
    Parts,
    joined,
    parts_of,
    slots,
)
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import Tables, finish, mlp_out, normalized, unembedded
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
    return added | {"mlp": _mlp(subject.model, torch.stack(list(added.values())).sum(dim=0))}


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


def donors(
    task: Task, tokens: Int64[Tensor, "strings length"], query: int, node: Node
) -> Int64[Tensor, "donors position"]:
    """Inputs that between them give a node every value it can take, each once.

    Letters that the node does not depend on are the alphabet's first.
    """
    free = letters(task, tokens)
    fixed = sorted(set(range(task.half_length)) - slots(task, node, query))
    return inputs(tokens)[(free[:, fixed] == free[0, fixed]).all(dim=1)]


def audit(
    subject: Subject,
    query: int,
    part: str,
) -> Effects:
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
    stream = _middle(added)
    swapped, means = [], []
    for rows in torch.arange(len(tokens)).split(max(1, CACHED // len(donor_parts.direct))):
        new = _replacements(donor_parts, parts.weights[rows], node, _keys(task, query, node))
        middle = stream[rows].unsqueeze(1)
        rest = middle - added[node][rows].unsqueeze(1)
        if part == "mlp":
            new, rest = _mlp(model, rest + new), middle
        with torch.no_grad():
            swapped.append(_lead_with(model, part, rest, new, along[rows]).mean(dim=1))
        means.append(new.mean(dim=1))
    rest = stream - (0 if part == "mlp" else added[part])
    whole, zero, mean, linear = _lost(model, part, rest, added[part], torch.cat(means), along)
    share = direct_logit_attribution(task, model, added, wanted)[part]
    return Effects(whole - torch.cat(swapped), zero, mean, linear, share)


def _middle(added: dict[str, Float[Tensor, "strings d_model"]]) -> Float[Tensor, "strings d_model"]:
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


def _mlp(
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


def patch(
    subject: Subject,
    query: int,
) -> dict[str, Bool[Tensor, "slot shift outcome strings"]]:
    """Activation patching on all ordered pairs of strings that differ in one letter.

    One node, or the output of the ``mlp``, is taken from the second string of the pair.

    Returns:
        For each node, by the slot that differs and how far its letter is moved (less one): whether
        the answer is then the second string's own (outcome 0), and whether it changed at all (1).
    """
    task, model, tables, tokens = subject
    parts = parts_of(tables, inputs(tokens), query)
    added = vectors(subject, parts, query)
    middle = _middle(added)
    before = _with_mlp(model, middle, added["mlp"])
    everything, base = torch.arange(len(tokens)), len(task.alphabet)
    shape = (task.half_length, base - 1, 2, len(tokens))
    outcome = {node: torch.zeros(shape, dtype=torch.bool) for node in (*NODES, "mlp")}
    for slot in range(task.half_length):
        for shift in range(1, base):
            other = _other(task, slot, shift)
            after = dict.fromkeys(NODES, before)
            for node in (node for node in NODES if slot in slots(task, node, query)):
                taken = dict.fromkeys(NODES, everything) | {node: other}
                mirror = task.mirror_position(query)
                after[node] = _answers(model, parts, tables, taken, mirror)
            swapped = _with_mlp(model, middle, added["mlp"][other])
            for name, answer in (*after.items(), ("mlp", swapped)):
                outcome[name][slot, shift - 1, 0] = answer == targets(tokens)[other, query]
                outcome[name][slot, shift - 1, 1] = answer != before
    return outcome


def _answers(
    model: TransformerBridge,
    parts: Parts,
    tables: Tables,
    taken: dict[Node, Int64[Tensor, "strings"]],
    mirror: int,
) -> Int64[Tensor, "strings"]:
    answers = []
    for rows in torch.arange(len(parts.direct)).split(CACHED):
        chunk = {node: donor[rows] for node, donor in taken.items()}
        answers.append(finish(model, joined(parts, tables.bias, chunk, mirror)).argmax(dim=-1))
    return torch.cat(answers)


def _other(task: Task, slot: int, shift: int) -> Int64[Tensor, "strings"]:
    """For each string the one whose letter in a slot is so many places further, cyclically."""
    everything, base = torch.arange(task.size), len(task.alphabet)
    place = base ** (task.half_length - 1 - slot)
    digit = everything // place % base
    return everything + ((digit + shift) % base - digit) * place


def patch_embeddings(
    subject: Subject,
    query: int,
) -> Int64[Tensor, "outcome slot position"]:
    """Activation patching of ``resid_pre`` at one position, on the pairs of :func:`patch`.

    The position then asks, is looked at and is read as in the second string.

    Returns:
        By the slot that differs and the position: in how many pairs the answer is then the second
        string's own (outcome 0), and in how many it changed (1).
    """
    task, model, tables, tokens = subject
    read, mirror = inputs(tokens), task.mirror_position(query)
    everything = dict.fromkeys(NODES, torch.arange(len(tokens)))

    def answer(changed: Int64[Tensor, "strings position"]) -> Int64[Tensor, "strings"]:
        return _answers(model, parts_of(tables, changed, query), tables, everything, mirror)

    before = answer(read)
    outcome = torch.zeros(2, task.half_length, query + 1, dtype=torch.int64)
    for slot in range(task.half_length):
        for shift in range(1, len(task.alphabet)):
            other = _other(task, slot, shift)
            wanted = targets(tokens)[other, query]
            for position in range(query + 1):
                changed = read.clone()
                changed[:, position] = read[other, position]
                after = before if torch.equal(changed, read) else answer(changed)
                outcome[0, slot, position] += (after == wanted).sum()
                outcome[1, slot, position] += (after != before).sum()
    return outcome


PATHS = ("through the MLP", "past the MLP", "both")


def patch_paths(
    subject: Subject,
    query: int,
) -> dict[str, Int64[Tensor, "outcome"]]:
    """Path patching (Goldowsky-Dill et al. 2023) of the mirror value, on every other letter.

    The value of a string that differs in the mirrored letter alone is put in on one of the two
    paths to the unembedding, or on both (``PATHS``); the other path carries the string's own.

    Returns:
        For each path, in how many pairs the answer is then the second string's, and in how many it
        stays.
    """
    task, model, tables, tokens = subject
    parts, mirror = parts_of(tables, inputs(tokens), query), task.mirror_position(query)
    everything, slot = torch.arange(len(tokens)), task.slot_of(query)
    outcome = {path: torch.zeros(2, dtype=torch.int64) for path in PATHS}
    for rows in everything.split(CACHED):
        taken: dict[Node, Tensor] = dict.fromkeys(NODES, rows)
        own = joined(parts, tables.bias, taken, mirror)
        own_mlp = _mlp(model, own)
        before = _with_mlp(model, own, own_mlp)
        for shift in range(1, len(task.alphabet)):
            other = _other(task, slot, shift)[rows]
            new = joined(parts, tables.bias, taken | {"mirror": other}, mirror)
            new_mlp = _mlp(model, new)
            ends = ((own, new_mlp), (new, own_mlp), (new, new_mlp))
            for path, (past, through) in zip(PATHS, ends, strict=True):
                after = _with_mlp(model, past, through)
                outcome[path][0] += (after == targets(tokens)[other, query]).sum()
                outcome[path][1] += (after == before).sum()
    return outcome


def _with_mlp(
    model: TransformerBridge,
    middle: Float[Tensor, "strings d_model"],
    mlp: Float[Tensor, "strings d_model"],
) -> Int64[Tensor, "strings"]:
    with torch.no_grad():
        return unembedded(model, middle + mlp).argmax(dim=-1)
