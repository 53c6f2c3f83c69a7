"""Choosing among the settings of a sweep, with labels or without.

The runs are the lines of a table of :mod:`standings`. A setting has a number for each score: the
mean over its seeds. What chooses is a *criterion*: a score that can be had without knowing the true
features, and whether more of it is better.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from pandas import DataFrame, Series
from scipy.stats import rankdata
from torch import Tensor

from palindrome_lens.config import ConfigError
from palindrome_lens.sae.contestants import Run, Setting

RUN = list(Run._fields)
SETTING = list(Setting._fields)

NAMES = {
    "l0": "L0",
    "mcc": "MCC",
    "centred_mcc": "centred MCC",
    "explained_variance": "explained variance",
    "coverage": "coverage",
    "consistency": "consistency of atoms",
    "code_consistency": "consistency of codes",
    "mse": "MSE",
    "n_latents": "latents",
    "mean_max_cosine": "mean max cosine",
    "firing_coverage": "coverage at t = 0",
}
"""Scores as readers know them."""
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


def points(runs: DataFrame, x: str, y: str) -> dict[str, Points]:
    """By contestant, the two scores of its settings."""
    settings = runs.groupby(SETTING, sort=False)
    places = settings.agg(x=(x, "mean"), y=(y, "mean"), low=(y, "min"), high=(y, "max"))
    return {
        name: Points(*cloud.to_numpy().T.tolist())
        for name, cloud in places.groupby("contestant", sort=False)
    }


def means(runs: DataFrame) -> DataFrame:
    """The mean of each score over the seeds of each setting, which is the index."""
    return runs.drop(columns="seed").groupby(SETTING, sort=False).mean()


def of_setting(runs: DataFrame, setting: Setting) -> DataFrame:
    """The runs of one setting."""
    return runs[(runs[SETTING] == list(setting)).all(axis=1)]


def best(scores: Series) -> Setting:
    """The setting with the largest number; of several the first."""
    return _setting(scores.idxmax())


def labelled(settings: DataFrame) -> DataFrame:
    """The same for readers: each setting in writing, each score as in ``NAMES``."""
    names = [str(_setting(fields)) for fields in settings.index]
    return settings.set_axis(names).rename_axis("setting: level, width").rename(columns=NAMES)


def _setting(fields: tuple[str, float, int]) -> Setting:
    # A number of latents is whole, and the configuration of an autoencoder takes it only as such.
    contestant, level, d_sae = fields
    return Setting(contestant, int(level) if level == int(level) else level, int(d_sae))


def gains(runs: DataFrame) -> DataFrame:
    """What the price on length adds to each score, run by run, for all that were trained with it
    and without; the index is the run without."""
    has_price = runs["contestant"].str.endswith(" + L1")
    plain, priced = runs[~has_price].set_index(RUN), runs[has_price]
    without = priced["contestant"].str.removesuffix(" + L1")
    priced = priced.assign(contestant=without).set_index(RUN)
    pairs = plain.index.intersection(priced.index, sort=False)
    return priced.loc[pairs] - plain.loc[pairs]


def twins(runs: DataFrame, setting: Setting, name: str) -> DataFrame:
    """A score of a setting on each transformer (the index), trained and untrained, and the gain:
    trained less untrained. Each is the mean over the seeds of the autoencoder.

    Args:
        runs: on several transformers.

    Raises:
        ValueError: a transformer lacks its twin.
    """
    own = of_setting(runs, setting).groupby(["transformer", "trained"], sort=False)
    states = own[name].mean().unstack()
    pair = DataFrame({"trained": states.get(True), "untrained": states.get(False)})
    if pair.isna().any(axis=None):
        raise ValueError(f"Of {setting.in_words}, some transformers lack their twin.")
    return pair.assign(gain=pair["trained"] - pair["untrained"])


def verdicts(settings: DataFrame, truth: str) -> DataFrame:
    """What each criterion (the index) is worth against a score that needs the truth: their rank
    correlation ("ranks") with its interval ("low", "high"), and the "regret".

    Args:
        settings: as :func:`means` has them.
    """
    contestants = list(settings.index.get_level_values("contestant"))
    goal = torch.as_tensor(settings[truth].to_numpy(copy=True))
    lines = {}
    for name, (score, sign) in CRITERIA.items():
        criterion = sign * torch.as_tensor(settings[score].to_numpy(dtype=float, copy=True))
        ranks = rank_correlation(criterion, goal, contestants)
        lines[name] = [*ranks, regret(criterion, goal)]
    columns = ["ranks", "low", "high", "regret"]
    return DataFrame.from_dict(lines, orient="index", columns=columns)


def front(settings: DataFrame, name: str) -> Series:
    """Which settings are on the Pareto front of L0 and a score: none has fewer active latents and
    scores as high, or has as few and scores higher."""
    cost, gain = settings["l0"].to_numpy(), settings[name].to_numpy()
    no_worse = (cost[:, None] <= cost) & (gain[:, None] >= gain)
    better = (cost[:, None] < cost) | (gain[:, None] > gain)
    return Series(~(no_worse & better).any(axis=0), index=settings.index)


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
    runs: DataFrame, least_explained: float = 0.95, agreement: str = "consistency"
) -> Setting:
    """The setting whose seeds agree most, among those that explain enough of the variance.

    Only the data and the autoencoders are looked at. A mean over seeds that differ in what they
    found cannot be high, and explaining the variance is what a dictionary that found the same
    little thing every time fails to do.

    Args:
        agreement: "consistency" compares atoms, and depends on where these have their origin;
            "code_consistency" compares when latents are on, and does not.

    Raises:
        ConfigError: no setting explains enough.
    """
    settings = means(runs)
    enough = settings[settings["explained_variance"] >= least_explained]
    if enough.empty:
        most = settings["explained_variance"].max()
        raise ConfigError(
            f"least_explained is {least_explained}; no setting explains more than {most:.4g}."
        )
    return best(enough[agreement])


def compared(again: DataFrame, stated: DataFrame, tolerance: float = 1e-5) -> DataFrame:
    """Each score of runs that were made again, beside the same one in a table.

    Two numbers agree if they differ by at most ``tolerance`` times 1 plus the number in the table,
    which has six significant digits. Consistency depends on which seeds were run and is compared
    where a setting has the same ones.

    Returns:
        one line for each score of each run, with "again", "stated" and "agrees".

    Raises:
        KeyError: the table lacks a run.
    """
    # The columns up to the seed say which run it is; the tables of several transformers have more.
    names = list(again)
    which = names[: names.index("seed") + 1]
    long = []
    for name, runs in (("again", again), ("stated", stated[names])):
        counted = runs.assign(seeds=runs.groupby(which[:-1])["seed"].transform("size"))
        long.append(counted.melt([*which, "seeds"], var_name="score", value_name=name))
    both = long[0].merge(long[1], "left", [*which, "score"], suffixes=("", "_of_table"))
    if both["seeds_of_table"].isna().any():
        raise KeyError("The table lacks a run that was made again.")
    of_seeds = both["score"].isin(["consistency", "code_consistency"])
    both = both[~of_seeds | (both["seeds"] == both["seeds_of_table"])]
    off = (both["again"] - both["stated"]).abs()
    # A number that is not one agrees with nothing.
    agrees = off <= tolerance * (1 + both["stated"].abs())
    return both[[*which, "score", "again", "stated"]].assign(agrees=agrees)
