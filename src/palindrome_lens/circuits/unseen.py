"""What a model does with letters that one slot of its training strings never held.

A letter is read at its mirror position and written at its query. A model that saw few letters in
one slot has to look at the right place, to read there a letter that it knows from other places,
and to write the letter at a query that never had to write it. :func:`answers` and :func:`mistakes`
count what comes out on strings that were withheld; :func:`mended` mends one part at a time.
"""

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import finish, pattern
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import vocabulary


class Restricted(NamedTuple):
    """A slot, counted from 0, and the letters that it held in training."""

    slot: int
    seen: str


class Answers(NamedTuple):
    """Shares of strings, and mean weights; "new" strings are those that were withheld."""

    right: float
    """New strings on which the letters of the slots in question are right."""
    right_seen: float
    """The other strings, likewise."""
    others: float
    """New strings on which all else that is determined is right: other letters, bar, end."""
    weight: float
    """Mean attention weight on the mirror positions of the slots, over the new strings and the
    heads."""
    weight_seen: float
    """Over the other strings, likewise."""


class Mistakes(NamedTuple):
    """What a slot's query answers where the slot holds a new letter: shares of these strings."""

    old_letter: float
    """One of the letters that the slot held in training."""
    shifted: float
    """The letter behind the right one, in the alphabet: the right answer under a wrong map."""
    confined: float
    """The right letter, if only new letters may be answered."""


class Mended(NamedTuple):
    """Shares of strings with a new letter that are right when a part of the mechanism is mended.

    All but the first are means over the other slots, from which the parts are taken.
    """

    forced: float
    """All weight lies on the mirror position; nothing is taken from elsewhere."""
    looking: float
    """The mirror position gets the weight that another query gives its own, for the same letter."""
    reading: float
    """The letter's code is taken from a slot in which all letters were read."""
    writing: float
    """The code is read in the restricted slot, and weighs what it weighs there, but it is written
    at a query that had to write all letters."""
    both: float
    """Likewise, and the code weighs what that query gives it: of the restricted slot only the
    reading is left."""


def is_new(
    task: Task, tokens: Int64[Tensor, "strings length"], held: Restricted
) -> Bool[Tensor, "strings"]:
    """Whether the letter in the slot is one that the slot did not hold in training."""
    return torch.isin(tokens[:, held.slot + 1], _ids(task, held)[1])


def weights(
    subject: Subject,
    tokens: Int64[Tensor, "strings length"],
    slot: int,
    on_mirror: Float[Tensor, "strings head"] | None = None,
) -> Float[Tensor, "strings head key"]:
    """Attention weights of a slot's query.

    Args:
        on_mirror: the weight on the mirror position, where it is not the model's own; the other
            weights keep their ratios.
    """
    own = pattern(subject.tables, inputs(tokens), subject.task.query_of(slot))
    if on_mirror is None:
        return own
    rest = own.clone()
    rest[:, :, slot + 1] = 0.0
    rest *= ((1 - on_mirror) / rest.sum(dim=-1)).unsqueeze(-1)
    rest[:, :, slot + 1] = on_mirror
    return rest


def answer(
    subject: Subject,
    tokens: Int64[Tensor, "strings length"],
    query: int,
    weight: Float[Tensor, "strings head key"] | None = None,
) -> Float[Tensor, "strings vocab"]:
    """The logits at one position, by way of the tables.

    Args:
        weight: attention weights of the query, where they are not the model's own.
    """
    if weight is None:
        weight = pattern(subject.tables, inputs(tokens), query)
    values = subject.tables.values[:, torch.arange(query + 1), tokens[:, : query + 1]]
    read = torch.einsum("nhk, hnkd -> nd", weight, values) + subject.tables.bias
    return finish(subject.model, subject.tables.embedded[query, tokens[:, query]] + read)


def answers(subject: Subject, new: Bool[Tensor, "strings"], slots: Collection[int]) -> Answers:
    """What is answered at the queries of some slots, and where the head looks, on new strings.

    Raises:
        ValueError: all strings are new, or none is, or the task has no such slot.
    """
    if not 0 < int(new.sum()) < len(new):
        raise ValueError(f"{int(new.sum()):,} of {len(new):,} strings are new; some must be.")
    task, tokens = subject.task, subject.tokens
    queries = {task.query_of(slot): slot for slot in slots}
    right, others = torch.ones_like(new), torch.ones_like(new)
    for query in range(task.half_length, task.n_positions):
        correct = answer(subject, tokens, query).argmax(dim=-1) == tokens[:, query + 1]
        if query in queries:
            right &= correct
        else:
            others &= correct
    weight = torch.stack([weights(subject, tokens, slot)[:, :, slot + 1] for slot in slots])
    by_string = weight.mean(dim=(0, 2))
    return Answers(
        right=_share(right[new]),
        right_seen=_share(right[~new]),
        others=_share(others[new]),
        weight=float(by_string[new].mean()),
        weight_seen=float(by_string[~new].mean()),
    )


