"""Every page of the built book in a browser: from disk and over http, light, dark, and on a phone.

Nothing may be fetched from elsewhere, no script may complain, every figure must really be drawn,
nothing may be wider than the screen, and nothing may keep anyone out (see ``axe.py``).
"""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from browser import visits
from browser.visits import pages, problems, undrawn

# Each page is opened once in each mode; over http where the modes differ least from one another.
VISITS = [("disk", "light"), ("disk", "phone"), ("http", "dark")]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def addresses(book: Path) -> Iterator[dict[str, str]]:
    """Where the book can be opened: from disk, and over http."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(book)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield {"disk": book.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", pages() or ["(no book)"])
@pytest.mark.parametrize(("source", "mode"), VISITS)
def test_page(
    contexts: dict[str, Any], addresses: dict[str, str], source: str, mode: str, name: str
) -> None:
    url = f"{addresses[source]}/{name}"
    assert problems(contexts[mode], url, folded=mode == "phone") == []


def test_the_address_of_the_book_opens_its_first_page(
    contexts: dict[str, Any], addresses: dict[str, str]
) -> None:
    for address in addresses.values():
        page = contexts["light"].new_page()
        page.goto(f"{address}/index.html", wait_until="commit")
        page.wait_for_url("**/book/index.html")
        page.close()


def test_the_book_has_both_kinds_of_figure(book: Path) -> None:
    """Else "every figure is drawn" would hold for want of figures."""
    text = "".join((book / name).read_text(encoding="utf-8") for name in pages())
    assert 'class="plotly-figure"' in text
    assert 'class="circuitsvis-figure"' in text
    assert "<math " in text


def test_figures_follow_the_theme(contexts: dict[str, Any], book: Path) -> None:
    name = next(one for one in pages() if 'class="plotly-figure"' in (book / one).read_text())
    page = contexts["light"].new_page()
    page.goto((book / name).as_uri())
    assert undrawn(page) == []
    colour = "() => getComputedStyle(document.querySelector('.xtick text, .ytick text')).fill"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(f"light => ({colour})() !== light", arg=light)
    page.close()


def test_search_finds_from_disk(contexts: dict[str, Any], book: Path) -> None:
    page = contexts["light"].new_page()
    page.goto((book / "search.html").as_uri() + "?q=palindrome")
    page.wait_for_selector("#search-results li a")
    page.wait_for_selector("#search-results li p.context:has-text('palindrome')")
    linked = page.locator("#search-results li").count()
    told = page.locator("#search-results li p.context").count()
    assert told == linked, "every result has a snippet"
    page.close()


# The checks themselves: a page with one fault each, and a page with none.

FIGURE = (
    '<div class="plotly-figure" role="group" aria-label="{label}">'
    '<script type="application/json">{{"data": []}}</script>{inside}</div>'
)
DRAWN = (
    '<svg class="main-svg" width="300" height="200"><g class="mlayer">'
    '<path d="M0,0L200,100" stroke="black"/></g></svg>'
)
AXES_ONLY = '<svg class="main-svg" width="300" height="200"><path d="M0,0L200,0"/></svg>'
WIDGET = (
    '<div class="circuitsvis-figure" role="group" aria-label="pattern">'
    '<script type="application/json">{}</script><div class="figure-canvas"></div></div>'
)
FAULTY = {
    "request to": '<img src="http://example.invalid/picture.png">',
    "could not load": '<script src="missing.js"></script>',
    "console": "<script>console.error('broken')</script>",
    "script error": "<script>throw new Error('broken')</script>",
    "px on a screen": '<div style="width: 3000px">wide</div>',
    "not drawn: never": FIGURE.format(label="never", inside=""),
    "not drawn: axes": FIGURE.format(label="axes", inside=AXES_ONLY),
    "not drawn: pattern": WIDGET,
    "no aria-label": FIGURE.format(label="", inside=DRAWN),
    "specifications": '<div class="plotly-figure" aria-label="x">' + DRAWN + "</div>",
    "a formula is not set": '<span class="math">\\(x^2\\)</span>',
    "axe label": '<input type="text">',
    "axe link-name": '<a href="#top"><svg width="30" height="30"></svg></a>',
    "axe image-alt": '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
    "axe nested-interactive": '<div role="img" aria-label="x"><button>press</button></div>',
    "axe target-size": '<a href="#a" style="font-size: 5px">a</a><a href="#b">b</a>',
    "focus is not seen: <button": '<button style="outline: none">press</button>',
    "focus is not seen: <a": '<div style="opacity: 0"><a href="#a">a link</a></div>',
}
SOUND = (
    FIGURE.format(label="a line", inside=DRAWN)
    + '<p class="math"><math><mi>x</mi></math></p>'
    + '<a href="#a" style="outline: 2px solid">a link</a>'
)


def _problems_of(
    body: str, contexts: dict[str, Any], folder: Path, mode: str = "phone"
) -> list[str]:
    path = folder / "page.html"
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>A page</title>"
    path.write_text(f"{head}<body><main>{body}</main></body>", encoding="utf-8")
    return problems(contexts[mode], path.as_uri(), folded=mode == "phone")


PALE = '<p style="color: #999; background: #fff">pale</p>'


@pytest.mark.parametrize("fault", FAULTY)
def test_the_check_sees(
    contexts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(visits, "DRAWN_WITHIN_MS", 300)
    assert any(fault in found for found in _problems_of(FAULTY[fault], contexts, tmp_path))


def test_the_check_passes_a_sound_page(contexts: dict[str, Any], tmp_path: Path) -> None:
    assert _problems_of(SOUND, contexts, tmp_path, "light") == []
    assert _problems_of(SOUND, contexts, tmp_path) == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_check_sees_pale_text(contexts: dict[str, Any], tmp_path: Path, mode: str) -> None:
    (found,) = _problems_of(PALE, contexts, tmp_path, mode)
    assert found.startswith("axe color-contrast: p")
