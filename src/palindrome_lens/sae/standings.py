"""The tables of the leaderboard: its runs on one transformer, and one setting on many.

``make leaderboard`` trains and scores what is missing and writes both beside this file:
``standings.csv``, every run on the activations of one transformer; and
``standings.transformers.csv``, the setting that is chosen without labels, and a few beside it, on
other transformers, each of them also as it was before training.
"""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from palindrome_lens.sae import metrics
from palindrome_lens.sae.contestants import CONTESTANTS, Run, grid, probes
from palindrome_lens.sae.leaderboard import TRANSFORMERS, Row, Transformer, as_scores, sweep

FILE = Path(__file__).with_suffix(".csv")
TRANSFORMERS_FILE = Path(__file__).with_suffix(".transformers.csv")
COLUMNS = [*Run._fields, *metrics.Scores._fields, *Row._fields[2:]]
TRANSFORMER_COLUMNS = ["transformer", "trained", *COLUMNS]


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    """A table with one line for each run; six significant digits."""
    _write(path, COLUMNS, map(_line, rows))


def read(path: Path = FILE) -> list[Row]:
    """The rows of a table.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    return [_row(line) for line in _lines(path, COLUMNS)]


def write_transformers(
    tables: Mapping[Transformer, Iterable[Row]], path: Path = TRANSFORMERS_FILE
) -> None:
    """The rows of several transformers, one after the other."""
    lines = [
        [transformer.seed, int(transformer.trained), *_line(row)]
        for transformer, rows in tables.items()
        for row in rows
    ]
    _write(path, TRANSFORMER_COLUMNS, lines)


def read_transformers(path: Path = TRANSFORMERS_FILE) -> dict[Transformer, list[Row]]:
    """What :func:`write_transformers` wrote.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    tables: dict[Transformer, list[Row]] = {}
    for seed, trained, *line in _lines(path, TRANSFORMER_COLUMNS):
        transformer = Transformer(int(seed), bool(int(trained)))
        tables.setdefault(transformer, []).append(_row(line))
    return tables


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines])


def _lines(path: Path, header: Sequence[str]) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        first, *lines = csv.reader(file)
    if first != header:
        raise ValueError(f"{path} has the columns {first}; {header} were expected.")
    return lines


def _line(row: Row) -> list[Any]:
    return [*row.run, *(f"{value:.6g}" for value in (*row.scores, *row[2:]))]


def _row(line: Sequence[str]) -> Row:
    name, level, d_sae, seed, *numbers = line
    *scores, added, consistency, code_consistency = map(float, numbers)
    run = _run(name, float(level), int(d_sae), int(seed))
    return Row(run, as_scores(scores), added, consistency, code_consistency)


def _run(contestant: str, level: float, d_sae: int, seed: int) -> Run:
    # A number of latents is whole, and the configuration takes it only as such.
    whole = CONTESTANTS[contestant].knob == "k"
    return Run(contestant, int(level) if whole else level, d_sae, seed)


if __name__ == "__main__":
    if sys.argv[1:] != ["transformers"]:
        write(sweep(grid(), workers=2))
        print(f"wrote {FILE.name}")
    probed = {transformer: sweep(probes(), 2, transformer) for transformer in TRANSFORMERS}
    write_transformers(probed)
    print(f"wrote {TRANSFORMERS_FILE.name}")
