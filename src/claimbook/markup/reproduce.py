"""The box at the end of each notebook's page: how to run it again, and its files to download."""

import ast
import os
import platform
import shlex
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml  # type: ignore[import-untyped]
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

from claimbook import stored_form
from claimbook.markup.exercises import ExerciseError, without_solutions
from claimbook.markup.openings import running_time

DOWNLOADS = "downloads"
BINDER = "https://mybinder.org/v2"

logger = logging.getLogger(__name__)


def box(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give the template of a notebook's page what its box says, and write the downloads."""
    source = Path(app.env.doc2path(pagename))
    if doctree is None or source.suffix != ".ipynb":
        return
    notebook = stored_form.read(source)
    versions = {name: version(name) for name in app.config.claimbook_versions}
    context["reproduce"] = {
        "commands": commands(source.stem, notebook),
        "versions": {"Python": platform.python_version()} | versions,
        "time": running_time(app.env, pagename),
        "cores": os.cpu_count(),
        "downloads": write_downloads(app, source, notebook),
        "launch": launch_address(Path(app.srcdir), pagename),
    }


def commands(name: str, notebook: NotebookNode) -> list[str]:
    """What runs this notebook alone: as it is, and with other values of its parameters."""
    values = parameters(notebook.cells)
    options = [f"-p {key} {shlex.quote(str(value))}" for key, value in values.items()]
    other = f".venv/bin/papermill notebooks/{name}.ipynb mine.ipynb {' '.join(options)}"
    return [
        f".venv/bin/python -m claimbook execute --all {name}",
        *([other] if options else []),
    ]


def parameters(cells: Iterable[NotebookNode]) -> dict[str, str | int | float]:
    """The numbers and texts that the cell tagged ``parameters`` assigns."""
    values = {}
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            for line in ast.parse(cell.source).body:
                match line:
                    case ast.Assign([ast.Name(name)], ast.Constant(str() | int() | float() as it)):
                        values[name] = it
    return values


def write_downloads(app: Sphinx, source: Path, notebook: NotebookNode) -> dict[str, str]:
    """Write the files that a page offers.

    Returns:
        What each is, and its path in the book.
    """
    folder = Path(app.outdir) / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    offered = {"the notebook with its outputs (.ipynb)": source.name}
    shutil.copyfile(source, folder / source.name)
    text = source.with_suffix(".md")
    if text.exists():
        offered["its text (.md)"] = text.name
        shutil.copyfile(text, folder / text.name)
    try:
        exercises = without_solutions(notebook)
    except ExerciseError as error:
        logger.warning("exercises: %s", error, location=str(source))
    else:
        if exercises != notebook:
            name = f"{source.stem}-exercises.ipynb"
            offered["without the solutions of its exercises (.ipynb)"] = name
            (folder / name).write_bytes(stored_form.to_bytes(exercises))
    return {words: f"{DOWNLOADS}/{name}" for words, name in offered.items()}


def launch_address(source: Path, pagename: str) -> str | None:
    """Where a notebook can be run in the browser; ``None`` where no repository is configured.

    Read from the file: in place of a missing ``repository: url`` Jupyter Book puts its own.
    """
    config = source / "_config.yml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else {}
    url = (settings.get("repository") or {}).get("url", "").rstrip("/")
    if not url:
        return None
    host, path = urlsplit(url).netloc, urlsplit(url).path.strip("/")
    # GitLab's groups are part of one name; GitHub's owner and repository are two.
    hosts = {"github.com": f"gh/{path}", "gitlab.com": f"gl/{quote(path, safe='')}"}
    where = hosts.get(host, f"git/{quote(url, safe='')}")
    return f"{BINDER}/{where}/HEAD?urlpath=lab/tree/{pagename}.ipynb"


def setup(app: Sphinx) -> None:
    """Register what fills the box; ``claimbook_versions`` lists the packages that it names."""
    app.add_config_value("claimbook_versions", [], "html", [list])
    app.connect("html-page-context", box)
