"""What a bug report needs, and what is known to go wrong here: ``make doctor``.

It runs before anything is installed: only the standard library is imported, and nothing that
a Python too old for the book does not understand.
"""

from __future__ import annotations

import json
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from claimbook import browser, surroundings

PYTHON_NEEDED = (3, 11)
DISK_NEEDED_GB = 4
MEMORY_NEEDED_GB = 4
NAMED = ("torch", "transformer-lens", "numpy", "plotly", "jupyter-book", "ipykernel", "papermill")
"""Packages whose versions are printed."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PALINDROME_LENS_THREADS", "ATEN_CPU_CAPABILITY")
SYSTEM_WIDE = ("/etc/ipython", "/usr/local/etc/ipython")
PERSONAL = ("startup/*.py", "startup/*.ipy", "ipython_config.*", "ipython_kernel_config.*")
NEW_ENVIRONMENT = "Run `rm -rf .venv`, then the make target again."
ASK = """
import importlib.metadata, importlib.util, json, platform
spec = importlib.util.find_spec("claimbook")
print(json.dumps({
    "python": platform.python_version(),
    "from": spec.origin if spec else None,
    "packages": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()},
}))
"""


class Problem(NamedTuple):
    """What is wrong, and what helps."""

    fault: str
    remedy: str


class Here(NamedTuple):
    """What is looked at.

    Attributes:
        root: the checkout.
        environment: the variables, with those that make keeps from its recipes.
        installed: what ``.venv`` says of itself; a sentence where it does not run, ``None`` where
            there is none.
    """

    root: Path
    environment: Mapping[str, str]
    installed: dict[str, Any] | str | None


def look(root: Path, environment: Mapping[str, str]) -> Here:
    """Ask the environment in ``.venv`` what it holds."""
    python = root / ".venv" / "bin" / "python"
    if not python.parent.exists():
        return Here(root, environment, None)
    try:
        answer = subprocess.run([str(python), "-c", ASK], capture_output=True, timeout=120)
        installed = json.loads(answer.stdout) if answer.returncode == 0 else _last(answer.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        installed = str(error)
    return Here(root, environment, installed)


def facts(here: Here) -> Iterator[tuple[str, str]]:
    """What a bug report needs, line by line."""
    yield "system", f"{platform.platform()}, {platform.machine()}"
    yield "processor", f"{_processor()}, {os.cpu_count()} threads, {_memory_gb():.0f} GB of memory"
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "locale", f"{locale.setlocale(locale.LC_CTYPE)}, files {sys.getfilesystemencoding()}"
    yield "checkout", f"{here.root}, {_commit(here.root)}"
    yield "disk", f"{_free_gb(here.root):.0f} GB free"
    yield "environment", _environment(here.installed)
    yield "browser", browser.find() or "none"
    yield "built", _built(here.root)
    for name in THREADS:
        if name in here.environment:
            yield "set", f"{name}={here.environment[name]}"
    for name in surroundings.changing(here.environment):
        yield "kept away", f"{name}={here.environment[name]}"
    for path in _personal(here.environment):
        yield "kept away", str(path)


def problems(here: Here) -> list[Problem]:
    """What is known to go wrong here."""
    return [problem for check in CHECKS for problem in check(here)]


def old_python(here: Here) -> Iterator[Problem]:
    if sys.version_info < PYTHON_NEEDED:
        yield Problem(
            f"This Python is {platform.python_version()}; 3.11 or newer is needed.",
            "Run `make PYTHON=/path/to/python3.11 TARGET`.",
        )


def broken_environment(here: Here) -> Iterator[Problem]:
    if isinstance(here.installed, str):
        yield Problem(f"The Python in .venv does not run: {here.installed}", NEW_ENVIRONMENT)


def other_versions(here: Here) -> Iterator[Problem]:
    if not isinstance(here.installed, dict):
        return
    there = {_plain(name): version for name, version in here.installed["packages"].items()}
    pinned = _pinned(here.root / "requirements.lock")
    differing = [
        f"{name} {there[name]} (pinned: {version})"
        for name, version in pinned.items()
        if name in there and there[name].partition("+")[0] != version.partition("+")[0]
    ]
    if differing:
        listed = ", ".join(differing[:5]) + (" and more" if len(differing) > 5 else "")
        yield Problem(
            f".venv holds other versions than requirements.lock: {listed}.", NEW_ENVIRONMENT
        )


def other_checkout(here: Here) -> Iterator[Problem]:
    if not isinstance(here.installed, dict):
        return
    origin = here.installed["from"]
    if origin is None:
        yield Problem("claimbook is not installed in .venv.", NEW_ENVIRONMENT)
    elif (here.root / "src").resolve() not in Path(origin).resolve().parents:
        yield Problem(f"The packages in .venv are those of {origin}.", NEW_ENVIRONMENT)


def little_disk(here: Here) -> Iterator[Problem]:
    free = _free_gb(here.root)
    if free < DISK_NEEDED_GB:
        yield Problem(
            f"{free:.1f} GB of disk are free; an environment and a book take {DISK_NEEDED_GB}.",
            "Make room, or move the checkout.",
        )


def little_memory(here: Here) -> Iterator[Problem]:
    if 0 < _memory_gb() < MEMORY_NEEDED_GB:
        yield Problem(
            f"{_memory_gb():.1f} GB of memory; a notebook may take {MEMORY_NEEDED_GB}.",
            "Close other programs, or let the system swap.",
        )


def read_only(here: Here) -> Iterator[Problem]:
    refused = [name for name in (".", "_build") if not _writable(here.root / name)]
    if refused:
        yield Problem(
            f"{here.root / refused[0]} cannot be written; what is made goes to _build and .venv.",
            "Copy the checkout to where you may write.",
        )


def line_ends(here: Here) -> Iterator[Problem]:
    names = ("Makefile", "requirements.lock", "pyproject.toml", "notebooks/01_data.md")
    files = [here.root / name for name in names]
    changed = [path for path in files if path.is_file() and b"\r\n" in path.read_bytes()]
    if changed:
        yield Problem(
            f"{changed[0].name} has the line ends of Windows.",
            "Clone again; .gitattributes asks git for the line ends that are committed.",
        )


def damaged_files(here: Here) -> Iterator[Problem]:
    for path in sorted((here.root / "notebooks").glob("*.*")):
        if path.suffix in (".json", ".ipynb"):
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                yield Problem(
                    f"notebooks/{path.name} is damaged: {error}.",
                    f"Run `git checkout notebooks/{path.name}`.",
                )


def ipython_for_all(here: Here) -> Iterator[Problem]:
    for folder in map(Path, SYSTEM_WIDE):
        for path in _settings_in(folder):
            yield Problem(
                f"{path} configures every IPython of this machine, also that of the notebooks.",
                "Move it away, or into your own ~/.ipython, which the notebooks do not read.",
            )


def no_browser(here: Here) -> Iterator[Problem]:
    if browser.find() is None:
        yield Problem(f"{browser.missing()}", "Only `make pdf` and the browser tests need one.")


CHECKS = (
    old_python,
    broken_environment,
    other_versions,
    other_checkout,
    little_disk,
    little_memory,
    read_only,
    line_ends,
    damaged_files,
    ipython_for_all,
    no_browser,
)


def _last(errors: bytes) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing."


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = [flag for flag in ("avx2", "avx512f") if re.search(rf"\b{flag}\b", text)]
    return ", ".join([name[1] if name else platform.machine(), *flags])


def _memory_gb() -> float:
    """0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return 0.0


