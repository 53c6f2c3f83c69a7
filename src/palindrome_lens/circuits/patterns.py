"""Attention patterns of all strings: how much looks at the mirror, and what is handed over."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import handed_over
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


def mean_handed_over(subject: Subject) -> Float[Tensor, "query key d_model"]:
    """What each key hands to each query, attention weight times OV, on average over all strings.

    Heads are summed. A key that lies behind the query hands it nothing.
    """
    n = subject.task.n_positions
    mean = subject.tables.bias.new_zeros(n, n, len(subject.tables.bias))
    for query in range(n):
        # (strings, key, d_model)
        by_key = handed_over(subject.tables, subject.read, query).sum(dim=1)
        mean[query, : query + 1] = by_key.mean(dim=0)
    return mean
