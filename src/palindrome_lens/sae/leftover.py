"""Latents that stand for no feature of their own: where they fire, beside which latent, and what
they cost the agreement of two seeds."""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pandas import DataFrame
from torch import Tensor

from palindrome_lens.sae import gauge, metrics
from palindrome_lens.sae.leaderboard import Live
from palindrome_lens.sae.reference import Reference


class Leftover(NamedTuple):
    """One latent without a feature of its own. Counts are of samples on which a latent is not 0."""

    latent: int
    fires: int
    feature: int
    """The feature that most of these samples have."""
    share: float
    """How much of these samples have it."""
    partner_fires: int
    """Where the latent that is paired with this feature fires; 0 where none is."""
    both: int


def partners(
    codes: Float[Tensor, "sample latent"],
    atoms: Float[Tensor, "latent d_in"],
    reference: Reference,
) -> Bool[Tensor, "latent"]:
    """Which latents are paired with a feature, one to one, by where both are present."""
    latents, _ = gauge.paired(atoms, reference, metrics.firing_f1(codes, reference.labels))
    return torch.zeros(len(atoms), dtype=torch.bool).index_fill(0, latents, value=True)


def leftovers(
    codes: Float[Tensor, "sample latent"],
    atoms: Float[Tensor, "latent d_in"],
    reference: Reference,
) -> list[Leftover]:
    """The other latents, in order."""
    f1 = metrics.firing_f1(codes, reference.labels)
    latents, features = gauge.paired(atoms, reference, f1)
    partner_of = dict(zip(features.tolist(), latents.tolist(), strict=True))
    fires = codes != 0
    result = []
    for j in sorted(set(range(len(atoms))) - set(latents.tolist())):
        count, feature = (fires[:, j, None] & reference.labels).sum(dim=0).max(dim=0)
        own = partner_of.get(int(feature))
        beside = fires[:, own] if own is not None else torch.zeros_like(fires[:, j])
        n = int(fires[:, j].sum())
        both = int((fires[:, j] & beside).sum())
        result.append(Leftover(j, n, int(feature), int(count) / n, int(beside.sum()), both))
    return result


def between_seeds(parts: Mapping[int, Live], reference: Reference) -> DataFrame:
    """How far the live latents of every two seeds agree (:func:`metrics.consistency`).

    Returns:
        one line for each pair of "seeds": how many latents are live ("first", "second"), the
        "bound" that the agreement would reach if the latents for the features agreed perfectly and
        no others did, the agreement of the latents paired with "features", and that of "all".
    """
    own = {
        seed: part.atoms[partners(part.codes, part.atoms, reference)]
        for seed, part in parts.items()
    }
    lines = []
    for one, other in combinations(parts, 2):
        counts = [len(parts[seed].atoms) for seed in (one, other)]
        bound = len(reference.vectors) / max(counts)
        of_features = metrics.consistency(own[one], own[other]).mcc
        of_all = metrics.consistency(parts[one].atoms, parts[other].atoms).mcc
        lines.append([f"{one}, {other}", *counts, bound, of_features, of_all])
    return DataFrame(lines, columns=["seeds", "first", "second", "bound", "features", "all"])


def of_seeds(parts: Mapping[int, Live], reference: Reference) -> DataFrame:
    """The latents left over with every seed: the seed, and the fields of :class:`Leftover`."""
    lines = [
        (seed, *left)
        for seed, part in parts.items()
        for left in leftovers(part.codes, part.atoms, reference)
    ]
    return DataFrame(lines, columns=["seed", *Leftover._fields])
