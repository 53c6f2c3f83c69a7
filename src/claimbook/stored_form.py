"""The one form in which notebooks are stored: the same run gives the same bytes.

Everything that belongs to the text (cells, tags, figure settings) comes from the MyST source;
everything that belongs to the run is limited to outputs and execution counts. What papermill and
the kernel add besides (times, paths, versions, random cell ids) never gets in.
"""

from collections.abc import Iterable
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

KERNEL = "python3"
LEXER = "ipython3"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
    "language_info": {"name": "python", "pygments_lexer": LEXER},
    # Else `jupytext --sync` would add it: so it leaves a pair that is in step as it is.
    "jupytext": {"default_lexer": LEXER},
}


def read_source(path: Path) -> NotebookNode:
    """The notebook that a file of MyST text stands for: no outputs, stable cell ids."""
    return from_text(path.read_text(encoding="utf-8"))


def from_text(text: str) -> NotebookNode:
    """The notebook that a MyST text stands for."""
    notebook = jupytext.reads(text, fmt="md:myst")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:03d}"
    return notebook


def with_outputs(source: NotebookNode, executed: Iterable[NotebookNode]) -> NotebookNode:
    """A copy of ``source`` with the outputs and execution counts of executed cells."""
    result = nbformat.from_dict(source)
    for cell, ran in zip(result.cells, executed, strict=True):
        if cell.cell_type == "code":
            cell.outputs = merge_streams(ran.outputs)
            cell.execution_count = ran.execution_count
    return result


def merge_streams(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Join consecutive stretches of one stream: where they are cut depends on timing."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(nbformat.from_dict(output))
    return merged


def to_bytes(notebook: NotebookNode) -> bytes:
    """The stored form: sorted keys, one space of indent, a final newline."""
    text: str = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    return f"{text.rstrip()}\n".encode()


def read(path: Path) -> NotebookNode:
    """Read a stored notebook.

    Raises:
        OSError: it does not exist.
        ValueError: it is not a notebook.
    """
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def label(cells: list[NotebookNode], index: int) -> str:
    """How a cell is called: ``cell [7]``, as JupyterLab numbers it, or the text behind it."""
    number = sum(cell.cell_type == "code" for cell in cells[: index + 1])
    if index < len(cells) and cells[index].cell_type == "code":
        return f"cell [{number}]"
    return f"the text after cell [{number}]" if number else "the text before cell [1]"


def first_difference(one: list[NotebookNode], other: list[NotebookNode]) -> str | None:
    """The first cell in which two notebooks differ, in the words of :func:`label`."""
    for index in range(max(len(one), len(other))):
        if one[index : index + 1] != other[index : index + 1]:
            return label(one if index < len(one) else other, index)
    return None
