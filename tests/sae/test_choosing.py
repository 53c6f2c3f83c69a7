"""Fronts, rank correlations, regret, the choice without labels, and tables that depart."""

import pandas as pd
import pytest
import torch
from pandas import DataFrame
from scipy.stats import spearmanr
from torch import Tensor

from palindrome_lens.sae import choosing, metrics, standings
from palindrome_lens.sae.contestants import Run, Setting
from palindrome_lens.sae.leaderboard import Row, Transformer


def row(
    contestant: str,
    seed: int = 0,
    level: float = 3,
    **own: float,
) -> Row:
    """A row whose other numbers are all 0.5."""
    numbers = dict.fromkeys([*metrics.Scores._fields, *Row._fields[2:]], 0.5) | own
    scores = metrics.Scores(*(numbers.pop(name) for name in metrics.Scores._fields))  # type: ignore[arg-type]
    return Row(Run(contestant, level, 8, seed), scores, **numbers)


def runs(*rows: Row) -> DataFrame:
    return standings.frame(rows)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_means_are_over_the_seeds_of_each_setting_in_the_order_of_the_runs() -> None:
    settings = choosing.means(runs(row("b", mcc=0.2), row("a", mcc=0.9), row("b", 1, mcc=0.4)))
    assert settings["mcc"].tolist() == pytest.approx([0.3, 0.9])
    assert settings["mcc"][Setting("a", 3, 8)] == 0.9
    assert "seed" not in settings


def test_points_gather_the_settings_of_a_contestant() -> None:
    clouds = choosing.points(
        runs(
            row("b", 0, l0=5, mcc=0.9),
            row("a", 0, l0=1, mcc=0.2),
            row("a", 1, l0=3, mcc=0.4),
            row("a", 0, level=4, l0=7, mcc=0.1),
        ),
        "l0",
        "mcc",
    )
    assert list(clouds) == ["b", "a"]
    assert clouds["b"] == ([5], [0.9], [0.9], [0.9])
    assert clouds["a"].x == [2, 7]
    assert clouds["a"].y == pytest.approx([0.3, 0.1])
    assert (clouds["a"].low, clouds["a"].high) == ([0.2, 0.1], [0.4, 0.1])


def test_the_best_setting_can_be_configured() -> None:
    settings = choosing.means(runs(row("TopK", mcc=0.9), row("Gated", level=0.02, mcc=0.8)))
    best = choosing.best(settings["mcc"])
    assert best == Setting("TopK", 3, 8)
    assert Run(*best, seed=0).config.k == 3
    assert choosing.best(-settings["mcc"]).level == 0.02


def test_readers_see_settings_and_scores_in_words() -> None:
    settings = choosing.means(runs(row("TopK"), row("Gated", level=0.02)))
    shown = choosing.labelled(settings[["mcc", "shrinkage"]])
    assert shown.index.tolist() == ["TopK, 3, 8", "Gated, 0.02, 8"]
    assert list(shown) == ["MCC", "shrinkage"]


def test_the_gain_of_the_price_is_run_by_run() -> None:
    gains = choosing.gains(
        runs(
            *(row("TopK", seed, mcc=0.5) for seed in (0, 1)),
            row("TopK + L1", 1, mcc=0.4),
            row("TopK + L1", 0, mcc=0.7, l0=0.25),
            row("ReLU + L1", 0),
            row("Gated", 0),
        )
    )
    assert gains.index.tolist() == [("TopK", 3, 8, 0), ("TopK", 3, 8, 1)]
    assert gains["mcc"].tolist() == pytest.approx([0.2, -0.1])
    assert gains["l0"].tolist() == [-0.25, 0]


def test_a_verdict_turns_criteria_of_which_less_is_better() -> None:
    names = {score for score, _ in choosing.CRITERIA.values()}
    rows = [
        row(name, 0, **dict.fromkeys(names, size), centred_mcc=truth)
        for name, size, truth in (("a", 0.1, 0.9), ("b", 0.2, 0.8), ("c", 0.3, 0.3))
    ]
    judged = choosing.verdicts(choosing.means(runs(*rows)), "centred_mcc")
    assert list(judged.index) == list(choosing.CRITERIA)
    # The truth falls as every number rises: a criterion of which less is better is right.
    for name, (_, sign) in choosing.CRITERIA.items():
        *interval, regret = judged.loc[name]
        assert interval == pytest.approx([-sign, -sign, -sign])
        assert regret == pytest.approx(0 if sign < 0 else 0.6)


