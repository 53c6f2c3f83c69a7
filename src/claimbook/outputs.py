"""Whether the reference outputs are fit to be compared with.

nbval compares a cell with what is stored for it, and where nothing is stored it compares nothing:
a notebook whose outputs were cleared passes. So each committed notebook must show that it ran from
top to bottom and that every cell left an output, and nothing in it may tell nbval to look away.
"""

import json
import re
from pathlib import Path

from nbformat import NotebookNode

from claimbook import stored_form
from claimbook.project import NOT_A_NOTEBOOK, Project

# Cells that by their nature show nothing: assignments that papermill overrides, and imports.
SILENT = {"parameters", "setup"}
LARGEST = 1_000_000
LOOKS_AWAY = re.compile(r"nbval[-_]|raises-exception|PYTEST_VALIDATE_IGNORE_OUTPUT", re.IGNORECASE)
# What differs between two machines or two runs, or has no place in a text format.
UNSTABLE = {
    "the path of a home or temporary folder": re.compile(r"/(home|root|Users|tmp)/\w"),
    "a path of an installed package": re.compile(r"site-packages|dist-packages"),
    "a memory address": re.compile(r"\b0x[0-9a-f]{6,}", re.IGNORECASE),
    "a pickle": re.compile(r"gASV[A-Za-z0-9+/]{12}|\.pkl\b|\.pickle\b"),
}


def problems(project: Project) -> list[str]:
    """One sentence for each thing that is wrong with a committed notebook."""
    faults = []
    for path in sorted(project.notebooks.glob("*.ipynb")):
        shown = project.shown(path)
        size = path.stat().st_size
        if size > LARGEST:
            faults.append(f"{shown} has {size:,} bytes; {LARGEST:,} are allowed.")
        try:
            cells = stored_form.read(path).cells
        except NOT_A_NOTEBOOK as error:
            faults.append(f"{shown} is not a notebook: {error}")
            continue
        faults += [f"{shown}, {problem}" for problem in of_cells(cells)]
    return faults


def departures(project: Project) -> list[str]:
    """One sentence for each notebook whose last run left anything but what is committed.

    Stricter than nbval, which skips cells without an output and counts no executions.
    """
    return [
        f"The last run of {name} left something else than {project.shown(project.reference(name))}."
        for name in project.names()
        if not _same(project.executed_copy(name), project.reference(name))
    ]


def _same(executed: Path, reference: Path) -> bool:
    there = executed.exists() and reference.exists()
    return there and executed.read_bytes() == reference.read_bytes()


def counts(project: Project) -> dict[str, int]:
    """For each committed notebook, how many of its cells are really compared."""
    return {
        path.stem: compared(stored_form.read(path).cells)
        for path in sorted(project.notebooks.glob("*.ipynb"))
    }


def of_cells(cells: list[NotebookNode]) -> list[str]:
    """What is wrong with the cells of one notebook."""
    faults = []
    number = 0
    for index, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        number += 1
        name = stored_form.label(cells, index)
        faults += [f"{name} {problem}" for problem in _of_cell(cell, number)]
    if number and not compared(cells):
        faults.append("no cell has an output: there is nothing to compare.")
    return faults


def compared(cells: list[NotebookNode]) -> int:
    """How many cells nbval really compares."""
    return sum(
        cell.cell_type == "code" and cell.execution_count is not None and bool(cell.outputs)
        for cell in cells
    )


def _of_cell(cell: NotebookNode, number: int) -> list[str]:
    tags = set(cell.metadata.get("tags", []))
    faults = []
    if cell.execution_count is None:
        faults.append("was never executed, or its outputs were cleared.")
    elif cell.execution_count != number:
        faults.append(f"ran as number {cell.execution_count}: not from top to bottom.")
    if cell.execution_count and not cell.outputs and not tags & SILENT:
        faults.append(f"has no stored output (only cells tagged {_listed(SILENT)} may).")
    if cell.outputs and tags & SILENT:
        faults.append(f"is tagged {_listed(tags & SILENT)} and yet has an output.")
    if LOOKS_AWAY.search(f"{cell.source}\n{' '.join(tags)}"):
        faults.append("asks nbval to look away.")
    stored = json.dumps(cell.outputs, ensure_ascii=False)
    faults += [f"shows {what}." for what, pattern in UNSTABLE.items() if pattern.search(stored)]
    faults += ["shows an error." for output in cell.outputs if output.output_type == "error"]
    return faults


def _listed(tags: set[str]) -> str:
    return " or ".join(sorted(tags))
