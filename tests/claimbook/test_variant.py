"""The book with other parameters: its values, its folder, and what it leaves out."""

from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from claimbook import prose, stored_form, variant
from claimbook.build import first_page
from claimbook.execute import execute
from claimbook.parameters import ParameterError
from claimbook.project import NotebookError, Project

from .conftest import Write

SIDES = ":tags: [parameters]\n\nsides = 2\nseed = 0"
REFUSES = (
    "from claimbook.errors import ClaimbookError\n"
    'if sides > 2: raise ClaimbookError(f"sides is {sides}; 2 is the most.")\nsides'
)


@pytest.fixture
def project(project: Project, only: Write, write: Write) -> Project:
    only("01_coin", SIDES, REFUSES)
    write("02_dice", SIDES, "sides, seed")
    write("03_cards", "'no choice'")
    return project


def test_a_value_is_for_every_chapter_that_knows_it(project: Project) -> None:
    chosen = {"sides": 6, "02_dice": {"seed": 3}}
    assert variant.by_chapter(project, chosen) == {
        "01_coin": {"sides": 6},
        "02_dice": {"sides": 6, "seed": 3},
        "03_cards": {},
    }


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            {"side": 6},
            "The book has no parameter 'side'; the nearest is 'sides'. There are sides, se",
        ),
        ({"02_dice": 6}, "02_dice is 6; a chapter has values by name."),
    ],
)
def test_what_no_chapter_knows_is_refused(
    project: Project, chosen: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        variant.by_chapter(project, chosen)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("text", ["- 1\n", "seed", "", "a: [", "1: 2"])
def test_a_file_without_values_by_name_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    with pytest.raises(ParameterError, match=r"cannot be read: No such file"):
        variant.read(file)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=r"is not YAML|must hold values by name"):
        variant.read(file)


def in_folder(project: Project) -> variant.Variant:
    changed = variant.Variant(project.root, project.variants / "mine")
    changed.notebooks.mkdir(parents=True)
    for name in project.names():
        text = project.source(name).read_text(encoding="utf-8")
        changed.source(name).write_text(text.replace("sides = 2", "sides = 6"), encoding="utf-8")
    return changed


def test_chapters_that_refuse_are_left_out_and_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, left_out = in_folder(project), dict[str, str]()
    copies = execute(changed, left_out=left_out)
    assert [copy.stem for copy in copies] == ["02_dice", "03_cards"]
    assert left_out == {"01_coin": "sides is 6; 2 is the most."}
    shown = stored_form.read(copies[0]).cells[-1].outputs[0].data["text/plain"]
    assert shown == "(6, 0)"
    assert not project.executed.exists()
    assert "make refresh" not in capsys.readouterr().out


def test_without_leave_a_refusal_is_an_error(project: Project) -> None:
    with pytest.raises(NotebookError, match=r"^01_coin: sides is 6; 2 is the most\.$"):
        execute(in_folder(project))


def test_the_first_page_says_what_was_chosen_and_what_is_missing() -> None:
    page = first_page({"sides": 6}, {"01_coin": "sides is 6; 2 is the most."})
    assert "| `sides` | `6` |" in page
    assert "| 01_coin | sides is 6; 2 is the most. |" in page
    assert "cannot take" not in first_page({"sides": 6}, {})


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("A letter is copied.", True),
        ("All {glue:text}`n-26` strings, see {doc}`04_weights` and {numref}`fig-2`.", True),
        ("```{opening}\n:read: 15\n:summary: where it looks\n```", True),
        ("There are 26 letters.", False),
        ("The three letters are chosen freely.", False),
        ("To write `c` after `<abc|`, it must look.", False),
        ("```{margin}\nOne row for each of 26.\n```", False),
        ("```{math}\n\\ln 26\n\n+ x\n```", False),
    ],
)
def test_a_paragraph_with_a_number_belongs_to_the_usual_values(text: str, stays: bool) -> None:
    (cell,) = prose.without_numbers([new_markdown_cell(f"Before.\n\n{text}\n\nAfter.")])
    assert cell.source == (f"Before.\n\n{text}\n\nAfter." if stays else "Before.\n\nAfter.")


def test_captions_lose_their_numbers_and_exercises_go() -> None:
    figure = {"mystnb": {"figure": {"caption": "Of each. Rows 4 to 6 attend.\n  No key later."}}}
    cells = [
        new_code_cell("1", metadata=figure),
        new_markdown_cell("Kept.\n\n## Exercises\n\nGone."),
        new_code_cell("2"),
    ]
    first, second = prose.without_numbers(cells)
    assert first.metadata.mystnb.figure.caption == "Of each. No key later."
    assert second.source == "Kept."
