"""What chapters let their readers choose: the pieces, typed and held to what can be computed.

A chapter has a cell of plain assignments, which papermill and ``python -m claimbook run`` can
replace. Its next cell makes a record of them (:meth:`Parameters.of`), which refuses in one sentence
what cannot be, before any time is spent. The records are in :mod:`palindrome_lens.chapters`.
"""

import ast
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from palindrome_lens.config import Config
from palindrome_lens.task import ENUMERABLE, Task
from palindrome_lens.training import SOLVING, check_device

INJECTED = "# Parameters\n"
"""How a cell begins that papermill has put behind the plain assignments."""


def _distinct(numbers: list[int]) -> list[int]:
    repeated = sorted({number for number in numbers if numbers.count(number) > 1})
    if repeated:
        raise ValueError(f"{numbers} holds {repeated[0]} more than once; each counts once.")
    return numbers


Seed = Annotated[int, Field(ge=0, lt=2**31)]
DistinctNumbers = Annotated[list[int], Field(min_length=1), AfterValidator(_distinct)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=32), AfterValidator(_distinct)]
Hook = Literal[
    "blocks.0.hook_attn_out",
    "blocks.0.hook_resid_mid",
    "blocks.0.mlp.hook_post",
    "blocks.0.hook_mlp_out",
    "blocks.0.hook_resid_post",
]
"""Hooks that every position passes with numbers that differ between strings."""
WandbMode = Literal["offline", "online", "disabled"]


class Parameters(Config):
    """What the reader of a chapter may choose. The chapter says what stands there unless chosen.

    Raises:
        ConfigError: a value is of the wrong type, out of range, or does not go with another.
    """

    @classmethod
    def called(cls, field: str) -> str:
        return field

    @classmethod
    def of(cls, names: Mapping[str, Any]) -> Self:
        """The record of the variables of these names, for a notebook those of ``globals()``.

        Raises:
            ConfigError: as above, or a cell of papermill sets what is no parameter.
        """
        fields = {name: names[name] for name in cls.model_fields}
        return cls(**fields | {name: names[name] for name in _injected(names.get("In", ()))})


def _injected(cells: Any) -> list[str]:
    """The names that the last of these cells with injected assignments sets."""
    source = next((cell for cell in reversed(cells) if cell.startswith(INJECTED)), "")
    targets = [t for node in ast.walk(ast.parse(source)) for t in getattr(node, "targets", ())]
    return [target.id for target in targets if isinstance(target, ast.Name)]


class OfTask(Parameters):
    """The strings that a chapter is about.

    Attributes:
        fewest_letters, shortest: bounds of the alphabet and of the half-length.
        most_strings: how many a chapter enumerates.
    """

    fewest_letters: ClassVar[int] = 2
    shortest: ClassVar[int] = 2
    most_strings: ClassVar[int] = ENUMERABLE

    alphabet: str
    half_length: int = Field(ge=1, le=32)

    @property
    def task(self) -> Task:
        return Task(alphabet=self.alphabet, half_length=self.half_length)

    @property
    def example(self) -> str:
        """A string whose letters are the first of the alphabet, from the beginning if they end."""
        n = len(self.alphabet)
        return self.task.string("".join(self.alphabet[i % n] for i in range(self.half_length)))

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        task, n = self.task, len(self.alphabet)
        if unlike := [letter for letter in self.alphabet if not letter.isalnum()]:
            raise ValueError(f"alphabet holds {unlike[0]!r}; letters and digits are allowed.")
        if n < self.fewest_letters:
            raise ValueError(f"alphabet has {n} letter; at least {self.fewest_letters} are needed.")
        if self.half_length < self.shortest:
            raise ValueError(f"half_length is {self.half_length}; {self.shortest} is the least.")
        if task.size > self.most_strings:
            raise ValueError(
                f"{n} letters and half-length {self.half_length} make {task.size:,} strings; this "
                f"chapter enumerates them, up to {self.most_strings:,}."
            )
        return self


def check_batch(task: Task, batch_size: int, test_fraction: float = SOLVING.test_fraction) -> None:
    """Raise ValueError where a batch is larger than the training set of a task."""
    n_train = task.size - int(task.size * test_fraction)
    if batch_size > n_train or n_train == task.size:
        raise ValueError(
            f"{len(task.alphabet)} letters and half-length {task.half_length} make {task.size:,} "
            f"strings, {n_train:,} of them for training; a batch has {batch_size:,}."
        )


class OfShape(Parameters):
    """The shape of the transformer, where it is not that of :class:`ModelConfig`."""

    d_model: int = Field(ge=4, le=256)
    n_heads: int = Field(ge=1, le=8)

    @property
    def shape(self) -> dict[str, Any]:
        """The fields of :class:`ModelConfig` that are chosen, without the seed."""
        return {"d_model": self.d_model, "n_heads": self.n_heads}


class OfModel(OfTask, OfShape):
    """A transformer that is trained by the recipe that solves, and its strings."""

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        check_batch(self.task, SOLVING.batch_size)
        return self


class OneHead(OfModel):
    """What is read off the weights of one head."""

    @field_validator("n_heads")
    @classmethod
    def _check_heads(cls, n_heads: int) -> int:
        if n_heads != 1:
            raise ValueError(f"n_heads is {n_heads}; this chapter reads one head, and allows 1.")
        return n_heads


class OfBook(OfTask, OfShape):
    """The task and the model of this book, and no other.

    Attributes:
        because: what in the chapter needs them, as a clause.
    """

    because: ClassVar[str]

    @model_validator(mode="after")
    def _check_book(self) -> Self:
        book = {**Task().model_dump(), "d_model": 16, "n_heads": 1}
        for name, value in book.items():
            if (chosen := getattr(self, name)) != value:
                raise ValueError(
                    f"{name} is {chosen!r}; {self.because}, so {value!r} alone is allowed."
                )
        return self


class OfRecipe(Parameters):
    """How a transformer is trained, where it is not the recipe that solves."""

    steps: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1)
    lr: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=10)
    device: str

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        check_device(device)
        return device


class OfAutoencoder(Parameters):
    """An autoencoder: what it reads, how wide it is, how many latents are active, how long it
    learns."""

    hook: Hook
    d_sae: int = Field(ge=16, le=1024)
    k: int = Field(ge=1)
    steps: int = Field(ge=1, le=100_000)

    @model_validator(mode="after")
    def _check_active(self) -> Self:
        if self.k >= self.d_sae:
            raise ValueError(f"k is {self.k}; there are {self.d_sae} latents (d_sae).")
        return self
