"""Tables of results: what is written is read, and what differs is said."""

from pathlib import Path
from typing import NamedTuple

import pytest

from palindrome_lens.dictionary import tables


class Case(NamedTuple):
    name: str
    trained: bool
    seed: int


class Numbers(NamedTuple):
    n: int
    share: float


RESULTS = {
    Case("a, b", True, 0): Numbers(3, 0.25),
    Case("c", False, 1): Numbers(0, -1.5e-7),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tables.write(path, RESULTS)
    assert path.read_text().splitlines() == [
        "name,trained,seed,n,share",
        '"a, b",True,0,3,0.25',
        "c,False,1,0,-1.5e-07",
    ]
    again = tables.read(path, Case, Numbers)
    assert again == RESULTS
    assert list(again) == list(RESULTS)
    assert [type(value) for value in next(iter(again))] == [str, bool, int]


def test_an_empty_table_is_not_written(tmp_path: Path) -> None:
    nothing: dict[Case, Numbers] = {}
    with pytest.raises(ValueError, match="no results"):
        tables.write(tmp_path / "table.csv", nothing)


def test_other_columns_and_a_case_that_stands_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("name,seed,n,share\nc,1,0,1\n")
    with pytest.raises(ValueError, match="columns"):
        tables.read(path, Case, Numbers)
    path.write_text("name,trained,seed,n,share\nc,True,1,0,1\nc,True,1,0,2\n")
    with pytest.raises(ValueError, match="twice"):
        tables.read(path, Case, Numbers)


def test_only_cases_that_the_table_lacks_are_measured() -> None:
    measured = []

    def measure(case: Case) -> Numbers:
        measured.append(case)
        return Numbers(9, 9.0)

    new = Case("d", True, 2)
    looked_up = tables.look_up([*RESULTS, new], RESULTS, measure)
    assert measured == [new]
    assert looked_up == {**RESULTS, new: Numbers(9, 9.0)}


def test_a_frame_has_a_column_for_each_field() -> None:
    frame = tables.frame(RESULTS)
    assert [*frame.columns] == ["name", "trained", "seed", "n", "share"]
    assert frame[frame.trained].to_numpy().tolist() == [["a, b", True, 0, 3, 0.25]]
    assert [type(value) for value in frame.n] == [int, int]


def test_a_spread_has_means_and_ends_in_the_order_of_the_places() -> None:
    places = [Case(name, True, seed) for name, seed in (("a", 1), ("b", 0), ("c", 1))]
    frame = tables.frame({case: Numbers(n, 0.5) for case, n in zip(places, (4, 7, 8), strict=True)})
    assert tables.spread(frame, "seed", "n") == ([0, 1], [7, 6], [7, 4], [7, 8])


def test_pairs_are_ordered_alike_or_differently_or_neither() -> None:
    assert tables.in_order([1, 2, 3, 3], [5, 7, 6, 8]) == (4, 1, 6)
    assert tables.in_order([1.0], [2.0]) == (0, 0, 0)


def test_what_the_table_lacks_is_not_compared() -> None:
    case = Case("c", False, 1)
    cases = [case, Case("d", True, 2)]
    assert tables.differing(cases, RESULTS, RESULTS.__getitem__) == []
    assert len(tables.differing(cases, RESULTS, lambda _: Numbers(0, 0.5))) == 1


def test_a_difference_is_named_and_rounding_is_none() -> None:
    case = Case("a, b", True, 0)
    assert tables.departures({case: Numbers(3, 0.25 + 1e-6)}, RESULTS) == []
    (sentence,) = tables.departures({case: Numbers(4, 0.25)}, RESULTS)
    assert sentence.startswith("n of Case(name='a, b'")
    assert sentence.endswith("is 4, in the table 3")
    assert len(tables.departures({case: Numbers(3, 0.2501)}, RESULTS)) == 1
    with pytest.raises(KeyError):
        tables.departures({Case("d", True, 2): Numbers(0, 0.0)}, RESULTS)


def test_not_a_number_agrees_with_itself_alone() -> None:
    case, missing = Case("c", False, 1), Numbers(0, float("nan"))
    assert tables.departures({case: missing}, {case: missing}) == []
    assert len(tables.departures({case: missing}, RESULTS)) == 1
    assert len(tables.departures({case: RESULTS[case]}, {case: missing})) == 1
