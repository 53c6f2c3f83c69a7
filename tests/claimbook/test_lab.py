"""JupyterLab, as ``make lab`` opens it: what is saved there is saved in the text too."""

import os
import re
import shutil
import subprocess
from difflib import ndiff
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "notebooks/01_data"


def served_folder() -> Path:
    """What ``make lab`` serves, as the command says it."""
    said = subprocess.run(
        ["make", "--dry-run", "lab"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = re.search(r"root_dir=(\S+)", said.stdout)
    assert found, said.stdout
    return Path(found[1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    for name in ("pyproject.toml", f"{NAME}.md", f"{NAME}.ipynb"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_notebook_saved_in_jupyterlab_changes_its_text(checkout: Path) -> None:
    """And nothing in it but what was written; also when the outputs are younger than the text."""
    import jupytext

    text = checkout / f"{NAME}.md"
    before = text.read_text(encoding="utf-8")
    os.utime(text, (0, 0))
    served = checkout / served_folder()
    files = jupytext.TextFileContentsManager(root_dir=str(served))
    path = str((checkout / f"{NAME}.ipynb").relative_to(served))
    notebook = files.get(path)
    notebook["content"]["cells"][0]["source"] += "\n\nOne more line."
    files.save(notebook, path)
    after = text.read_text(encoding="utf-8")
    changed = [line for line in ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-?"]
    assert changed == ["+ ", "+ One more line."]
