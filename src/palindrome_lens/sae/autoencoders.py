"""Architectures, one small class each behind one interface: ``encode``, ``decode``, ``loss``."""

import torch
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.sae.base import ORIGINAL_SAE, TOPK_SAE, Autoencoder, Inputs, Loss, SAEConfig
from palindrome_lens.sae.penalised import (
    Gated,
    GeluKL,
    JumpRelu,
    ReluL1,
    SigmoidKL,
    kl_divergence,
)
from palindrome_lens.sae.topk import BatchTopK, Matryoshka, TopK

__all__ = [
    "ARCHITECTURES",
    "ORIGINAL_SAE",
    "TOPK_SAE",
    "Autoencoder",
    "BatchTopK",
    "Gated",
    "GeluKL",
    "Inputs",
    "JumpRelu",
    "Loss",
    "Matryoshka",
    "ReluL1",
    "SAEConfig",
    "SigmoidKL",
    "TopK",
    "as_samples",
    "init_autoencoder",
    "kl_divergence",
]

ARCHITECTURES: dict[str, type[Autoencoder]] = {
    "gelu-kl": GeluKL,
    "sigmoid-kl": SigmoidKL,
    "relu-l1": ReluL1,
    "gated": Gated,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpRelu,
    "matryoshka": Matryoshka,
}


def init_autoencoder(config: SAEConfig, data: Float[Tensor, "samples d_in"]) -> Autoencoder:
    """A fresh autoencoder for some data; the decoder bias of those with unit atoms starts as the
    data's mean.

    Raises:
        ConfigError: the configuration was changed into an impossible one.
    """
    # ``model_copy`` does not validate.
    config = SAEConfig(**config.model_dump())
    autoencoder = ARCHITECTURES[config.architecture](config, data.shape[1])
    if autoencoder.unit_norm:
        with torch.no_grad():
            autoencoder.b_dec.copy_(data.mean(dim=0))
    return autoencoder


def as_samples(
    values: Float[Tensor, "strings position *d"], inputs: Inputs
) -> Float[Tensor, "samples d_in"]:
    """Activations as an autoencoder takes them; ``reshape`` of the original's shape undoes it."""
    if inputs == "position":
        values = values.flatten(end_dim=1)
    return values.flatten(start_dim=1)
