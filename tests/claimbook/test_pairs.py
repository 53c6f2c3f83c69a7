import json
from collections.abc import Callable

import pytest

from claimbook import pairs, stored_form
from claimbook.project import Project

Write = Callable[..., None]
CELLS = (":tags: [parameters]\n\nsteps = 3", "steps + 1", "steps + 2")


@pytest.fixture
def paired(project: Project, only: Write) -> Project:
    """One notebook with both its halves."""
    only("01_data", *CELLS)
    source = stored_form.read_source(project.source("01_data"))
    project.reference("01_data").write_bytes(stored_form.to_bytes(source))
    return project


def test_halves_that_agree(paired: Project) -> None:
    assert pairs.problems(paired) == []


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ((CELLS[0], "steps + 7", CELLS[2]), "cell [2]"),
        (("steps = 3", *CELLS[1:]), "cell [1]"),
        (CELLS[:2], "cell [3]"),
        ((*CELLS, "more"), "cell [4]"),
        ((":tags: [parameters]\n\nsteps = 4", "steps + 7", CELLS[2]), "cell [1]"),
    ],
)
def test_the_first_cell_that_differs_is_named(
    paired: Project, write: Write, cells: tuple[str, ...], where: str
) -> None:
    write("01_data", *cells)
    (problem,) = pairs.problems(paired)
    expected = f"notebooks/01_data.md and notebooks/01_data.ipynb differ, first in {where};"
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("# A notebook", "# A book", "the text before cell [1]"),
        ("steps + 1\n```", "steps + 1\n```\n\nText.\n", "the text after cell [2]"),
    ],
)
def test_a_difference_in_the_text(paired: Project, old: str, new: str, where: str) -> None:
    path = paired.source("01_data")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert f"first in {where};" in pairs.problems(paired)[0]


def test_outputs_are_not_compared(paired: Project) -> None:
    path = paired.reference("01_data")
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "4"}]
    stored["cells"][2]["execution_count"] = 2
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert pairs.problems(paired) == []


def test_a_half_that_is_missing(paired: Project, write: Write) -> None:
    write("02_training", "1")
    path = paired.reference("01_data")
    path.rename(path.with_name("03_lonely.ipynb"))
    assert pairs.problems(paired) == [
        "notebooks/01_data.md has no reference outputs; `make refresh` writes them.",
        "notebooks/02_training.md has no reference outputs; `make refresh` writes them.",
        "notebooks/03_lonely.ipynb has no text half (03_lonely.md).",
    ]


def test_a_half_that_is_not_a_notebook(paired: Project) -> None:
    paired.reference("01_data").write_text("<<<<<<< ours", encoding="utf-8")
    assert "is not a notebook" in pairs.problems(paired)[0]
