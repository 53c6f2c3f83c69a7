"""Autoencoders that keep the largest latents and set the others to 0."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from palindrome_lens.sae.base import Autoencoder, Loss, SAEConfig


class TopK(Autoencoder):
    """Only the ``k`` largest latents of each sample stay (Gao et al., arXiv:2406.04093, 2.3).

    The decoder bias starts at the mean of the data. With ``aux_weight`` > 0, latents that have
    not fired for ``dead_after`` steps learn to reconstruct what the others leave (AuxK, appendix
    A.2 of the paper); otherwise nothing ever reaches them.

    Where one of several latents always fires, a vector added to all their atoms can be taken off
    elsewhere, and the reconstruction stays as it is. With ``length_weight`` > 0 the summed length
    of what is added up decides: the shortest wins.
    """

    quiet: Int64[Tensor, "d_sae"]
    """Training steps since each latent was last above 0."""

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.register_buffer("quiet", torch.zeros(self.d_sae, dtype=torch.int64))

    def select(self, before: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        """The latents that stay, the others 0; a negative one never stays."""
        return keep_largest(before, self.config.k)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self.select(self.before(x))

    def sparsity(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, ""]:
        return self.config.length_weight * latents.sum(dim=1).mean()

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Loss:
        before = self.before(x)
        latents, rebuilt = self.rebuilt(before)
        mse = F.mse_loss(rebuilt, x)
        sparsity = self.sparsity(latents)
        auxiliary = self.revival(x - rebuilt.detach(), before) + self.nested(x, latents)
        return Loss(mse + sparsity + auxiliary, mse, sparsity, auxiliary, latents)

    def rebuilt(
        self, before: Float[Tensor, "batch d_sae"]
    ) -> tuple[Float[Tensor, "batch d_sae"], Float[Tensor, "batch d_in"]]:
        """The latents that stay, and what they reconstruct.

        Only the ``k`` atoms of each sample are added up, which takes two thirds of the time that
        the product of all latents with all atoms takes.
        """
        values, indices = before.topk(self.config.k, dim=1)
        kept = values.relu()
        summed = F.embedding_bag(indices, self.W_dec, per_sample_weights=kept, mode="sum")
        return torch.zeros_like(before).scatter(1, indices, kept), summed + self.b_dec

    def revival(
        self, residual: Float[Tensor, "batch d_in"], before: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, ""]:
        """The weighted error of reconstructing the residual from the ``aux_k`` largest dead
        latents; 0 where none is dead."""
        dead = (self.quiet >= self.config.dead_after).nonzero()[:, 0]
        if not self.config.aux_weight or not len(dead):
            return torch.zeros((), dtype=before.dtype)
        n = min(self.config.aux_k or max(1, self.d_in // 2), len(dead))
        rebuilt = keep_largest(before[:, dead], n) @ self.W_dec[dead]
        return self.config.aux_weight * F.mse_loss(rebuilt, residual)

    def nested(
        self, x: Float[Tensor, "batch d_in"], latents: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, ""]:
        """Reconstruction errors of smaller dictionaries inside this one; here there are none."""
        return torch.zeros((), dtype=x.dtype)

    def observe(self, latents: Float[Tensor, "batch d_sae"]) -> None:
        self.quiet += 1
        self.quiet[(latents > 0).any(dim=0)] = 0


def keep_largest(before: Float[Tensor, "batch n"], k: int) -> Float[Tensor, "batch n"]:
    """The ``k`` largest of each row, negative ones and all others 0."""
    values, indices = before.topk(k, dim=1)
    return torch.zeros_like(before).scatter(1, indices, values.relu())


class BatchTopK(TopK):
    """The ``k`` × batch largest latents of a whole batch stay, so that a sample may use more or
    fewer (Bussmann et al., arXiv:2412.06410, 3).

    After training, a sample must not depend on others. A latent then stays if it exceeds one
    threshold, the mean over training batches of the smallest latent that stayed (equation 7);
    here a running mean that forgets the first batches.
    """

    DECAY = 0.99
    threshold: Float[Tensor, ""]

    def rebuilt(
        self, before: Float[Tensor, "batch d_sae"]
    ) -> tuple[Float[Tensor, "batch d_sae"], Float[Tensor, "batch d_in"]]:
        latents = self.select(before)
        return latents, self.decode(latents)

    def __init__(self, config: SAEConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))

    def select(self, before: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        if not self.training:
            return before.where(before > self.threshold, 0.0)
        return keep_largest(before.reshape(1, -1), self.config.k * len(before)).view_as(before)

    def observe(self, latents: Float[Tensor, "batch d_sae"]) -> None:
        super().observe(latents)
        positive = latents[latents > 0]
        if len(positive):
            smallest = positive.min()
            kept = self.DECAY if self.threshold > 0 else 0.0
            self.threshold.mul_(kept).add_((1 - kept) * smallest)


class Matryoshka(BatchTopK):
    """A BatchTopK whose first latents are, alone, a dictionary too (Bussmann et al.,
    arXiv:2503.17547, 3).

    The loss is the sum of the reconstruction errors of all prefixes. The selection is made once,
    over all latents.
    """

    def nested(
        self, x: Float[Tensor, "batch d_in"], latents: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, ""]:
        """The summed errors of the prefixes but the last, which is the whole."""
        errors = [
            F.mse_loss(latents[:, :n] @ self.W_dec[:n] + self.b_dec, x)
            for n in self.config.nested[:-1]
        ]
        return torch.stack(errors).sum() if errors else super().nested(x, latents)
