"""Choosing among the settings of a sweep, with labels or without.

A setting has a number for each score: the mean over its seeds. What chooses is a *criterion*: a
score that can be had without knowing the true features, and whether more of it is better.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor

from palindrome_lens.sae.contestants import Setting
from palindrome_lens.sae.leaderboard import Row, Transformer, by_setting, values

CRITERIA = {
    "explained variance": ("explained_variance", 1),
    "added cross-entropy": ("added_loss", -1),
    "L0": ("l0", -1),
    "dead latents": ("dead", -1),
    "consistency of atoms": ("consistency", 1),
    "consistency of codes": ("code_consistency", 1),
}
"""By name: a score that needs no labels, and 1 where more is better, -1 where less is. The squared
error is not among them: all runs see the same data, so that it orders as explained variance does.
"""


class Interval(NamedTuple):
    """A number and where it lies when what it was computed over is drawn again."""

    value: float
    low: float
    high: float


class Points(NamedTuple):
    """Where the settings of a contestant lie: the mean of each setting's seeds, and for the height
    also the least and the largest."""

    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]


class Verdict(NamedTuple):
    """How a criterion orders the settings, beside a truth."""

    ranks: Interval
    """The rank correlation of the two."""
    regret: float


def points(rows: Iterable[Row], x: str, y: str) -> dict[str, Points]:
    """By contestant, the two scores of its settings."""
    result: dict[str, Points] = {}
    for setting, group in by_setting(rows).items():
        place, height = values(group, x).mean(), values(group, y)
        numbers = (place, height.mean(), height.min(), height.max())
        cloud = result.setdefault(setting.contestant, Points([], [], [], []))
        for column, number in zip(cloud, numbers, strict=True):
            column.append(float(number))
    return result


def gains(rows: Iterable[Row], name: str) -> dict[Setting, Float[Tensor, "seed"]]:
    """What the price on length adds to a score, seed by seed, for each setting that was trained
    with it and without; the key is the setting without."""
    groups = by_setting(rows)
    pairs = {s: s._replace(contestant=f"{s.contestant} + L1") for s in groups}
    return {
        plain: values(groups[priced], name) - values(groups[plain], name)
        for plain, priced in pairs.items()
        if priced in groups
    }


class Twins(NamedTuple):
    """A score on several transformers, and on the same ones before training."""

    seeds: list[int]
    """Of the transformers."""
    trained: Float[Tensor, "transformer autoencoder"]
    untrained: Float[Tensor, "transformer autoencoder"]

    @property
    def gain(self) -> Float[Tensor, "transformer"]:
        """Trained less untrained, the mean over the autoencoders of each."""
        return self.trained.mean(dim=1) - self.untrained.mean(dim=1)


def twins(tables: Mapping[Transformer, Iterable[Row]], name: str) -> Twins:
    """A score of the same runs on every transformer and its untrained twin.

    Raises:
        KeyError: a transformer lacks its twin.
    """
    seeds = list(dict.fromkeys(transformer.seed for transformer in tables))
    scores = {
        trained: torch.stack([values(tables[Transformer(seed, trained)], name) for seed in seeds])
        for trained in (True, False)
    }
    return Twins(seeds, scores[True], scores[False])


def verdicts(rows: Sequence[Row], truth: str) -> dict[str, Verdict]:
    """What each criterion is worth against a score that needs the truth."""
    goal = means(rows, truth)
    groups = [setting.contestant for setting in by_setting(rows)]
    result = {}
    for name, (score, sign) in CRITERIA.items():
        criterion = sign * means(rows, score)
        ranks = rank_correlation(criterion, goal, groups)
        result[name] = Verdict(ranks, regret(criterion, goal))
    return result


def means(rows: Iterable[Row], name: str) -> Float[Tensor, "setting"]:
    """The mean over the seeds of each setting, in the order of the rows."""
    return torch.stack([values(group, name).mean() for group in by_setting(rows).values()])


def front(
    cost: Float[Tensor, "setting"], gain: Float[Tensor, "setting"]
) -> Bool[Tensor, "setting"]:
    """Which settings are on the Pareto front: none costs less and gains as much, or costs as much
    and gains more."""
    no_worse = (cost[:, None] <= cost) & (gain[:, None] >= gain)
    better = (cost[:, None] < cost) | (gain[:, None] > gain)
    return ~(no_worse & better).any(dim=0)


def rank_correlation(
    first: Float[Tensor, "setting"],
    second: Float[Tensor, "setting"],
    groups: Sequence[str],
    draws: int = 1000,
) -> Interval:
    """Spearman's rank correlation, with the middle 95 % of what a bootstrap finds.

    The settings of a contestant resemble each other, so whole contestants are drawn, with
    replacement, and not settings (the cluster bootstrap, Davison and Hinkley 1997, 3.8). Draws in
    which one of the two does not vary have no correlation and are left out.
    """
    names = list(dict.fromkeys(groups))
    members = [torch.tensor([g == name for g in groups]).nonzero()[:, 0] for name in names]
    generator = torch.Generator().manual_seed(0)
    correlations = []
    for drawn in torch.randint(len(names), (draws, len(names)), generator=generator).tolist():
        chosen = torch.cat([members[i] for i in drawn])
        one, other = first[chosen], second[chosen]
        if len(one.unique()) > 1 and len(other.unique()) > 1:
            correlations.append(_spearman(one, other))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(correlations, dtype=torch.float64).quantile(ends).tolist()
    return Interval(_spearman(first, second), low, high)


def _spearman(first: Tensor, second: Tensor) -> float:
    # Several times faster than scipy's spearmanr, which also computes a p-value.
    ranks = torch.as_tensor(rankdata(torch.stack([first, second]).numpy(), axis=1))
    return float(torch.corrcoef(ranks)[0, 1])


def regret(criterion: Float[Tensor, "setting"], truth: Float[Tensor, "setting"]) -> float:
    """What is lost of the truth by taking the setting with the largest criterion.

    Of several with the same criterion one is taken blindly: their mean counts.
    """
    return float(truth.max() - truth[criterion == criterion.max()].mean())


def without_labels(
    rows: Iterable[Row], least_explained: float = 0.95, agreement: str = "consistency"
) -> Setting:
    """The setting whose seeds agree most, among those that explain enough of the variance.

    Only the data and the autoencoders are looked at. A mean over seeds that differ in what they
    found cannot be high, and explaining the variance is what a dictionary that found the same
    little thing every time fails to do.

    Args:
        agreement: "consistency" compares atoms, and depends on where these have their origin;
            "code_consistency" compares when latents are on, and does not.

    Raises:
        ValueError: no setting explains enough.
    """
    groups = by_setting(rows)
    enough = {
        setting: float(values(group, agreement).mean())
        for setting, group in groups.items()
        if values(group, "explained_variance").mean() >= least_explained
    }
    if not enough:
        raise ValueError(f"No setting explains {least_explained:.0%} of the variance.")
    return max(enough, key=lambda setting: enough[setting])


def departures(again: Sequence[Row], table: Sequence[Row], tolerance: float = 1e-5) -> list[str]:
    """One sentence for each score of a run that the table states differently.

    A difference counts above ``tolerance`` times 1 plus the number in the table, which has six
    significant digits. Consistency depends on which seeds were run and is compared where a setting
    has the same ones.

    Raises:
        KeyError: the table lacks a run.
    """
    stated = {row.run: row for row in table}
    seeds = {setting: len(rows) for setting, rows in by_setting(table).items()}
    sentences = []
    for setting, rows in by_setting(again).items():
        names = [*rows[0].scores._fields, "added_loss"]
        if len(rows) == seeds[setting]:
            names += ["consistency", "code_consistency"]
        for name in names:
            new, old = values(rows, name), values([stated[row.run] for row in rows], name)
            # Not "above": a number that is not one differs from all others.
            off = ~((new - old).abs() <= tolerance * (1 + old.abs()))
            sentences += [
                f"{name} of {rows[i].run} is {new[i]:.6g}, in the table {old[i]:.6g}"
                for i in off.nonzero()[:, 0].tolist()
            ]
    return sentences
