"""Where the time of the notebooks goes: by cell, and by function of the project."""

import cProfile
import os
import pstats
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from IPython.core.interactiveshell import InteractiveShell

from claimbook import stale, stored_form
from claimbook.progress import say
from claimbook.project import NotebookError, Project

MOST_EXPENSIVE = 20


class Cost(NamedTuple):
    """CPU seconds of a cell or a function. Those of a function hold those of what it calls."""

    name: str
    seconds: float


class Profile(NamedTuple):
    """What one notebook costs."""

    cells: list[Cost]
    functions: list[Cost]

    @property
    def seconds(self) -> float:
        return sum(cell.seconds for cell in self.cells)


def report(project: Project, names: Sequence[str]) -> None:
    """Run notebooks, each in a process of its own, and say what in them costs most.

    Raises:
        NotebookError: there is no such notebook, or a cell failed.
    """
    profiles: dict[str, Profile] = {}
    for name in project.chosen(names):
        # A fresh interpreter for each, as a kernel would be: imports are paid by who needs them.
        with get_context("spawn").Pool(1) as process:
            profiles[name] = process.apply(profiled, (project, name))
        say(f"{name}: {profiles[name].seconds:.1f} CPU seconds")
    say(f"All: {sum(profile.seconds for profile in profiles.values()):.1f} CPU seconds")
    _say_most([cost for profile in profiles.values() for cost in profile.cells], "cells")
    _say_most(_summed(cost for p in profiles.values() for cost in p.functions), "functions")


def profiled(project: Project, name: str) -> Profile:
    """Run one notebook in this process, without a kernel.

    Raises:
        NotebookError: a cell failed.
    """
    os.chdir(project.notebooks)
    source, cells = stale.text(project, name), []
    shell, profile = InteractiveShell.instance(), cProfile.Profile(time.process_time)
    for index, cell in enumerate(source.cells):
        if cell.cell_type != "code":
            continue
        label = f"{name}, {stored_form.label(source.cells, index)}"
        started = time.process_time()
        with redirect_stdout(StringIO()):
            result = profile.runcall(shell.run_cell, cell.source)
        if not result.success:
            raise NotebookError(f"{label}: {result.error_in_exec or result.error_before_exec}")
        cells.append(Cost(label, time.process_time() - started))
    return Profile(cells, list(_functions(profile, project.packages)))


def _functions(profile: cProfile.Profile, packages: Sequence[str]) -> Iterator[Cost]:
    """The functions of the packages; what stands at the top of a module is no function."""
    roots = [Path(path) for name in packages for path in _folders(name)]
    statistics = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _line, function), (_, _, _, cumulative, _) in statistics.items():
        for root in roots:
            if Path(file).is_relative_to(root) and not function.startswith("<"):
                module = Path(file).relative_to(root.parent).with_suffix("")
                yield Cost(f"{'.'.join(module.parts)}.{function}", cumulative)


def _folders(package: str) -> Sequence[str]:
    spec = find_spec(package)
    return list(spec.submodule_search_locations or []) if spec else []


def _summed(costs: Iterator[Cost]) -> list[Cost]:
    seconds_of: dict[str, float] = {}
    for cost in costs:
        seconds_of[cost.name] = seconds_of.get(cost.name, 0.0) + cost.seconds
    return [Cost(*item) for item in seconds_of.items()]


def _say_most(costs: list[Cost], what: str) -> None:
    say(f"\nThe {MOST_EXPENSIVE} most expensive {what}, in CPU seconds:")
    for cost in sorted(costs, key=lambda cost: -cost.seconds)[:MOST_EXPENSIVE]:
        say(f"{cost.seconds:8.2f}  {cost.name}")
