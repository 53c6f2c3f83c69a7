"""Whether the two halves of each notebook say the same."""

from nbformat import NotebookNode

from claimbook import stale, stored_form
from claimbook.project import NOT_A_NOTEBOOK, Project


def problems(project: Project) -> list[str]:
    """One sentence for each notebook whose halves differ, or that lacks one."""
    differences = [_of_pair(project, name) for name in project.names()]
    texts = set(project.names())
    lonely = [
        f"{project.shown(path)} has no text half ({path.stem}.md)."
        for path in sorted(project.notebooks.glob("*.ipynb"))
        if path.stem not in texts
    ]
    return [problem for problem in differences if problem] + lonely


def _of_pair(project: Project, name: str) -> str | None:
    text, reference = project.source(name), project.reference(name)
    if not reference.exists():
        return f"{project.shown(text)} has no reference outputs; `make refresh` writes them."
    try:
        stored = stored_form.read(reference).cells
    except NOT_A_NOTEBOOK as error:
        return f"{project.shown(reference)} is not a notebook: {error}"
    where = stored_form.first_difference(
        _compared(stale.text(project, name).cells), _compared(stored)
    )
    if where:
        return (
            f"{project.shown(text)} and {project.shown(reference)} differ, first in {where}; "
            "`make refresh` runs the text and rewrites the other."
        )
    return None


def _compared(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells without what only a run adds."""
    return [
        NotebookNode(
            cell_type=cell.cell_type,
            source=cell.source,
            metadata={key: value for key, value in cell.metadata.items() if value != []},
        )
        for cell in cells
    ]
