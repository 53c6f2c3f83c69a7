"""Which strings exist: ``<abc|cba>`` over any alphabet and half-length; splits; the loss floor.

Every string has the same layout, for half-length ``h``: ``<``, then ``h`` letters, ``|``, the same
letters backwards, ``>``. The model reads all but the last character and predicts all but the
first, so it sees and is scored at ``2h + 2`` positions; "position" always means the index of a
character that the model reads, and the *target* of position ``p`` is the character at ``p + 1``.
"""

import itertools
import math
import random
import string
from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from palindrome_lens.config import Config

BEGIN, END, BAR = "<", ">", "|"
RESERVED = BEGIN + END + BAR
ENUMERABLE = 500_000
"""Strings that are enumerated at most: all of half-length 4 over 26 letters."""


class Task(Config):
    """A family of strings.

    Attributes:
        alphabet: the letters, each once, none of ``<``, ``>`` and ``|``.
        half_length: the number of letters before the bar.

    Raises:
        ConfigError: the alphabet is empty, repeats a letter or holds a reserved character, or the
            half-length is below 1.
    """

    alphabet: str = string.ascii_lowercase
    half_length: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check_alphabet(self) -> Self:
        if not self.alphabet:
            raise ValueError("The alphabet is '' (empty); it needs at least one letter.")
        repeated = sorted({c for c in self.alphabet if self.alphabet.count(c) > 1})
        if repeated:
            raise ValueError(
                f"The alphabet {self.alphabet!r} repeats {', '.join(map(repr, repeated))}; "
                "each letter is allowed once."
            )
        reserved = [c for c in self.alphabet if c in RESERVED]
        if reserved:
            raise ValueError(
                f"The alphabet {self.alphabet!r} holds {', '.join(map(repr, reserved))}; "
                f"{', '.join(map(repr, RESERVED))} are reserved for the layout of a string."
            )
        return self

    @property
    def size(self) -> int:
        """How many strings exist: (letters) ** (half-length)."""
        return len(self.alphabet) ** self.half_length

    @property
    def n_positions(self) -> int:
        """How many characters the model reads, and predicts: 2 · half-length + 2."""
        return 2 * self.half_length + 2

    @property
    def free_positions(self) -> range:
        """Positions whose target is a letter that nothing determines."""
        return range(self.half_length)

    @property
    def mirrored_positions(self) -> range:
        """Positions whose target is a letter of the mirrored half."""
        return range(self.half_length + 1, 2 * self.half_length + 1)

    @property
    def place_names(self) -> list[str]:
        """What stands at each position that the model reads: ``0 <``, ``1 1st``, …, ``4 |``, …"""
        order = [ordinal(slot + 1) for slot in range(self.half_length)]
        return [f"{p} {place}" for p, place in enumerate([BEGIN, *order, BAR, *order[::-1]])]

    def mirror_position(self, position: int) -> int:
        """The position that holds the letter which ``position`` must predict.

        Raises:
            ValueError: the target of ``position`` is not a letter of the mirrored half.
        """
        if position not in self.mirrored_positions:
            first, last = self.mirrored_positions[0], self.mirrored_positions[-1]
            raise ValueError(
                f"Position {position} predicts no mirrored letter; positions {first} to {last} do."
            )
        return 2 * self.half_length + 1 - position

    def slot_of(self, query: int) -> int:
        """The slot (the place of a free letter, counted from 0) that ``query`` must copy.

        Raises:
            ValueError: the target of ``query`` is not a letter of the mirrored half.
        """
        return self.mirror_position(query) - 1

    def query_of(self, slot: int) -> int:
        """The position that must copy the letter in a slot.

        Raises:
            ValueError: there is no such slot.
        """
        if slot not in range(self.half_length):
            raise ValueError(f"The slot is {slot}; 0 to {self.half_length - 1} exist.")
        return 2 * self.half_length - slot

    def string(self, letters: str) -> str:
        """The string whose first half is ``letters``."""
        return f"{BEGIN}{letters}{BAR}{letters[::-1]}{END}"

    def strings(self) -> list[str]:
        """All strings, in product order (``aaa``, ``aab``, …).

        Raises:
            ValueError: there are more than 500,000; sample them instead.
        """
        if self.size > ENUMERABLE:
            raise ValueError(
                f"{len(self.alphabet)} letters and half-length {self.half_length} make "
                f"{self.size:,} strings; "
                f"up to {ENUMERABLE:,} are enumerated, more are sampled (Task.sample)."
            )
        halves = itertools.product(self.alphabet, repeat=self.half_length)
        return [self.string("".join(letters)) for letters in halves]

    def sample(self, n: int, seed: int = 0) -> list[str]:
        """``n`` different strings, drawn uniformly without replacement.

        Raises:
            ValueError: fewer than ``n`` strings exist.
        """
        if not 0 <= n <= self.size:
            raise ValueError(f"{n:,} strings were asked for; 0 to {self.size:,} can be drawn.")
        generator = random.Random(seed)
        if self.size <= ENUMERABLE:
            return [self._string_at(index) for index in generator.sample(range(self.size), n)]
        drawn: dict[int, None] = {}
        while len(drawn) < n:
            drawn.setdefault(generator.randrange(self.size))
        return [self._string_at(index) for index in drawn]

    def _string_at(self, index: int) -> str:
        letters = ""
        for _ in range(self.half_length):
            index, digit = divmod(index, len(self.alphabet))
            letters = self.alphabet[digit] + letters
        return self.string(letters)

    def floor(self) -> float:
        """Least mean cross-entropy per position that any model can reach, in nats.

        ``half_length`` of the positions have a target that is uniform over the alphabet, each
        worth ln(letters); the others are determined.
        """
        return self.half_length * math.log(len(self.alphabet)) / self.n_positions


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    special = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else special.get(number % 10, 'th')}"


