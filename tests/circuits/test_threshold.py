"""The sweep over what is withheld, its table, and what is read off it."""

import math
from pathlib import Path

import pytest
import torch

from palindrome_lens.circuits import threshold, withheld
from palindrome_lens.circuits.threshold import Row
from palindrome_lens.circuits.unseen import Answers, Mended, Mistakes
from palindrome_lens.circuits.withheld import Run
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))
    short = withheld.RECIPE.model_copy(update={"steps": 2, "batch_size": 4})
    monkeypatch.setattr(withheld, "RECIPE", short)
    for module in (withheld, threshold):
        monkeypatch.setattr(module, "TASK", TINY)


def row(slot: int, size: int, seed: int, right: float) -> Row:
    return Row(
        Run("letters", slot, size, seed),
        Answers(right, 1.0, 0.9, 0.8, 0.7),
        Mistakes(0.1, 0.2, 0.3),
        Mended(0.4, 0.5, 0.6, 0.7, 0.8),
        math.nan,
    )


def test_the_grid_holds_every_run_once() -> None:
    runs = threshold.grid()
    sizes = len(threshold.LETTERS), len(threshold.STRINGS), len(threshold.PARTNERS)
    assert len(set(runs)) == len(runs) == sizes[0] * 3 * 10 + (sizes[1] + 3 * sizes[2]) * 5
    assert {1, 25} <= {run.size for run in runs if run.kind == "letters"} <= set(range(1, 26))
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_the_shipped_table_holds_the_grid_in_its_order() -> None:
    rows = threshold.read()
    assert [row.run for row in rows] == threshold.grid()
    letters = [row for row in rows if row.run.kind == "letters"]
    assert all(0 <= value <= 1 for row in letters for value in (*row.answers, *row.mended))


@pytest.mark.usefixtures("tiny")
def test_a_sweep_measures_its_own_models() -> None:
    runs = [Run("letters", 1, 2, 0), Run("pairs", 0, 1, 1), Run("strings", 0, 3, 0)]
    rows = threshold.sweep(runs)
    assert [row.run for row in rows] == runs
    tokens = encode(TINY, TINY.strings())
    for run, measured, model in zip(runs, rows, withheld.models(runs), strict=True):
        again = threshold.measured(run, model, tokens)
        assert again.answers == measured.answers
    assert not math.isnan(rows[0].mended.both)
    assert all(math.isnan(value) for row in rows[1:] for value in (*row.mistakes, *row.mended))
    assert [math.isnan(row.old_partner) for row in rows] == [True, False, True]
    assert threshold.departures(rows, rows) == 0


@pytest.mark.usefixtures("tiny")
def test_another_model_can_be_put_to_the_test_of_a_run() -> None:
    run, tokens = Run("letters", 0, 2, 0), encode(TINY, TINY.strings())
    own, other = (threshold.measured(run, withheld.untrained(s), tokens) for s in (0, 1))
    assert own.run == other.run
    assert own.answers.weight != other.answers.weight


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [row(0, 3, 1, 1 / 3)]
    rows.append(rows[0]._replace(run=Run("pairs", 2, 1, 0), mended=Mended(*[math.nan] * 5)))
    path = tmp_path / "table.csv"
    threshold.write(rows, path)
    back = threshold.read(path)
    assert [row.run for row in back] == [row.run for row in rows]
    assert threshold.departures(back, rows) == 0
    assert back[0].answers.right == pytest.approx(1 / 3, rel=1e-5)
    assert math.isnan(back[1].mended.both) and back[1].answers == back[0].answers


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("kind,slot\nletters,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has the columns"):
        threshold.read(path)


def test_a_number_that_moved_is_counted() -> None:
    table = [row(0, 3, 1, 0.5), row(0, 4, 1, 0.5)]
    assert threshold.departures([row(0, 3, 1, 0.5 + 1e-6)], table) == 0
    assert threshold.departures([row(0, 3, 1, 0.5 + 1e-4)], table) == 1
    gone = table[0]._replace(mended=Mended(math.nan, 0.5, 0.6, 0.7, 0.8))
    assert threshold.departures([gone], table) == 1
    with pytest.raises(KeyError):
        threshold.departures([row(1, 3, 1, 0.5)], table)


def test_the_first_size_is_the_one_after_the_last_failure() -> None:
    rights = {1: 0.0, 2: 0.95, 3: 0.4, 4: 0.9, 5: 1.0}
    rows = [row(0, size, 7, right) for size, right in rights.items()]
    rows += [row(1, 1, 7, 1.0), row(0, 3, 8, 1.0)]
    assert threshold.first_size(rows, 0, 7, 0.9) == 4
    assert threshold.first_size(rows, 0, 7, 0.99) == 5
    assert threshold.first_size(rows, 0, 7, 0.0) == 1
    assert threshold.first_size(rows, 0, 7, 1.1) == math.inf
    assert threshold.first_size(rows, 0, 8, 0.9) == 3


def test_a_measure_is_gathered_by_size_over_the_seeds() -> None:
    rows = [row(0, 2, 0, 0.1), row(0, 1, 0, 0.2), row(0, 2, 1, 0.3), row(1, 2, 0, 0.4)]
    result = threshold.spread(rows, "letters", 0, "right")
    assert list(result) == [1, 2]
    assert torch.equal(result[2], torch.tensor([0.1, 0.3], dtype=torch.float64))
    assert threshold.spread(rows, "letters", 1, "both")[2].tolist() == [0.8]
    with pytest.raises(ValueError, match="beauty"):
        threshold.values(rows, "beauty")
