"""The claims of chapters once more, with parameters other than those of the book.

A notebook runs in memory: its executed copy and its reference stay. What it claims is written
beside the pages, which show it next to the book's own claims.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papermill.exceptions import PapermillExecutionError

from claimbook import claims, stale
from claimbook.execute import in_memory
from claimbook.progress import say
from claimbook.project import NotebookError, Project

FILE = Path("book") / "claims_again.json"


def again(project: Project, names: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Run notebooks with these parameters, and write what they claim.

    Raises:
        NotebookError: there is no such notebook, or a cell failed.
    """
    changed = ", ".join(f"{key} = {value}" for key, value in parameters.items())
    stated: list[claims.Claim] = []
    for name in project.chosen(names):
        say(f"{name} runs with {changed}")
        source = stale.text(project, name)
        try:
            executed = in_memory(project, source, parameters=dict(parameters))
        except PapermillExecutionError as error:
            raise NotebookError(str(error)) from error
        stated += claims.of_cells(executed.cells)
    claims.write(stated, project.root / FILE)
    say(f"Wrote {FILE}")
