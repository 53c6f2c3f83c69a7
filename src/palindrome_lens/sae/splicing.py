"""What the model loses when a dictionary's reconstruction takes the place of its activations."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.interventions import evaluate_with, mean_ablate, zero_ablate
from palindrome_lens.evaluation import evaluate


class CrossEntropy(NamedTuple):
    """Mean loss over all positions, in nats, for four versions of the activations at one hook."""

    clean: float
    spliced: float
    """The dictionary's reconstruction in place of the activations."""
    mean_ablated: float
    zero_ablated: float

    @property
    def added(self) -> float:
        """spliced − clean, in nats."""
        return self.spliced - self.clean

    @property
    def recovered_from_mean(self) -> float:
        """(mean-ablated − spliced) / (mean-ablated − clean)."""
        return (self.mean_ablated - self.spliced) / (self.mean_ablated - self.clean)

    @property
    def recovered_from_zero(self) -> float:
        """(zero-ablated − spliced) / (zero-ablated − clean)."""
        return (self.zero_ablated - self.spliced) / (self.zero_ablated - self.clean)


Reconstruct = Callable[[Float[Tensor, "batch d_in"]], Float[Tensor, "batch d_in"]]


def cross_entropy(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    hook: str,
    reconstruct: Reconstruct,
) -> CrossEntropy:
    """What splicing in the reconstruction costs, against removing the activations altogether.

    For many dictionaries, compute it once and ``_replace(spliced=spliced_loss(...))``.

    Args:
        reconstruct: of the activations of all positions side by side. An autoencoder of single
            positions is wrapped: ``lambda x: sae(x.reshape(-1, d)).view_as(x)``.

    Raises:
        ValueError: an unknown hook name.
    """
    return CrossEntropy(
        spliced=spliced_loss(model, tokens, hook, reconstruct),
        clean=evaluate(model, tokens).mean_loss,
        mean_ablated=mean_ablate(model, tokens, hook).mean_loss,
        zero_ablated=zero_ablate(model, tokens, hook).mean_loss,
    )


def spliced_loss(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    hook: str,
    reconstruct: Reconstruct,
) -> float:
    """Mean loss over all positions, in nats, with the reconstruction in place."""

    def splice(value: Tensor) -> Tensor:
        with torch.no_grad():
            return reconstruct(value.flatten(start_dim=1)).view_as(value)

    return evaluate_with(model, tokens, hook, splice).mean_loss
