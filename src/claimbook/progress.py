"""What is said on the terminal while notebooks run."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from nbformat import NotebookNode


def say(line: str) -> None:
    """Print a line at once, also where the output is a file."""
    print(line, flush=True)


class Progress:
    """Which code cell of which notebook runs, and since when.

    On a terminal one line is kept up to date; elsewhere every cell gets a line of its own. Of
    several notebooks side by side a terminal is told only when one is done (:class:`Remaining`).
    """

    def __init__(self, name: str, cells: list[NotebookNode], alone: bool = True) -> None:
        self.name = name
        self.alone = alone
        self.total = sum(cell.cell_type == "code" for cell in cells)
        self.index = 0
        self.done = 0
        self.started = time.monotonic()
        self.in_place = sys.stdout.isatty()

    def __enter__(self) -> "Progress":
        return self

    def cell_starts(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        """Called by nbclient before each cell."""
        self.index = cell_index
        if cell.cell_type == "code":
            self.done += 1
            self._show(f"  {self.name}  cell {self.done} of {self.total}  {self._seconds()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self.alone:
            return
        state = "done" if kind is None else f"stopped in cell {self.done} of {self.total}"
        self._show(f"  {self.name}  {state}  {self._seconds()}")
        if self.in_place and self.alone:
            print(flush=True)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self.started:.1f} s"

    def _show(self, text: str) -> None:
        if self.in_place and self.alone:
            print(f"\r{text}\033[K", end="", flush=True)
        elif not self.in_place:
            say(text)


class Remaining:
    """How many notebooks are done, and about how long the others will take.

    Args:
        expected: what each is expected to take, in any unit that is the same for all.
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self.expected = dict(expected)
        self.total, self.all = sum(expected.values()), len(expected)
        self.started = time.monotonic()

    def without(self, name: str) -> str:
        """What to say when a notebook is done."""
        del self.expected[name]
        left = sum(self.expected.values())
        done = f"{self.all - len(self.expected)} of {self.all}"
        if not left or left == self.total:
            return done
        rate = (time.monotonic() - self.started) / (self.total - left)
        return f"{done}, about {_round(rate * left)} left"


def _round(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
