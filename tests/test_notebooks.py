"""The committed notebooks: both halves agree, and every cell stores what nbval compares with."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from claimbook import outputs, pairs, stale, stored_form
from claimbook.project import Project
from claimbook.provenance import Library

PROJECT = Project(Path(__file__).parents[1])
CHAPTERS = ["01_data", "02_training", "03_attention", "04_weights", "05_mechanism", "06_limits"]
LEAST_COMPARED = 5


def test_the_chapters_are_there() -> None:
    assert PROJECT.names()[: len(CHAPTERS)] == CHAPTERS


def test_both_halves_of_each_notebook_agree() -> None:
    assert pairs.problems(PROJECT) == []


def test_every_cell_stores_what_it_showed() -> None:
    assert outputs.problems(PROJECT) == []


@pytest.mark.parametrize("name", PROJECT.names())
def test_enough_is_compared(name: str, record_property: Callable[[str, object], None]) -> None:
    compared = outputs.counts(PROJECT)[name]
    record_property("cells_compared", compared)
    assert compared >= LEAST_COMPARED


@pytest.mark.parametrize("name", PROJECT.names())
def test_a_cleared_notebook_is_noticed(name: str, tmp_path: Path) -> None:
    """nbval alone passes it."""
    copy = Project(tmp_path)
    copy.notebooks.mkdir()
    cleared = stored_form.read(PROJECT.reference(name))
    for cell in cleared.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    copy.reference(name).write_bytes(stored_form.to_bytes(cleared))
    found = outputs.problems(copy)
    assert (
        f"notebooks/{name}.ipynb, cell [1] was never executed, or its outputs were cleared."
        in found
    )
    assert f"notebooks/{name}.ipynb, no cell has an output: there is nothing to compare." in found


@pytest.mark.parametrize("name", PROJECT.names())
def test_one_lost_output_is_noticed(name: str, tmp_path: Path) -> None:
    copy = Project(tmp_path)
    shutil.copytree(PROJECT.notebooks, copy.notebooks)
    notebook = stored_form.read(copy.reference(name))
    last = [cell for cell in notebook.cells if cell.get("outputs")][-1]
    last.outputs = []
    copy.reference(name).write_bytes(stored_form.to_bytes(notebook))
    (problem,) = outputs.problems(copy)
    assert problem.startswith(
        f"notebooks/{name}.ipynb, cell [{last.execution_count}] has no stored"
    )


@pytest.mark.parametrize("name", PROJECT.names())
def test_the_stored_form_is_the_normal_one(name: str) -> None:
    """What `make refresh` writes; JupyterLab saves more (times, random cell ids)."""
    stored = stored_form.read(PROJECT.reference(name))
    source = stored_form.read_source(PROJECT.source(name))
    expected = stored_form.to_bytes(stored_form.with_outputs(source, stored.cells))
    assert PROJECT.reference(name).read_bytes() == expected


def test_the_data_do_not_depend_on_the_autoencoders() -> None:
    library = Library.of(PROJECT.packages)
    made_from = stale.parts(PROJECT, library, "01_data")
    assert "palindrome_lens.task" in made_from
    assert not any(part.startswith("palindrome_lens.sae") for part in made_from)


@pytest.mark.parametrize("name", PROJECT.names())
def test_every_chapter_opens(name: str) -> None:
    """Its summary and its times stand in the table of chapters, and at the foot of other pages."""
    first = stored_form.read_source(PROJECT.source(name)).cells[0].source
    assert first.count("```{opening}\n") == 1
