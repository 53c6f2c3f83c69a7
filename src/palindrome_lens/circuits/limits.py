"""What the model answers to inputs that no string of the task holds.

The set of inputs is a full product, one set of tokens for each position, and every one of them is
evaluated through the tables, which hold for any token at any position.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.tables import CHUNK, Tables, finish, margin, pattern
from palindrome_lens.task import BAR, BEGIN, Task
from palindrome_lens.tokenizer import vocabulary

Choices = Sequence[Sequence[int]]
"""For each position the token ids that may stand there."""


class Answers(NamedTuple):
    """What the last position of every prefix answers, in the order of :func:`prefixes`."""

    answer: Int64[Tensor, "prefixes"]
    """The id of the most probable token."""
    margin: Float[Tensor, "prefixes"]
    """The logit of what stands at the key minus the best other, in nats; negative where it
    loses."""
    weight: Float[Tensor, "prefixes head"]
    """The attention weight on the key."""


class Binned(NamedTuple):
    """How many cases lie in each bin, and how many of them failed."""

    cases: Int64[Tensor, "bin"]
    failures: Int64[Tensor, "bin"]


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


def places(
    choices: Choices, tokens: Int64[Tensor, "prefixes position"]
) -> Int64[Tensor, "prefixes"]:
    """Where these prefixes stand in the product order: the inverse of :func:`prefixes`.

    Raises:
        ValueError: a prefix is not in the product.
    """
    place = torch.zeros(len(tokens), dtype=torch.int64)
    for column, allowed in zip(tokens.T, choices, strict=True):
        at = column.unsqueeze(1) == torch.tensor(allowed)
        if not at.any(dim=1).all():
            raise ValueError("A token is not among those that its position may hold.")
        place = place * len(allowed) + at.int().argmax(dim=1)
    return place


def answers(
    model: TransformerBridge, tables: Tables, choices: Choices, key: int, forced: bool = False
) -> Answers:
    """What the model answers at the last position of every prefix.

    Args:
        key: the position whose token is the expected answer.
        forced: every head puts all its weight on ``key``. What fails then fails because of what
            is copied, not because of where the head looks.

    Raises:
        ValueError: the key lies behind the last position.
    """
    if not 0 <= key < len(choices):
        raise ValueError(f"The key is {key}; the prefixes have positions 0 to {len(choices) - 1}.")
    parts = [
        _answers(model, tables, prefixes(choices, indices), key, forced)
        for indices in torch.arange(count(choices)).split(CHUNK)
    ]
    return Answers(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _answers(
    model: TransformerBridge, tables: Tables, tokens: Tensor, key: int, forced: bool
) -> Answers:
    query = tokens.shape[1] - 1
    weights = pattern(tables, tokens, query)
    if forced:
        weights = torch.zeros_like(weights)
        weights[:, :, key] = 1.0
    values = tables.values[:, torch.arange(query + 1), tokens]
    written = torch.einsum("nhk, hnkd -> nd", weights, values) + tables.bias
    logits = finish(model, tables.embedded[query, tokens[:, query]] + written)
    return Answers(logits.argmax(dim=1), margin(logits, tokens[:, key]), weights[:, :, key])


def binned(weight: Float[Tensor, "cases"], failed: Tensor, edges: Float[Tensor, "edges"]) -> Binned:
    """Cases and failures by attention weight; a bin holds its lower edge and not its upper.

    What lies below the first edge or from the last on is left out.
    """
    place = torch.bucketize(weight, edges, right=True)
    n = len(edges)
    return Binned(
        torch.bincount(place, minlength=n + 1)[1:n],
        torch.bincount(place[failed], minlength=n + 1)[1:n],
    )


def equality(row: Sequence[int]) -> str:
    """Which letters of a row are the same: ``aab`` for two equal ones and another."""
    seen = list(dict.fromkeys(row))
    return "".join(chr(ord("a") + seen.index(letter)) for letter in row)
