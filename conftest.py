"""A store of artifacts of its own for each run of the tests, notebooks included.

With the usual store nothing would be trained again. ``PALINDROME_LENS_TEST_STORE`` names another
one, for instance that which continuous integration has just filled with the same code.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from claimbook import outputs
from claimbook.project import Project
from claimbook.surroundings import shielded

# Two threads gain nothing for models of this size, and on a busy machine they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["known_models"]
STORE = "PALINDROME_LENS_STORE"


def pytest_configure(config: pytest.Config) -> None:
    """Set the store, and keep the user's settings away, before any test or kernel starts."""
    until_the_end = ExitStack()
    config.add_cleanup(until_the_end.close)
    # In each process anew: pytest-xdist hands on the width of the terminal.
    until_the_end.enter_context(shielded(Path(__file__).parent))
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return  # the process that started this one has set the store, for both
    if shared := os.environ.get("PALINDROME_LENS_TEST_STORE"):
        os.environ[STORE] = shared
        return
    folder = tempfile.TemporaryDirectory(prefix="palindrome-lens-store-")
    # One level down: what is kept beside the store, W&B's runs, belongs to this run as well.
    os.environ[STORE] = str(Path(until_the_end.enter_context(folder)) / "artifacts")


def pytest_report_header() -> str:
    """How much of the notebooks is really compared."""
    try:
        counts = outputs.counts(Project(Path(__file__).parent))
    except ValueError as error:
        return f"a notebook cannot be read: {error}"
    each = ", ".join(f"{name} {number}" for name, number in counts.items())
    return f"cells with an output to compare with: {each}"
