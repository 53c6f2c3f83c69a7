"""How much may be withheld before a model fails on it: many models, and their table.

``make letters`` trains them all and writes ``threshold.csv`` beside this file. Each model is kept
in the store as soon as it is trained, so that an interrupted sweep goes on where it stopped.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import unseen
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.unseen import Answers, Mended, Mistakes
from palindrome_lens.circuits.withheld import (
    AT_ONCE,
    TASK,
    Run,
    models,
    restricted,
    slots_of,
    withheld,
)
from palindrome_lens.circuits.withheld import untrained as fresh

FILE = Path(__file__).with_suffix(".csv")
SEEDS = tuple(range(10))
LETTERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 16, 20, 25)
FEW_SEEDS = SEEDS[:5]
STRINGS = (1, 2, 3, 5, 25)
PARTNERS = (1, 2, 3, 13, 23)


RUN = [*Run._fields]
MEASURES = [*Answers._fields, *Mistakes._fields, *Mended._fields, "old_partner"]
"""The columns of a table of models, which has one row for each: its run, then what was measured."""


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


def measured(runs: Sequence[Run], models: Iterable[TransformerBridge]) -> pd.DataFrame:
    """What models do with the strings that runs withhold, be they the runs' own models or others.

    Returns:
        The columns :data:`RUN` and :data:`MEASURES`; nan where the kind of run has no such number.
    """
    rows = [_row(run, subject(TASK, model)) for run, model in zip(runs, models, strict=True)]
    return pd.DataFrame(rows, columns=[*RUN, *MEASURES])


def _row(run: Run, subject: Subject) -> dict[str, Any]:
    new, slots = withheld(TASK, run), slots_of(TASK, run)
    row = run._asdict() | unseen.answers(subject, new, slots)._asdict()
    if run.kind == "pairs":
        row["old_partner"] = unseen.old_partner(subject, new, slots)
    if run.kind == "letters":
        held = restricted(TASK, run)
        row |= unseen.mistakes(subject, held)._asdict() | unseen.mended(subject, held)._asdict()
    return row


def sweep(runs: Sequence[Run]) -> pd.DataFrame:
    """Train runs, or find them in the store, and measure them."""
    return measured(runs, _trained(runs))


def _trained(runs: Sequence[Run]) -> Iterator[TransformerBridge]:
    for start in tqdm(range(0, len(runs), AT_ONCE), disable=None):
        yield from models(runs[start : start + AT_ONCE])


def untrained(size: int) -> pd.DataFrame:
    """What fresh models do with the strings that runs of kind "letters" withhold, of few seeds."""
    slots = range(TASK.half_length)
    runs = [Run("letters", slot, size, seed) for seed, slot in product(FEW_SEEDS, slots)]
    return measured(runs, (fresh(run.seed) for run in runs))


def spread(table: pd.DataFrame, measure: str) -> list[list[list[float]]]:
    """For each slot: the numbers of letters, and a measure's mean, least and most over the seeds.

    For figures: the numbers of letters of two slots are a little apart, so that bars are too.
    """
    letters = table[table.kind == "letters"]
    slots = []
    for slot, rows in letters.groupby("slot"):
        by_size = rows.groupby("size")[measure].agg(["mean", "min", "max"])
        apart = by_size.index * (0.97 + 0.03 * slot)
        slots.append([apart.tolist(), *by_size.to_numpy().T.tolist()])
    return slots


def first_sizes(table: pd.DataFrame, levels: Iterable[float]) -> pd.DataFrame:
    """The smallest number of letters from which on ``right`` never falls below a level again.

    Returns:
        By slot and seed, a column for each level. Only sizes in the table count; ``inf`` if the
        largest of them is below the level.
    """
    letters = table[table.kind == "letters"]
    size, group = letters["size"], [letters.slot, letters.seed]
    firsts = {}
    for level in levels:
        last_failure = size.where(letters.right < level, 0).groupby(group).transform("max")
        firsts[level] = size.where(size > last_failure, math.inf).groupby(group).min()
    return pd.DataFrame(firsts)


def regained(table: pd.DataFrame) -> pd.DataFrame:
    """Of the new letters that are answered wrong, the share that comes right with each mending.

    Returns:
        A column for each field of :class:`Mended`; below 0 where the mending does harm.
    """
    gained = table[[*Mended._fields]].sub(table.right, axis=0)
    return gained.div(1 - table.right, axis=0)


def departures(again: pd.DataFrame, table: pd.DataFrame, tolerance: float = 1e-5) -> int:
    """How many numbers of ``again`` differ from the table by more than the tolerance.

    Raises:
        KeyError: a run is not in the table.
    """
    now, then = (rows.set_index(RUN)[MEASURES] for rows in (again, table))
    agree = np.isclose(now, then.loc[[*now.index]], rtol=0, atol=tolerance, equal_nan=True)
    return int((~agree).sum())


def write(table: pd.DataFrame, path: Path = FILE) -> None:
    """A table as CSV; six significant digits, and nothing for nan."""
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read(path: Path = FILE) -> pd.DataFrame:
    """What :func:`write` wrote.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    table = pd.read_csv(path)
    if [*table.columns] != [*RUN, *MEASURES]:
        raise ValueError(f"{path} has the columns {[*table.columns]}, not {[*RUN, *MEASURES]}.")
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(sweep(grid()))
    print(f"wrote {FILE.name}")
