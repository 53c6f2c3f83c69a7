"""The exercise version of a notebook: no solution, every exercise, all other cells as they were."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from claimbook import stored_form
from claimbook.markup.exercises import BLANK, ExerciseError, without_solutions

ROOT = Path(__file__).parents[2]
FENCES = {"backticks": "```", "colons": ":::", "four": "````"}
TEXT = """## Exercises

{f}{{exercise-start}} Recall
:label: ex-1
{f}
What is the floor?
{f}{{exercise-end}}
{f}

{f}{{solution-start}} ex-1
:class: dropdown
{f}
It is SECRET-1.

{f}{{solution-end}}
{f}

{f}{{exercise-start}} Apply
:label: ex-2
{f}
Compute it for 4 letters.
{f}{{exercise-end}}
{f}

{f}{{solution-start}} ex-2
:class: dropdown
{f}
With SECRET-2:
"""
END = "More of SECRET-3.\n\n{f}{{solution-end}}\n{f}\n\n**Next:** the training."


def notebook(fence: str = "```") -> NotebookNode:
    cells = [
        new_code_cell("shown = 1", execution_count=1, id="before"),
        new_markdown_cell(TEXT.format(f=fence)),
        new_code_cell("secret_4()", metadata={"tags": ["solution"]}, id="first"),
        new_code_cell("secret_5()", id="second"),
        new_markdown_cell(END.format(f=fence)),
        new_code_cell("shown + 1", execution_count=2, id="after"),
    ]
    return new_notebook(cells=cells)


@pytest.mark.parametrize("fence", FENCES.values(), ids=FENCES)
def test_nothing_of_a_solution_is_left_and_everything_else_is(fence: str) -> None:
    whole = notebook(fence)
    result = without_solutions(whole)
    nbformat.validate(result)
    text = "\n".join(cell.source for cell in result.cells)
    assert not re.search("secret|solution", text, re.IGNORECASE)
    for kept in ("## Exercises", "What is the floor?", "Compute it for 4 letters.", "**Next:**"):
        assert kept in text
    assert text.count("exercise-start") == text.count("exercise-end") == 2
    code = [cell for cell in result.cells if cell.cell_type == "code"]
    assert [code[0], code[2]] == [whole.cells[0], whole.cells[5]]
    assert (code[1].source, code[1].id, code[1].outputs) == (BLANK, "first", [])
    assert len(code) == 3


def test_the_notebook_itself_stays_as_it_is() -> None:
    whole = notebook()
    without_solutions(whole)
    assert whole == notebook() | {"cells": whole.cells}
    assert "SECRET-1" in whole.cells[1].source


def test_a_notebook_without_exercises_stays_as_it_is() -> None:
    plain = new_notebook(cells=[new_markdown_cell("# A\n\n```{claims} a\n```"), new_code_cell("1")])
    assert without_solutions(plain) == plain


def test_a_cell_tagged_solution_goes_wherever_it_stands() -> None:
    alone = new_notebook(cells=[new_code_cell("secret()", metadata={"tags": ["solution"]})])
    assert without_solutions(alone).cells == []


START, STOP = "```{{{0}-start}} x\n```\n", "```{{{0}-end}}\n```\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (START.format("solution"), "the last solution is not closed"),
        (START.format("exercise"), "the last exercise is not closed"),
        (STOP.format("solution"), "stands where none is open"),
        (STOP.format("exercise"), "stands where none is open"),
        (START.format("solution") * 2, "stands inside solution"),
        (START.format("exercise") + START.format("solution"), "stands inside exercise"),
        (START.format("exercise") + STOP.format("solution"), "stands inside exercise"),
        (START.format("solution") + STOP.format("exercise"), "stands inside solution"),
        (START.format("solution") + "```{solution-end}\n", "the last solution is not closed"),
        ("```{solution} x\nsecret\n```\n", "is to be a pair, solution-start and solution-end"),
    ],
)
def test_directives_that_do_not_match_are_an_error(text: str, problem: str) -> None:
    with pytest.raises(ExerciseError, match=problem):
        without_solutions(new_notebook(cells=[new_markdown_cell(text)]))


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_book_s_own_notebooks(path: Path) -> None:
    whole = stored_form.read(path)
    result = without_solutions(whole)
    nbformat.validate(result)
    text = "\n".join(cell.source for cell in result.cells)
    assert "{solution" not in text
    before = "\n".join(cell.source for cell in whole.cells)
    exercises = re.findall(r"\{exercise-start\}.*?\{exercise-end\}", before, re.DOTALL)
    assert all(exercise in text for exercise in exercises)
    solved = [c.id for c in whole.cells if "solution" in c.metadata.get("tags", [])]
    kept = [cell for cell in result.cells if cell.cell_type == "code" and cell.source != BLANK]
    assert kept == [c for c in whole.cells if c.cell_type == "code" and c.id not in solved]
