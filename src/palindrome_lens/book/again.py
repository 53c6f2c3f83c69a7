"""The claims of chapters once more, with parameters other than those of the book.

A notebook runs in memory: its executed copy and its reference stay. What it claims is written
beside the pages, which show it next to the book's own claims.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill

from palindrome_lens import claims
from palindrome_lens.book import normal
from palindrome_lens.book.execute import KERNEL_STARTS_WITHIN_S, QUIET, OwnKernel
from palindrome_lens.book.progress import say
from palindrome_lens.book.project import Project

FILE = Path("book") / "claims_again.json"


def again(project: Project, names: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Run notebooks with these parameters, and write what they claim.

    Raises:
        PapermillExecutionError: a cell failed.
        ValueError: two claims share an id.
    """
    stated: list[claims.Claim] = []
    for name in project.chosen(names):
        say(
            f"{name} runs with {', '.join(f'{key} = {value}' for key, value in parameters.items())}"
        )
        ran = papermill.execute_notebook(
            normal.read_source(project.source(name)),
            None,
            parameters=dict(parameters),
            kernel_name=normal.KERNEL,
            kernel_manager_class=OwnKernel,
            start_timeout=KERNEL_STARTS_WITHIN_S,
            extra_arguments=QUIET,
            cwd=project.notebooks,
            progress_bar=False,
        )
        stated += claims.of_cells(ran.cells)
    claims.write(stated, project.root / FILE)
    say(f"Wrote {FILE}")
