"""Kernels that are forked from a process that has imported what notebooks import."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from claimbook import execute, warm
from claimbook.project import NotebookError, Project
from claimbook.stored_form import read

from .conftest import Write

pytestmark = pytest.mark.skipif(not warm.CAN_FORK, reason="kernels are forked on Linux alone")
NAMES = ["01_data", "02_training"]
STATE = (
    "import os, sys\n('tinylens.figures' in sys.modules, os.getcwd(), os.getpid(), os.getppid())"
)


def shown(project: Project) -> list[Any]:
    """What the last cell of each notebook says of its process."""
    texts = [read(project.executed_copy(name)).cells[-1].outputs[0] for name in NAMES]
    return [eval(text.data["text/plain"]) for text in texts]


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_kernels_of_one_run_come_from_one_process_that_has_imported(
    project: Project, write: Write
) -> None:
    # The import in a function: it is found in the text, and does not run.
    later = "def never():\n    import tinylens.figures"
    for name in NAMES:
        write(name, later, STATE)
    execute.execute(project, NAMES)
    (first, second) = shown(project)
    assert first[:2] == second[:2] == (True, str(project.notebooks))
    assert first[2] != second[2] and first[3] == second[3]
    assert gone(first[2]) and gone(second[2]) and gone(first[3])


def test_a_module_that_cannot_be_imported_fails_in_its_cell(project: Project, write: Write) -> None:
    (project.root / "src/tinylens/task.py").write_text("1 / 0\n", encoding="utf-8")
    write("02_training", "'fine'")
    with pytest.raises(NotebookError, match=r"01_data\.md, cell \[1\]: ZeroDivisionError"):
        execute.execute(project, NAMES)


def test_a_forked_kernel_that_dies_is_reported(project: Project, write: Write) -> None:
    write("01_data", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match=r"01_data\.md, cell \[1\]: the kernel stopped"):
        execute.execute(project, NAMES)


def test_signals_of_the_forking_process_are_not_those_of_its_kernels(
    project: Project, write: Write
) -> None:
    """Else a cell could not be interrupted, and could not wait for a process that it began."""
    state = """import signal, subprocess
signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, subprocess.call(['false'])"""
    for name in NAMES:
        write(name, state)
    execute.execute(project, NAMES)
    assert shown(project) == [(True, 1)] * 2


def test_with_the_process_that_was_started_everything_ends(project: Project, write: Write) -> None:
    """Also if it is killed, and can tidy nothing up."""
    waits = """from pathlib import Path
import os, time
Path('{name}').write_text(f'{{os.getpid()}}')
"""
    for name in NAMES:
        write(name, waits.format(name=name) + "time.sleep(300)")
    command = [sys.executable, "-m", "claimbook", "--root", str(project.root), "execute", *NAMES]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    files = [project.notebooks / name for name in NAMES]
    for _ in range(1200):
        if all(file.exists() and file.read_text() for file in files):
            break
        time.sleep(0.1)
    kernels = [int(file.read_text()) for file in files]
    run.kill()
    run.wait()
    assert [gone(pid) for pid in kernels] == [True, True]


def test_a_process_that_is_gone_takes_no_signal() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    forked = warm.Forked(pid)
    assert forked.poll() == 1
    forked.send_signal(signal.SIGTERM)
