"""Activation and path patching on every pair of strings that differ in one letter.

The nodes are those of :mod:`~palindrome_lens.circuits.scrubbing` and the MLP's output.
"""

import torch
from jaxtyping import Bool, Float, Int64
from pandas import DataFrame
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.attribution import CACHED, middle_of, vectors, written_by_mlp
from palindrome_lens.circuits.scrubbing import NODES, Node, Parts, joined, parts_of, slots
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import Tables, finish, unembedded
from palindrome_lens.task import Task, inputs, targets

PATHS = ("through the MLP", "past the MLP", "both")


def patch(subject: Subject, query: int) -> dict[str, Bool[Tensor, "slot shift outcome strings"]]:
    """Activation patching on all ordered pairs of strings that differ in one letter.

    One node, or the output of the ``mlp``, is taken from the second string of the pair.

    Returns:
        For each node, by the slot that differs and how far its letter is moved (less one): whether
        the answer is then the second string's own (outcome 0), and whether it changed at all (1).
    """
    task, model, tables, tokens = subject
    parts = parts_of(tables, inputs(tokens), query)
    added = vectors(subject, parts, query)
    middle = middle_of(added)
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


def tally(subject: Subject, query: int) -> DataFrame:
    """The pairs of :func:`patch`, counted: a row for each node and for the ``mlp``.

    Of the pairs that differ in the mirrored letter, ``changed`` counts those whose answer changed,
    ``follows`` those whose answer is then the second string's, and ``third`` those whose answer
    became neither string's. ``by_other`` counts the changed answers of all other pairs.
    """
    slot, rows = subject.task.slot_of(query), {}
    for name, outcome in patch(subject, query).items():
        # (slot,) each
        follows, changed = outcome.sum(dim=(1, 3)).T
        third = (outcome[:, :, 1] & ~outcome[:, :, 0]).sum(dim=(1, 2))
        by_other = changed.sum() - changed[slot]
        counts = (changed[slot], follows[slot], third[slot], by_other)
        rows[name] = [int(count) for count in counts]
    return DataFrame.from_dict(
        rows, orient="index", columns=["changed", "follows", "third", "by_other"]
    )


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


def patch_embeddings(subject: Subject, query: int) -> Int64[Tensor, "outcome slot position"]:
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


def patch_paths(subject: Subject, query: int) -> dict[str, Int64[Tensor, "outcome"]]:
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
        own_mlp = written_by_mlp(model, own)
        before = _with_mlp(model, own, own_mlp)
        for shift in range(1, len(task.alphabet)):
            other = _other(task, slot, shift)[rows]
            new = joined(parts, tables.bias, taken | {"mirror": other}, mirror)
            new_mlp = written_by_mlp(model, new)
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
