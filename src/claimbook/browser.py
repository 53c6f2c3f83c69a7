"""The browser that prints the book, and that the tests visit it with.

Only the standard library is imported: ``make doctor`` asks before anything is installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

NAMED = "PALINDROME_LENS_BROWSER"
"""The variable that names a browser, before all others."""
COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
)
INSTALLED = (
    "/snap/bin/chromium",
    "/usr/lib/chromium/chromium",
    "/opt/google/chrome/chrome",
    "/opt/microsoft/msedge/msedge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "~/Applications/Chromium.app/Contents/MacOS/Chromium",
    "~/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "~/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
"""Where they lie on Linux and macOS when no command leads to them."""
PLAYWRIGHT = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
DOWNLOADED = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium_headless_shell-*/*/headless_shell",
    "chromium_headless_shell-*/*/chrome-headless-shell",
)
"""Where they lie in the folder that Playwright downloads to."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""What it is started with."""
REMEDY = (
    "Install Chromium, Chrome or Edge (Debian: `apt-get install chromium`), or run "
    "`.venv/bin/python -m playwright install chromium`, or let "
    f"{NAMED} name the browser's program."
)


def find() -> str | None:
    """The program of a browser that Playwright can drive; ``None`` where there is none.

    Where a variable names one, it alone counts.
    """
    if named := os.environ.get(NAMED):
        return shutil.which(str(Path(named).expanduser()))
    places = (str(Path(place).expanduser()) for place in INSTALLED)
    return next(filter(None, map(shutil.which, (*COMMANDS, *places, *_downloaded()))), None)


def missing() -> str:
    """What to say where :func:`find` finds none."""
    if named := os.environ.get(NAMED):
        return f"{NAMED} names {named}, which is no program that can be run."
    return f"There is no browser. {REMEDY}"


def _downloaded() -> Iterator[str]:
    """What Playwright has downloaded, the newest first."""
    own = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    for folder in (own,) if own else PLAYWRIGHT:
        for pattern in DOWNLOADED:
            places = Path(folder).expanduser().glob(pattern)
            yield from map(str, sorted(places, key=_build_number, reverse=True))


def _build_number(program: Path) -> tuple[int, ...]:
    """The number in ``chromium-1187``; 1187 comes after 999."""
    names = (part for part in program.parts if part.startswith("chromium"))
    return tuple(int(digits) for name in names if (digits := name.rpartition("-")[2]).isdigit())
