"""Attribution held against the truth: what each node of a query does for the answer, four ways.

The nodes are those of :mod:`~palindrome_lens.circuits.scrubbing`, weighted by attention, and the
MLP's output. What each does is measured in *lead*: the target's logit minus the mean logit of the
other letters. It is linear in the logits, so that direct logit attribution (Elhage et al. 2021)
divides it without a remainder.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

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
    target_slot,
)
from palindrome_lens.circuits.tables import Tables, finish
from palindrome_lens.task import Task, inputs, letters, targets
from palindrome_lens.tokenizer import vocabulary

CACHED = 2048
"""Cases at a time: what they need in between stays in the processor's cache."""
PARTS = ("direct", "mirror", "others", "mlp")
"""What the audit replaces: embedding at the query, weighted values from the mirror position and
from all other keys, output of the MLP."""

NORMS = ("ln2", "ln_final")
"""The LayerNorms behind attention: before the MLP, and before the unembedding."""


class Effects(NamedTuple):
    """What a node adds to the lead of each string: positive where it helps the right answer."""

    resample: Float[Tensor, "strings"]
    """The truth: the mean over all donors of what is lost when one takes the node's place."""
    zero: Float[Tensor, "strings"]
    """What is lost when the node is 0."""
    mean: Float[Tensor, "strings"]
    """What is lost when the node is the mean of its donors."""
    patching: Float[Tensor, "strings"]
    """Attribution patching (Nanda 2023): gradient times own minus mean donor, from one backward
    pass."""
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


