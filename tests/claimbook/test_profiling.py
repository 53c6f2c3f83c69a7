"""Where the time of the notebooks goes."""

from pathlib import Path

import pytest

from claimbook import profiling
from claimbook.project import NotebookError, Project

HEAD = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A coin
"""
CHEAP = """
```{code-cell} ipython3
from claimbook import numbers

heads = numbers.written(7)
```
"""
DEAR = """
```{code-cell} ipython3
for _ in range(200_000):
    numbers.rounded(0.5)
heads
```
"""


def project(folder: Path, *cells: str) -> Project:
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_coin.md").write_text(HEAD + "".join(cells), encoding="utf-8")
    return Project(folder)


def test_the_dear_cell_and_the_dear_function_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profiling.report(project(tmp_path, CHEAP, DEAR), [])
    totals, cells, functions = capsys.readouterr().out.split("\n\n")
    assert totals.startswith("01_coin: ") and "All: " in totals
    assert [line.split("  ")[-1] for line in cells.splitlines()[1:]] == [
        "01_coin, cell [2]",
        "01_coin, cell [1]",
    ]
    names = [line.split()[-1] for line in functions.splitlines()[1:]]
    assert names.index("claimbook.numbers.rounded") < names.index("claimbook.numbers.written")


def test_a_cell_that_fails_is_named(tmp_path: Path) -> None:
    failing = CHEAP.replace("written(7)", "missing(7)")
    with pytest.raises(NotebookError, match=r"01_coin, cell \[1\]: .*missing"):
        profiling.report(project(tmp_path, failing), [])
