"""Every page of the built book in a browser: from disk and over http, light, dark, and on a phone.

Nothing may be fetched from elsewhere, no script may complain, every figure must really be drawn,
nothing may be wider than the screen, and nothing may keep anyone out (see ``axe.py``). Where no
browser or no built book is found the tests are skipped, unless
``PALINDROME_LENS_REQUIRE_BROWSER=1``, as in continuous integration, forbids it.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe import unseen_focus, violations

from palindrome_lens.book.markup.latents import COLUMNS, LATENTS_MIME
from palindrome_lens.book.paper import BROWSERS, FLAGS, browser_path

BOOK = Path(__file__).parents[1] / "_build" / "html"
MODES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
# Each page is opened once in each mode; over http where the modes differ least from one another.
VISITS = [("disk", "light"), ("disk", "phone"), ("http", "dark")]
DRAWN_WITHIN_MS = 30_000

UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true; })"

# Lists the figures that are not drawn. A Plotly figure is drawn when its SVG has a size and a trace
# in it has one; axes alone do not count. A widget is drawn when what was rendered has a size.
UNDRAWN = """() => {
  const sized = (element, least) => {
    const box = element.getBoundingClientRect();
    return box.width > least && box.height > least;
  };
  const marked = (element) => {
    const box = element.getBoundingClientRect();
    return box.width + box.height > 1;
  };
  const TRACES = ".mlayer path, .mlayer image, .gl-container canvas, .pielayer path";
  const plotly = (figure) => {
    const svg = figure.querySelector("svg.main-svg");
    return svg && sized(svg, 100) && [...figure.querySelectorAll(TRACES)].some(marked);
  };
  const widget = (figure) => {
    const root = figure.querySelector(".figure-canvas");
    return root && [...root.querySelectorAll("*")].some((element) => sized(element, 20));
  };
  const label = (figure) => figure.getAttribute("aria-label") || figure.outerHTML.slice(0, 80);
  const missing = (selector, drawn) =>
    [...document.querySelectorAll(selector)].filter((one) => !drawn(one)).map(label);
  return [...missing(".plotly-figure", plotly), ...missing(".circuitsvis-figure", widget)];
}"""

# A figure is drawn when it comes near the screen.
SCROLL = """() => document
  .querySelector(":is(.plotly-figure, .circuitsvis-figure):not([data-drawn])")?.scrollIntoView()"""

# What else a page can get wrong, as one sentence each.
FAULTS = """() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const figures = all(".plotly-figure, .circuitsvis-figure");
  const specs = all('.plotly-figure > script[type="application/json"], ' +
                    '.circuitsvis-figure > script[type="application/json"]');
  if (figures.length !== specs.length)
    faults.push(`${figures.length} figures but ${specs.length} specifications`);
  for (const figure of figures)
    if (!(figure.getAttribute("aria-label") || "").trim())
      faults.push("a figure has no aria-label");
  for (const formula of all(".math")) {
    const math = formula.querySelector("math");
    if (!math || math.getBoundingClientRect().width === 0)
      faults.push(`a formula is not set: ${formula.textContent.slice(0, 60)}`);
  }
  for (const figure of all(".plotly-figure")) {
    const boxes = [...figure.querySelectorAll(".heatmap-label text")]
      .map((one) => one.getBoundingClientRect());
    const touch = (a, b) =>
      Math.abs(a.top - b.top) < 2 && a.left < b.left && b.left < a.right;
    if (boxes.some((a) => boxes.some((b) => touch(a, b))))
      faults.push("numbers in the cells of a figure touch");
  }
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) {
    const wide = all("body *").filter((one) => {
      const right = one.getBoundingClientRect().right;
      return right > window.innerWidth + 1 && right <= root.scrollWidth + 1;
    });
    const names = wide.slice(0, 3).map((one) => `<${one.localName} class="${one.className}">`);
    faults.push(`${root.scrollWidth} px on a screen of ${window.innerWidth}: ${names.join(" ")}`);
  }
  return faults;
}"""


def pages() -> list[str]:
    """Every HTML page of the built book, as paths below it, but the one that only sends on."""
    found = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
    return [name for name in found if name != "index.html" and not name.startswith("_static/")]


def leaves(url: str) -> bool:
    """Whether a request goes to anywhere but the book itself."""
    parts = urlsplit(url)
    return parts.scheme not in {"file", "data", "blob"} and parts.hostname != "127.0.0.1"


def problems(context: Any, url: str, *, folded: bool = False) -> list[str]:
    """Open a page and list everything that is wrong with it.

    ``folded``: look for what keeps readers out before what is folded is unfolded, not after, and
    for all but contrast: a phone has the colours of the light theme, which were looked at.
    """
    page = context.new_page()
    found: list[str] = []

    def note(wrong: bool, what: str) -> None:
        if wrong:
            found.append(what)

    page.on("request", lambda it: note(leaves(it.url), f"request to {it.url}"))
    page.on("requestfailed", lambda it: note(True, f"could not load {it.url}"))
    page.on("response", lambda it: note(it.status >= 400, f"{it.status} for {it.url}"))
    page.on("console", lambda it: note(it.type == "error", f"console: {it.text}"))
    page.on("pageerror", lambda it: note(True, f"script error: {it}"))
    try:
        page.goto(url, wait_until="load")
        if folded:
            undrawn(page)
            found += violations(page, contrast=False)
        page.evaluate(UNFOLD)
        found += [f"not drawn: {figure}" for figure in undrawn(page)]
        found += page.evaluate(FAULTS)
        if not folded:
            found += violations(page)
        found += unseen_focus(page)
    finally:
        page.close()
    return found


def undrawn(page: Any) -> list[str]:
    """The figures that are still not drawn after a fair time, with each brought onto the screen."""
    from playwright.sync_api import TimeoutError as TooLate

    with suppress(TooLate):
        page.wait_for_function(
            f"() => {{ ({SCROLL})(); return ({UNDRAWN})().length === 0; }}", timeout=DRAWN_WITHIN_MS
        )
    left: list[str] = page.evaluate(UNDRAWN)
    return left


def _unavailable(reason: str) -> None:
    if os.environ.get("PALINDROME_LENS_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(f"THE BOOK WAS NOT CHECKED IN A BROWSER: {reason}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = browser_path()
    if path is None:
        _unavailable(f"none of {', '.join(BROWSERS)} is installed.")
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


# The browser of latents: from disk, with the keyboard alone, on a phone, in both themes.

LATENTS = "book/latents.html"
STATE = """() => ({
  shown: [...document.querySelectorAll(".latents-list tbody tr")].filter((row) => !row.hidden)
    .map((row) => row.id),
  title: document.querySelector(".latents-detail h2").textContent,
  hash: location.hash,
  focus: document.activeElement.id || document.activeElement.getAttribute("href"),
  count: document.querySelector(".latents-count").textContent,
})"""


@pytest.fixture(scope="module")
def cards(book: Path) -> list[dict[str, Any]]:
    """What the page was given, read from the notebook that made it."""
    notebook = json.loads((book.parents[1] / "notebooks" / "16_latents.ipynb").read_text("utf-8"))
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    (found,) = [out["data"][LATENTS_MIME] for out in outputs if LATENTS_MIME in out.get("data", {})]
    given: list[dict[str, Any]] = found["cards"]
    return given


@pytest.fixture
def latents(contexts: dict[str, Any], book: Path) -> Iterator[Any]:
    """Opens the browser of latents from disk; nothing may be asked of anywhere."""
    opened: list[tuple[Any, list[str]]] = []

    def _open(mode: str = "light", address: str = "") -> Any:
        page = contexts[mode].new_page()
        asked: list[str] = []
        page.on("request", lambda it: asked.append(it.url))
        page.goto((book / LATENTS).as_uri() + address)
        page.wait_for_selector(".latents-detail h2")
        opened.append((page, asked))
        return page

    yield _open
    for page, asked in opened:
        assert [url for url in asked if leaves(url)] == []
        assert [url for url in asked if url.endswith(".json")] == []
        page.close()


def test_search_shows_the_latents_that_hold_the_words(
    latents: Any, cards: list[dict[str, Any]]
) -> None:
    page = latents()
    assert len(page.evaluate(STATE)["shown"]) == len(cards)
    rule = next(card["rule"] for card in cards if "[" in card.get("rule", ""))
    page.fill("#latents-search", rule.upper())
    state = page.evaluate(STATE)
    wanted = {f"latent-{card['latent']}" for card in cards if rule in card.get("rule", "")}
    assert set(state["shown"]) == wanted
    assert state["count"] == f"{len(wanted)} of {len(cards)} latents"
    page.fill("#latents-search", "no such latent")
    assert page.evaluate(STATE)["shown"] == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fires on", ["support"]),
        ("recall", ["recall"]),
        ("loss when off", ["effects", "ablated", "on_mean"]),
        ("cosine with a reference feature", ["reference_cosine"]),
    ],
)
def test_the_list_is_sorted_by_what_is_chosen(
    latents: Any, cards: list[dict[str, Any]], name: str, path: list[Any]
) -> None:
    def value(card: Any) -> float:
        for step in path:
            card = card.get(step, {})
        return -math.inf if card == {} else card

    page = latents()
    page.select_option("#latents-sort", label=name)
    largest_first = sorted(cards, key=lambda card: (-value(card), card["latent"]))
    assert page.evaluate(STATE)["shown"] == [f"latent-{card['latent']}" for card in largest_first]
    page.click("text=smallest first")
    smallest_first = sorted(cards, key=lambda card: (value(card), card["latent"]))
    assert page.evaluate(STATE)["shown"] == [f"latent-{card['latent']}" for card in smallest_first]
    assert page.get_attribute(".latents-list th.sorted", "aria-sort") == "ascending"


def test_each_latent_has_an_address_that_opens_it(
    latents: Any, cards: list[dict[str, Any]]
) -> None:
    alive = [card for card in cards if len(card.get("strongest", [])) > 1][-1]
    dead = next(card for card in cards if not card["support"])
    page = latents(address=f"#latent-{alive['latent']}")
    text = page.inner_text(".latents-detail")
    assert page.evaluate(STATE)["title"] == f"Latent {alive['latent']} {alive['rule']}"
    assert f"Fires on {alive['support']:,} strings" in text
    assert str(alive["effects"]["ablated"]["on_mean"]) in text
    assert page.locator(".latents-atom rect").count() == len(alive["atom"].split())
    assert page.locator(".latents-histogram rect").count() == len(alive["histogram"].split())
    page.evaluate("latent => { location.hash = `#latent-${latent}`; }", dead["latent"])
    page.wait_for_selector("text=Dead: it is above 0 on no string.")
    page.go_back()
    page.wait_for_selector(f".latents-detail h2:has-text('Latent {alive['latent']} ')")


def test_links_between_latents_open_them(latents: Any, cards: list[dict[str, Any]]) -> None:
    alive = next(card for card in cards if card["support"] > 1)
    page = latents()
    page.select_option("#latents-sort", label="latent")
    page.evaluate("latent => { location.hash = `#latent-${latent}`; }", alive["latent"])
    page.click(".latents-detail dd a >> nth=0")
    near = alive["similar"][0].split()[0]
    state = page.evaluate(STATE)
    assert (state["hash"], state["title"].split()[1]) == (f"#latent-{near}", near)
    row = page.locator(f"tr#latent-{near}").bounding_box()
    box = page.locator(".latents-list").bounding_box()
    assert box["y"] <= row["y"] <= box["y"] + box["height"] - row["height"], "the list follows"


def test_the_keyboard_alone_is_enough(latents: Any) -> None:
    page = latents()
    page.focus("#latents-search")
    page.keyboard.type("··")
    order = page.evaluate(STATE)["shown"]
    for expected in ("latents-sort", None, f"#{order[0]}"):
        page.keyboard.press("Tab")
        while expected and page.evaluate(STATE)["focus"] is None:
            page.keyboard.press("Tab")
        if expected:
            assert page.evaluate(STATE)["focus"] == expected
            outline = "() => getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outline) == "solid", "the focus can be seen"
    page.keyboard.press("ArrowDown")
    state = page.evaluate(STATE)
    assert state["focus"] == state["hash"] == f"#{order[1]}"
    assert state["title"].startswith(f"Latent {order[1].removeprefix('latent-')} ")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.evaluate(STATE)["hash"] == f"#{order[0]}"


def test_the_pictures_of_a_latent_follow_the_theme(latents: Any) -> None:
    page = latents()
    colour = "() => getComputedStyle(document.querySelector('.latents-atom .plus')).fill"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) != light


@pytest.mark.parametrize("mode", MODES)
def test_an_opened_latent_is_not_wider_than_the_screen(
    latents: Any, cards: list[dict[str, Any]], mode: str
) -> None:
    longest = max(cards, key=lambda card: len(card.get("rule", "")))
    page = latents(mode, f"#latent-{longest['latent']}")
    assert page.evaluate(FAULTS) == []


def test_without_scripts_the_latents_are_a_table(
    browser: Any, book: Path, cards: list[dict[str, Any]]
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto((book / LATENTS).as_uri())
    assert page.locator(".latents-list tbody tr:visible").count() == len(cards)
    assert page.locator(".latents-list th:visible").count() == len(COLUMNS)
    context.close()


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
    monkeypatch.setattr(f"{__name__}.DRAWN_WITHIN_MS", 300)
    assert any(fault in found for found in _problems_of(FAULTY[fault], contexts, tmp_path))


def test_the_check_passes_a_sound_page(contexts: dict[str, Any], tmp_path: Path) -> None:
    assert _problems_of(SOUND, contexts, tmp_path, "light") == []
    assert _problems_of(SOUND, contexts, tmp_path) == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_check_sees_pale_text(contexts: dict[str, Any], tmp_path: Path, mode: str) -> None:
    (found,) = _problems_of(PALE, contexts, tmp_path, mode)
    assert found.startswith("axe color-contrast: p")
