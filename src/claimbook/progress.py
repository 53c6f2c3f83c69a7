"""What is said on the terminal while notebooks run."""

import sys
import time
from types import TracebackType
from typing import Any

from nbformat import NotebookNode


def say(line: str) -> None:
    """Print a line at once, also where the output is a file."""
    print(line, flush=True)


class Progress:
    """Which code cell of which notebook runs, and since when.

    On a terminal one line is kept up to date; elsewhere every cell gets a line of its own.
    """

    def __init__(self, name: str, cells: list[NotebookNode]) -> None:
        self.name = name
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
        state = "done" if kind is None else f"stopped in cell {self.done} of {self.total}"
        self._show(f"  {self.name}  {state}  {self._seconds()}")
        if self.in_place:
            print(flush=True)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self.started:.1f} s"

    def _show(self, text: str) -> None:
        if self.in_place:
            print(f"\r{text}\033[K", end="", flush=True)
        else:
            say(text)
