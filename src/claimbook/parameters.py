"""What stands in the parameters cell of a notebook, and the notebook with something else there.

The cell is tagged ``parameters`` and holds plain assignments of literals, as papermill wants it.
"""

import ast
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from claimbook.errors import ClaimbookError
from claimbook.stored_form import read_source

TAG = "parameters"


class ParameterError(ClaimbookError):
    """A name or a value that is no parameter; the message says what is one."""


def standing(path: Path) -> dict[str, Any]:
    """The parameters of a notebook's text by name, with the values that stand there."""
    return {name: ast.literal_eval(line.value) for name, line in _assignments(_cell(path)).items()}


def with_values(path: Path, values: Mapping[str, Any]) -> str:
    """The text of a notebook with these values in its parameters cell.

    Raises:
        ParameterError: a name is no parameter of the notebook.
    """
    cell, lines = _cell(path), _cell(path).splitlines()
    assignments = _assignments(cell)
    for name, value in values.items():
        check_name(name, path.stem, assignments)
        line = assignments[name]
        assert line.end_lineno is not None
        blank = [""] * (line.end_lineno - line.lineno)
        lines[line.lineno - 1 : line.end_lineno] = [f"{name} = {_literal(value)}", *blank]
    text = path.read_text(encoding="utf-8")
    return text.replace(cell, "\n".join(lines), 1) if values else text


def check_name(name: str, notebook: str, names: Iterable[str]) -> None:
    """Raise ParameterError for a name that is not among the parameters of a notebook."""
    there = list(names)
    if name in there:
        return
    if not there:
        raise ParameterError(f"{notebook} has no parameter {name!r}, nor any other.")
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    raise ParameterError(
        f"{notebook} has no parameter {name!r}{hint}. There are {', '.join(there)}."
    )


def typed(path: Path, words: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Values as they were typed: text where text stands in the notebook, anything else as YAML.

    Args:
        words: pairs of a name and what was typed.

    Raises:
        ParameterError: a name is no parameter of the notebook, or what was typed is not YAML.
    """
    there, values = standing(path), {}
    for name, word in words:
        check_name(name, path.stem, there)
        try:
            values[name] = word if isinstance(there[name], str) else yaml.safe_load(word)
        except yaml.YAMLError as error:
            raise ParameterError(f"{name} is {word!r}, which cannot be read.") from error
    return values


def _cell(path: Path) -> str:
    cells = read_source(path).cells
    return next((c.source for c in cells if TAG in c.metadata.get("tags", ())), "")


def _assignments(cell: str) -> dict[str, ast.Assign]:
    lines = [line for line in ast.parse(cell).body if isinstance(line, ast.Assign)]
    return {ast.unparse(line.targets[0]): line for line in lines}


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
