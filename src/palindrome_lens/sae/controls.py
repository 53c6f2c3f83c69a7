"""Dictionaries that no autoencoder learned, to be scored beside those that one did; what scores
make of them, and what a centred MCC owes to its fit."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.interventions import evaluate_replaced, mean_ablate, zero_ablate
from palindrome_lens.model import activations
from palindrome_lens.sae import gauge, metrics
from palindrome_lens.sae.leaderboard import Live, Material
from palindrome_lens.sae.reference import Reference
from palindrome_lens.sparse_coding import pursue, unit
from palindrome_lens.task import inputs

RANK = 1e-9
"""A singular value below this part of the largest is rounding, and no direction of the data."""


class Linear(NamedTuple):
    """A dictionary whose latents are linear in its input, and take both signs."""

    centre: Float[Tensor, "d_in"]
    W_enc: Float[Tensor, "d_in d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return (x - self.centre) @ self.W_enc

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        return latents @ self.W_dec + self.centre


class Pursued(NamedTuple):
    """Given atoms, encoded by orthogonal matching pursuit (``sparse_coding.pursue``).

    Pursuit is a better encoder than an affine map: what such a dictionary scores is due to its
    atoms. Its latents can be negative.
    """

    centre: Float[Tensor, "d_in"]
    W_dec: Float[Tensor, "d_sae d_in"]
    """Of length 1."""
    active: int

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return pursue(x - self.centre, self.W_dec, self.active)

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        return latents @ self.W_dec + self.centre


class Given(NamedTuple):
    """A dictionary made on purpose, whose code for all samples is written down."""

    centre: Float[Tensor, "d_in"]
    W_dec: Float[Tensor, "d_sae d_in"]
    latents: Float[Tensor, "sample d_sae"]

    def encode(self, x: Float[Tensor, "sample d_in"]) -> Float[Tensor, "sample d_sae"]:
        if len(x) != len(self.latents):
            raise ValueError(f"The code of {len(self.latents):,} samples is given, not {len(x):,}.")
        return self.latents

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]:
        return latents @ self.W_dec + self.centre


def raw(x: Float[Tensor, "sample d_in"]) -> Linear:
    """Each number of the activations is a latent of its own."""
    same = torch.eye(x.shape[1], dtype=x.dtype)
    return Linear(torch.zeros_like(x[0]), same, same)


def neurons(model: TransformerBridge, tokens: Int64[Tensor, "strings length"]) -> Given:
    """The MLP's own neurons, as a dictionary of all that the MLP writes for a string.

    A latent is one neuron at one position, after the ReLU; its atom is what the neuron writes
    there, and 0 at the other positions. Their sum is what the model computes.
    """
    hook = "blocks.0.mlp.hook_post"
    post = activations(model, inputs(tokens), [hook])[hook]
    out, n_positions = model.blocks[0].mlp.out, post.shape[1]
    atoms = torch.block_diag(*[out.weight.detach().T] * n_positions)
    return Given(out.bias.detach().repeat(n_positions), atoms, post.flatten(start_dim=1))


def pca(x: Float[Tensor, "sample d_in"]) -> Linear:
    """All principal components along which the data vary at all.

    Raises:
        ValueError: the data do not vary.
    """
    _, singular, components = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    if singular[0] <= RANK * x.norm():
        raise ValueError("All inputs are equal; they have no principal components.")
    kept = components[singular > RANK * singular[0]]
    return Linear(x.mean(dim=0), kept.T, kept)


def ica(x: Float[Tensor, "sample d_in"], n_samples: int = 5000, seed: int = 0) -> Linear:
    """As many independent components as :func:`pca` has, by FastICA (Hyvärinen and Oja 2000).

    It sees ``n_samples`` drawn samples, for speed, and stops after 60 iterations at the latest.

    Raises:
        ValueError: there are fewer samples, or the data do not vary.
    """
    if not 1 <= n_samples <= len(x):
        raise ValueError(f"{n_samples:,} samples were asked for; there are {len(x):,}.")
    drawn = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n_samples]]
    axes = pca(drawn)
    deviation = axes.encode(drawn).std(dim=0, correction=0)
    white = axes.encode(drawn) / deviation
    fit = FastICA(whiten=False, max_iter=60, random_state=seed)
    # Several threads wait for each other at this size, and are ten times slower. Components that
    # are nearly Gaussian never settle; the others have long done so when the iterations end.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        turn = torch.as_tensor(fit.fit(white.numpy()).components_)
    return Linear(x.mean(dim=0), axes.W_enc / deviation @ turn.T, turn * deviation @ axes.W_dec)


def random(x: Float[Tensor, "sample d_in"], n_latents: int, active: int, seed: int = 0) -> Pursued:
    """Directions drawn uniformly; each sample is encoded with ``active`` of them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n_latents, x.shape[1], dtype=torch.float64, generator=generator)
    return Pursued(x.mean(dim=0), unit(drawn), active)


def turned(axes: Linear, seed: int = 0) -> Linear:
    """The same span, with as many orthonormal axes turned at random in it.

    What is true of the span holds here too. The turn is uniform over all rotations and reflections
    (Mezzadri, arXiv:math-ph/0609050). It is drawn from the span alone, because the signs of
    principal components differ from one kind of CPU to another.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(axes.W_dec.shape, dtype=axes.W_dec.dtype, generator=generator)
    # (d_in, axis): the draws within the span, made orthonormal
    q, r = torch.linalg.qr((drawn @ axes.W_dec.T @ axes.W_dec).T)
    turned_axes = q * r.diagonal().sign()
    return axes._replace(W_enc=turned_axes, W_dec=turned_axes.T)


def like_data(
    x: Float[Tensor, "sample d_in"], n_latents: int, active: int, seed: int = 0
) -> Pursued:
    """Directions drawn from the normal distribution that has the data's covariance."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(n_latents, len(x), dtype=x.dtype, generator=generator)
    return Pursued(x.mean(dim=0), unit(weights @ (x - x.mean(dim=0))), active)


