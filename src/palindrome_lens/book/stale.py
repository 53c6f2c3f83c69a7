"""Which notebooks must run again, by the content of what they were made from.

An executed copy is made from its text, the lock file, the Python version, and those modules of
the package that the notebook's imports reach, each with the data files that bear its name.
Their hashes are recorded beside the copy; time stamps, which a clone or a checkout changes at
will, are never looked at.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import grimp

from palindrome_lens.book import normal
from palindrome_lens.book.project import NotebookError, Project, replace_with

TEXT = "its text"
LOCK = "the lock file"
PYTHON = "the Python version"
STORED_FORM = "the stored form of notebooks"
COPY = "copy"
SECONDS = "seconds"


@dataclass(frozen=True)
class Library:
    """The package's modules, who imports whom, and the hash of each."""

    graph: grimp.ImportGraph
    hashes: dict[str, str]

    @classmethod
    def of(cls, package: str) -> "Library":
        """Read the package's sources; nothing in it is imported.

        Raises:
            NotebookError: the package is not installed, or a module of it is not valid Python.
        """
        try:
            graph = grimp.build_graph(package, cache_dir=None)
        except (grimp.exceptions.GrimpException, ValueError) as error:
            raise NotebookError(f"The modules of {package} cannot be read: {error}") from error
        folder = _folder(package)
        return cls(graph, {module: _content(_file(module, folder)) for module in graph.modules})

    def reached(self, modules: Iterable[str]) -> set[str]:
        """These modules, everything that they import in turn, and the packages around them."""
        reached: set[str] = set()
        waiting = set(modules)
        while waiting:
            module = waiting.pop()
            reached.add(module)
            around = module.rpartition(".")[0]
            direct = self.graph.find_modules_directly_imported_by(module)
            waiting |= (direct | ({around} if around else set())) - reached
        return reached


def parts(project: Project, library: Library, name: str) -> dict[str, str]:
    """Everything that an executed copy is made from, each with its hash."""
    source = project.source(name)
    modules = library.reached(imported(source, library.graph.modules, project.package))
    return {
        TEXT: _hash(source),
        LOCK: _hash(project.lock),
        PYTHON: f"{sys.version_info.major}.{sys.version_info.minor}",
        STORED_FORM: _hash(Path(normal.__file__)),
        **{module: library.hashes[module] for module in sorted(modules)},
    }


def imported(source: Path, modules: set[str], package: str) -> set[str]:
    """The modules of the package that a notebook's own code imports.

    A cell that is not plain Python (a magic, a shell line) may import anything: it counts as
    importing every module.
    """
    found: set[str] = set()
    for cell in normal.read_source(source).cells:
        if cell.cell_type == "code":
            try:
                found |= _names_imported(ast.parse(cell.source))
            except SyntaxError:
                return set(modules)
    if not any(name.split(".")[0] == package for name in found):
        return set()
    return (found & modules) | {package}


def _names_imported(tree: ast.AST) -> set[str]:
    """All that may be a module: of ``from a.b import c`` both ``a.b`` and ``a.b.c``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def reasons(project: Project, name: str, now: dict[str, str]) -> list[str]:
    """Why a notebook must run again; empty when its executed copy is up to date."""
    try:
        recorded = json.loads(project.record(name).read_bytes())
        copy = _hash(project.executed_copy(name))
    except FileNotFoundError:
        return ["never executed"]
    except ValueError:
        return ["the record of its last run cannot be read"]
    recorded.pop(SECONDS, None)
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
    entries = {
        **made_from,
        COPY: _hash(project.executed_copy(name)),
        SECONDS: round(seconds, 1),
    }
    replace_with(project.record(name), f"{json.dumps(entries, indent=1)}\n".encode())


def seconds(executed: Path) -> float | None:
    """How long an executed copy took, by the record beside it; ``None`` where there is none."""
    try:
        return json.loads(executed.with_suffix(".json").read_bytes()).get(SECONDS)
    except (FileNotFoundError, ValueError):
        return None


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotebookError(f"The package {package} is not installed here.")
    return Path(spec.origin).parent


def _file(module: str, folder: Path) -> Path:
    path = folder.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _content(module: Path) -> str:
    """The hash of a module and of the data files that bear its name."""
    return " ".join(_hash(path) for path in sorted(module.parent.glob(f"{module.stem}.*")))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
