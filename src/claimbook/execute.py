"""Executing notebooks: only those that must, each in one step or not at all."""

import json
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from claimbook import claims, parameters, pictures, readme, stale, stored_form, warm
from claimbook.progress import Progress, Remaining, say
from claimbook.project import NOT_A_NOTEBOOK, NotebookError, Project, replace_with
from claimbook.provenance import Library

KERNEL_STARTS_WITHIN_S = 300
"""The usual minute is not always enough on a machine that does other work."""
WORKERS = min(os.cpu_count() or 1, 4)
"""Notebooks that run at the same time; each may take 4 GiB."""
REASONS = 3
TRACEBACK_LINES = 15
# A kernel logs to the terminal, how it was shut down for one; what a cell raises comes by itself.
QUIET = ["--IPKernelApp.log_level=CRITICAL"]


class Refused(NotebookError):
    """A notebook stopped with one sentence that says what its reader can mend."""


class OwnKernel(AsyncKernelManager):
    """The kernel of the running interpreter, whatever kernels are installed under its name."""

    @default("kernel_spec_manager")
    def _without_installed_kernels(self) -> KernelSpecManager:
        return KernelSpecManager(parent=self, kernel_dirs=[])

    @property
    def kernel_spec(self) -> KernelSpec | None:
        return warm.through_the_door(super().kernel_spec)


def execute(
    project: Project,
    names: Sequence[str] = (),
    *,
    everything: bool = False,
    committed: bool = True,
    left_out: dict[str, str] | None = None,
) -> list[Path]:
    """Execute the notebooks that are stale, or all of them, in the order of the book.

    Args:
        project: the checkout.
        names: which notebooks; all, if none is named.
        everything: also those that are up to date.
        committed: stored outputs that were made from what is there now stand for a run.
        left_out: gets the notebooks that refuse their parameters, by name what they say; without
            it they are errors.

    Returns:
        The executed copies, one for each notebook asked for and not left out.

    Raises:
        NotebookError: a cell failed. What was finished before is kept; the executed copy of the
            notebook that failed, and every reference, are as they were.
    """
    chosen = project.chosen(names)
    library = Library.of(project.packages)
    due: dict[str, dict[str, str]] = {}
    for name in chosen:
        made_from = stale.parts(project, library, name)
        why = stale.reasons(project, name, made_from, ran=not committed)
        if why and committed and not everything and stale.is_committed(project, name, made_from):
            stale.take(project, name, made_from)
            say(f"{name} is as committed, and was made from what is here")
            continue
        why = why or (["asked for"] if everything else [])
        if why:
            due[name] = made_from
        say(f"{name} runs: {_listed(why)}" if why else f"{name} is up to date")
    started = time.monotonic()
    took: dict[str, float] = {}
    with closing(_executed(project, library, due)) as results:
        for name, result, seconds in results:
            if isinstance(result, Refused):
                if left_out is None:
                    raise result
                left_out[name] = str(result).removeprefix(f"{name}: ")
                say(f"{name} is left out: {left_out[name]}")
                continue
            replace_with(project.executed_copy(name), stored_form.to_bytes(result))
            stale.record(project, name, due[name], seconds)
            took[name] = seconds
            if project.compared:
                say_difference(project, name, result)
    if len(took) > 1:
        by_name = ", ".join(f"{name} {took[name]:.0f} s" for name in due if name in took)
        say(f"Executed {len(took)} notebooks in {time.monotonic() - started:.0f} s: {by_name}")
    return [project.executed_copy(name) for name in chosen if name not in (left_out or {})]


def _executed(
    project: Project, library: Library, due: Mapping[str, Mapping[str, str]]
) -> Generator[tuple[str, NotebookNode | Refused, float], None, None]:
    """Each notebook with its result or its refusal, and how long it took, as they finish.

    Leaving it, also by an error or Ctrl-C, ends what still runs.
    """
    expected = {name: stale.expected_seconds(project, name) for name in due}
    # The longest first, so that the last ones end together.
    names = sorted(due, key=lambda name: -expected[name])
    if min(WORKERS, len(due)) < 2:
        yield from (_timed(project, name) for name in names)
        return
    modules = library.files.keys() & {part for parts in due.values() for part in parts}
    with warm.kernels(modules) as door, _workers(min(WORKERS, len(due)), door) as pool:
        remaining = Remaining(expected)
        beside_others = partial(_timed, project, alone=False)
        for name, result, seconds in pool.imap_unordered(beside_others, names):
            ended = "stopped" if isinstance(result, Refused) else "done"
            say(f"  {name}  {ended}  {seconds:.1f} s  ({remaining.without(name)})")
            yield name, result, seconds


def _timed(
    project: Project, name: str, alone: bool = True
) -> tuple[str, NotebookNode | Refused, float]:
    started = time.monotonic()
    result: NotebookNode | Refused
    try:
        result = run(project, name, alone)
    except Refused as refused:
        result = refused
    return name, result, time.monotonic() - started