def test_twins_are_compared_transformer_by_transformer() -> None:
    tables = {
        Transformer(7, trained=False): [row("TopK", 0, mcc=0.5), row("TopK", 1, mcc=0.7)],
        Transformer(3): [row("TopK", 0, mcc=0.9), row("TopK", 1, mcc=0.8), row("Gated", mcc=0)],
        Transformer(7): [row("TopK", 0, mcc=0.9), row("TopK", 1, mcc=0.5)],
        Transformer(3, trained=False): [row("TopK", 0, mcc=0.2), row("TopK", 1, mcc=0.1)],
    }
    setting = Setting("TopK", 3, 8)
    pair = choosing.twins(standings.transformers_frame(tables), setting, "mcc")
    assert pair.index.tolist() == [7, 3]
    assert pair["trained"].tolist() == pytest.approx([0.7, 0.85])
    assert pair["untrained"].tolist() == pytest.approx([0.6, 0.15])
    assert pair["gain"].tolist() == pytest.approx([0.1, 0.7])
    del tables[Transformer(7)]
    with pytest.raises(ValueError, match="lack their twin"):
        choosing.twins(standings.transformers_frame(tables), setting, "mcc")


def scored(cost: list[float], gain: list[float]) -> DataFrame:
    return DataFrame({"l0": cost, "mcc": gain})


def test_the_front_holds_what_nothing_beats() -> None:
    settings = scored([1, 2, 2, 3, 4], [0.5, 0.7, 0.6, 0.7, 0.9])
    # The third costs as much as the second and gains less; the fourth gains as much and costs more.
    assert choosing.front(settings, "mcc").tolist() == [True, True, False, False, True]


def test_equal_settings_are_both_on_the_front() -> None:
    assert choosing.front(scored([1, 1], [2, 2]), "mcc").tolist() == [True, True]


def test_the_rank_correlation_sees_order_alone() -> None:
    first = numbers(1, 2, 3, 4, 5, 6)
    groups = ["a", "a", "b", "b", "c", "c"]
    same, opposite = first.exp(), -first
    assert choosing.rank_correlation(first, same, groups, draws=50) == pytest.approx((1, 1, 1))
    assert choosing.rank_correlation(first, opposite, groups, draws=50) == pytest.approx(
        (-1, -1, -1)
    )
    # 1 − 6 Σd² / (n (n² − 1)) with d = 1, 1, 0, 0, 0, 0.
    swapped = numbers(2, 1, 3, 4, 5, 6)
    assert choosing.rank_correlation(first, swapped, groups, draws=50).value == pytest.approx(
        1 - 12 / 210
    )


def test_ranks_of_equal_numbers_are_shared_as_scipy_does() -> None:
    first, second = numbers(1, 2, 2, 3, 3, 3), numbers(5, 1, 4, 4, 2, 6)
    expected = spearmanr(first.numpy(), second.numpy()).statistic
    ranks = choosing.rank_correlation(first, second, list("aabbcc"), draws=20)
    assert ranks.value == pytest.approx(expected)


def test_whole_groups_are_drawn_again() -> None:
    first, second = numbers(1, 2, 3, 4), numbers(2, 1, 4, 3)
    # Within a group the order is reversed, and with one group drawn twice nothing else is left.
    interval = choosing.rank_correlation(first, second, ["a", "a", "b", "b"], draws=50)
    assert interval.low == pytest.approx(-1)
    assert (interval.value, interval.high) == pytest.approx((0.6, 0.6))