class Split(NamedTuple):
    """Two sets of strings without a string in common."""

    train: list[str]
    test: list[str]


def split(
    task: Task,
    kind: Literal["random", "ordered"] = "random",
    test_fraction: float = 0.1,
    n: int | None = None,
    seed: int = 0,
) -> Split:
    """Divide the strings of a task into train and test.

    ``ordered`` takes the last of the product order for testing, as the original notebook did;
    ``random`` shuffles first. What is too large to enumerate is sampled: ``n`` strings in all.

    Raises:
        ValueError: an unknown kind; a fraction that leaves one side empty; an ordered split of
            a sample; no ``n`` for a task that is too large to enumerate.
    """
    if kind not in ("random", "ordered"):
        raise ValueError(f"The kind of split is {kind!r}; 'random' and 'ordered' are allowed.")
    if n is None and task.size > ENUMERABLE:
        raise ValueError(
            f"The task has {task.size:,} strings, too many to enumerate: say how many to draw (n)."
        )
    if n is not None and kind == "ordered":
        raise ValueError(
            "An ordered split is defined for all strings; a sample (n) has no last part."
        )
    total = task.size if n is None else n
    n_test = int(total * test_fraction)
    if not 0 < n_test < total:
        raise ValueError(
            f"A test fraction of {test_fraction!r} takes {n_test:,} of {total:,} strings; "
            f"1 to {total - 1:,} are allowed."
        )
    strings = task.strings() if kind == "ordered" else task.sample(total, seed)
    return Split(train=strings[:-n_test], test=strings[-n_test:])


def inputs(tokens: Int64[Tensor, "strings length"]) -> Int64[Tensor, "strings position"]:
    """What the model reads: every token but the last."""
    return tokens[:, :-1]


def targets(tokens: Int64[Tensor, "strings length"]) -> Int64[Tensor, "strings position"]:
    """What it must predict: every token but the first."""
    return tokens[:, 1:]


def letters(task: Task, tokens: Int64[Tensor, "strings length"]) -> Int64[Tensor, "strings slot"]:
    """The ids of the free letters; slot ``s`` is the letter at position ``s + 1``."""
    return tokens[:, 1 : 1 + task.half_length]


def distinct(values: Int64[Tensor, "strings *rest"]) -> int:
    """How many different rows there are: the number of cases that really differ."""
    return int(torch.unique(values, dim=0).shape[0])
