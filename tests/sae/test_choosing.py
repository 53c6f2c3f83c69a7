"""Fronts, rank correlations, regret, the choice without labels, and tables that depart."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from palindrome_lens.sae import choosing, metrics
from palindrome_lens.sae.contestants import Run, Setting
from palindrome_lens.sae.leaderboard import Row, Transformer


def row(
    contestant: str,
    seed: int = 0,
    **own: float,
) -> Row:
    """A row whose other numbers are all 0.5."""
    numbers = dict.fromkeys([*metrics.Scores._fields, *Row._fields[2:]], 0.5) | own
    scores = metrics.Scores(*(numbers.pop(name) for name in metrics.Scores._fields))  # type: ignore[arg-type]
    return Row(Run(contestant, 3, 8, seed), scores, **numbers)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_means_are_over_the_seeds_of_each_setting() -> None:
    rows = [row("a", 0, mcc=0.2), row("b", 0, mcc=0.9), row("a", 1, mcc=0.4)]
    assert choosing.means(rows, "mcc").tolist() == pytest.approx([0.3, 0.9])


def test_points_gather_the_settings_of_a_contestant() -> None:
    rows = [
        row("a", 0, l0=1, mcc=0.2),
        row("b", 0, l0=5, mcc=0.9),
        row("a", 1, l0=3, mcc=0.4),
        row("a", 0, l0=7, mcc=0.1)._replace(run=Run("a", 4, 8, 0)),
    ]
    clouds = choosing.points(rows, "l0", "mcc")
    assert clouds["b"] == ([5], [0.9], [0.9], [0.9])
    assert clouds["a"].x == [2, 7]
    assert clouds["a"].y == pytest.approx([0.3, 0.1])
    assert (clouds["a"].low, clouds["a"].high) == ([0.2, 0.1], [0.4, 0.1])


def test_the_gain_of_the_price_is_seed_by_seed() -> None:
    rows = [
        *(row("TopK", seed, mcc=0.5) for seed in (0, 1)),
        row("TopK + L1", 0, mcc=0.7),
        row("TopK + L1", 1, mcc=0.4),
        row("Gated", 0),
    ]
    (setting,), (gain,) = zip(*choosing.gains(rows, "mcc").items(), strict=True)
    assert setting == Setting("TopK", 3, 8)
    assert gain.tolist() == pytest.approx([0.2, -0.1])


def test_a_verdict_turns_criteria_of_which_less_is_better() -> None:
    names = {score for score, _ in choosing.CRITERIA.values()}
    rows = [
        row(name, 0, **dict.fromkeys(names, size), centred_mcc=truth)
        for name, size, truth in (("a", 0.1, 0.9), ("b", 0.2, 0.8), ("c", 0.3, 0.3))
    ]
    judged = choosing.verdicts(rows, "centred_mcc")
    assert set(judged) == set(choosing.CRITERIA)
    # The truth falls as every number rises: a criterion of which less is better is right.
    for name, (_, sign) in choosing.CRITERIA.items():
        assert judged[name].ranks == pytest.approx((-sign, -sign, -sign))
        assert judged[name].regret == pytest.approx(0 if sign < 0 else 0.6)


def test_twins_are_compared_transformer_by_transformer() -> None:
    tables = {
        Transformer(7, trained=False): [row("a", 0, mcc=0.5), row("a", 1, mcc=0.7)],
        Transformer(3): [row("a", 0, mcc=0.9), row("a", 1, mcc=0.8)],
        Transformer(7): [row("a", 0, mcc=0.9), row("a", 1, mcc=0.5)],
        Transformer(3, trained=False): [row("a", 0, mcc=0.2), row("a", 1, mcc=0.1)],
    }
    pair = choosing.twins(tables, "mcc")
    assert pair.seeds == [7, 3]
    assert pair.trained.tolist() == [[0.9, 0.5], [0.9, 0.8]]
    assert pair.gain.tolist() == pytest.approx([0.1, 0.7])
    del tables[Transformer(7)]
    with pytest.raises(KeyError):
        choosing.twins(tables, "mcc")


def test_the_front_holds_what_nothing_beats() -> None:
    cost, gain = numbers(1, 2, 2, 3, 4), numbers(0.5, 0.7, 0.6, 0.7, 0.9)
    # The third costs as much as the second and gains less; the fourth gains as much and costs more.
    assert choosing.front(cost, gain).tolist() == [True, True, False, False, True]


def test_equal_settings_are_both_on_the_front() -> None:
    assert choosing.front(numbers(1, 1), numbers(2, 2)).tolist() == [True, True]


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
    rows = [
        row("collapsed", 0, consistency=1.0, explained_variance=0.3),
        row("good", 0, consistency=0.8, explained_variance=0.94),
        row("good", 1, consistency=0.8, explained_variance=0.97),
        row("better", 0, consistency=0.7, explained_variance=0.99, code_consistency=1.0),
    ]
    assert choosing.without_labels(rows) == Setting("good", 3, 8)
    assert choosing.without_labels(rows, 0.96) == Setting("better", 3, 8)
    with pytest.raises(ValueError, match="No setting explains 100% of the variance"):
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
        assert choosing.without_labels(turned) == Setting("a", 3, 8)


@pytest.fixture
def table() -> list[Row]:
    return [row("a", seed, consistency=0.9, l0=3.0, mcc=0.95) for seed in (0, 1)]


def test_the_same_scores_do_not_depart(table: list[Row]) -> None:
    assert choosing.departures(table, table) == []
    rounded = [one._replace(scores=one.scores._replace(l0=3.00001)) for one in table]
    assert choosing.departures(rounded, table) == []


@pytest.mark.parametrize(
    "name", [*metrics.Scores._fields, "added_loss", "consistency", "code_consistency"]
)
@pytest.mark.parametrize("by", [1e-4, -1e-4, float("nan")])
def test_a_score_that_moved_is_named(table: list[Row], name: str, by: float) -> None:
    first = table[0]
    if name in metrics.Scores._fields:
        scores = first.scores._replace(**{name: getattr(first.scores, name) + by})
        moved = first._replace(scores=scores)
    else:
        moved = first._replace(**{name: getattr(first, name) + by})
    (sentence,) = choosing.departures([moved, table[1]], table)
    assert sentence.startswith(f"{name} of Run(contestant='a', level=3, d_sae=8, seed=0) is ")


def test_consistency_is_compared_only_over_the_same_seeds(table: list[Row]) -> None:
    alone = table[0]._replace(consistency=float("nan"), code_consistency=float("nan"))
    assert choosing.departures([alone], table) == []
    assert len(choosing.departures([alone, table[1]], table)) == 2


def test_a_run_that_the_table_lacks_is_an_error(table: list[Row]) -> None:
    with pytest.raises(KeyError):
        choosing.departures([row("b")], table)
