"""The sweep over what is withheld, its table, and what is read off it."""

import math
from pathlib import Path

import pandas as pd
import pytest

from palindrome_lens.circuits import threshold, withheld
from palindrome_lens.circuits.unseen import Mended
from palindrome_lens.circuits.withheld import Run
from palindrome_lens.task import Task

TINY = Task(alphabet="abcd", half_length=3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))
    short = withheld.RECIPE.model_copy(update={"steps": 2, "batch_size": 4})
    monkeypatch.setattr(withheld, "RECIPE", short)
    for module in (withheld, threshold):
        monkeypatch.setattr(module, "TASK", TINY)


def table(*runs: tuple[int, int, int, float]) -> pd.DataFrame:
    """A table of the kind "letters": slot, size, seed and ``right`` are given, the rest is not."""
    rows = [dict(zip(("slot", "size", "seed", "right"), run, strict=True)) for run in runs]
    columns = [*threshold.RUN, *threshold.MEASURES]
    return pd.DataFrame(rows, columns=columns).assign(kind="letters", both=0.8)


def test_the_grid_holds_every_run_once() -> None:
    runs = threshold.grid()
    sizes = len(threshold.LETTERS), len(threshold.STRINGS), len(threshold.PARTNERS)
    assert len(set(runs)) == len(runs) == sizes[0] * 3 * 10 + (sizes[1] + 3 * sizes[2]) * 5
    assert {1, 25} <= {run.size for run in runs if run.kind == "letters"} <= set(range(1, 26))
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_the_shipped_table_holds_the_grid_in_its_order() -> None:
    rows = threshold.read()
    assert [*rows[threshold.RUN].itertuples(index=False, name=None)] == threshold.grid()
    letters = rows.loc[rows.kind == "letters", "right":"both"]
    assert bool(letters.ge(0).all(axis=None)) and bool(letters.le(1).all(axis=None))


def test_the_shipped_table_is_written_as_it_lies_there(tmp_path: Path) -> None:
    threshold.write(threshold.read(), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == threshold.FILE.read_bytes()


@pytest.mark.usefixtures("tiny")
def test_a_sweep_measures_its_own_models() -> None:
    runs = [Run("letters", 1, 2, 0), Run("pairs", 0, 1, 1), Run("strings", 0, 3, 0)]
    rows = threshold.sweep(runs)
    assert [*rows[threshold.RUN].itertuples(index=False, name=None)] == runs
    for i, (run, model) in enumerate(zip(runs, withheld.models(runs), strict=True)):
        again = threshold.measured([run], [model])
        assert threshold.departures(again, rows.iloc[[i]], tolerance=0) == 0
    assert rows.loc[:, "right":"weight_seen"].notna().all(axis=None)
    assert rows.loc[:, "old_letter":"both"].notna().all(axis=1).tolist() == [True, False, False]
    assert rows.loc[1:, "old_letter":"both"].isna().all(axis=None)
    assert rows.old_partner.isna().tolist() == [True, False, True]


@pytest.mark.usefixtures("tiny")
def test_another_model_can_be_put_to_the_test_of_a_run() -> None:
    run = Run("letters", 0, 2, 0)
    rows = threshold.measured([run] * 2, [withheld.untrained(seed) for seed in (0, 1)])
    assert rows.seed.tolist() == [0, 0]
    assert rows.weight[0] != rows.weight[1]
    of_slot = threshold.untrained(2).set_index(["slot", "seed"]).loc[0]
    assert of_slot.index.tolist() == [*threshold.FEW_SEEDS]
    assert of_slot.weight[0] == rows.weight[0] and of_slot.weight[1] != rows.weight[1]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = table((0, 3, 1, 1 / 3), (2, 1, 0, 0.5))
    threshold.write(rows, tmp_path / "table.csv")
    back = threshold.read(tmp_path / "table.csv")
    assert threshold.departures(back, rows) == 0
    assert back.right[0] == 0.333333
    assert back.looking.isna().all()


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("kind,slot\nletters,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has the columns"):
        threshold.read(path)


def test_a_number_that_moved_is_counted() -> None:
    known = table((0, 3, 1, 0.5), (0, 4, 1, 0.5))
    assert threshold.departures(table((0, 3, 1, 0.5 + 1e-6)), known) == 0
    assert threshold.departures(table((0, 4, 1, 0.5 + 1e-4)), known) == 1
    assert threshold.departures(table((0, 3, 1, 0.5)).assign(both=math.nan), known) == 1
    for missing in (table((1, 3, 1, 0.5)), table((0, 3, 1, 0.5), (0, 3, 2, 0.5))):
        with pytest.raises(KeyError):
            threshold.departures(missing, known)


def test_the_first_size_is_the_one_after_the_last_failure() -> None:
    rights = {1: 0.0, 2: 0.95, 3: 0.4, 4: 0.9, 5: 1.0}
    rows = table(
        *[(0, size, 7, right) for size, right in rights.items()], (1, 1, 7, 1.0), (0, 3, 8, 1.0)
    )
    rows = pd.concat([rows, rows.assign(kind="strings", right=0.0)])
    firsts = threshold.first_sizes(rows, [0.9, 0.99, 0.0, 1.1])
    assert firsts.loc[(0, 7)].to_dict() == {0.9: 4, 0.99: 5, 0.0: 1, 1.1: math.inf}
    assert firsts[0.9].to_dict() == {(0, 7): 4, (0, 8): 3, (1, 7): 1}


def test_a_measure_is_gathered_by_slot_and_size_over_the_seeds() -> None:
    rows = table((0, 2, 0, 0.25), (0, 1, 0, 0.2), (0, 2, 1, 0.75), (1, 2, 0, 0.4))
    first, second = threshold.spread(rows, "right")
    assert first == [[0.97, 1.94], [0.2, 0.5], [0.2, 0.25], [0.2, 0.75]]
    assert second == [[2.0], [0.4], [0.4], [0.4]]


def test_what_is_regained_is_a_share_of_what_was_lost() -> None:
    rows = table((0, 3, 1, 0.6), (1, 3, 1, 0.0)).assign(looking=0.4)
    result = threshold.regained(rows)
    assert [*result] == [*Mended._fields]
    assert result.both.tolist() == pytest.approx([0.5, 0.8])
    assert result.looking.tolist() == pytest.approx([-0.5, 0.4])