def vectors(
    task: Task, model: TransformerBridge, tables: Tables, found: Parts, query: int
) -> dict[str, Float[Tensor, "strings d_model"]]:
    """What is added up at a query: ``PARTS`` and attention's ``bias``; in all, ``resid_post``."""
    weighted = torch.einsum("shk, shkd -> skd", found.weights, found.values)
    mirror = weighted[:, task.mirror_position(query)]
    added = {
        "direct": found.direct,
        "mirror": mirror,
        "others": weighted.sum(dim=1) - mirror,
        "bias": tables.bias.expand_as(mirror),
    }
    return added | {"mlp": _mlp(model, torch.stack(list(added.values())).sum(dim=0))}


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
    task: Task,
    model: TransformerBridge,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
    part: str,
) -> Effects:
    """The effect of one of ``PARTS`` at a query on every string, exactly and by the estimators.

    Values are replaced under the string's own attention weights. The MLP's donors are the outputs
    it would have, had the mirror value been read from each letter.

    Args:
        tokens: all strings of the task, in the order of ``Task.strings``.

    Raises:
        ValueError: an unknown part, or the query predicts no mirrored letter.
    """
    if part not in PARTS:
        raise ValueError(f"The part is {part!r}; {', '.join(PARTS)} are audited.")
    node: Node = "mirror" if part == "mlp" else part  # type: ignore[assignment]
    given = parts_of(tables, donors(task, tokens, query, node), query)
    found = parts_of(tables, inputs(tokens), query)
    added = vectors(task, model, tables, found, query)
    wanted = targets(tokens)[:, query]
    middle = torch.stack([value for name, value in added.items() if name != "mlp"]).sum(dim=0)
    keys = _keys(task, query, node)
    effects = []
    for rows in torch.arange(len(tokens)).split(max(1, CACHED // len(given.direct))):
        if node == "direct":
            new = given.direct.expand(len(rows), -1, -1)
        else:
            read = given.values[:, :, keys]
            new = torch.einsum("shk, nhkd -> snd", found.weights[rows][:, :, keys], read)
        rest = (middle[rows] - added[node][rows]).unsqueeze(1)
        if part == "mlp":
            new, rest = _mlp(model, rest + new), middle[rows].unsqueeze(1)
        effects.append(_effects(task, model, part, rest, added[part][rows], new, wanted[rows]))
    shares = direct_logit_attribution(task, model, added, wanted)
    measured = [torch.cat(each) for each in zip(*effects, strict=True)]
    return Effects(*[*measured, shares[part]])


def _keys(task: Task, query: int, node: Node) -> list[int]:
    mirror = task.mirror_position(query)
    return [mirror] if node == "mirror" else [k for k in range(query + 1) if k != mirror]


def _mlp(
    model: TransformerBridge, middle: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases d_model"]:
    with torch.no_grad():
        return model.blocks[0].mlp(model.blocks[0].ln2(middle))


def _effects(
    task: Task,
    model: TransformerBridge,
    part: str,
    rest: Float[Tensor, "strings 1 d_model"],
    own: Float[Tensor, "strings d_model"],
    new: Float[Tensor, "strings donors d_model"],
    wanted: Int64[Tensor, "strings"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # The lead is linear in what is unembedded: one direction for each string.
    with torch.no_grad():
        basis = torch.eye(model.cfg.d_model, dtype=rest.dtype)
        nothing = model.unembed(torch.zeros_like(basis))
        every = (model.unembed(basis) - nothing).expand(len(wanted), -1, -1)
        along = lead(task, every, wanted.unsqueeze(1).expand(every.shape[:-1]))
        offset = lead(task, nothing[:1].expand(len(wanted), -1), wanted).unsqueeze(1)

    def run(value: Float[Tensor, "strings case d_model"]) -> Float[Tensor, "strings case"]:
        middle = rest if part == "mlp" else rest + value
        after = value if part == "mlp" else model.blocks[0].mlp(model.blocks[0].ln2(middle))
        return torch.einsum("scd, sd -> sc", model.ln_final(middle + after), along) + offset

    start = own.unsqueeze(1).clone().requires_grad_()
    whole = run(start)
    (gradient,) = torch.autograd.grad(whole.sum(), start)
    mean = new.mean(dim=1, keepdim=True)
    with torch.no_grad():
        lost = [whole - run(value) for value in (new, torch.zeros_like(start), mean)]
        resample, zero, averaged = (each.mean(dim=1) for each in lost)
        linear = ((start - mean) * gradient).sum(dim=(1, 2))
    return resample, zero, averaged, linear


def held_patching(
    task: Task,
    model: TransformerBridge,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
    held: Collection[str],
) -> Float[Tensor, "strings"]:
    """Attribution patching of the mirror value, past the scale of some of the ``NORMS``.

    A held scale keeps each string's own value, and the gradient takes it for a constant. With none
    held this is :attr:`Effects.patching`.

    Args:
        tokens: all strings of the task, in the order of ``Task.strings``.

    Raises:
        ValueError: an unknown LayerNorm, or the query predicts no mirrored letter.
    """
    if unknown := set(held) - set(NORMS):
        raise ValueError(f"{', '.join(sorted(unknown))} cannot be held; {', '.join(NORMS)} can.")
    found, mirror = parts_of(tables, inputs(tokens), query), task.mirror_position(query)
    given = parts_of(tables, donors(task, tokens, query, "mirror"), query).values[:, :, mirror]
    mean = torch.einsum("sh, hd -> sd", found.weights[:, :, mirror], given.mean(dim=0))
    added = vectors(task, model, tables, found, query)
    own = added["mirror"].clone().requires_grad_()
    middle = own + added["direct"] + added["others"] + added["bias"]
    after = model.blocks[0].mlp(_normed(model, model.blocks[0].ln2, middle, "ln2" in held))
    end = _normed(model, model.ln_final, middle + after, "ln_final" in held)
    whole = lead(task, model.unembed(end), targets(tokens)[:, query])
    (gradient,) = torch.autograd.grad(whole.sum(), own)
    return ((own - mean) * gradient).sum(dim=-1).detach()


def _normed(
    model: TransformerBridge, norm: Any, value: Float[Tensor, "strings d_model"], held: bool
) -> Float[Tensor, "strings d_model"]:
    scale = (value.var(dim=-1, correction=0, keepdim=True) + model.cfg.eps).sqrt()
    centred = value - value.mean(dim=-1, keepdim=True)
    return centred / (scale.detach() if held else scale) * norm.weight + norm.bias


def patch(
    task: Task,
    model: TransformerBridge,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
) -> dict[str, Bool[Tensor, "slot shift outcome strings"]]:
    """Activation patching on all ordered pairs of strings that differ in one letter.

    One node, or the output of the ``mlp``, is taken from the second string of the pair.

    Args:
        tokens: all strings of the task, in the order of ``Task.strings``.

    Returns:
        For each node, by the slot that differs and how far its letter is moved (less one): whether
        the answer is then the second string's own (outcome 0), and whether it changed at all (1).
    """
    found = parts_of(tables, inputs(tokens), query)
    added = vectors(task, model, tables, found, query)
    middle = torch.stack([value for name, value in added.items() if name != "mlp"]).sum(dim=0)
    before = finish(model, middle).argmax(dim=-1)
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
                after[node] = finish(model, joined(found, tables.bias, taken, mirror)).argmax(-1)
            swapped = _with_mlp(model, middle, added["mlp"][other])
            for name, answer in (*after.items(), ("mlp", swapped)):
                outcome[name][slot, shift - 1, 0] = answer == targets(tokens)[other, query]
                outcome[name][slot, shift - 1, 1] = answer != before
    return outcome


def _other(task: Task, slot: int, shift: int) -> Int64[Tensor, "strings"]:
    """For each string the one whose letter in a slot is so many places further, cyclically."""
    everything, base = torch.arange(task.size), len(task.alphabet)
    place = base ** (task.half_length - 1 - slot)
    digit = everything // place % base
    return everything + ((digit + shift) % base - digit) * place


def patch_embeddings(
    task: Task,
    model: TransformerBridge,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
) -> Int64[Tensor, "outcome slot position"]:
    """Activation patching of ``resid_pre`` at one position, on the pairs of :func:`patch`.

    The position then asks, is looked at and is read as in the second string.

    Args:
        tokens: all strings of the task, in the order of ``Task.strings``.

    Returns:
        By the slot that differs and the position: in how many pairs the answer is then the second
        string's own (outcome 0), and in how many it changed (1).
    """
    read, mirror = inputs(tokens), task.mirror_position(query)
    everything = dict.fromkeys(NODES, torch.arange(len(tokens)))

    def answer(changed: Int64[Tensor, "strings position"]) -> Int64[Tensor, "strings"]:
        found = parts_of(tables, changed, query)
        return finish(model, joined(found, tables.bias, everything, mirror)).argmax(dim=-1)

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
    task: Task,
    model: TransformerBridge,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
) -> dict[str, Int64[Tensor, "outcome"]]:
    """Path patching (Goldowsky-Dill et al. 2023) of the mirror value, on every other letter.

    The value of a string that differs in the mirrored letter alone is put in on one of the two
    paths to the unembedding, or on both (``PATHS``); the other path carries the string's own.

    Args:
        tokens: all strings of the task, in the order of ``Task.strings``.

    Returns:
        For each path, in how many pairs the answer is then the second string's, and in how many it
        stays.
    """
    found, mirror = parts_of(tables, inputs(tokens), query), task.mirror_position(query)
    everything, slot = torch.arange(len(tokens)), target_slot(task, query)
    own = joined(found, tables.bias, dict.fromkeys(NODES, everything), mirror)
    before = _with_mlp(model, own, _mlp(model, own))
    outcome = {path: torch.zeros(2, dtype=torch.int64) for path in PATHS}
    for shift in range(1, len(task.alphabet)):
        other = _other(task, slot, shift)
        taken: dict[Node, Tensor] = dict.fromkeys(NODES, everything) | {"mirror": other}
        new = joined(found, tables.bias, taken, mirror)
        ends = ((own, new), (new, own), (new, new))
        for path, (past, through) in zip(PATHS, ends, strict=True):
            after = _with_mlp(model, past, _mlp(model, through))
            outcome[path][0] += (after == targets(tokens)[other, query]).sum()
            outcome[path][1] += (after == before).sum()
    return outcome


def _with_mlp(
    model: TransformerBridge,
    middle: Float[Tensor, "strings d_model"],
    mlp: Float[Tensor, "strings d_model"],
) -> Int64[Tensor, "strings"]:
    with torch.no_grad():
        return model.unembed(model.ln_final(middle + mlp)).argmax(dim=-1)
