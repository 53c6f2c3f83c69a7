"""The tables of the leaderboard: its runs on one transformer, and one setting on many.

``make leaderboard`` trains and scores what is missing and writes both beside this file:
``standings.csv``, every run on the activations of one transformer; and
``standings.transformers.csv``, the setting that is chosen without labels, and a few beside it, on
other transformers, each of them also as it was before training.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from palindrome_lens.sae import metrics
from palindrome_lens.sae.contestants import Run, grid, probes
from palindrome_lens.sae.leaderboard import TRANSFORMERS, Row, Transformer, sweep

FILE = Path(__file__).with_suffix(".csv")
TRANSFORMERS_FILE = Path(__file__).with_suffix(".transformers.csv")
COLUMNS = [*Run._fields, *metrics.Scores._fields, *Row._fields[2:]]
TRANSFORMER_COLUMNS = ["transformer", "trained", *COLUMNS]


def frame(rows: Iterable[Row]) -> DataFrame:
    """One line for each run: which run it is, then all its scores."""
    lines = [(*row.run, *row.scores, *row[2:]) for row in rows]
    return DataFrame(lines, columns=COLUMNS).astype({"level": float})


def transformers_frame(tables: Mapping[Transformer, Iterable[Row]]) -> DataFrame:
    """The same for several transformers, one after the other; the first two columns say which."""
    frames = [
        frame(rows).assign(transformer=transformer.seed, trained=transformer.trained)
        for transformer, rows in tables.items()
    ]
    return pd.concat(frames, ignore_index=True)[TRANSFORMER_COLUMNS]


def write(table: DataFrame, path: Path) -> None:
    """One line for each run; six significant digits."""
    whole = table.astype(dict.fromkeys({"trained"} & {*table}, int))
    whole.to_csv(path, index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")


def read(path: Path = FILE) -> DataFrame:
    """The runs on the first transformer, as :func:`frame` has them.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    return _read(path, COLUMNS)


def read_transformers(path: Path = TRANSFORMERS_FILE) -> DataFrame:
    """The runs on several transformers, as :func:`transformers_frame` has them.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    return _read(path, TRANSFORMER_COLUMNS).astype({"trained": bool})


def _read(path: Path, columns: Sequence[str]) -> DataFrame:
    table = pd.read_csv(path)
    if list(table) != columns:
        raise ValueError(f"{path} has the columns {list(table)}; {columns} were expected.")
    return table.astype({"level": float})


if __name__ == "__main__":
    if sys.argv[1:] != ["transformers"]:
        write(frame(sweep(grid(), workers=2)), FILE)
        print(f"wrote {FILE.name}")
    probed = {transformer: sweep(probes(), 2, transformer) for transformer in TRANSFORMERS}
    write(transformers_frame(probed), TRANSFORMERS_FILE)
    print(f"wrote {TRANSFORMERS_FILE.name}")
