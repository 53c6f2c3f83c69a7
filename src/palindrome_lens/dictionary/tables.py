"""Results of many runs, kept as a table beside the module that measured them.

What takes too long to be measured in every run of a chapter is measured by a command. The table
says for each case what came out; a chapter measures a few cases again and holds them against it.
"""

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from pandas import DataFrame

Case = TypeVar("Case", bound=tuple[Any, ...])
Numbers = TypeVar("Numbers", bound=tuple[Any, ...])
"""Both are NamedTuples of plain fields: str, bool, int or float."""

DIGITS = 6


def write(path: Path, results: Mapping[Case, Numbers]) -> None:
    """One line for each case: its fields, then its numbers; floats to six significant digits.

    Raises:
        ValueError: there are no results.
    """
    if not results:
        raise ValueError(f"There are no results to write to {path}.")
    digits = f"%.{DIGITS}g"
    frame(results).to_csv(path, index=False, float_format=digits, na_rep="nan", lineterminator="\n")


def read(path: Path, case: type[Case], numbers: type[Numbers]) -> dict[Case, Numbers]:
    """The results in a table, by case, in the order of its lines.

    Raises:
        ValueError: the table has other columns than these two types, or a case twice.
    """
    kinds = [*_fields(case).values(), *_fields(numbers).values()]
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    expected = [*_fields(case), *_fields(numbers)]
    if header != expected:
        raise ValueError(f"{path.name} has the columns {header}; {expected} were expected.")
    width = len(_fields(case))
    results: dict[Case, Numbers] = {}
    for line in lines:
        values = [_value(kind, text) for kind, text in zip(kinds, line, strict=True)]
        key = case(*values[:width])
        if key in results:
            raise ValueError(f"{path.name} states {key} twice.")
        results[key] = numbers(*values[width:])
    return results


def look_up(
    cases: Iterable[Case], stated: Mapping[Case, Numbers], measure: Callable[[Case], Numbers]
) -> dict[Case, Numbers]:
    """The numbers of each case from a table, and where it lacks the case, measured on the spot."""
    return {case: stated[case] if case in stated else measure(case) for case in cases}


def frame(results: Mapping[Case, Numbers]) -> DataFrame:
    """One row for each case, with a column for each of its fields and of its numbers."""
    first_case, first_numbers = next(iter(results.items()))
    names = [*_fields(type(first_case)), *_fields(type(first_numbers))]
    return DataFrame([(*case, *numbers) for case, numbers in results.items()], columns=names)


def spread(rows: DataFrame, by: str, of: str) -> tuple[list[float], ...]:
    """Places, means, least and largest numbers of one column at each value of another, as
    ``figures.points`` draws them."""
    groups = rows.groupby(by)[of].agg(["mean", "min", "max"])
    return groups.index.tolist(), *groups.to_numpy().T.tolist()


def in_order(first: Iterable[float], second: Iterable[float]) -> tuple[int, int, int]:
    """Of all pairs of rows: how many two columns order alike, how many differently, and how many
    there are. A pair that agrees in either column is ordered neither alike nor differently."""
    rows = zip(first, second, strict=True)
    signs = [(a - b) * (x - y) for (a, x), (b, y) in combinations(rows, 2)]
    return sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs), len(signs)


def differing(
    cases: Iterable[Case], stated: Mapping[Case, Numbers], measure: Callable[[Case], Numbers]
) -> list[str]:
    """What :func:`departures` says of cases that are measured again; those that the table lacks are
    left out."""
    return departures({case: measure(case) for case in cases if case in stated}, stated)


def departures(
    again: Mapping[Case, Numbers], stated: Mapping[Case, Numbers], tolerance: float = 1e-5
) -> list[str]:
    """One sentence for each number that a new run finds different from a table.

    A difference counts above ``tolerance`` times 1 plus the number in the table, which has six
    significant digits. Not-a-number agrees with itself alone.

    Raises:
        KeyError: the table lacks a case.
    """
    sentences = []
    for case, numbers in again.items():
        for name, new, old in zip(_fields(type(numbers)), numbers, stated[case], strict=True):
            both_missing = math.isnan(new) and math.isnan(old)
            # Not "above": a number that is not one differs from all others.
            if not both_missing and not abs(new - old) <= tolerance * (1 + abs(old)):
                sentences.append(f"{name} of {case} is {new:.6g}, in the table {old:.6g}")
    return sentences


def _fields(kind: type[tuple[Any, ...]]) -> dict[str, type]:
    return dict(kind.__annotations__)


def _value(kind: type, text: str) -> Any:
    return text == "True" if kind is bool else kind(text)
