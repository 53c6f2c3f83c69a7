"""Notebooks with other parameters: what is typed is checked, and errors are one sentence."""

from pathlib import Path
from typing import Any

import pytest

from claimbook import parameters, stored_form
from claimbook.__main__ import main
from claimbook.parameters import ParameterError
from claimbook.project import Project

from .conftest import Write

CELL = """:tags: [parameters]

half_length = 3
seeds = [
    0,
    1,
]
letters = 'ab"'
"""
CHECK = """from claimbook.errors import ClaimbookError

if half_length == 7:
    raise ClaimbookError("half_length is 7; try another.")
half_length, seeds, letters"""


@pytest.fixture
def project(project: Project, only: Write) -> Project:
    only("01_coin", CELL, CHECK)
    return project


def text_with(project: Project, **values: Any) -> str:
    return parameters.with_values(project.source("01_coin"), values)


def test_what_stands_in_the_cell(project: Project) -> None:
    standing = parameters.standing(project.source("01_coin"))
    assert standing == {"half_length": 3, "seeds": [0, 1], "letters": 'ab"'}


@pytest.mark.parametrize("value", [4, -1, 2.5, None, True, [5], 'x"y', "äß", "line\nbreak"])
def test_a_value_takes_the_place_of_another_and_nothing_else_changes(
    project: Project, tmp_path: Path, value: Any
) -> None:
    for name in ("half_length", "seeds", "letters"):
        changed = tmp_path / f"{name}.md"
        changed.write_text(text_with(project, **{name: value}), encoding="utf-8")
        before = parameters.standing(project.source("01_coin"))
        assert parameters.standing(changed) == before | {name: value}
        cells = [
            stored_form.read_source(path).cells for path in (project.source("01_coin"), changed)
        ]
        assert cells[0][2] == cells[1][2]


def test_nothing_chosen_is_the_text_as_it_stands(project: Project) -> None:
    assert text_with(project) == project.source("01_coin").read_text(encoding="utf-8")


def test_values_are_typed_as_what_stands_there(project: Project) -> None:
    words = [("half_length", "2"), ("seeds", "[5, 6]"), ("letters", "01")]
    typed = parameters.typed(project.source("01_coin"), words)
    assert typed == {"half_length": 2, "seeds": [5, 6], "letters": "01"}


def test_an_unknown_name_is_refused_with_the_nearest(project: Project) -> None:
    sentence = (
        "01_coin has no parameter 'half_lenght'; the nearest is 'half_length'. "
        "There are half_length, seeds, letters."
    )
    for refuse in (
        lambda: parameters.typed(project.source("01_coin"), [("half_lenght", "2")]),
        lambda: text_with(project, half_lenght=2),
    ):
        with pytest.raises(ParameterError) as caught:
            refuse()
        assert str(caught.value) == sentence


def test_what_cannot_be_read_is_refused(project: Project) -> None:
    with pytest.raises(ParameterError, match=r"seeds is '\[1', which cannot be read"):
        parameters.typed(project.source("01_coin"), [("seeds", "[1")])


def test_a_notebook_without_parameters_says_so(project: Project, only: Write) -> None:
    only("01_coin", "1 + 1")
    with pytest.raises(ParameterError, match="has no parameter 'x', nor any other"):
        parameters.typed(project.source("01_coin"), [("x", "1")])


def command(project: Project, *words: str) -> int:
    return main(["--root", str(project.root), "run", "01_coin", *words])


def test_the_command_runs_with_other_values(project: Project, tmp_path: Path) -> None:
    reference = project.source("01_coin").read_bytes()
    output = tmp_path / "out" / "coin.ipynb"
    assert command(project, "-p", "half_length", "2", "--output", str(output)) == 0
    shown = stored_form.read(output).cells[-1].outputs[0].data["text/plain"]
    assert shown == "(2, [0, 1], 'ab\"')"
    assert project.source("01_coin").read_bytes() == reference
    assert not project.executed.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["half_lenght", "2"], "01_coin has no parameter 'half_lenght'; the nearest is "),
        (["half_length", "7"], "01_coin: half_length is 7; try another."),
    ],
)
def test_what_is_refused_is_one_line_and_no_traceback(
    project: Project, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert command(project, "-p", *words) == 1
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1
    assert not project.variants.exists()
