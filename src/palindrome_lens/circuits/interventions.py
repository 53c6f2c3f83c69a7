"""The model with something replaced: ablations and edits, evaluated exactly; margins."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.tables import margin
from palindrome_lens.evaluation import CHUNK, Evaluation, evaluate
from palindrome_lens.model import activations, check_hook_name, hook_names
from palindrome_lens.task import inputs, targets


def margins(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"]
) -> Float[Tensor, "strings position"]:
    """How far the target's logit lies above the best other, in nats; negative where it loses."""
    by_chunk = []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            by_chunk.append(margin(model(inputs(chunk)), targets(chunk)))
    return torch.cat(by_chunk)


Edit = Callable[[Float[Tensor, "batch position d"]], Float[Tensor, "batch position d"]]


def evaluate_with(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], name: str, edit: Edit
) -> Evaluation:
    """Exact evaluation while the activations at a hook are replaced by ``edit(activations)``.

    The edit is called for some of the strings at a time, so it must treat each by itself.

    Raises:
        ValueError: an unknown hook name.
    """
    check_hook_name(name, hook_names(model))
    with model.hooks(fwd_hooks=[(name, lambda value, hook: edit(value))]):
        return evaluate(model, tokens)


def evaluate_replaced(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    name: str,
    values: Float[Tensor, "strings position d"],
) -> Evaluation:
    """Exact evaluation with a hook's activations replaced, string by string.

    Raises:
        ValueError: an unknown hook name, or not one value for each string.
    """
    if len(values) != len(tokens):
        raise ValueError(f"There are {len(values):,} values for {len(tokens):,} strings.")
    chunks = iter(values.split(CHUNK))
    return evaluate_with(model, tokens, name, lambda _: next(chunks))


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
