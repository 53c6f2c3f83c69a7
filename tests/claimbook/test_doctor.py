"""Each known problem, planted and found; and nothing found where there is none."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from claimbook import browser, doctor
from claimbook.doctor import Here

ROOT = Path(__file__).parents[2]
Plant = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an environment where nothing is wrong."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "claims.json").write_text("[]", encoding="utf-8")
    (tmp_path / "requirements.lock").write_text("numpy==2.0\nTorch_X==1.0\n", encoding="utf-8")
    (tmp_path / "Makefile").write_text("help:\n", encoding="utf-8")
    (tmp_path / "src").mkdir()
    monkeypatch.setattr(doctor, "SYSTEM_WIDE", (str(tmp_path / "etc"),))
    monkeypatch.setattr(doctor, "_memory_gb", lambda: 16.0)
    monkeypatch.setattr(doctor, "_free_gb", lambda _: 50.0)
    monkeypatch.setattr(browser, "find", lambda: "/usr/bin/chromium")
    return tmp_path


def here(root: Path, **installed: Any) -> Here:
    own = str(root / "src" / "claimbook" / "__init__.py")
    packages = {"numpy": "2.0", "torch-x": "1.0+cpu"}
    return Here(root, {}, {"python": "3.11.7", "from": own, "packages": packages, **installed})


def faults(given: Here) -> list[str]:
    return [problem.fault for problem in doctor.problems(given)]


def _old_python(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=(3, 10, 1)))


def _little_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_free_gb", lambda _: 1.0)


def _little_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_memory_gb", lambda: 2.0)


def _read_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != root / ".")


def _line_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "Makefile").write_bytes(b"help:\r\n")


def _damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "notebooks" / "claims.json").write_text("[", encoding="utf-8")


def _for_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "etc").mkdir()
    (root / "etc" / "ipython_config.py").touch()


def _no_browser(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find", lambda: None)


PLANTED: dict[str, Plant] = {
    "3.11 or newer is needed": _old_python,
    "1.0 GB of disk are free": _little_disk,
    "2.0 GB of memory": _little_memory,
    "cannot be written": _read_only,
    "Makefile has the line ends of Windows": _line_ends,
    "notebooks/claims.json is damaged": _damaged,
    "configures every IPython": _for_all,
    "There is no browser": _no_browser,
}
INSTALLED: dict[str, dict[str, Any]] = {
    "other versions than requirements.lock: numpy 1.9 (pinned: 2.0)": {
        "packages": {"numpy": "1.9", "torch-x": "1.0+cpu"}
    },
    "other versions than requirements.lock: torch-x 1.1+cpu (pinned: 1.0)": {
        "packages": {"numpy": "2.0", "Torch.X": "1.1+cpu"}
    },
    "are those of /elsewhere": {"from": "/elsewhere/src/claimbook/__init__.py"},
    "claimbook is not installed": {"from": None},
}


def test_where_nothing_is_wrong_nothing_is_found(well: Path) -> None:
    assert faults(here(well)) == []
    assert faults(Here(well, {}, None)) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_problem_is_found(
    well: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    PLANTED[fault](well, monkeypatch)
    (found,) = doctor.problems(here(well))
    assert fault in found.fault and found.remedy


@pytest.mark.parametrize("fault", INSTALLED)
def test_an_environment_that_is_not_this_one_is_found(well: Path, fault: str) -> None:
    (found,) = doctor.problems(here(well, **INSTALLED[fault]))
    assert fault in found.fault and found.remedy == doctor.NEW_ENVIRONMENT


def test_every_check_has_a_planted_problem() -> None:
    assert len(doctor.CHECKS) == len(PLANTED) + len(("other_versions", "other_checkout", "broken"))


@pytest.mark.parametrize("program", ["#!/bin/sh\necho the reason >&2; exit 1\n", None])
def test_an_environment_that_does_not_run_is_found(well: Path, program: str | None) -> None:
    """A script in place of its Python, or a link to one that was removed."""
    python = well / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    if program is None:
        python.symlink_to("/nowhere/python")
    else:
        python.write_text(program, encoding="utf-8")
        python.chmod(0o755)
    (found,) = faults(doctor.look(well, {}))
    assert found.startswith("The Python in .venv does not run: ")
    assert ("the reason" in found) == (program is not None)


def test_an_environment_that_runs_is_asked(well: Path) -> None:
    python = well / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    installed = doctor.look(well, {}).installed
    assert isinstance(installed, dict)
    assert installed["python"].startswith("3.")


def test_variables_and_settings_of_the_user_are_listed(well: Path) -> None:
    startup = well / "own" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "README").touch()
    (startup / "00.py").touch()
    variables = {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "3", "IPYTHONDIR": str(well / "own")}
    told = list(doctor.facts(Here(well, variables, None)))
    assert [fact for label, fact in told if label == "set"] == ["OMP_NUM_THREADS=3"]
    assert [fact for label, fact in told if label == "kept away"] == [
        f"IPYTHONDIR={well / 'own'}",
        "PYTHONWARNINGS=error",
        str(startup / "00.py"),
    ]
    assert dict(told)["built"] == "0 artifacts, 0 of 0 notebooks executed, no book"


def test_it_runs_with_the_standard_library_alone() -> None:
    """Nothing is imported that must be installed."""
    begin = "import sys; sys.path.insert(0, 'src'); from claimbook.doctor import main; "
    ran = subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"{begin} sys.exit(main(['PYTHONHOME=/nowhere']))"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.stderr == ""
    assert f"checkout:    {ROOT}" in ran.stdout
    assert "kept away:   PYTHONHOME=/nowhere" in ran.stdout
    assert "is damaged" not in ran.stdout
    assert (ran.returncode == 0) == ("No known problem." in ran.stdout)