def test_regret_is_what_the_favourite_lacks() -> None:
    truth = numbers(0.2, 0.9, 0.5)
    assert choosing.regret(numbers(1, 3, 2), truth) == 0
    assert choosing.regret(numbers(3, 1, 2), truth) == pytest.approx(0.7)
    # Two favourites: the mean of both.
    assert choosing.regret(numbers(3, 1, 3), truth) == pytest.approx(0.9 - 0.35)


def test_the_choice_is_the_most_consistent_of_those_that_explain_enough() -> None:
    rows = runs(
        row("collapsed", 0, consistency=1.0, explained_variance=0.3),
        row("good", 0, consistency=0.8, explained_variance=0.94),
        row("good", 1, consistency=0.8, explained_variance=0.97),
        row("better", 0, consistency=0.7, explained_variance=0.99, code_consistency=1.0),
    )
    assert choosing.without_labels(rows) == Setting("good", 3, 8)
    assert choosing.without_labels(rows, 0.96) == Setting("better", 3, 8)
    with pytest.raises(ValueError, match=r"least_explained is .*; no setting explains more than"):
        choosing.without_labels(rows, 0.9999)
    by_codes = choosing.without_labels(rows, agreement="code_consistency")
    assert by_codes == Setting("better", 3, 8)


LABELLED = (
    *("mcc", "matched", "centred_mcc", "mean_max_cosine"),
    *("coverage", "firing_coverage", "uniqueness", "absorption"),
)


def test_neither_the_criteria_nor_the_choice_see_a_label() -> None:
    assert not {score for score, _ in choosing.CRITERIA.values()} & set(LABELLED)
    rows = [
        row("a", consistency=0.9, explained_variance=0.96),
        row("b", consistency=0.8, explained_variance=0.97),
    ]
    for value in (0.0, 1.0):
        worse = dict.fromkeys(LABELLED, value)
        turned = [rows[0]._replace(scores=rows[0].scores._replace(**worse)), rows[1]]  # type: ignore[arg-type]
        assert choosing.without_labels(runs(*turned)) == Setting("a", 3, 8)


@pytest.fixture
def table() -> DataFrame:
    return runs(*(row("a", seed, consistency=0.9, l0=3.0, mcc=0.95) for seed in (0, 1)))


def test_the_same_scores_agree(table: DataFrame) -> None:
    same = choosing.compared(table, table)
    assert len(same) == 2 * (len(metrics.Scores._fields) + 3)
    assert same["agrees"].all()
    assert choosing.compared(table.assign(l0=3.00001), table)["agrees"].all()


@pytest.mark.parametrize(
    "name", [*metrics.Scores._fields, "added_loss", "consistency", "code_consistency"]
)
@pytest.mark.parametrize("by", [1e-4, -1e-4, float("nan")])
def test_a_score_that_moved_is_found(table: DataFrame, name: str, by: float) -> None:
    moved = table.copy()
    moved.loc[1, name] += by
    both = choosing.compared(moved, table)
    (off,) = both[~both["agrees"]].itertuples()
    assert (off.contestant, off.level, off.d_sae, off.seed, off.score) == ("a", 3, 8, 1, name)
    assert off.stated == table.loc[1, name]


def test_consistency_is_compared_only_over_the_same_seeds(table: DataFrame) -> None:
    alone = table[:1].assign(consistency=float("nan"), code_consistency=float("nan"))
    assert choosing.compared(alone, table)["agrees"].all()
    both = choosing.compared(pd.concat([alone, table[1:]]), table)
    assert both[~both["agrees"]]["score"].tolist() == ["consistency", "code_consistency"]


def test_runs_are_compared_on_their_own_transformer() -> None:
    transformers = {
        Transformer(1, trained): [row("TopK", mcc=mcc)]
        for trained, mcc in ((True, 0.9), (False, 0.2))
    }
    stated = standings.transformers_frame(transformers)
    assert choosing.compared(stated[1:], stated)["agrees"].all()
    swapped = stated.assign(trained=~stated["trained"])
    assert not choosing.compared(swapped, stated)["agrees"].all()


def test_a_run_that_the_table_lacks_is_an_error(table: DataFrame) -> None:
    with pytest.raises(KeyError):
        choosing.compared(runs(row("b")), table)
