"""Where a browser is looked for."""

from pathlib import Path

import pytest

from claimbook import browser


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a browser; everything is looked for below this folder."""
    for name in (browser.NAMED, "PLAYWRIGHT_BROWSERS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    below = [str(tmp_path) + place for place in browser.INSTALLED if place.startswith("/")]
    at_home = [place for place in browser.INSTALLED if place.startswith("~")]
    monkeypatch.setattr(browser, "INSTALLED", (*below, *at_home))
    return tmp_path


def put(path: Path) -> str:
    """A program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_one_it_is_said_what_helps(bare: Path) -> None:
    assert browser.find() is None
    assert "playwright install chromium" in browser.missing()
    assert browser.NAMED in browser.missing()


@pytest.mark.parametrize("command", browser.COMMANDS)
def test_on_the_path(bare: Path, command: str) -> None:
    assert put(bare / "bin" / command) == browser.find()


@pytest.mark.parametrize(
    "place",
    [
        "opt/google/chrome/chrome",
        "opt/microsoft/msedge/msedge",
        "snap/bin/chromium",
        "Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        ".cache/ms-playwright/chromium-1187/chrome-linux/chrome",
        ".cache/ms-playwright/chromium-1200/chrome-linux64/chrome",
        ".cache/ms-playwright/chromium_headless_shell-1187/chrome-linux/headless_shell",
        "Library/Caches/ms-playwright/chromium-1187/chrome-mac/Chromium.app/Contents/MacOS/Chromium",
    ],
)
def test_where_it_is_installed(bare: Path, place: str) -> None:
    assert put(bare / place) == browser.find()


def test_the_newest_of_playwright_counts(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(bare / "own"))
    put(bare / "own" / "chromium-999" / "chrome-linux" / "chrome")
    newest = put(bare / "own" / "chromium-1187" / "chrome-linux" / "chrome")
    put(bare / ".cache" / "ms-playwright" / "chromium-2000" / "chrome-linux" / "chrome")
    assert browser.find() == newest


def test_the_one_that_is_named_counts_alone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bare / "bin" / "chromium")
    monkeypatch.setenv(browser.NAMED, str(bare / "mine"))
    assert browser.find() is None
    assert browser.missing() == (
        f"{browser.NAMED} names {bare / 'mine'}, which is no program that can be run."
    )
    mine = put(bare / "mine")
    assert browser.find() == mine
    (bare / "mine").chmod(0o644)
    assert browser.find() is None
