"""The Makefile where people are: in odd folders, under odd locales, without git.

A stand-in for pip notes the packages' place as the real one does; nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = """
import os, sysconfig, time
from pathlib import Path
Path("pip-runs").mkdir()
time.sleep(1)
Path("pip-runs").rmdir()
note = Path(sysconfig.get_path("purelib")) / "_editable_impl_palindrome_lens.pth"
note.write_bytes(os.fsencode(Path.cwd() / "src"))
"""
PYTHON = f"""#!/bin/sh
[ "$*" = '-m venv .venv' ] || exec '{sys.executable}' "$@"
'{sys.executable}' -m venv --without-pip .venv || exit
for packages in .venv/lib/python*/site-packages; do
  mkdir "$packages/pip" && cp stand_in.py "$packages/pip/__main__.py"
done
"""
TOOL = """
import os, sys
flags = sys.flags
said = [flags.optimize, flags.inspect, flags.safe_path, sys.warnoptions]
print(sys.argv[1:], os.path.relpath(__file__), *said)
"""
BUILT = "['build'] src/claimbook/__main__.py 0 0 False []"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with an umlaut and a space, the real Makefile, and a tool that says where it is."""
    root = tmp_path / "ümlaut kept"
    tool = root / "src" / "claimbook"
    tool.mkdir(parents=True)
    shutil.copytree(ROOT / "tests" / "saelens", root / "tests" / "saelens")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copyfile(ROOT / name, root / name)
    for name in ("__init__.py", "browser.py", "surroundings.py", "doctor.py"):
        shutil.copyfile(ROOT / "src" / "claimbook" / name, tool / name)
    (tool / "__main__.py").write_text(TOOL, encoding="utf-8")
    (root / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
    (root / "python").write_text(PYTHON, encoding="utf-8")
    (root / "python").chmod(0o755)
    return root


def make(
    root: Path, target: str, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a target with few variables, and these."""
    few = {"PATH": os.environ["PATH"], "HOME": str(root), **(variables or {})}
    return subprocess.run(
        ["make", "PYTHON=./python", target],
        cwd=root,
        env=few,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def without_git(folder: Path) -> str:
    """A ``PATH`` that leads to all commands but git."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for command in Path(place).glob("*"):
            link = folder / command.name
            link.unlink(missing_ok=True)
            link.symlink_to(command)
    (folder / "git").unlink(missing_ok=True)
    return str(folder)


def test_an_installation_works_under_any_locale(checkout: Path) -> None:
    for variables in ({"LC_ALL": "C"}, {"LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        ran = make(checkout, "book", variables)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1] == BUILT, variables


def test_an_installation_is_made_once(checkout: Path) -> None:
    assert "Installing" in make(checkout, "book").stdout
    assert make(checkout, "book").stdout == f"{BUILT}\n"
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("another==1\n")
    assert "Installing" in make(checkout, "book").stdout


@pytest.mark.parametrize("parallel", [["-j2", "book", "same"], ["book"]])
def test_of_several_that_install_one_does(checkout: Path, parallel: list[str]) -> None:
    """The stand-in for pip fails where another one runs."""
    command = ["make", "PYTHON=./python", *parallel]
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen(command, cwd=checkout, stdout=pipe, stderr=pipe, encoding="utf-8")
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(out.count("Installing what") for out, _ in said) == 1
    assert sum(out.count("Waiting for another make") for out, _ in said) == 1


def test_no_git_is_needed(checkout: Path, tmp_path: Path) -> None:
    path = without_git(tmp_path / "commands")
    assert shutil.which("git", path=path) is None
    for target in ("book", "help"):
        ran = make(checkout, target, {"PATH": path})
        assert (ran.returncode, ran.stderr) == (0, "")
    assert "no git" in make(checkout, "doctor", {"PATH": path}).stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONHOME", "/nowhere"),
        ("PYTHONPATH", "other"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONWARNINGS", "error"),
        ("PYTHONINSPECT", "1"),
        ("PYTHONSAFEPATH", "1"),
    ],
)
def test_variables_of_python_do_not_reach_what_is_started(
    checkout: Path, name: str, value: str
) -> None:
    other = checkout / "other" / "claimbook"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "__main__.py").write_text("print('the other one')", encoding="utf-8")
    ran = make(checkout, "book", {name: value})
    assert ran.stdout.splitlines()[-1] == BUILT, ran.stderr
    assert f"{name}={value}" in make(checkout, "doctor", {name: value}).stdout


def test_without_a_python_one_is_told_so(checkout: Path) -> None:
    (checkout / "python").unlink()
    for target in ("book", "doctor"):
        ran = make(checkout, target)
        assert ran.returncode == 2
        assert ran.stdout == (
            "Python 3.11 or newer is needed, and ./python was not found: "
            "make PYTHON=/path/to/python3\n"
        )


def test_a_clone_for_windows_has_the_line_ends_that_are_committed(tmp_path: Path) -> None:
    """With others no recipe of the Makefile runs, and every notebook is another one."""
    if shutil.which("git") is None:
        pytest.skip("THE LINE ENDS OF A CLONE WERE NOT CHECKED: there is no git.")
    there, clone = tmp_path / "there", tmp_path / "clone"
    there.mkdir()
    for name in (".gitattributes", "Makefile"):
        shutil.copyfile(ROOT / name, there / name)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    windows = ["--config", "core.autocrlf=true", "--config", "core.eol=crlf"]
    for words in (
        ["-C", str(there), "init", "--quiet"],
        ["-C", str(there), "add", "."],
        ["-C", str(there), *identity, "commit", "--quiet", "--message", "all"],
        ["clone", "--quiet", *windows, str(there), str(clone)],
    ):
        subprocess.run(["git", *words], check=True)
    assert (clone / "Makefile").read_bytes() == (ROOT / "Makefile").read_bytes()
