"""What an analysis is about: a trained model with its tables, and all strings of its task."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxtyping import Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import stored
from palindrome_lens.circuits.tables import Tables, tabulate
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode


class Subject(NamedTuple):
    """A model of one layer, its tables, and all strings of its task in their own order."""

    task: Task
    model: TransformerBridge
    tables: Tables
    tokens: Int64[Tensor, "strings length"]

    @property
    def read(self) -> Int64[Tensor, "strings position"]:
        """What the model reads of each string."""
        return inputs(self.tokens)

    @property
    def queries(self) -> list[int]:
        """The positions that predict a mirrored letter."""
        return list(self.task.mirrored_positions)

    def wanted(self, query: int) -> Int64[Tensor, "strings"]:
        """The token that each string has behind a query."""
        return targets(self.tokens)[:, query]


def subject(task: Task, model: TransformerBridge) -> Subject:
    """A model with its tables, and all strings of the task.

    Raises:
        ValueError: the model has more than one layer, or the task too many strings.
    """
    return Subject(task, model, tabulate(model), encode(task, task.strings()))


def solved(task: Task, seeds: Iterable[int], **shape: Any) -> dict[int, Subject]:
    """The models of :func:`stored.solving` as subjects, by seed."""
    chosen = list(seeds)
    models = stored.solving(task, chosen, **shape)
    return {seed: subject(task, model) for seed, model in zip(chosen, models, strict=True)}
