"""How heavy the pages are, and how much work they do before they answer.

Work is counted in seconds of the processor that the main thread spent, and compared with what a
reference page costs in the same run: a slow or busy machine makes both dearer. Visits alternate,
and the least of several counts, because what else the machine does can only add.
"""

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from browser.visits import BOOK, pages

VISITS = 5
REFERENCE_PAGES = 4  # a page may cost as much as so many reference pages
KILOBYTES = 300
FIGURE = ".plotly-figure, .circuitsvis-figure"


def figures_in(name: str) -> int:
    text = (BOOK / name).read_text(encoding="utf-8")
    return text.count('class="plotly-figure"')


def heaviest() -> list[str]:
    """The first page, that with the most figures, and that with the most bytes."""
    names = pages() or ["(no book)"]
    if not (BOOK / names[0]).exists():
        return names
    most = max(names, key=figures_in)
    largest = max(names, key=lambda name: (BOOK / name).stat().st_size)
    return list(dict.fromkeys(["book/index.html", most, largest]))


REFERENCE = """<!doctype html><title>Reference</title><body><a href="#here">here</a><script>
for (let line = 0; line < 10_000; line++) {
  const paragraph = document.createElement("p");
  paragraph.textContent = `The reference page writes line ${line}.`;
  document.body.append(paragraph);
}
</script>"""


def seconds_until_answer(browser: Any, address: str) -> float:
    """Seconds of the main thread from the start of the page to the answer to a first key."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(address, wait_until="domcontentloaded")
    page.keyboard.press("Tab")  # returns when the page has handled the key
    assert page.evaluate("document.activeElement !== document.body")
    metrics = session.send("Performance.getMetrics")["metrics"]
    page.close()
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "ThreadTime")


@pytest.mark.parametrize("name", heaviest())
def test_a_page_answers_after_little_work(
    browser: Any, book: Path, name: str, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.html"
    reference.write_text(REFERENCE, encoding="utf-8")
    addresses = [(book / name).as_uri(), reference.as_uri()]
    visits = [[seconds_until_answer(browser, it) for it in addresses] for _ in range(VISITS)]
    page_seconds, reference_seconds = map(min, zip(*visits, strict=True))
    assert page_seconds < REFERENCE_PAGES * reference_seconds, f"{name}: {visits}"


def test_a_long_page_does_not_wait_for_its_figures(browser: Any, book: Path) -> None:
    """Those far below the screen are not drawn, and the library is not what the page waits for."""
    name = heaviest()[1]
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((book / name).as_uri())
    page.wait_for_timeout(3000)
    drawn = page.locator("[data-drawn]").count()
    there = page.locator(FIGURE).count()
    last = page.locator(FIGURE).last
    assert there >= 4 and drawn < there
    last.scroll_into_view_if_needed()
    last.locator(":scope[data-drawn], .main-svg").first.wait_for()
    page.close()


PRINT = f"""async () => {{
  const figures = [...document.querySelectorAll("{FIGURE}")].filter((one) => one.clientWidth);
  const drawn = () => figures.filter((one) => one.querySelector(".mlayer, .figure-canvas button"));
  const before = drawn().length;
  dispatchEvent(new Event("beforeprint"));
  for (let i = 0; i < 100; i++) await null; // what is promised, but nothing that takes time
  const width = (one) => one.getBoundingClientRect().width;
  const widths = [...document.querySelectorAll(".main-svg")].map(width);
  return [before, drawn().length, figures.length, Math.max(...widths)];
}}"""


def test_printing_draws_what_was_not_yet_on_the_screen(browser: Any, book: Path) -> None:
    """At once, for the browser does not wait; and no wider than the paper."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((book / heaviest()[1]).as_uri())
    page.wait_for_function("window.Plotly !== undefined")
    before, after, there, widest = page.evaluate(PRINT)
    assert before < after == there
    assert 500 < widest <= 640, widest
    page.close()


def test_the_first_page_is_light(browser: Any, book: Path) -> None:
    """Everything it loads but scripts, which all pages share, as a server sends it: compressed."""
    page = browser.new_page()
    loaded: set[str] = set()
    page.on("requestfinished", lambda it: loaded.add(it.url))
    page.goto((book / "book" / "index.html").as_uri())
    page.close()
    files = {Path(unquote(urlsplit(url).path)) for url in loaded if url.startswith("file:")}
    weights = {
        path.name: len(gzip.compress(path.read_bytes())) for path in files if path.suffix != ".js"
    }
    assert {"index.html", "book.css"} <= weights.keys()
    assert sum(weights.values()) < KILOBYTES * 1000, weights


def test_a_page_without_figures_loads_no_library(book: Path) -> None:
    for name in pages():
        text = (book / name).read_text(encoding="utf-8")
        assert ("figures.js" in text) == ('-figure" role="group"' in text), name
        assert "plotly.min.js" not in text and "circuitsvis.min.js" not in text
