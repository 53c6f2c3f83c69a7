"""What the attention layer does: patterns, statistics over all strings, and ablations."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import activations, check_hook_name, hook_names
from palindrome_lens.task import Task, distinct, inputs, targets
from palindrome_lens.training import CHUNK, Evaluation, evaluate


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


def margins(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"]
) -> Float[Tensor, "strings position"]:
    """How far the target's logit lies above the best other, in nats; negative where it loses."""
    found = []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            logits, wanted = model(inputs(chunk)), targets(chunk).unsqueeze(-1)
            others = logits.scatter(-1, wanted, -torch.inf).amax(dim=-1)
            found.append(logits.gather(-1, wanted).squeeze(-1) - others)
    return torch.cat(found)


Edit = Callable[[Float[Tensor, "batch position d"]], Float[Tensor, "batch position d"]]


def evaluate_with(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str, edit: Edit
) -> Evaluation:
    """Exact evaluation while the activations at a hook are replaced by ``edit(activations)``.

    Raises:
        ValueError: an unknown hook name.
    """
    check_hook_name(name, hook_names(model))
    with model.hooks(fwd_hooks=[(name, lambda value, hook: edit(value))]):
        return evaluate(model, tokens)


def mean_ablate(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str
) -> Evaluation:
    """Exact evaluation with a hook's activations replaced by their mean, position by position."""
    mean = activations(model, inputs(tokens), [name])[name].mean(dim=0, keepdim=True)
    return evaluate_with(model, tokens, name, lambda value: mean.expand_as(value))


def zero_ablate(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str
) -> Evaluation:
    """Exact evaluation with a hook's activations replaced by zero."""
    return evaluate_with(model, tokens, name, torch.zeros_like)