def _free_gb(root: Path) -> float:
    return shutil.disk_usage(root).free / 1e9


def _commit(root: Path) -> str:
    try:
        asked = ["git", "-C", str(root), "describe", "--always", "--dirty"]
        answer = subprocess.run(asked, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "no git"
    return answer.stdout.decode().strip() or "no commit"


def _environment(installed: dict[str, Any] | str | None) -> str:
    if installed is None:
        return "none yet; the make targets install what they need"
    if isinstance(installed, str):
        return "broken"
    packages = installed["packages"]
    versions = [f"{name} {packages[name]}" for name in NAMED if name in packages]
    return ", ".join([f"Python {installed['python']}", *versions])


def _built(root: Path) -> str:
    build = root / "_build"
    models = sum(1 for _ in (build / "artifacts").glob("*.safetensors"))
    copies = sum(1 for _ in (build / "executed").glob("*.ipynb"))
    sources = sum(1 for _ in (root / "notebooks").glob("*.md"))
    book = "a book" if (build / "html" / "index.html").exists() else "no book"
    return f"{models} artifacts, {copies} of {sources} notebooks executed, {book}"


def _personal(environment: Mapping[str, str]) -> Iterator[Path]:
    own = environment.get("IPYTHONDIR") or "~/.ipython"
    yield from _settings_in(Path(own).expanduser() / "profile_default")


def _settings_in(folder: Path) -> Iterator[Path]:
    """Files by which a folder configures IPython; its own README is none."""
    for pattern in PERSONAL:
        yield from sorted(folder.glob(pattern))


def _plain(name: str) -> str:
    """The normal form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(lock: Path) -> dict[str, str]:
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    pins = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {_plain(name): version for name, version in pins}


def _writable(path: Path) -> bool:
    return not path.exists() or os.access(path, os.W_OK)


def main(taken: Sequence[str]) -> int:
    """Print what is known; the exit status is 1 when something is wrong.

    Args:
        taken: variables that make keeps from its recipes, as ``NAME=value``.
    """
    taken_away = dict(word.split("=", 1) for word in taken)
    here = look(Path(__file__).resolve().parents[2], {**os.environ, **taken_away})
    for label, fact in facts(here):
        print(f"{label + ':':13}{fact}")
    faults = problems(here)
    print()
    for problem in faults:
        print(f"- {problem.fault}\n  {problem.remedy}")
    print(f"Known problems: {len(faults)}." if faults else "No known problem.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
