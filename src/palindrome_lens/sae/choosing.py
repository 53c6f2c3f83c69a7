"""Choosing among the settings of a sweep, with labels or without.

A setting has a number for each score: the mean over its seeds. What chooses is a *criterion*: a
score that can be had without knowing the true features, and whether more of it is better.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from palindrome_lens.sae.leaderboard import Row, Setting, by_setting, values

CRITERIA = {
    "explained variance": ("explained_variance", 1),
    "added cross-entropy": ("added_loss", -1),
    "L0": ("l0", -1),
    "dead latents": ("dead", -1),
    "consistency": ("consistency", 1),
}
"""By name: a score that needs no labels, and 1 where more is better, -1 where less is. The squared
error is not among them: all runs see the same data, so that it orders as explained variance does.
"""


class Interval(NamedTuple):
    """A number and where it lies when what it was computed over is drawn again."""

    value: float
    low: float
    high: float


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
    found = []
    for drawn in torch.randint(len(names), (draws, len(names)), generator=generator).tolist():
        chosen = torch.cat([members[i] for i in drawn])
        one, other = first[chosen], second[chosen]
        if len(one.unique()) > 1 and len(other.unique()) > 1:
            found.append(_spearman(one, other))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(found, dtype=torch.float64).quantile(ends).tolist()
    return Interval(_spearman(first, second), low, high)


def _spearman(first: Tensor, second: Tensor) -> float:
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def regret(criterion: Float[Tensor, "setting"], truth: Float[Tensor, "setting"]) -> float:
    """What is lost of the truth by taking the setting with the largest criterion.

    Of several with the same criterion one is taken blindly: their mean counts.
    """
    return float(truth.max() - truth[criterion == criterion.max()].mean())


def without_labels(rows: Iterable[Row], least_explained: float = 0.95) -> Setting:
    """The setting whose seeds agree most, among those that explain enough of the variance.

    Only the data and the autoencoders are looked at. A mean over seeds that differ in what they
    found cannot be high, and explaining the variance is what a dictionary that found the same
    little thing every time fails to do.

    Raises:
        ValueError: no setting explains enough.
    """
    groups = by_setting(rows)
    enough = {
        setting: float(values(group, "consistency").mean())
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
    found = []
    for setting, rows in by_setting(again).items():
        names = [*rows[0].scores._fields, "added_loss"]
        names += ["consistency"] * (len(rows) == seeds[setting])
        for name in names:
            new, old = values(rows, name), values([stated[row.run] for row in rows], name)
            # Not "above": a number that is not one differs from all others.
            off = ~((new - old).abs() <= tolerance * (1 + old.abs()))
            found += [
                f"{name} of {rows[i].run} is {new[i]:.6g}, in the table {old[i]:.6g}"
                for i in off.nonzero()[:, 0].tolist()
            ]
    return found
