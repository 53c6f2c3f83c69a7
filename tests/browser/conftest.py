"""The browser, the built book, and one context for each mode.

Where no browser or no built book is found the tests are skipped, unless
``PALINDROME_LENS_REQUIRE_BROWSER=1``, as in continuous integration, forbids it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.visits import BOOK, MODES

from claimbook.browser import FLAGS, find, missing


def _unavailable(reason: str) -> None:
    if os.environ.get("PALINDROME_LENS_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(f"THE BOOK WAS NOT CHECKED IN A BROWSER: {reason}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = find()
    if path is None:
        _unavailable(missing())
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def contexts(browser: Any) -> dict[str, Any]:
    return {mode: browser.new_context(**options) for mode, options in MODES.items()}


@pytest.fixture(scope="module")
def book() -> Path:
    if not (BOOK / "index.html").exists():
        _unavailable("there is no built book; run `make book`.")
    return BOOK
