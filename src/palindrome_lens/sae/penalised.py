"""Autoencoders whose sparsity comes from a term in the loss."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from palindrome_lens.sae.base import Autoencoder, Loss, SAEConfig


class GeluKL(Autoencoder):
    """The original notebook's: GELU latents, pulled to a target mean activation by a KL divergence.

    The divergence is that of two coins, KL(ρ ‖ ρ̂ⱼ), ρ the target and ρ̂ⱼ the batch mean of
    latent j (Ng, *Sparse autoencoder*, CS294A lecture notes, 2011, section 3). It is defined for
    0 < ρ̂ⱼ < 1 alone. A GELU latent can have any mean above −0.17, so the mean is clamped to
    (1e-10, 1 − 1e-10) as in the original, and outside that interval the term has no gradient.
    Atoms have any length.
    """

    unit_norm = False
    centred = False
    CLAMP = 1e-10

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return F.gelu(self.before(x))

    def sparsity(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
        mean = latents.mean(dim=0).clamp(self.CLAMP, 1 - self.CLAMP)
        return self.config.sparsity_weight * kl_divergence(self.config.sparsity_target, mean)


class SigmoidKL(GeluKL):
    """Ng's own: sigmoid latents, whose means lie between 0 and 1, where the divergence is defined.

    The clamp of :class:`GeluKL` acts on a mean within 1e-10 of 0 or 1 only.
    """

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return torch.sigmoid(self.before(x))


def kl_divergence(target: float, mean: Float[Tensor, "d_sae"]) -> Float[Tensor, ""]:
    """Σⱼ ρ ln(ρ / ρ̂ⱼ) + (1 − ρ) ln((1 − ρ) / (1 − ρ̂ⱼ)), in nats."""
    on = target * torch.log(target / mean)
    off = (1 - target) * torch.log((1 - target) / (1 - mean))
    return (on + off).sum()


class ReluL1(Autoencoder):
    """ReLU latents, penalised by their sum (Bricken et al. 2023, *Towards monosemanticity*).

    Atoms are kept at unit length: longer ones would make any sum of latents as small as one likes.
    """

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self.before(x).relu()

    def sparsity(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
        return self.config.sparsity_weight * latents.sum(dim=1).mean()


class Gated(Autoencoder):
    """One half decides which latents are on, the other how large (Rajamanoharan et al. 2024,
    arXiv:2404.16014, equations 6 to 8).

    A latent is on where the gate π = (x − b_dec) W_enc + b_enc is positive. Its size is
    ReLU((x − b_dec) W_enc · exp(r_mag) + b_mag): the same weights, scaled latent by latent. Only
    ReLU(π) is penalised, so sizes are not shrunk. The gate itself is a step without gradient; it
    learns from the penalty and from an auxiliary reconstruction by ReLU(π), decoded by a frozen
    copy of the decoder.
    """

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.r_mag = nn.Parameter(torch.zeros(self.d_sae, dtype=torch.float64))
        self.b_mag = nn.Parameter(torch.zeros(self.d_sae, dtype=torch.float64))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self.gated(self.before(x))

    def gated(self, gate: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        """The latents, by what the gates are."""
        size = ((gate - self.b_enc) * self.r_mag.exp() + self.b_mag).relu()
        return size * (gate > 0)

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        before = self.before(x)
        latents, gate = self.gated(before), before.relu()
        mse = F.mse_loss(self.decode(latents), x)
        sparsity = self.config.sparsity_weight * gate.sum(dim=1).mean()
        auxiliary = F.mse_loss(gate @ self.W_dec.detach() + self.b_dec.detach(), x)
        return Loss(mse + sparsity + auxiliary, mse, sparsity, auxiliary, latents)


class JumpRelu(Autoencoder):
    """Latents below a threshold of their own are 0 (Rajamanoharan et al. 2024, arXiv:2407.14435).

    The penalty counts the active latents. Neither the count nor the jump has a gradient with
    respect to the threshold θ; both get that of the expected loss, estimated with a rectangle
    kernel (:class:`_Jump`, :class:`_Step`). θ is stored as its logarithm, which keeps it positive.
    """

    centred = False

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        start = torch.full((self.d_sae,), config.threshold, dtype=torch.float64)
        self.log_threshold = nn.Parameter(start.log())

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        threshold = self.log_threshold.exp()
        latents: Tensor = _Jump.apply(self.before(x), threshold, self.config.bandwidth)
        return latents

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        before, threshold = self.before(x), self.log_threshold.exp()
        latents: Tensor = _Jump.apply(before, threshold, self.config.bandwidth)
        mse = F.mse_loss(self.decode(latents), x)
        active = _Step.apply(before, threshold, self.config.bandwidth)
        sparsity = self.config.sparsity_weight * active.sum(dim=1).mean()
        return Loss(mse + sparsity, mse, sparsity, torch.zeros_like(mse), latents)


def _kernel(
    z: Float[Tensor, "batch d_sae"], threshold: Float[Tensor, "d_sae"], bandwidth: float
) -> Float[Tensor, "batch d_sae"]:
    """1/ε where z lies within ε/2 of the threshold, else 0."""
    return ((z - threshold).abs() < bandwidth / 2) / bandwidth


class _Jump(torch.autograd.Function):
    """z where z > θ, else 0. Its derivative in z is the step; in θ it is −θ/ε in the kernel's
    window (equation 11 of the paper)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return z.where(z > threshold, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        z, threshold = ctx.saved_tensors
        in_window = _kernel(z, threshold, ctx.bandwidth)
        return (
            gradients[0] * (z > threshold),
            -(gradients[0] * threshold * in_window).sum(dim=0),
            None,
        )


class _Step(torch.autograd.Function):
    """1 where z > θ, else 0. Its derivative in z is 0; in θ it is −1/ε in the kernel's window
    (equation 12 of the paper)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        z, threshold = ctx.saved_tensors
        in_window = _kernel(z, threshold, ctx.bandwidth)
        return None, -(gradients[0] * in_window).sum(dim=0), None