def ceiling(reference: Reference, active: int) -> Pursued:
    """The reference itself as a dictionary; it is not told which features are present.

    Raises:
        ValueError: a feature's vector has length 0.
    """
    lengths = reference.vectors.norm(dim=1)
    if not bool((lengths > 0).all()):
        name = reference.names[int((lengths == 0).nonzero()[0])]
        raise ValueError(f"The vector of the feature {name} has length 0; it has no direction.")
    return Pursued(reference.mean, unit(reference.vectors), active)


def on_purpose(reference: Reference) -> dict[str, Given]:
    """The reference, told which features are present; and the same with one fault each.

    Merged: the first two features share a latent. Dead: the first latent never fires. Absorbed: a
    further latent fires in place of those of the first letter in slots 0 and 1 where both are
    present. Short: atoms are 0.8 times as long. Shifted: all atoms are moved by one vector, in
    equal parts along all axes and as long as a vector of the reference is on the mean.
    """
    mean, vectors, labels = reference.mean, reference.vectors, reference.labels.double()
    second = int((reference.slots == 0).sum())  # the first letter in slot 1
    merged_code, dead_code = labels.clone(), labels.clone()
    merged_code[:, 0] += merged_code[:, 1]
    merged_code[:, 1] = dead_code[:, 0] = 0
    merged = vectors.clone()
    merged[0] = vectors[:2].mean(dim=0)
    both = labels[:, [0]] * labels[:, [second]]
    absorbed_code = torch.cat([labels, both], dim=1)
    absorbed_code[:, [0, second]] -= both
    pair = torch.cat([vectors, vectors[[0, second]].sum(dim=0, keepdim=True)])
    offset = vectors.norm(dim=1).mean() * unit(torch.ones_like(vectors[:1]))[0]
    n_slots = len(reference.slots.unique())  # as many features are always present
    return {
        "the truth": Given(mean, vectors, labels),
        "merged": Given(mean, merged, merged_code),
        "dead": Given(mean, vectors, dead_code),
        "absorbed": Given(mean, pair, absorbed_code),
        "short": Given(mean, 0.8 * vectors, labels),
        "shifted": Given(mean - n_slots * offset, vectors + offset, labels),
    }


def chance(
    x: Float[Tensor, "sample d_in"], vectors: Float[Tensor, "feature d_in"], draws: int
) -> dict[str, list[float]]:
    """The MCC of the principal components with vectors, and that of each draw of as many
    directions of three kinds: turned within the same span, like the data, and even."""
    axes = pca(x)
    n, seeds = len(axes.W_dec), range(draws)
    drawn: dict[str, list[metrics.Dictionary]] = {
        "PCA": [axes],
        "turned": [turned(axes, seed) for seed in seeds],
        "like the data": [like_data(x, n, 1, seed) for seed in seeds],
        "evenly": [random(x, n, 1, seed) for seed in seeds],
    }
    return {
        name: [metrics.agreement(dictionary.W_dec, vectors).mcc for dictionary in group]
        for name, group in drawn.items()
    }


class Tried(NamedTuple):
    """What a dictionary makes of all strings, what it scores, and what splicing it in costs."""

    atoms: Float[Tensor, "d_sae d_in"]
    codes: Float[Tensor, "strings d_sae"]
    scores: metrics.Scores
    loss: metrics.CrossEntropy

    @property
    def live(self) -> Live:
        """The latents that are not 0 on every string."""
        used = (self.codes != 0).any(dim=0)
        return Live(self.atoms[used], self.codes[:, used])


def tried(dictionary: metrics.Dictionary, material: Material, hook: str) -> Tried:
    """Put a dictionary to every question, on all strings at the hook of the material."""
    model, tokens = material.model, material.tokens
    with torch.no_grad():
        codes = dictionary.encode(material.x)
        rebuilt = dictionary.decode(codes)
    values = rebuilt.reshape(len(tokens), tokens.shape[1] - 1, -1)
    loss = metrics.CrossEntropy(
        clean=material.clean_loss,
        spliced=evaluate_replaced(model, tokens, hook, values).mean_loss,
        mean_ablated=mean_ablate(model, tokens, hook).mean_loss,
        zero_ablated=zero_ablate(model, tokens, hook).mean_loss,
    )
    scores = metrics.score(dictionary, material.x, material.reference)
    return Tried(dictionary.W_dec.detach(), codes, scores, loss)


class Centring(NamedTuple):
    """A centred MCC, and what it is when less, or the wrong thing, is fitted."""

    fitted: float
    unfitted: float
    """With nothing fitted to the truth (:func:`gauge.unfitted_mcc`)."""
    mislabelled: float
    """Fitted to the vectors of other letters (:func:`gauge.mislabelled`)."""


def centring(
    latents: Float[Tensor, "sample latent"],
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
) -> Centring:
    """The centred MCC of a dictionary with its two controls."""
    f1 = metrics.best_f1(latents, reference.labels)
    return Centring(
        gauge.centred_mcc(directions, reference, f1),
        gauge.unfitted_mcc(latents, directions, reference, f1),
        gauge.centred_mcc(directions, gauge.mislabelled(reference), f1),
    )
