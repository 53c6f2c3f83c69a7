"""How good a dictionary is, each number over every sample it is given.

A *dictionary* is anything with atoms that can encode and decode: an autoencoder, or a control that
was never trained. A *sample* is what it encodes at once, a string or one position of a string. In
large models the true features are unknown; here the labels are exact, and so is what they score.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from palindrome_lens.matching import match

# Whoever scores a dictionary needs these as well, and finds them here.
from palindrome_lens.sae.gauge import centred_mcc as centred_mcc
from palindrome_lens.sae.reference import Reference as Reference
from palindrome_lens.sae.reference import check_finite
from palindrome_lens.sae.reference import reference as reference
from palindrome_lens.sae.splicing import CrossEntropy as CrossEntropy
from palindrome_lens.sae.splicing import cross_entropy as cross_entropy
from palindrome_lens.sae.splicing import spliced_loss as spliced_loss

DENSE = 0.1
"""A latent that fires on a larger share of the samples is dense (Sun et al., arXiv:2506.15679)."""
ALIGNED = 0.5
"""Least cosine of an atom and a feature's vector at which the atom may carry the feature."""


class Dictionary(Protocol):
    """What all scores need; the autoencoders have it, and so have the controls."""

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_in"]: ...

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]: ...

    def decode(self, latents: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_in"]: ...


def explained_variance(
    x: Float[Tensor, "sample d_in"], reconstruction: Float[Tensor, "sample d_in"]
) -> float:
    """1 − ‖x − x̂‖² / ‖x − x̄‖², summed over samples and dimensions, x̄ the mean of each dimension.

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


def mse(x: Float[Tensor, "sample d_in"], reconstruction: Float[Tensor, "sample d_in"]) -> float:
    """Mean of (x − x̂)² over samples and dimensions, in squared units of the activations."""
    return float(F.mse_loss(reconstruction, x))


def shrinkage(
    x: Float[Tensor, "sample d_in"], reconstruction: Float[Tensor, "sample d_in"]
) -> float:
    """The γ for which x̂ / γ comes closest to x: below 1 where reconstructions are too short.

    γ = Σ ‖x̂‖² / Σ x̂ · x (Rajamanoharan et al., arXiv:2404.16014, the relative reconstruction
    bias; Wright and Sharkey 2024 named the effect). Here both are taken about the mean of x, as in
    :func:`explained_variance`: the mean is not shrunk, and would hide what is.

    Raises:
        ValueError: the reconstruction is the mean itself, or unrelated to the data.
    """
    centred, rebuilt = x - x.mean(dim=0), reconstruction - x.mean(dim=0)
    along = (centred * rebuilt).sum()
    if along == 0:
        raise ValueError("The reconstruction does not vary with the data; no factor relates them.")
    return float(rebuilt.square().sum() / along)


def firing_counts(latents: Float[Tensor, "sample d_sae"]) -> Int64[Tensor, "d_sae"]:
    """On how many samples each latent is above 0."""
    return (latents > 0).sum(dim=0)


def densities(latents: Float[Tensor, "sample d_sae"]) -> Float[Tensor, "d_sae"]:
    """The share of samples on which each latent is above 0: 0 is *dead*, above 0.1 *dense*."""
    return (latents > 0).double().mean(dim=0)


def l0(latents: Float[Tensor, "sample d_sae"]) -> float:
    """Mean number of latents that are not 0, per sample."""
    return float((latents != 0).sum(dim=1).double().mean())


class Agreement(NamedTuple):
    """How well directions agree with others, one to one."""

    mcc: float
    """Mean |cosine| over the reference features (or the larger of two sets); without partner 0."""
    matched: int
    """How many have a partner at all: as many as the smaller set has."""


def agreement(
    directions: Float[Tensor, "latent d_in"], others: Float[Tensor, "other d_in"]
) -> Agreement:
    """Mean correlation coefficient: |cosine| after Hungarian matching.

    Length, sign and order of the directions do not matter. It is the score of Hyvärinen and
    Morioka (2016) with cosines in place of correlations, as for autoencoders in Song et al.
    (arXiv:2505.20254).

    Raises:
        ValueError: a set is empty, the widths differ, or a direction has length 0.
    """
    pairs = match(directions, others)
    return Agreement(float(pairs.cosine.abs().sum()) / len(others), len(pairs.true))


def consistency(
    first: Float[Tensor, "latent d_in"], second: Float[Tensor, "other d_in"]
) -> Agreement:
    """Agreement of the live atoms of two seeds (PW-MCC, Song et al., arXiv:2505.20254).

    The mean is over the larger set: a latent that the other seed does not have at all counts 0.
    """
    return agreement(*sorted((first, second), key=len))


def code_consistency(
    first: Float[Tensor, "sample latent"], second: Float[Tensor, "sample other"]
) -> Agreement:
    """Agreement of two seeds' codes: |correlation| of latents over the samples, one to one.

    It is the score of Hyvärinen and Morioka (2016) as they use it. It compares when latents are on
    and how strongly, and so depends on no origin from which directions are measured. The mean is
    over the larger set, as in :func:`consistency`; a latent that does not vary counts 0.

    Raises:
        ValueError: a code has no latents, or the numbers of samples differ.
    """
    if not first.shape[1] or not second.shape[1] or len(first) != len(second):
        raise ValueError(
            f"Codes of shape {tuple(first.shape)} and {tuple(second.shape)} cannot be compared."
        )
    correlations = (_standardised(first).T @ _standardised(second)).abs()
    rows, columns = linear_sum_assignment(correlations.numpy(), maximize=True)
    larger = max(correlations.shape)
    return Agreement(float(correlations[rows, columns].sum()) / larger, len(rows))


def _standardised(code: Float[Tensor, "sample latent"]) -> Float[Tensor, "sample latent"]:
    centred = code - code.mean(dim=0)
    length, size = centred.norm(dim=0), code.norm(dim=0)
    # What is left of a constant after its mean is taken off is rounding, and no variation.
    varies = length > 1e-9 * size
    return torch.where(varies, centred / torch.where(varies, length, 1.0), 0.0)


def mean_max_cosine(
    directions: Float[Tensor, "latent d_in"], vectors: Float[Tensor, "feature d_in"]
) -> float:
    """Mean over features of the largest |cosine| with any direction (Sharkey et al. 2022).

    One direction may serve many features, so this is never below the matched mean.
    """
    cosines = F.normalize(vectors, dim=1) @ F.normalize(directions, dim=1).T
    return float(cosines.abs().amax(dim=1).mean())


def best_f1(
    latents: Float[Tensor, "sample d_sae"], labels: Bool[Tensor, "sample feature"]
) -> Float[Tensor, "d_sae feature"]:
    """The F1 of "latent > t" as a test for each feature, with the best t ≥ 0 of each pair.

    Exact: samples are sorted by the latent once, and every place where its value changes is tried.
    A latent that is never above 0 scores 0.
    """
    wanted = labels.float()
    positives = wanted.sum(dim=0)
    correlation = torch.zeros(latents.shape[1], labels.shape[1], dtype=torch.float64)
    for j, values in enumerate(latents.T):
        fires = (values > 0).nonzero().squeeze(1)
        if len(fires) == 0:
            continue
        ordered, order = values[fires].sort(descending=True)
        # Counts stay below 2^24, up to where float32 is exact.
        hits = wanted[fires[order]].cumsum(dim=0)
        ends = (ordered != F.pad(ordered[1:], (0, 1))).nonzero().squeeze(1)
        f1 = 2 * hits[ends].double() / (ends[:, None] + 1 + positives)
        correlation[j] = f1.amax(dim=0)
    return correlation


def firing_f1(
    latents: Float[Tensor, "sample d_sae"], labels: Bool[Tensor, "sample feature"]
) -> Float[Tensor, "d_sae feature"]:
    """The F1 of "latent > 0" as a test for each feature; a pair of two empty sets scores 0."""
    fires = (latents > 0).double()
    wanted = labels.double()
    size = fires.sum(dim=0)[:, None] + wanted.sum(dim=0)
    return 2 * (fires.T @ wanted) / size.clamp(min=1)


def coverage(f1: Float[Tensor, "d_sae feature"]) -> float:
    """Mean over features of the best latent's F1 (Karvonen et al., arXiv:2408.00113).

    They try ten thresholds for each latent; :func:`best_f1` tries all.
    """
    return float(f1.amax(dim=0).mean())


def uniqueness(f1: Float[Tensor, "latent feature"]) -> float:
    """Different features among the best ones of all latents, divided by the number of latents.

    1 where no two latents are best at the same feature. Pass live latents alone.
    """
    return len(f1.argmax(dim=1).unique()) / len(f1)


def absorption(
    latents: Float[Tensor, "sample latent"],
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
    f1: Float[Tensor, "latent feature"],
) -> float:
    """How often a feature is carried by another latent while its own is silent.

    After Chanin et al. (arXiv:2409.14507), with labels in place of a probe: a feature's own latent
    is the one with the best F1. A pair of a sample and a feature that it has is absorbed if that
    latent is not above 0, and another one is whose atom's cosine with the feature's vector exceeds
    0.5. (They ask for 0.025, in spaces of thousands of dimensions, and for the largest effect.)
    The rate is over all pairs of a sample and a feature that it has.
    """
    own = f1.argmax(dim=0)
    fires = (latents > 0).double()
    aligned = F.normalize(directions, dim=1) @ F.normalize(reference.vectors, dim=1).T > ALIGNED
    aligned[own, torch.arange(len(own))] = False
    carried = fires @ aligned.double() > 0
    absorbed = reference.labels & (fires[:, own] == 0) & carried
    return float(absorbed.sum() / reference.labels.sum())


class Scores(NamedTuple):
    """All scores of one dictionary but the cross-entropy, which needs the model."""

    l0: float
    explained_variance: float
    mse: float
    shrinkage: float
    n_latents: int
    dead: int
    """Latents that are above 0 on no sample."""
    dense: int
    """Latents that are above 0 on more than a tenth of the samples."""
    mcc: float
    matched: int
    """Features that have a partner among the live latents; the others count 0 in ``mcc``."""
    centred_mcc: float
    mean_max_cosine: float
    coverage: float
    firing_coverage: float
    """Coverage with the threshold 0 in place of the best one."""
    uniqueness: float
    absorption: float


def score(dictionary: Dictionary, x: Float[Tensor, "sample d_in"], reference: Reference) -> Scores:
    """Every score of a dictionary on all samples.

    A latent that takes both signs counts as two in coverage, uniqueness and absorption: what it
    is above 0, and what it is below, with the opposite atom. For non-negative latents that
    changes nothing. Directions are compared over the latents that are not 0 on every sample; one
    whose atom has length 0 is dead.

    Raises:
        ValueError: the widths or numbers of samples differ, a number is not finite, the
            activations do not vary, or no latent is live.
    """
    with torch.no_grad():
        _check(dictionary, x, reference)
        latents = dictionary.encode(x)
        rebuilt = dictionary.decode(latents)
        check_finite(latents, "latents")
        check_finite(rebuilt, "reconstructions")
        atoms = dictionary.W_dec.detach()
        density = densities(latents)
        directed = atoms.norm(dim=1) > 0
        live = (latents != 0).any(dim=0) & directed
        if not live.any():
            raise ValueError(f"All {len(atoms):,} latents are dead; there is nothing to score.")
        parts, directions = rectified(latents[:, live], atoms[live])
        f1 = best_f1(parts, reference.labels)
        agreed = agreement(atoms[live], reference.vectors)
        return Scores(
            l0=l0(latents),
            explained_variance=explained_variance(x, rebuilt),
            mse=mse(x, rebuilt),
            shrinkage=shrinkage(x, rebuilt),
            n_latents=len(atoms),
            dead=int(((density == 0) | ~directed).sum()),
            dense=int((density > DENSE).sum()),
            mcc=agreed.mcc,
            matched=agreed.matched,
            centred_mcc=centred_mcc(directions, reference, f1),
            mean_max_cosine=mean_max_cosine(atoms[live], reference.vectors),
            coverage=coverage(f1),
            firing_coverage=coverage(firing_f1(parts, reference.labels)),
            uniqueness=uniqueness(f1),
            absorption=absorption(parts, directions, reference, f1),
        )


def rectified(
    latents: Float[Tensor, "sample d_sae"], atoms: Float[Tensor, "d_sae d_in"]
) -> tuple[Float[Tensor, "sample part"], Float[Tensor, "part d_in"]]:
    """The same code without negative numbers: a latent with some becomes two with opposite atoms.

    Parts that are 0 everywhere are left out.
    """
    parts = torch.cat([latents.relu(), (-latents).relu()], dim=1)
    used = parts.any(dim=0)
    return parts[:, used], torch.cat([atoms, -atoms])[used]


def _check(dictionary: Dictionary, x: Tensor, reference: Reference) -> None:
    widths = (x.shape[1], dictionary.W_dec.shape[1], reference.vectors.shape[1])
    if len(set(widths)) > 1:
        raise ValueError(
            "Activations have {} numbers, the dictionary's atoms {}, the reference's vectors "
            "{}; they must agree.".format(*widths)
        )
    if len(x) != len(reference.labels):
        raise ValueError(
            f"There are {len(x):,} samples; the reference labels {len(reference.labels):,}."
        )
    check_finite(x, "activations")
    check_finite(dictionary.W_dec, "atoms")
