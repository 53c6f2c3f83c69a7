"""The claims of chapters once more, with parameters other than those of the book.

A notebook runs in memory: its executed copy and its reference stay. What it claims is written
beside the pages, which show it next to the book's own claims.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claimbook import claims
from claimbook.execute import run
from claimbook.progress import say
from claimbook.project import Project

FILE = Path("book") / "claims_again.json"


def again(project: Project, names: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Run notebooks with these parameters, and write what they claim.

    Raises:
        ParameterError: a notebook lacks such a parameter.
        NotebookError: there is no such notebook, or a cell failed.
    """
    changed = ", ".join(f"{key} = {value}" for key, value in parameters.items())
    stated: list[claims.Claim] = []
    for name in project.chosen(names):
        say(f"{name} runs with {changed}")
        stated += claims.of_cells(run(project, name, values=parameters).cells)
    claims.write(stated, project.root / FILE)
    say(f"Wrote {FILE}")
