"""Where the time of the notebooks goes."""

import pytest

from claimbook import profiling
from claimbook.project import NotebookError, Project

from .conftest import Write

CHEAP = "from claimbook import numbers\n\nheads = numbers.written(7)"
DEAR = "for _ in range(200_000):\n    numbers.rounded(0.5)\nheads"


def test_the_dear_cell_and_the_dear_function_come_first(
    project: Project, only: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    only("01_coin", CHEAP, DEAR)
    profiling.report(project, [])
    totals, cells, functions = capsys.readouterr().out.split("\n\n")
    assert totals.startswith("01_coin: ") and "All: " in totals
    assert [line.split("  ")[-1] for line in cells.splitlines()[1:]] == [
        "01_coin, cell [2]",
        "01_coin, cell [1]",
    ]
    names = [line.split()[-1] for line in functions.splitlines()[1:]]
    assert names.index("claimbook.numbers.rounded") < names.index("claimbook.numbers.written")


def test_a_cell_that_fails_is_named(project: Project, only: Write) -> None:
    only("01_coin", CHEAP.replace("written(7)", "missing(7)"))
    with pytest.raises(NotebookError, match=r"01_coin, cell \[1\]: .*missing"):
        profiling.report(project, [])
