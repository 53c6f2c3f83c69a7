"""Which code made something: the modules that other modules reach by their imports.

One answer serves all who ask: executed notebooks, and whatever a package keeps on disk.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp

from claimbook.errors import ClaimbookError


class ProvenanceError(ClaimbookError):
    """A package is not installed, or a module of it is not valid Python."""


@dataclass(frozen=True)
class Library:
    """Packages: their modules, who imports whom, and the file of each."""

    graph: grimp.ImportGraph
    files: dict[str, Path]

    @classmethod
    def of(cls, packages: Sequence[str]) -> "Library":
        """Read the sources of packages; nothing in them is imported.

        Raises:
            ProvenanceError: a package is not installed, or a module of it is not valid Python.
        """
        folders = {package: folder_of(package) for package in packages}
        try:
            graph = grimp.build_graph(*packages, cache_dir=None)
        except (grimp.exceptions.GrimpException, ValueError) as error:
            listed = ", ".join(packages)
            raise ProvenanceError(f"The modules of {listed} cannot be read: {error}") from error
        return cls(graph, {module: _file(module, folders) for module in graph.modules})

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


@cache
def code_behind(module: str) -> str:
    """A hash of the source of a module and of all that it reaches in its package.

    Data files do not count. What was asked once stays, as the modules of a process do.

    Raises:
        ProvenanceError: the package is not installed, or a module of it is not valid Python.
    """
    library = Library.of([module.partition(".")[0]])
    digest = hashlib.sha256()
    for name in sorted(library.reached([module])):
        digest.update(f"{name} {hash_of(library.files[name])}\n".encode())
    return digest.hexdigest()


def hash_of(path: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_of(package: str) -> Path:
    """Where a package lies.

    Raises:
        ProvenanceError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ProvenanceError(f"The package {package} is not installed here.")
    return Path(spec.origin).parent


def _file(module: str, folders: dict[str, Path]) -> Path:
    package, *inside = module.split(".")
    path = folders[package].joinpath(*inside)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
