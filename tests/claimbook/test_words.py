"""What a person can mend is said in one sentence, whatever the command."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from claimbook import browser, build, execute, stored_form
from claimbook.__main__ import main
from claimbook.project import Project

from .conftest import Write

Said = Callable[..., str]


@pytest.fixture
def said(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Said:
    """``said(command, …)`` is the one line on stderr of a command that fails with status 1."""
    for name in project.names():
        source = stored_form.read_source(project.source(name))
        project.reference(name).write_bytes(stored_form.to_bytes(source))
    monkeypatch.setattr(execute, "in_memory", _never)
    monkeypatch.setattr(build, "_run_jupyter_book", _never)

    def _said(*words: str) -> str:
        assert main(["--root", str(project.root), *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return _said


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the command went on")


@pytest.mark.parametrize("command", ["execute", "refresh", "profile", "again"])
def test_a_notebook_that_is_not_there(said: Said, command: str) -> None:
    more = ["--seeds", "1"] if command == "again" else []
    assert said(command, "02_trainin", *more) == (
        "There is no notebook '02_trainin'; did you mean 02_training?"
    )
    assert said(command, "nonsense", *more) == (
        "There is no notebook 'nonsense'; there are 01_data, 02_training, 03_dictionary."
    )


@pytest.mark.parametrize("text", ["{", "[1]", '{"cells": 1}', "\0", '{"nbformat": "x"}'])
@pytest.mark.parametrize("command", ["pairs", "outputs"])
def test_a_notebook_that_is_damaged(
    said: Said, project: Project, write: Write, command: str, text: str
) -> None:
    for name in project.names():
        project.reference(name).unlink()
        project.source(name).unlink()
    write("02_training", "1")
    project.reference("02_training").write_text(text, encoding="utf-8")
    assert said(command).startswith("notebooks/02_training.ipynb is not a notebook: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"---\nkernelspec: [\n---\n# A\n"])
@pytest.mark.parametrize("command", ["pairs", "execute", "refresh", "build"])
def test_a_text_that_cannot_be_read(
    said: Said, project: Project, command: str, content: bytes
) -> None:
    project.source("02_training").write_bytes(content)
    assert said(command).startswith("notebooks/02_training.md cannot be read: ")


def test_a_setting_that_cannot_be_read(said: Said, project: Project) -> None:
    settings = project.root / "pyproject.toml"
    settings.write_text("[tool", encoding="utf-8")
    assert said("execute").startswith(f"{settings} cannot be read: ")
    settings.write_text("[tool.claimbook]\npackages = ['nosuch']\n", encoding="utf-8")
    assert said("execute") == "The package nosuch is not installed here."


@pytest.mark.parametrize(
    ("command", "name"),
    [("execute", "requirements.lock"), ("pdf", "_toc.yml"), ("links", "_config.yml")],
)
def test_a_file_that_is_missing(said: Said, project: Project, command: str, name: str) -> None:
    (project.root / name).unlink(missing_ok=True)
    assert said(command) == f"No such file or directory: {project.root / name}"


def test_contents_that_cannot_be_read(said: Said, project: Project) -> None:
    (project.root / "_toc.yml").write_text("a: [", encoding="utf-8")
    assert said("pdf").startswith("_toc.yml or _config.yml cannot be read: ")


def test_a_browser_that_is_none(
    said: Said, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    (project.root / "_config.yml").write_text("title: A\nauthor: B\n", encoding="utf-8")
    assert "build the book first" in said("pdf")
    page = project.root / "_build" / "html" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.setenv(browser.NAMED, "/nowhere/chrome")
    assert said("pdf") == browser.missing()
    monkeypatch.setenv(browser.NAMED, str(shutil.which("true")))
    assert "true did not start" in said("pdf")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses(
    said: Said, project: Project, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(project.claims))

    monkeypatch.setattr(execute, "execute", refused)
    assert said("refresh") == f"{os.strerror(number)}: {project.claims}"


def test_an_error_of_the_tool_itself_keeps_its_traceback(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("a mistake in the code")

    monkeypatch.setattr(execute, "execute", broken)
    with pytest.raises(OSError, match="a mistake"):
        main(["--root", str(project.root), "execute"])


def test_build_folder_that_is_none(said: Said, project: Project) -> None:
    (project.root / "_build").touch()
    assert said("build") == f"File exists: {project.root / '_build'}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is full")
def test_a_terminal_that_takes_nothing(project: Project) -> None:
    """Standard output is a file on a full disk."""
    command = [sys.executable, "-m", "claimbook", "--root", str(project.root), "execute"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    assert (ran.returncode, ran.stderr) == (1, "No space left on device.\n")
