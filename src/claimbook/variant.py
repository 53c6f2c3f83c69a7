"""The whole book with other parameters, in a folder of its own.

A file of parameters (YAML) holds values by name, for every chapter that has a parameter of this
name; and under the name of a chapter what is for this one alone:

half_length: 4
alphabet: abcdefghij
05_mechanism:
  draws: 64

Chapters that refuse their values are left out. What is committed stays as it is.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from claimbook import parameters
from claimbook.build import build_variant
from claimbook.execute import execute
from claimbook.parameters import ParameterError
from claimbook.project import Project, replace_with


@dataclass(frozen=True)
class Variant(Project):
    """A checkout whose notebooks have other values in their parameters cells.

    Attributes:
        folder: where its notebooks, their executed copies and the book lie.
    """

    folder: Path
    compared: ClassVar[bool] = False

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def executed(self) -> Path:
        return self.folder / "executed"


def build(project: Project, file: Path) -> Path:
    """Execute the notebooks with the values of a file, and build the book of those that take them.

    Returns:
        The folder of the book, ``_build/variants/NAME/html`` for a file ``NAME.yaml``.

    Raises:
        ParameterError: the file cannot be read, or names what is a parameter of no chapter.
        NotebookError: a cell failed.
        BookError: Jupyter Book failed.
    """
    chosen = read(file)
    values = by_chapter(project, chosen)
    variant = Variant(project.root, project.variants / file.stem)
    shutil.rmtree(variant.notebooks, ignore_errors=True)
    for name, own in values.items():
        text = parameters.with_values(project.source(name), own)
        replace_with(variant.source(name), text.encode())
    left_out: dict[str, str] = {}
    executed = execute(variant, left_out=left_out)
    return build_variant(variant, executed, chosen, left_out)


def read(file: Path) -> dict[str, Any]:
    """What a file of parameters holds.

    Raises:
        ParameterError: it is not there, or holds no values by name.
    """
    try:
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{file} is not YAML.") from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise ParameterError(f"{file} must hold values by name, such as half_length: 4.")
    return held


def by_chapter(project: Project, chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each chapter its own values among those chosen.

    Raises:
        ParameterError: a name is a parameter of no chapter, or one under the name of a chapter is
            no parameter of that one.
    """
    names = project.names()
    standing = {name: parameters.standing(project.source(name)) for name in names}
    every = dict.fromkeys(parameter for there in standing.values() for parameter in there)
    for name in chosen:
        if name not in names:
            parameters.check_name(name, "The book", every)
    values = {}
    for name, there in standing.items():
        own = chosen.get(name, {})
        if not isinstance(own, dict):
            raise ParameterError(f"{name} is {own!r}; a chapter has values by name.")
        values[name] = {key: value for key, value in chosen.items() if key in there} | own
    return values
