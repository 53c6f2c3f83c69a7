"""How good an autoencoder is, each number over every string it is given."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.interventions import evaluate_with, mean_ablate, zero_ablate
from palindrome_lens.sae.autoencoders import Autoencoder
from palindrome_lens.training import evaluate


def explained_variance(
    x: Float[Tensor, "strings d_in"], reconstruction: Float[Tensor, "strings d_in"]
) -> float:
    """1 − ‖x − x̂‖² / ‖x − x̄‖², summed over strings and dimensions, x̄ the mean of each dimension.

    Predicting the mean scores 0. Measured about zero instead, the mean alone would score well.

    Raises:
        ValueError: the data do not vary, so that there is nothing to explain.
    """
    variance = (x - x.mean(dim=0)).square().sum()
    if variance == 0:
        raise ValueError(
            "All inputs are equal (variance 0); explained variance needs inputs that differ."
        )
    return float(1 - (x - reconstruction).square().sum() / variance)


def firing_counts(latents: Float[Tensor, "strings d_sae"]) -> Int64[Tensor, "d_sae"]:
    """On how many strings each latent is above 0."""
    return (latents > 0).sum(dim=0)


def l0(latents: Float[Tensor, "strings d_sae"]) -> float:
    """Mean number of latents that are not 0, per string."""
    return float((latents != 0).sum(dim=1).double().mean())


class CrossEntropy(NamedTuple):
    """Mean loss over all positions, in nats, for four versions of the activations at one hook."""

    clean: float
    spliced: float
    """The autoencoder's reconstruction in place of the activations."""
    mean_ablated: float
    zero_ablated: float

    @property
    def recovered_from_mean(self) -> float:
        """(mean-ablated − spliced) / (mean-ablated − clean)."""
        return (self.mean_ablated - self.spliced) / (self.mean_ablated - self.clean)

    @property
    def recovered_from_zero(self) -> float:
        """(zero-ablated − spliced) / (zero-ablated − clean)."""
        return (self.zero_ablated - self.spliced) / (self.zero_ablated - self.clean)


def cross_entropy(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], autoencoder: Autoencoder
) -> CrossEntropy:
    """What splicing in the reconstruction costs, against removing the activations altogether."""
    hook = autoencoder.config.hook

    def splice(value: Tensor) -> Tensor:
        with torch.no_grad():
            return autoencoder(value.flatten(start_dim=1)).view_as(value)

    return CrossEntropy(
        clean=evaluate(model, tokens).mean_loss,
        spliced=evaluate_with(model, tokens, hook, splice).mean_loss,
        mean_ablated=mean_ablate(model, tokens, hook).mean_loss,
        zero_ablated=zero_ablate(model, tokens, hook).mean_loss,
    )
