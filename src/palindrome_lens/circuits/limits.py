"""What the model answers to inputs that no string of the task holds.

The set of inputs is a full product, one set of tokens for each position, and every one of them is
evaluated through the tables, which hold for any token at any position.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import CHUNK, finish, margin, pattern
from palindrome_lens.task import BAR, BEGIN, Task
from palindrome_lens.tokenizer import vocabulary

Choices = Sequence[Sequence[int]]
"""For each position the token ids that may stand there."""


class Answers(NamedTuple):
    """What the last position of every prefix answers, in the order of :func:`prefixes`."""

    choices: Choices
    answer: Int64[Tensor, "prefixes"]
    """The id of the most probable token."""
    margin: Float[Tensor, "prefixes"]
    """The logit of what stands at the key minus the best other, in nats; negative where it
    loses."""
    weight: Float[Tensor, "prefixes head"]
    """The attention weight on the key."""

    @property
    def prefixes(self) -> Int64[Tensor, "prefixes position"]:
        """The prefixes themselves."""
        return prefixes(self.choices, torch.arange(len(self.answer)))

    @property
    def failed(self) -> Bool[Tensor, "prefixes"]:
        """Whether another token is put above what stands at the key."""
        return self.margin < 0

    @property
    def failures(self) -> int:
        return int(self.failed.sum())

    @property
    def tightest(self) -> Int64[Tensor, "position"]:
        """The prefix with the least margin."""
        return prefixes(self.choices, self.margin.argmin().view(1))[0]


def wrong_letters(task: Task, query: int) -> list[list[int]]:
    """The choices for prefixes in which any letter may stand in the mirrored half.

    Raises:
        ValueError: ``query`` predicts no letter of the mirrored half.
    """
    task.mirror_position(query)
    ids = vocabulary(task)
    letters = [ids[letter] for letter in task.alphabet]
    half = [letters] * task.half_length
    return [[ids[BEGIN]], *half, [ids[BAR]], *[letters] * (query - task.half_length - 1)]


def any_token(task: Task) -> list[list[int]]:
    """The choices for prefixes up to the bar with any token, also a reserved one, as a letter."""
    ids = vocabulary(task)
    return [[ids[BEGIN]], *[list(ids.values())] * task.half_length, [ids[BAR]]]


def count(choices: Choices) -> int:
    """How many prefixes the choices allow."""
    return int(torch.tensor([len(allowed) for allowed in choices]).prod())


def prefixes(
    choices: Choices, indices: Int64[Tensor, "prefixes"]
) -> Int64[Tensor, "prefixes position"]:
    """The prefixes at these places of the product order, in which the last position runs fastest.

    Raises:
        ValueError: an index lies outside the product.
    """
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < count(choices):
        raise ValueError(f"The product has {count(choices):,} prefixes; an index is not in it.")
    columns = []
    for allowed in reversed(choices):
        columns.append(torch.tensor(allowed)[indices % len(allowed)])
        indices = indices // len(allowed)
    return torch.stack(columns[::-1], dim=1)


def answers(
    subject: Subject, choices: Choices, key: int | None = None, forced: bool = False
) -> Answers:
    """What the model answers at the last position of every prefix.

    Args:
        key: the position whose token is the expected answer; by default the mirror position of
            the last one.
        forced: every head puts all its weight on ``key``. What fails then fails because of what
            is copied, not because of where the head looks.

    Raises:
        ValueError: the key lies behind the last position, or is not given and the last position
            predicts no mirrored letter.
    """
    key = subject.task.mirror_position(len(choices) - 1) if key is None else key
    if not 0 <= key < len(choices):
        raise ValueError(f"The key is {key}; the prefixes have positions 0 to {len(choices) - 1}.")
    parts = [
        _answers(subject, prefixes(choices, indices), key, forced)
        for indices in torch.arange(count(choices)).split(CHUNK)
    ]
    return Answers(choices, *(torch.cat(column) for column in zip(*parts, strict=True)))


def _answers(
    subject: Subject, tokens: Tensor, key: int, forced: bool
) -> tuple[Tensor, Tensor, Tensor]:
    tables, query = subject.tables, tokens.shape[1] - 1
    weights = pattern(tables, tokens, query)
    if forced:
        weights = torch.zeros_like(weights)
        weights[:, :, key] = 1.0
    values = tables.values[:, torch.arange(query + 1), tokens]
    written = torch.einsum("nhk, hnkd -> nd", weights, values) + tables.bias
    logits = finish(subject.model, tables.embedded[query, tokens[:, query]] + written)
    return logits.argmax(dim=1), margin(logits, tokens[:, key]), weights[:, :, key]


def equality(row: Sequence[int]) -> str:
    """Which letters of a row are the same: ``aab`` for two equal ones and another."""
    seen = list(dict.fromkeys(row))
    return "".join(chr(ord("a") + seen.index(letter)) for letter in row)
