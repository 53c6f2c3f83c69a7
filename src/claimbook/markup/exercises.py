"""The exercise version of a notebook: everything but the solutions.

One tagged source holds both. A solution is what stands from ``{solution-start}`` to
``{solution-end}``, and every cell tagged ``solution``.
"""

import re
from collections.abc import Iterator
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from claimbook.errors import ClaimbookError

TAG = "solution"
BLANK = "# Your answer"
GATE = re.compile(
    r"\s*(?P<fence>`{3,}|:{3,})\{(?P<name>exercise|solution)(-(?P<side>start|end))?\}"
)


class ExerciseError(ClaimbookError):
    """The directives of exercises and solutions in a notebook do not match."""


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A copy without its solutions; an empty cell stands where the first code of each was.

    Raises:
        ExerciseError: an exercise or a solution is opened inside another, closed but not open, or
            never closed; or it is one directive in place of a pair.
    """
    result = deepcopy(notebook)
    result.cells = list(_without_solutions(result.cells))
    return result


def _without_solutions(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    gates = _Gates()
    answered = 0
    for cell in cells:
        if cell.cell_type == "markdown":
            kept = [line for line in cell.source.split("\n") if gates.keep(line)]
            cell.source = "\n".join(kept).strip("\n")
            if cell.source:
                yield cell
        elif not gates.in_solution and TAG not in cell.metadata.get("tags", []):
            yield cell
        elif answered < gates.solutions:
            answered = gates.solutions
            yield new_code_cell(BLANK, id=cell.id)
    gates.end()


class _Gates:
    """Reads the lines of a notebook's text, and knows which of them belong to a solution."""

    def __init__(self) -> None:
        self.solutions = 0
        self._open = ""
        self._closing = ""

    @property
    def in_solution(self) -> bool:
        return self._open == "solution"

    def keep(self, line: str) -> bool:
        """Whether a line is no part of a solution."""
        if self._closing:
            # Between ``{solution-end}`` and the fence that ends this directive itself.
            if line.strip() == self._closing:
                self._closing = ""
            return False
        gate = GATE.match(line)
        if gate is None:
            return not self.in_solution
        name, side = gate["name"], gate["side"]
        if side is None:
            raise ExerciseError(f"{line.strip()} is to be a pair, {name}-start and {name}-end")
        if self._open != ("" if side == "start" else name):
            inside = f"inside {self._open}" if self._open else "where none is open"
            raise ExerciseError(f"{line.strip()} stands {inside}")
        self._open = name if side == "start" else ""
        if name == "solution":
            self.solutions += side == "start"
            self._closing = gate["fence"] if side == "end" else ""
        return name == "exercise"

    def end(self) -> None:
        """Check that nothing is left open."""
        if self._open or self._closing:
            raise ExerciseError(f"the last {self._open or 'solution'} is not closed")