def _workers(number: int, door: warm.Door | None) -> Pool:
    return get_context("spawn").Pool(number, initializer=_begin, initargs=(door,))


def _begin(door: warm.Door | None) -> None:
    # Ctrl-C is for the process that was started at the terminal; it ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm.use(door)


def _listed(why: list[str]) -> str:
    more = [f"and {len(why) - REASONS} more"] if len(why) > REASONS else []
    return "; ".join([*why[:REASONS], *more])


def refresh(project: Project, names: Sequence[str] = (), *, everything: bool = False) -> None:
    """Execute, and then make the outputs the new reference; the list of claims follows.

    Raises:
        NotebookError: a cell failed. Nothing was rewritten then, not even for other notebooks.
        ClaimsError: two claims share an id. Nothing was rewritten then.
    """
    copies = {copy.stem: copy for copy in execute(project, names, everything=everything)}
    after = [copies.get(name, project.reference(name)) for name in project.names()]
    stated = claims.collect(path for path in after if path.exists())
    for name, copy in copies.items():
        _rewrite(project, project.reference(name), copy.read_bytes())
    library = Library.of(project.packages)
    made_from = stale.committed(project) | {
        name: stale.digest(stale.parts(project, library, name)) for name in copies
    }
    kept = {name: made_from[name] for name in project.names() if name in made_from}
    _rewrite(project, project.made_from, f"{json.dumps(kept, indent=1)}\n".encode())
    scratch = project.executed / "claims.json"
    claims.write(stated, scratch)
    _rewrite(project, project.claims, scratch.read_bytes())
    drawn = pictures.drawn(project.pictures, stated)
    for path, picture in drawn.items():
        _rewrite(project, project.root / path, picture.svg.encode())
    readme.fill(stated, drawn, project.root / "README.md")


def _rewrite(project: Project, path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        replace_with(path, content)
        say(f"Rewrote {project.shown(path)}")


def run(
    project: Project, name: str, alone: bool = True, values: Mapping[str, Any] | None = None
) -> NotebookNode:
    """Execute one notebook with papermill, in ``notebooks/``; nothing is written.

    Args:
        alone: no other notebook runs at the same time.
        values: stand in its parameters cell in the place of those that are there.

    Raises:
        ParameterError: a value is for what is no parameter.
        Refused: the notebook says what is wrong with the values.
        NotebookError: a cell failed, or the kernel died.
    """
    source = stale.text(project, name)
    if values:
        source = stored_form.from_text(parameters.with_values(project.source(name), values))
    with Progress(name, source.cells, alone) as cells:
        try:
            ran = in_memory(project, source, on_cell_start=cells.cell_starts)
        except PapermillExecutionError as error:
            if len(error.traceback) == 1:
                raise Refused(f"{name}: {error.evalue}") from error
            raise NotebookError(_failure(project, name, source.cells, error)) from error
        except RuntimeError as error:
            where = stored_form.label(source.cells, cells.index)
            path = project.shown(project.source(name))
            raise NotebookError(f"{path}, {where}: the kernel stopped. {error}") from error
    return stored_form.with_outputs(source, ran.cells)


def in_memory(project: Project, source: NotebookNode, **options: Any) -> NotebookNode:
    """What papermill makes of a notebook in ``notebooks/``; nothing is written.

    Raises:
        PapermillExecutionError: a cell failed.
        RuntimeError: the kernel died.
    """
    return papermill.execute_notebook(
        source,
        None,
        kernel_name=stored_form.KERNEL,
        kernel_manager_class=OwnKernel,
        start_timeout=KERNEL_STARTS_WITHIN_S,
        extra_arguments=QUIET,
        cwd=project.notebooks,
        progress_bar=False,
        **options,
    )


def _failure(
    project: Project, name: str, cells: list[NotebookNode], error: PapermillExecutionError
) -> str:
    path = project.shown(project.source(name))
    first_line = next(iter(error.source.strip().splitlines()), "")
    traceback = str(error).strip().splitlines()[-TRACEBACK_LINES:]
    return "\n".join(
        [
            f"{path}, {stored_form.label(cells, error.cell_index)}: {error.ename}: {error.evalue}",
            f"The cell begins: {first_line}",
            *traceback,
            f"{path} stopped the run. Its reference outputs and its last executed copy stay.",
        ]
    )


def say_difference(project: Project, name: str, result: NotebookNode) -> None:
    """Tell where an executed copy departs from the committed reference, if it does."""
    path = project.reference(name)
    if not path.exists():
        say(f"{name} has no reference yet; `make refresh` writes {project.shown(path)}")
        return
    try:
        where = stored_form.first_difference(stored_form.read(path).cells, result.cells)
    except NOT_A_NOTEBOOK as error:
        say(f"{project.shown(path)} is not a notebook ({error}); `make refresh` rewrites it")
        return
    if where:
        say(
            f"{name} differs from its reference ({project.shown(path)}), first in {where}; "
            "`make refresh` rewrites it"
        )
