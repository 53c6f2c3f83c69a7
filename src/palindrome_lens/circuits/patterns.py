"""Attention patterns of all strings, and how much they attend to the mirror position."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import activations
from palindrome_lens.task import Task, distinct, inputs


class MirrorAttention(NamedTuple):
    """How much a query attends to its mirror position, over a set of strings."""

    query: int
    key: int
    """The mirror position."""
    weights: Float[Tensor, "strings"]

    @property
    def mean(self) -> float:
        return float(self.weights.mean())

    @property
    def least(self) -> float:
        return float(self.weights.min())

    @property
    def least_index(self) -> int:
        """Which string attains the least weight."""
        return int(self.weights.argmin())


def patterns(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], layer: int = 0
) -> Float[Tensor, "strings head query key"]:
    """The attention pattern of every string."""
    name = f"blocks.{layer}.attn.hook_pattern"
    return activations(model, inputs(tokens), [name])[name]


def mirror_attention(
    task: Task, pattern: Float[Tensor, "strings query key"]
) -> list[MirrorAttention]:
    """The weight on the mirror position, for every query that predicts a mirrored letter."""
    return [
        MirrorAttention(
            query, task.mirror_position(query), pattern[:, query, task.mirror_position(query)]
        )
        for query in task.mirrored_positions
    ]


def distinct_contexts(tokens: Int64[Tensor, "strings length"], position: int) -> int:
    """How many different prefixes a set of strings shows to a position.

    Attention is causal, so what happens at a position can differ only between these.
    """
    return distinct(tokens[:, : position + 1])
