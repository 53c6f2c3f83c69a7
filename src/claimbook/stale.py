"""Which notebooks must run again, by the content of what they were made from.

An executed copy is made from its text, the lock file, the Python version, and those modules of
the project's packages that the notebook's imports reach, each with the data files that bear its
name.
Their hashes are recorded beside the copy; time stamps, which a clone or a checkout changes at
will, are never looked at.

What is committed has a record too: one hash for each notebook, written by the refresh. Where it is
that of the checkout, the stored outputs are what a run would leave, and stand for it.
"""

import ast
import hashlib
import json
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from nbformat import NotebookNode

from claimbook import stored_form
from claimbook.project import NotebookError, Project, replace_with
from claimbook.provenance import Library, hash_of

TEXT = "its text"
LOCK = "the lock file"
PYTHON = "the Python version"
STORED_FORM = "the stored form of notebooks"
COPY = "copy"
TAKEN = "taken from what is committed"
SECONDS = "seconds"


def parts(project: Project, library: Library, name: str) -> dict[str, str]:
    """Everything that an executed copy is made from, each with its hash."""
    modules = library.reached(imported(text(project, name), library.graph.modules))
    return {
        TEXT: hash_of(project.source(name)),
        LOCK: hash_of(project.lock),
        PYTHON: f"{sys.version_info.major}.{sys.version_info.minor}",
        STORED_FORM: hash_of(Path(stored_form.__file__)),
        **{module: _content(library.files[module]) for module in sorted(modules)},
    }


def text(project: Project, name: str) -> NotebookNode:
    """The notebook that a text stands for, as it will be executed.

    Raises:
        NotebookError: the text cannot be read.
    """
    path = project.source(name)
    try:
        return stored_form.read_source(path)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise NotebookError(f"{project.shown(path)} cannot be read: {reason}.") from error


def imported(source: NotebookNode, modules: set[str]) -> set[str]:
    """Those of the modules that a notebook's own code imports.

    A cell that is not plain Python (a magic, a shell line) may import anything: it counts as
    importing every module.
    """
    names: set[str] = set()
    for cell in source.cells:
        if cell.cell_type == "code":
            try:
                names |= _names_imported(ast.parse(cell.source))
            except SyntaxError:
                return set(modules)
    return names & modules


def _names_imported(tree: ast.AST) -> set[str]:
    """All that may be a module: of ``from a.b import c`` both ``a.b`` and ``a.b.c``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def reasons(project: Project, name: str, now: dict[str, str], *, ran: bool = False) -> list[str]:
    """Why a notebook must run again; empty when its executed copy is up to date.

    Args:
        ran: a copy that was taken from what is committed does not count as executed.
    """
    try:
        recorded = json.loads(project.record(name).read_bytes())
        copy = hash_of(project.executed_copy(name))
    except FileNotFoundError:
        return ["never executed"]
    except ValueError:
        recorded = None
    if not isinstance(recorded, dict):
        return ["the record of its last run cannot be read"]
    recorded.pop(SECONDS, None)
    if recorded.pop(TAKEN, False) and ran:
        return ["never executed here"]
    if recorded.pop(COPY, None) != copy:
        return ["its executed copy is not the one that was recorded"]
    changed = [part for part in now if part in recorded and recorded[part] != now[part]]
    added = [part for part in now if part not in recorded]
    removed = [part for part in recorded if part not in now]
    return [
        *(f"{part} changed" for part in changed),
        *(f"{part} is now imported" for part in added),
        *(f"{part} is no longer imported" for part in removed),
    ]


def record(project: Project, name: str, made_from: dict[str, str], seconds: float) -> None:
    """Note what the executed copy was made from, and how long that took, once it is in place."""
    _record(project, name, {**made_from, SECONDS: round(seconds, 1)})


def take(project: Project, name: str, made_from: dict[str, str]) -> None:
    """Let what is committed stand for a run."""
    replace_with(project.executed_copy(name), project.reference(name).read_bytes())
    _record(project, name, {**made_from, TAKEN: True})


def _record(project: Project, name: str, entries: dict[str, str | float | bool]) -> None:
    entries = {**entries, COPY: hash_of(project.executed_copy(name))}
    replace_with(project.record(name), f"{json.dumps(entries, indent=1)}\n".encode())


def is_committed(project: Project, name: str, made_from: dict[str, str]) -> bool:
    """Whether the stored outputs of a notebook were made from the same."""
    there = project.reference(name).exists()
    return there and committed(project).get(name) == digest(made_from)


def committed(project: Project) -> dict[str, str]:
    """What each notebook's stored outputs were made from, by name; empty without a record."""
    try:
        return json.loads(project.made_from.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def digest(made_from: dict[str, str]) -> str:
    """One hash of everything that outputs are made from, but for the Python version: outputs are
    the same with each."""
    parts = {part: content for part, content in sorted(made_from.items()) if part != PYTHON}
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def seconds(executed: Path) -> float | None:
    """How long an executed copy took, by the record beside it; ``None`` where there is none."""
    try:
        return json.loads(executed.with_suffix(".json").read_bytes()).get(SECONDS)
    except (AttributeError, FileNotFoundError, ValueError):
        return None


def expected_seconds(project: Project, name: str) -> float:
    """How long a notebook took when it last ran; where it never did, a second for each cell."""
    cells = text(project, name).cells
    return seconds(project.executed_copy(name)) or sum(cell.cell_type == "code" for cell in cells)


def _content(module: Path) -> str:
    """The hash of a module and of the data files that bear its name."""
    return " ".join(hash_of(path) for path in sorted(module.parent.glob(f"{module.stem}.*")))
