"""How much may be withheld before a model fails on it: many models, and their table.

``make letters`` trains them all and writes ``threshold.csv`` beside this file. Each model is kept
in the store as soon as it is trained, so that an interrupted sweep goes on where it stopped.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import unseen
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import tabulate
from palindrome_lens.circuits.unseen import Answers, Mended, Mistakes
from palindrome_lens.circuits.withheld import (
    SIDE_BY_SIDE,
    TASK,
    Run,
    models,
    restricted,
    slots_of,
    withheld,
)
from palindrome_lens.tokenizer import encode

FILE = Path(__file__).with_suffix(".csv")
SEEDS = tuple(range(10))
LETTERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 16, 20, 25)
FEW_SEEDS = SEEDS[:5]
STRINGS = (1, 2, 3, 5, 25)
PARTNERS = (1, 2, 3, 13, 23)


class Row(NamedTuple):
    """A run, and what a model does with the strings that it withholds; nan where the kind of run
    has no such number."""

    run: Run
    answers: Answers
    mistakes: Mistakes
    mended: Mended
    old_partner: float
    """:func:`unseen.old_partner`, of runs that withhold pairs."""


PARTS: tuple[type[Any], ...] = (Answers, Mistakes, Mended)
MEASURES = [*(name for part in PARTS for name in part._fields), "old_partner"]
COLUMNS = [*Run._fields, *MEASURES]


def grid() -> list[Run]:
    """All runs, seed by seed, so that an interrupted sweep has every size at least once."""
    slots = range(TASK.half_length)
    runs = []
    for seed in SEEDS:
        runs += [Run("letters", slot, size, seed) for slot, size in product(slots, LETTERS)]
        if seed in FEW_SEEDS:
            runs += [Run("strings", 0, size, seed) for size in STRINGS]
            runs += [Run("pairs", slot, size, seed) for slot, size in product(slots, PARTNERS)]
    return runs


def measured(run: Run, model: TransformerBridge, tokens: Int64[Tensor, "strings length"]) -> Row:
    """What a model does with the strings that a run withholds, be it the run's own or another."""
    subject = Subject(TASK, model, tabulate(model), tokens)
    new, slots = withheld(TASK, run), slots_of(TASK, run)
    row = Row(run, unseen.answers(subject, new, slots), *_blank(), math.nan)
    if run.kind == "pairs":
        return row._replace(old_partner=unseen.old_partner(subject, new, slots))
    if run.kind == "letters":
        held = restricted(TASK, run)
        return row._replace(
            mistakes=unseen.mistakes(subject, held), mended=unseen.mended(subject, held)
        )
    return row


def sweep(runs: Sequence[Run]) -> list[Row]:
    """Train runs, or find them in the store, and measure them."""
    tokens = encode(TASK, TASK.strings())
    rows = []
    for start in tqdm(range(0, len(runs), SIDE_BY_SIDE), disable=None):
        chunk = runs[start : start + SIDE_BY_SIDE]
        rows += [
            measured(run, model, tokens) for run, model in zip(chunk, models(chunk), strict=True)
        ]
    return rows


def values(rows: Iterable[Row], name: str) -> Float[Tensor, "row"]:
    """One measure of each row, by its heading in the table.

    Raises:
        ValueError: there is no measure of this name.
    """
    place = MEASURES.index(name)
    return torch.tensor([_numbers(row)[place] for row in rows], dtype=torch.float64)


def spread(
    rows: Iterable[Row], kind: str, slot: int, name: str
) -> dict[int, Float[Tensor, "seed"]]:
    """A measure of all seeds, in ascending order of size."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if (row.run.kind, row.run.slot) == (kind, slot):
            groups.setdefault(row.run.size, []).append(row)
    return {size: values(groups[size], name) for size in sorted(groups)}


def first_size(
    rows: Iterable[Row], slot: int, seed: int, least: float, name: str = "right"
) -> float:
    """The smallest number of letters from which on a measure never falls below a level again.

    Only sizes in the rows count; ``inf`` if the largest of them is below the level.
    """
    chosen = [row for row in rows if row.run._replace(size=0) == Run("letters", slot, 0, seed)]
    reached = math.inf
    for row in sorted(chosen, key=lambda row: -row.run.size):
        if float(values([row], name)) < least:
            break
        reached = row.run.size
    return reached


def departures(again: Iterable[Row], rows: Iterable[Row], tolerance: float = 1e-5) -> int:
    """How many numbers of ``again`` differ from the table by more than the tolerance.

    Raises:
        KeyError: a run is not in the table.
    """
    table = {row.run: row for row in rows}
    return sum(
        abs(value - other) > tolerance or math.isnan(value) != math.isnan(other)
        for row in again
        for value, other in zip(_numbers(row), _numbers(table[row.run]), strict=True)
    )


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    """A table with one line for each run; six significant digits, and nothing for nan."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            cells = ("" if math.isnan(value) else f"{value:.6g}" for value in _numbers(row))
            table.writerow([*row.run, *cells])


def read(path: Path = FILE) -> list[Row]:
    """The rows of a table.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    with path.open(encoding="utf-8", newline="") as file:
        first, *lines = csv.reader(file)
    if first != COLUMNS:
        raise ValueError(f"{path} has the columns {first}; {COLUMNS} were expected.")
    rows = []
    for kind, slot, size, seed, *cells in lines:
        left = iter([float(cell) if cell else math.nan for cell in cells])
        answers, mistakes, mended = (part(*[next(left) for _ in part._fields]) for part in PARTS)
        run = Run(kind, int(slot), int(size), int(seed))  # type: ignore[arg-type]
        rows.append(Row(run, answers, mistakes, mended, next(left)))
    return rows


def _blank() -> tuple[Mistakes, Mended]:
    return Mistakes(*[math.nan] * 3), Mended(*[math.nan] * 5)


def _numbers(row: Row) -> list[float]:
    return [*row.answers, *row.mistakes, *row.mended, row.old_partner]


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(sweep(grid()))
    print(f"wrote {FILE.name}")
