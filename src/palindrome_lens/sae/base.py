"""What every autoencoder is: a typed configuration, an affine encoder and decoder, a loss."""

from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from palindrome_lens.config import Config

Inputs = Literal["string", "position"]


class SAEConfig(Config):
    """Which autoencoder, on which activations, trained how.

    Mean squared errors are means over samples and dimensions. A weight published for the squared
    norm of an error is therefore ``d_in`` times the same weight here.

    Attributes:
        inputs: what a sample is. "string": the activations of all positions side by side.
            "position": those of one position of one string.
        d_sae: the number of latents.
        k: active latents per sample; on average over a batch where the architecture is
            BatchTopK or Matryoshka (TopK and these).
        sparsity_target: the mean activation that the KL term pulls every latent to (KL).
        sparsity_weight: the weight of the sparsity term beside the mean squared error (KL,
            ReLU/L1, Gated, JumpReLU).
        length_weight: the weight of the summed latents beside the reconstruction error (TopK,
            BatchTopK, Matryoshka).
        aux_weight: the weight of the loss that revives dead latents; 1/32 as published, 0 for
            none (TopK, BatchTopK, Matryoshka).
        aux_k: how many dead latents it uses at once; ``None`` stands for half of ``d_in``.
        dead_after: a latent that has not fired in so many steps counts as dead.
        threshold: what every JumpReLU threshold starts at.
        bandwidth: width of the kernel through which thresholds get gradients (JumpReLU).
        prefixes: how many latents each nested dictionary has, the last one all (Matryoshka);
            empty stands for a quarter, a half and all.
        normalise: train on inputs with mean 0 and mean square 1. The scaling is folded into the
            weights afterwards, so that the result takes plain activations.
        project_gradient: take that part of the gradient out which would only lengthen an atom,
            where atoms are kept at unit length.
        schedule: "constant", or "cosine" from ``lr`` to 0 at the last step.

    Raises:
        ConfigError: more active latents than there are, or prefixes that are not nested.
    """

    architecture: Literal[
        "gelu-kl", "sigmoid-kl", "relu-l1", "gated", "topk", "batchtopk", "jumprelu", "matryoshka"
    ]
    hook: str = "blocks.0.hook_mlp_out"
    inputs: Inputs = "string"
    d_sae: int = Field(default=512, ge=1)
    k: int = Field(default=8, ge=1)
    sparsity_target: float = Field(default=0.05, gt=0, lt=1)
    sparsity_weight: float = Field(default=1e-3, ge=0)
    length_weight: float = Field(default=0.0, ge=0)
    aux_weight: float = Field(default=0.0, ge=0)
    aux_k: int | None = Field(default=None, ge=1)
    dead_after: int = Field(default=50, ge=1)
    threshold: float = Field(default=1.0, gt=0)
    bandwidth: float = Field(default=1.0, gt=0)
    prefixes: tuple[int, ...] = ()
    normalise: bool = False
    project_gradient: bool = True
    steps: int = Field(default=1200, ge=1)
    batch_size: int = Field(default=512, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        selects = self.architecture in ("topk", "batchtopk", "matryoshka")
        if selects and self.k > self.d_sae:
            raise ValueError(f"k is {self.k}; the autoencoder has {self.d_sae} latents.")
        ascending = sorted({n for n in self.prefixes if n >= 1})
        if self.prefixes and (list(self.prefixes) != ascending or ascending[-1] != self.d_sae):
            raise ValueError(
                f"The prefixes are {list(self.prefixes)}; they must ascend from 1 or more to all "
                f"{self.d_sae} latents."
            )
        return self

    @property
    def nested(self) -> tuple[int, ...]:
        """The sizes of the nested dictionaries."""
        quarters = {max(1, self.d_sae // 4), max(1, self.d_sae // 2), self.d_sae}
        return self.prefixes or tuple(sorted(quarters))


ORIGINAL_SAE = SAEConfig(
    architecture="gelu-kl", steps=10_000, batch_size=4, lr=1e-4, schedule="constant"
)
TOPK_SAE = SAEConfig(architecture="topk", project_gradient=False)


class Loss(NamedTuple):
    """The parts of an autoencoder's loss; ``total``, their sum, is what training lowers."""

    total: Float[Tensor, ""]
    mse: Float[Tensor, ""]
    sparsity: Float[Tensor, ""]
    """The weighted sparsity term; 0 where sparsity is built into the architecture."""
    auxiliary: Float[Tensor, ""]
    """Other reconstructions: of what dead latents, a gate alone, or a prefix can do; else 0."""
    latents: Float[Tensor, "batch d_sae"]
    """Those that were computed on the way."""


class Autoencoder(nn.Module):
    """An affine encoder with a non-linearity, an affine decoder.

    Weights start uniform in ±1 / √(fan-in), drawn in float64. Unless a class says otherwise its
    atoms have unit length, the encoder starts as the transpose of the decoder, and inputs are
    centred on the decoder's bias.
    """

    unit_norm: ClassVar[bool] = True
    centred: ClassVar[bool] = True

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__()
        self.config = config
        self.d_in, self.d_sae = d_in, config.d_sae
        generator = torch.Generator().manual_seed(config.seed)
        self.W_enc = _uniform(generator, d_in, self.d_sae, fan_in=d_in)
        self.b_enc = _uniform(generator, self.d_sae, fan_in=d_in)
        self.W_dec = _uniform(generator, self.d_sae, d_in, fan_in=self.d_sae)
        self.b_dec = _uniform(generator, d_in, fan_in=self.d_sae)
        if self.unit_norm:
            self.normalise_atoms()
            with torch.no_grad():
                self.W_enc.copy_(self.W_dec.T)
                self.b_enc.zero_()

    def before(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """The latents before the non-linearity.

        Raises:
            ValueError: inputs of another width, as those of another model or hook would be.
        """
        if x.shape[-1] != self.d_in:
            raise ValueError(
                f"The autoencoder takes {self.d_in} numbers per sample, not {x.shape[-1]}."
            )
        # Not (x - b_dec) @ W_enc: the gradient of b_dec would take a third product of this size.
        shift = self.b_enc - self.b_dec @ self.W_enc if self.centred else self.b_enc
        return F.linear(x, self.W_enc.T, shift)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        raise TypeError(f"{type(self).__name__} does not say how it encodes.")

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        return latents @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        return self.decode(self.encode(x))

    def sparsity(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
        """The weighted sparsity term; none unless a class has one."""
        return torch.zeros((), dtype=latents.dtype)

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        """What training lowers, on one batch; it changes nothing."""
        latents = self.encode(x)
        mse = F.mse_loss(self.decode(latents), x)
        sparsity = self.sparsity(latents)
        return Loss(mse + sparsity, mse, sparsity, torch.zeros_like(mse), latents)

    def observe(self, latents: Float[Tensor, "batch d_sae"]) -> None:
        """Note what a training batch's latents were, after each step; most have nothing to note."""

    def project_gradient(self) -> None:
        """Take out of each atom's gradient the part along the atom (Bricken et al. 2023)."""
        with torch.no_grad():
            if self.W_dec.grad is not None:
                along = (self.W_dec.grad * self.W_dec).sum(dim=1, keepdim=True)
                self.W_dec.grad -= along * self.W_dec / self.W_dec.square().sum(1, keepdim=True)

    def normalise_atoms(self) -> None:
        """Scale every atom to unit length."""
        with torch.no_grad():
            self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True))

    def fold(self, mean: Float[Tensor, "d_in"], scale: float) -> None:
        """From an autoencoder of (x − mean) / scale make the same one of x.

        Latents stay as they are; atoms, and with them reconstructions, become ``scale`` times
        as long.
        """
        with torch.no_grad():
            self.W_enc.div_(scale)
            self.W_dec.mul_(scale)
            self.b_dec.mul_(scale).add_(mean)
            if not self.centred:
                self.b_enc.sub_(mean @ self.W_enc)


def _uniform(generator: torch.Generator, *shape: int, fan_in: int) -> nn.Parameter:
    drawn = torch.rand(shape, dtype=torch.float64, generator=generator)
    return nn.Parameter((2 * drawn - 1) / fan_in**0.5)
