"""Where the notebooks, their executed copies and what they depend on lie."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from claimbook.errors import ClaimbookError

NOT_A_NOTEBOOK = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a file raises that is JSON, but no notebook, or no JSON at all."""


class NotebookError(ClaimbookError):
    """A notebook cannot be used as it is; the message is for the person at the terminal."""


@dataclass(frozen=True)
class Project:
    """A checkout, with what ``[tool.claimbook]`` in its ``pyproject.toml`` says.

    Attributes:
        root: the folder that holds ``notebooks/`` and ``requirements.lock``.
    """

    root: Path
    compared: ClassVar[bool] = True
    """Whether what runs is held against a committed reference."""

    @cached_property
    def _settings(self) -> dict[str, Any]:
        path = self.root / "pyproject.toml"
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            return tomllib.loads(text).get("tool", {}).get("claimbook", {})
        except ValueError as error:
            raise NotebookError(f"{path} cannot be read: {error}.") from error

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose change can make a notebook stale: the project's own, and this one."""
        return (*self._settings.get("packages", ()), "claimbook")

    @property
    def pages(self) -> tuple[str, ...]:
        """The packages that make pages what they are: a change in one asks for a new build."""
        return (*self._settings.get("pages", ()), "claimbook")

    @property
    def pictures(self) -> dict[str, str]:
        """Pictures drawn from the claims: path in the checkout, and the function that draws."""
        return self._settings.get("pictures", {})

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def executed(self) -> Path:
        return self.root / "_build" / "executed"

    @property
    def variants(self) -> Path:
        """Where runs with other parameters are written."""
        return self.root / "_build" / "variants"

    @property
    def lock(self) -> Path:
        return self.root / "requirements.lock"

    @property
    def claims(self) -> Path:
        return self.notebooks / "claims.json"

    @property
    def made_from(self) -> Path:
        """What the stored outputs were made from."""
        return self.notebooks / "made_from.json"

    def names(self) -> list[str]:
        """The notebooks, in the order of the book."""
        return sorted(path.stem for path in self.notebooks.glob("[0-9][0-9]_*.md"))

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The notebooks named (by name or by path), in the order of the book; all, if none is.

        Raises:
            NotebookError: there is no such notebook.
        """
        all_names = self.names()
        wanted = {Path(name).stem for name in names}
        if unknown := sorted(wanted - set(all_names)):
            near = get_close_matches(unknown[0], all_names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(all_names)}."
            raise NotebookError(f"There is no notebook {unknown[0]!r}; {hint}")
        return [name for name in all_names if name in wanted] if wanted else all_names

    def source(self, name: str) -> Path:
        """The text that people edit."""
        return self.notebooks / f"{name}.md"

    def reference(self, name: str) -> Path:
        """Its pair, with the outputs that later runs are held against."""
        return self.notebooks / f"{name}.ipynb"

    def executed_copy(self, name: str) -> Path:
        """The newest executed copy, which the book is built from."""
        return self.executed / f"{name}.ipynb"

    def record(self, name: str) -> Path:
        """What the executed copy was made from."""
        return self.executed / f"{name}.json"

    def shown(self, path: Path) -> str:
        """A path as it is printed: relative to the root."""
        return str(path.relative_to(self.root))


def replace_with(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half-written, whenever the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One fixed name beside the file: what a killed run left behind, the next run overwrites.
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_bytes(content)
    scratch.replace(path)
