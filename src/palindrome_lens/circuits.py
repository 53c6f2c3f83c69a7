"""What the attention layer does: patterns, statistics over all strings, and ablations."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import activations, check_hook_name
from palindrome_lens.task import Task, distinct, inputs, targets
from palindrome_lens.training import CHUNK, Evaluation, position_loss


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
        MirrorAttention(query, task.mirror_position(query), pattern[:, query, task.mirror_position(query)])
        for query in task.mirrored_positions
    ]


def distinct_contexts(tokens: Int64[Tensor, "strings length"], position: int) -> int:
    """How many different prefixes a set of strings shows to a position.

    Attention is causal, so what happens at a position can differ only between these.
    """
    return distinct(tokens[:, : position + 1])


class Margins(NamedTuple):
    """How far the target's logit lies above the best other, in nats; negative where it loses."""

    margin: Float[Tensor, "strings position"]

    def least(self, positions: range) -> float:
        return float(self.margin[:, list(positions)].min())


def margins(model: TransformerBridge, tokens: Int64[Tensor, "strings length"]) -> Margins:
    """The margin of the target at every position of every string."""
    found = []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            logits, wanted = model(inputs(chunk)), targets(chunk).unsqueeze(-1)
            others = logits.scatter(-1, wanted, -torch.inf).amax(dim=-1)
            found.append(logits.gather(-1, wanted).squeeze(-1) - others)
    return Margins(torch.cat(found))


Edit = Callable[[Float[Tensor, "batch position d"]], Float[Tensor, "batch position d"]]


def evaluate_with(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], edits: dict[str, Edit]
) -> Evaluation:
    """Exact evaluation while the activations at some hooks are replaced.

    Args:
        edits: for each hook name, a function from the activations of a batch to new ones.

    Raises:
        ValueError: an unknown hook name.
    """
    known = activations_names(model, tokens)
    hooks = [
        (check_hook_name(name, known), lambda value, hook, edit=edit: edit(value))
        for name, edit in edits.items()
    ]
    losses, correct = [], []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            logits = model.run_with_hooks(inputs(chunk), fwd_hooks=hooks)
            losses.append(position_loss(logits, targets(chunk)))
            correct.append(logits.argmax(dim=-1) == targets(chunk))
    return Evaluation(torch.cat(losses), torch.cat(correct))


def activations_names(model: TransformerBridge, tokens: Int64[Tensor, "strings length"]) -> list[str]:
    """The names under which activations of this model are cached."""
    with torch.no_grad():
        _, cache = model.run_with_cache(inputs(tokens[:1]))
    return list(cache)


def mean_ablate(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str
) -> Evaluation:
    """Exact evaluation with a hook's activations replaced by their mean over the strings, per position."""
    mean = activations(model, inputs(tokens), [name])[name].mean(dim=0, keepdim=True)
    return evaluate_with(model, tokens, {name: lambda value: mean.expand_as(value)})


def zero_ablate(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str
) -> Evaluation:
    """Exact evaluation with a hook's activations replaced by zero."""
    return evaluate_with(model, tokens, {name: torch.zeros_like})