def mistakes(subject: Subject, held: Restricted) -> Mistakes:
    """What is answered at a slot's query where the slot holds a letter that is new there.

    Raises:
        ValueError: no letter is new, or none was seen, or the task has no such slot.
    """
    seen, new = _ids(subject.task, held)
    cases = subject.tokens[is_new(subject.task, subject.tokens, held)]
    wanted = cases[:, held.slot + 1]
    logits = answer(subject, cases, subject.task.query_of(held.slot))
    answered, best_new = logits.argmax(dim=-1), new[logits[:, new].argmax(dim=-1)]
    ids = vocabulary(subject.task)
    behind = torch.arange(len(ids))
    letters = torch.tensor([ids[letter] for letter in subject.task.alphabet])
    behind[letters] = letters.roll(-1)
    return Mistakes(
        old_letter=_share(torch.isin(answered, seen)),
        shifted=_share(answered == behind[wanted]),
        confined=_share(best_new == wanted),
    )


def old_partner(subject: Subject, new: Bool[Tensor, "strings"], slots: Sequence[int]) -> float:
    """The share of strings with a new pair on which an answer makes an old pair of it.

    The query of one of the two slots then answers a letter that stood, in training, beside the
    letter of the other slot.
    """
    first, second = (slot + 1 for slot in slots)
    n = len(vocabulary(subject.task))
    is_old = torch.zeros(n, n, dtype=torch.bool)
    is_old[subject.tokens[~new, first], subject.tokens[~new, second]] = True
    cases = subject.tokens[new]
    answered = [answer(subject, cases, subject.task.query_of(s)).argmax(dim=-1) for s in slots]
    return _share(is_old[answered[0], cases[:, second]] | is_old[cases[:, first], answered[1]])


def exchanged(subject: Subject, held: Restricted, source: int, target: int) -> Subject:
    """The model with the code of each new letter at one slot taken from another slot.

    What the head fetches is the mean over the letters that the restricted slot held, plus a code
    of the letter. The mean stays that of the target.

    Args:
        source: the slot from whose mirror position the codes come.
        target: the slot at whose mirror position they are fetched.
    """
    seen, new = _ids(subject.task, held)
    values = subject.tables.values.clone()  # head, position, token, d_model
    place, origin = target + 1, source + 1
    shift = values[:, place, seen].mean(dim=1) - values[:, origin, seen].mean(dim=1)
    values[:, place, new] = subject.tables.values[:, origin, new] + shift.unsqueeze(1)
    return subject._replace(tables=subject.tables._replace(values=values))


def mended(subject: Subject, held: Restricted) -> Mended:
    """How often a new letter is answered when one part of the mechanism is mended.

    The other queries are asked on strings with a new letter in their own slot and an old one in
    the restricted slot, so that nothing but what is exchanged is new to them.

    Raises:
        ValueError: no letter is new, or none was seen, or the task has one slot.
    """
    if subject.task.half_length < 2:
        raise ValueError("Parts are exchanged between slots; this task has one.")
    slot, new = held.slot, is_new(subject.task, subject.tokens, held)
    cases = subject.tokens[new]
    own_weight = _weight_by_letter(subject, cases, slot)
    rows = []
    for other in (other for other in range(subject.task.half_length) if other != slot):
        there = is_new(subject.task, subject.tokens, held._replace(slot=other))
        familiar = subject.tokens[~new & there]
        read_there = exchanged(subject, held, source=other, target=slot)
        read_here = exchanged(subject, held, source=slot, target=other)
        rows.append(
            [
                _right(subject, cases, slot, _weight_by_letter(subject, familiar, other)),
                _right(read_there, cases, slot),
                _right(read_here, familiar, other, own_weight),
                _right(read_here, familiar, other),
            ]
        )
    forced = _right(subject, cases, slot, torch.ones_like(own_weight))
    return Mended(forced, *(fmean(column) for column in zip(*rows, strict=True)))


def _right(
    subject: Subject,
    tokens: Tensor,
    slot: int,
    by_letter: Float[Tensor, "vocab head"] | None = None,
) -> float:
    """The share of right answers at a slot's query, the weight on its mirror given by letter."""
    wanted, query = tokens[:, slot + 1], subject.task.query_of(slot)
    weight = weights(subject, tokens, slot, None if by_letter is None else by_letter[wanted])
    return _share(answer(subject, tokens, query, weight).argmax(dim=-1) == wanted)


def _weight_by_letter(subject: Subject, tokens: Tensor, slot: int) -> Float[Tensor, "vocab head"]:
    """The mean weight on a slot's mirror position for each letter there; nan where none is."""
    own, wanted = weights(subject, tokens, slot)[:, :, slot + 1], tokens[:, slot + 1]
    n = len(vocabulary(subject.task))
    total = torch.zeros(n, own.shape[1], dtype=own.dtype).index_add_(0, wanted, own)
    return total / torch.bincount(wanted, minlength=n).unsqueeze(1)


def _ids(task: Task, held: Restricted) -> tuple[Int64[Tensor, "seen"], Int64[Tensor, "new"]]:
    """The ids of the letters that the slot held in training, and of the others."""
    ids = vocabulary(task)
    seen = [ids[letter] for letter in task.alphabet if letter in held.seen]
    new = [ids[letter] for letter in task.alphabet if letter not in held.seen]
    if not seen or not new:
        raise ValueError(f"{len(seen)} of {len(task.alphabet)} letters were seen; some must be.")
    return torch.tensor(seen), torch.tensor(new)


def _share(cases: Bool[Tensor, "cases"]) -> float:
    return float(cases.double().mean())
