"""Architectures, one small class each behind one interface: ``encode``, ``decode``, ``loss``."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from palindrome_lens.config import Config


class SAEConfig(Config):
    """Which autoencoder, on which activations, trained how.

    Attributes:
        hook: the activations to explain; those of all positions are flattened to one vector.
        expansion: latents per input dimension.
        k: active latents per string (TopK).
        sparsity_target: the mean activation that the KL term pulls every latent to (GELU/KL).
        sparsity_weight: the weight of that term beside the mean squared error (GELU/KL).
        schedule: "constant", or "cosine" from ``lr`` to 0 at the last step.
    """

    architecture: Literal["gelu-kl", "topk"]
    hook: str = "blocks.0.hook_mlp_out"
    expansion: int = Field(default=4, ge=1)
    k: int = Field(default=8, ge=1)
    sparsity_target: float = Field(default=0.05, gt=0, lt=1)
    sparsity_weight: float = Field(default=1e-3, ge=0)
    steps: int = Field(default=1200, ge=1)
    batch_size: int = Field(default=512, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    seed: int = 0


ORIGINAL_SAE = SAEConfig(
    architecture="gelu-kl", steps=10_000, batch_size=4, lr=1e-4, schedule="constant"
)
TOPK_SAE = SAEConfig(architecture="topk")


class Loss(NamedTuple):
    """The parts of an autoencoder's loss; ``total`` is what training lowers."""

    total: Float[Tensor, ""]
    mse: Float[Tensor, ""]
    sparsity: Float[Tensor, ""]
    """The weighted sparsity term; 0 where sparsity is built into the architecture."""


class Autoencoder(nn.Module):
    """An affine encoder with a non-linearity, an affine decoder.

    Weights start uniform in ±1 / √(fan-in), drawn in float64.
    """

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__()
        self.config = config
        self.d_in, self.d_sae = d_in, d_in * config.expansion
        generator = torch.Generator().manual_seed(config.seed)
        self.W_enc = _uniform(generator, d_in, self.d_sae, fan_in=d_in)
        self.b_enc = _uniform(generator, self.d_sae, fan_in=d_in)
        self.W_dec = _uniform(generator, self.d_sae, d_in, fan_in=self.d_sae)
        self.b_dec = _uniform(generator, d_in, fan_in=self.d_sae)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        raise TypeError(f"{type(self).__name__} does not say how it encodes.")

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        return latents @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        return self.decode(self.encode(x))

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        mse = F.mse_loss(self(x), x)
        return Loss(mse, mse, torch.zeros_like(mse))


class GeluKL(Autoencoder):
    """The original notebook's: GELU latents, pulled to a target mean activation by a KL divergence.

    The divergence is that of two coins, KL(ρ ‖ ρ̂ⱼ), ρ the target and ρ̂ⱼ the batch mean of
    latent j (Ng, *Sparse autoencoder*, CS294A lecture notes, 2011, section 3). It is defined for
    0 < ρ̂ⱼ < 1 alone. A GELU latent can have any mean above −0.17, so the mean is clamped to
    (1e-10, 1 − 1e-10) as in the original, and outside that interval the term has no gradient.
    """

    CLAMP = 1e-10

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return F.gelu(x @ self.W_enc + self.b_enc)

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        latents = self.encode(x)
        mse = F.mse_loss(self.decode(latents), x)
        mean = latents.mean(dim=0).clamp(self.CLAMP, 1 - self.CLAMP)
        sparsity = self.config.sparsity_weight * kl_divergence(self.config.sparsity_target, mean)
        return Loss(mse + sparsity, mse, sparsity)


def kl_divergence(target: float, mean: Float[Tensor, "d_sae"]) -> Float[Tensor, ""]:
    """Σⱼ ρ ln(ρ / ρ̂ⱼ) + (1 − ρ) ln((1 − ρ) / (1 − ρ̂ⱼ)), in nats."""
    on = target * torch.log(target / mean)
    off = (1 - target) * torch.log((1 - target) / (1 - mean))
    return (on + off).sum()


class TopK(Autoencoder):
    """Only the ``k`` largest latents of each input stay (Gao et al., arXiv:2406.04093, 2.3).

    The encoder starts as the transpose of the decoder, whose atoms have unit length. The decoder
    bias starts at, and inputs are centred on, the mean of the data.

    Raises:
        ValueError: ``k`` is larger than the number of latents.
    """

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        if config.k > self.d_sae:
            raise ValueError(f"k is {config.k}; the autoencoder has {self.d_sae} latents.")
        with torch.no_grad():
            self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True))
            self.W_enc.copy_(self.W_dec.T)
            self.b_enc.zero_()

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        before = (x - self.b_dec) @ self.W_enc + self.b_enc
        values, indices = before.topk(self.config.k, dim=1)
        return torch.zeros_like(before).scatter(1, indices, values.relu())


def _uniform(generator: torch.Generator, *shape: int, fan_in: int) -> nn.Parameter:
    drawn = torch.rand(shape, dtype=torch.float64, generator=generator)
    return nn.Parameter((2 * drawn - 1) / fan_in**0.5)


ARCHITECTURES: dict[str, type[Autoencoder]] = {"gelu-kl": GeluKL, "topk": TopK}


def init_autoencoder(config: SAEConfig, data: Float[Tensor, "strings d_in"]) -> Autoencoder:
    """A fresh autoencoder for some data; TopK takes its decoder bias from the data's mean."""
    autoencoder = ARCHITECTURES[config.architecture](config, data.shape[1])
    if isinstance(autoencoder, TopK):
        with torch.no_grad():
            autoencoder.b_dec.copy_(data.mean(dim=0))
    return autoencoder
