"""From executed notebooks to the HTML book.

Jupyter Book builds from a staged copy of the sources into a scratch folder, which takes the place
of the old book only once it is complete: a build that is killed leaves the old book, or none.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from claimbook import claims, pictures, prose, stale, stored_form
from claimbook.errors import ClaimbookError
from claimbook.markup.citing import CITATION
from claimbook.markup.openings import TIMES
from claimbook.project import Project
from claimbook.provenance import folder_of

SETTINGS = ("_config.yml", "_toc.yml")
PAGES = "book"
NOTEBOOKS = "notebooks"
FIRST_PAGE = "other_parameters"
LEFT_OUT = (
    "Every output and every claim is of these values. Of the text, paragraphs that state numbers "
    "of the usual values, and the exercises, are left out; what it concludes was written for those."
)
FINGERPRINT = ".fingerprint"
LOG_LINES = 40
COLOURS = re.compile("\x1b\\[[0-9;]*m")

JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
# Nitpicky, warnings are errors, and all of them are reported, not only the first.
STRICT = ("-n", "-W", "--keep-going")


class BookError(ClaimbookError):
    """The book could not be built; the message holds what Jupyter Book complained about."""


def build(root: Path, executed: list[Path]) -> Path:
    """Build the book, unless the one that is there was made from the same content.

    Two of these at once in one checkout would take each other's files away: see :mod:`.turns`.

    Args:
        root: the repository.
        executed: the executed notebooks (``.ipynb``), in the order of the book.

    Returns:
        The folder of the book, ``_build/html``.

    Raises:
        BookError: Jupyter Book failed, or warned.
    """
    work = root / "_build"
    work.mkdir(exist_ok=True)
    source, book, log = work / "source", work / "html", work / "book.log"
    stage(root, executed, source)
    fingerprint = fingerprint_of(source, *map(folder_of, Project(root).pages))
    if _fingerprint_in(book) == fingerprint:
        return book
    for left in work.glob("scratch*"):
        shutil.rmtree(left, ignore_errors=True)
    # A folder of its own: after a build that was killed, its Sphinx may still write into the last.
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=work))
    _run_jupyter_book(source, scratch, log, *STRICT)
    built = scratch / "_build" / "html"
    (built / FINGERPRINT).write_text(fingerprint, encoding="utf-8")
    _exchange(built, book)
    shutil.rmtree(scratch)
    return book


def build_variant(
    variant: Project, executed: list[Path], chosen: Mapping[str, Any], left_out: Mapping[str, str]
) -> Path:
    """The book of a variant: its chapters, and a first page that names what was chosen.

    What these chapters say of pages that are not there stays as words.

    Args:
        left_out: the chapters that refused the values, and what they said.

    Returns:
        The folder of the book, ``html`` beside the executed copies.

    Raises:
        BookError: Jupyter Book failed.
    """
    work = variant.executed.parent
    source, book, scratch = work / "source", work / "html", work / "scratch"
    stage(variant.root, executed, source)
    for path in executed:
        notebook = stored_form.read(path)
        notebook.cells = prose.without_numbers(notebook.cells)
        (source / NOTEBOOKS / path.name).write_bytes(stored_form.to_bytes(notebook))
        shutil.copyfile(variant.source(path.stem), source / NOTEBOOKS / f"{path.stem}.md")
    chapters = [{"file": f"{NOTEBOOKS}/{path.stem}"} for path in executed]
    toc = {"format": "jb-book", "root": f"{PAGES}/{FIRST_PAGE}", "chapters": chapters}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    (source / PAGES / f"{FIRST_PAGE}.md").write_text(first_page(chosen, left_out), encoding="utf-8")
    shutil.rmtree(scratch, ignore_errors=True)
    _run_jupyter_book(source, scratch, work / "book.log")
    _exchange(scratch / "_build" / "html", book)
    shutil.rmtree(scratch)
    return book


def first_page(chosen: Mapping[str, Any], left_out: Mapping[str, str]) -> str:
    """What was chosen, and which chapters cannot take it."""
    values = "".join(f"| `{name}` | `{value}` |\n" for name, value in chosen.items())
    lines = f"# Other parameters\n\n| parameter | value |\n|---|---|\n{values}\n{LEFT_OUT}\n\n"
    if left_out:
        rows = "".join(f"| {name} | {sentence} |\n" for name, sentence in sorted(left_out.items()))
        lines += f"## Chapters that cannot take them\n\n| chapter | why |\n|---|---|\n{rows}"
    return lines


def check_links(root: Path, executed: list[Path]) -> None:
    """Ask every address outside the book whether it is there.

    Raises:
        BookError: some are not; the message lists them.
    """
    work = root / "_build"
    stage(root, executed, work / "source")
    _run_jupyter_book(work / "source", work / "links", work / "links.log", "--builder", "linkcheck")


def stage(root: Path, executed: list[Path], source: Path) -> None:
    """Gather in ``source`` everything that the book is made from, and nothing else."""
    shutil.rmtree(source, ignore_errors=True)
    (source / NOTEBOOKS).mkdir(parents=True)
    for name in SETTINGS:
        shutil.copyfile(root / name, source / name)
    if (root / CITATION).exists():
        shutil.copyfile(root / CITATION, source / CITATION)
    shutil.copytree(root / PAGES, source / PAGES)
    for notebook in executed:
        shutil.copyfile(notebook, source / NOTEBOOKS / notebook.name)
        text = root / NOTEBOOKS / f"{notebook.stem}.md"
        if text.exists():
            shutil.copyfile(text, source / NOTEBOOKS / text.name)
    took = {path.stem: seconds for path in executed if (seconds := stale.seconds(path)) is not None}
    (source / TIMES).write_text(json.dumps(took), encoding="utf-8")
    stated = claims.collect(executed)
    claims.write(stated, source / "claims.json")
    pictures.write(Project(root).pictures, stated, source)


def fingerprint_of(*paths: Path) -> str:
    """A hash of these files, of every file below these folders, and of the installed packages."""
    digest = hashlib.sha256("\n".join(_installed()).encode())
    for top in paths:
        for path in [top, *sorted(top.rglob("*"))]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\n{path.relative_to(top)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _installed() -> list[str]:
    return sorted(f"{package.metadata['Name']}=={package.version}" for package in distributions())


def _fingerprint_in(book: Path) -> str | None:
    path = book / FINGERPRINT
    return path.read_text(encoding="utf-8") if path.exists() else None


def _run_jupyter_book(source: Path, scratch: Path, log: Path, *options: str) -> None:
    arguments = ["build", str(source), "--path-output", str(scratch), *options]
    # Isolated (-I): a module lying in the current folder must not stand in for an installed one.
    finished = subprocess.run(
        [sys.executable, "-I", "-c", JUPYTER_BOOK, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    output = COLOURS.sub("", finished.stdout)
    log.write_text(output, encoding="utf-8")
    if finished.returncode != 0:
        raise BookError(
            f"The book was not built. Everything Jupyter Book said is in {log}.\n\n"
            f"{_complaints(output)}"
        )


def _complaints(output: str) -> str:
    """The warnings, errors and broken links in the output; its end, where there are none."""
    lines = output.splitlines()
    complaints = [line for line in lines if re.search(r"WARNING|ERROR|\) broken ", line)]
    return "\n".join(complaints[:LOG_LINES] or lines[-LOG_LINES:])


def _exchange(built: Path, book: Path) -> None:
    """Put the new book in the place of the old one; neither is ever seen half-written."""
    old = built.parent / "old"
    if book.exists():
        book.rename(old)
    built.rename(book)
