"""One process at a time works in a checkout: with real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claimbook.turns import HOLDER, turn

from .conftest import Write

HOLDS = """
import sys
from pathlib import Path
from claimbook.turns import turn
with turn(Path(sys.argv[1]), "build"):
    print("it is mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the turn until its input ends."""
    process = _started("-c", HOLDS, str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "it is mine\n"
    yield process
    process.kill()
    process.communicate()


def _started(*words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    command = [sys.executable, *words]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")


@pytest.mark.parametrize("command", ["build", "links"])
def test_who_comes_second_waits_and_says_for_whom(
    tmp_path: Path, write: Write, holder: "subprocess.Popen[str]", command: str
) -> None:
    """Nothing but waiting happens until the first is done."""
    second = _started("-m", "claimbook", "--root", str(tmp_path), command)
    assert second.stdout is not None
    said = second.stdout.readline()
    assert said.startswith(f"Waiting for `claimbook build` (process {holder.pid}, since ")
    assert list((tmp_path / "_build").glob("e*")) == []
    os.kill(second.pid, signal.SIGINT)
    assert second.communicate()[1] == "Interrupted; what was finished is kept.\n"


def test_checks_do_not_wait(tmp_path: Path, write: Write, holder: "subprocess.Popen[str]") -> None:
    checks = _started("-m", "claimbook", "--root", str(tmp_path), "pairs")
    assert "has no reference outputs" in checks.communicate()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_died_holds_nobody_up(
    tmp_path: Path, holder: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    second = _started("-c", HOLDS, str(tmp_path))
    assert second.stdout is not None
    assert second.stdout.readline().startswith("Waiting for")
    holder.send_signal(number)
    assert second.stdout.readline() == "it is mine\n"
    assert f"process {second.pid}" in (tmp_path / "_build" / HOLDER).read_text(encoding="utf-8")
    second.communicate("")
    assert second.returncode == 0


def test_an_error_ends_the_turn(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), turn(tmp_path, "build"):
        1 / 0  # noqa: B018
    with turn(tmp_path, "build"):
        pass
