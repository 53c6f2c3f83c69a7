from typing import Any

import nbformat.v4 as make
import pytest
from nbformat import NotebookNode

from claimbook import outputs, stored_form
from claimbook.project import Project


def cell(source: str = "1 + 1", count: int | None = 1, shown: Any = "2", **metadata: Any) -> Any:
    """A code cell that ran and showed something, unless it is told otherwise."""
    stored = [] if shown is None else [make.new_output("display_data", {"text/plain": shown})]
    return make.new_code_cell(source, execution_count=count, outputs=stored, metadata=metadata)


def silent(count: int, tag: str) -> NotebookNode:
    return cell("steps = 3", count, None, tags=[tag])


def test_a_notebook_that_ran() -> None:
    cells = [silent(1, "parameters"), silent(2, "setup"), cell(count=3), cell(count=4)]
    assert outputs.of_cells([make.new_markdown_cell("Text."), *cells]) == []
    assert outputs.compared(cells) == 2


@pytest.mark.parametrize(
    ("faulty", "problem"),
    [
        (cell(count=None, shown=None), "was never executed, or its outputs were cleared"),
        (cell(count=3), "ran as number 3"),
        (cell(shown=None), "has no stored output"),
        (cell(tags=["setup"]), "is tagged setup and yet has an output"),
        (cell(tags=["nbval-ignore-output"]), "look away"),
        (cell(tags=["nbval-skip"]), "look away"),
        (cell(tags=["raises-exception"]), "look away"),
        (cell("# NBVAL_IGNORE_OUTPUT\n1"), "look away"),
        (cell("# NBVAL_SKIP\n1"), "look away"),
        (cell("# PYTEST_VALIDATE_IGNORE_OUTPUT\n1"), "look away"),
        (cell(shown="<Bridge at 0x7f3a2c10>"), "a memory address"),
        (cell(shown="/Users/someone/file"), "the path of a home"),
        (cell(shown="lib/site-packages/torch"), "the path of an installed package|an installed"),
        (cell(shown="saved to model.pkl"), "a pickle"),
    ],
)
def test_what_is_wrong_with_a_cell_is_named(faulty: NotebookNode, problem: str) -> None:
    found = outputs.of_cells([faulty, cell(count=2)])
    assert len(found) == 1
    assert found[0].startswith("cell [1] ")
    assert any(part in found[0] for part in problem.split("|"))


def test_an_error_that_was_stored() -> None:
    failed = cell()
    failed.outputs = [make.new_output("error", ename="E", evalue="", traceback=[])]
    assert outputs.of_cells([failed]) == ["cell [1] shows an error."]


def test_a_notebook_that_shows_nothing_compares_nothing() -> None:
    assert outputs.of_cells([silent(1, "setup")]) == [
        "no cell has an output: there is nothing to compare."
    ]


def test_a_notebook_that_is_too_large(project: Project) -> None:
    notebook = make.new_notebook(cells=[cell(shown="x" * outputs.LARGEST)])
    project.reference("01_data").write_bytes(stored_form.to_bytes(notebook))
    (problem,) = outputs.problems(project)
    assert "notebooks/01_data.ipynb has 1,000," in problem
