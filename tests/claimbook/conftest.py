"""A checkout in small: three notebooks and a package of a few lines that they import."""

from collections.abc import Callable
from pathlib import Path

import pytest

from claimbook.project import Project

PACKAGE = "tinylens"
MODULES = {
    "__init__.py": "",
    "task.py": "SIZE = 3\n",
    "model.py": "import tinylens.task\n",
    "figures.py": "STYLE = 'plain'\n",
    "sae/__init__.py": "",
    "sae/training.py": "from tinylens import model\n",
}
HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A notebook
"""
NOTEBOOKS = {
    "01_data": ["from tinylens.task import SIZE\nSIZE"],
    "02_training": ["from tinylens import figures\nfigures.STYLE", "1 + 1"],
    "03_dictionary": ["import tinylens.sae.training as training\n2 + 2"],
}

Write = Callable[..., None]


def code_cell(source: str) -> str:
    return f"\n```{{code-cell}} ipython3\n{source}\n```\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The checkout; its package can be imported here and in kernels."""
    source = tmp_path / "src"
    for name, text in MODULES.items():
        path = source / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(source)
    monkeypatch.setenv("PYTHONPATH", str(source))
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n", encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    settings = f"[tool.claimbook]\npackages = [{PACKAGE!r}]\n"
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    tiny = Project(tmp_path)
    for name, cells in NOTEBOOKS.items():
        write_notebook(tiny, name, *cells)
    return tiny


def write_notebook(project: Project, name: str, *cells: str) -> None:
    text = HEADER + "".join(code_cell(cell) for cell in cells)
    project.source(name).write_text(text, encoding="utf-8")


@pytest.fixture
def write(project: Project) -> Write:
    """``write(name, cell, …)`` writes the text half of a notebook."""

    def _write(name: str, *cells: str) -> None:
        write_notebook(project, name, *cells)

    return _write


@pytest.fixture
def only(project: Project, write: Write) -> Write:
    """``only(name, cell, …)`` does so and removes every other notebook."""

    def _only(name: str, *cells: str) -> None:
        for path in project.notebooks.iterdir():
            path.unlink()
        write(name, *cells)

    return _only
