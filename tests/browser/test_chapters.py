"""What stands around a chapter's text, in a browser, from disk: data, definitions, folded code."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.visits import BOOK, MODES, UNFOLD, leaves, pages

WITH_FIGURES = [name for name in pages() if 'class="plotly-figure"' in (BOOK / name).read_text()]


@pytest.fixture
def opened(contexts: dict[str, Any], book: Path) -> Iterator[Any]:
    """``opened(name, mode)``: a page from disk, which may ask nothing of anywhere else."""
    pages: list[Any] = []
    asked: list[str] = []

    def _open(name: str, mode: str = "light") -> Any:
        page = contexts[mode].new_page()
        page.on("request", lambda it: asked.append(it.url))
        # Nothing here needs the figures drawn, and drawing takes most of the time.
        page.route("**/*.min.js", lambda route: route.abort())
        page.goto((book / name).as_uri(), wait_until="domcontentloaded")
        pages.append(page)
        return page

    yield _open
    assert [url for url in asked if leaves(url)] == []
    for page in pages:
        page.close()


def specs(page: Any) -> list[dict[str, Any]]:
    """What the page's Plotly figures are drawn from."""
    found = page.locator('.plotly-figure > script[type="application/json"]').all_text_contents()
    return [json.loads(text) for text in found]


def saved(page: Any, button: Any) -> tuple[str, list[list[str]]]:
    """What a button saves: the name of the file, and its lines."""
    with page.expect_download() as download:
        button.press("Enter")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return download.value.suggested_filename, list(csv.reader(io.StringIO(text)))


def values(spec: dict[str, Any]) -> list[str]:
    """Every value that is drawn, in order, as JavaScript writes it."""
    frames = spec.get("frames") or [spec]
    drawn: list[Any] = []
    for frame in frames:
        for under, trace in zip(spec["data"], frame["data"], strict=True):
            whole = under | trace
            drawn += [one for row in whole["z"] for one in row] if "z" in whole else whole["y"]
    return ["" if one is None else str(one).removesuffix(".0") for one in drawn]


@pytest.mark.parametrize("name", WITH_FIGURES or ["(no book)"])
def test_the_data_behind_every_figure_can_be_saved(opened: Any, name: str) -> None:
    page = opened(name)
    buttons = page.locator("button.figure-data")
    given = specs(page)
    assert buttons.count() == len(given)
    named = buttons.all_text_contents()
    assert len(set(named)) == len(named)
    assert all(one.startswith("Data behind this figure (CSV): ") for one in named)
    names = set()
    for i, spec in enumerate(given):
        file, (head, *lines) = saved(page, buttons.nth(i))
        names.add(file)
        assert {len(line) for line in lines} == {len(head)}
        assert [as_written(line[-1]) for line in lines] == [as_written(one) for one in values(spec)]
    assert len(names) == len(given)


def as_written(value: str) -> float | str:
    """A number whichever way it is written; any other text as it is."""
    try:
        return float(value)
    except ValueError:
        return value


def test_the_lines_say_what_they_hold(opened: Any) -> None:
    """A figure with series, read line by line."""
    page = opened("notebooks/02_training.html")
    given = specs(page)
    index = next(i for i, spec in enumerate(given) if len(spec["data"]) > 1)
    spec = given[index]
    file, (head, *lines) = saved(page, page.locator("button.figure-data").nth(index))
    axes = [spec["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    assert head == ["series", *axes]
    assert file.startswith("02_training-") and file.endswith(".csv")
    first = spec["data"][0]
    assert lines[0][:2] == [first["name"], str(first["x"][0]).removesuffix(".0")]
    assert {line[0] for line in lines} == {trace["name"] for trace in spec["data"]}


# Definitions where a term is met.

BOX = "#definition"


@pytest.fixture
def term(opened: Any) -> tuple[Any, Any]:
    """A page, and the first link in it to a term of the glossary."""
    page = opened("notebooks/01_data.html")
    return page, page.locator('.bd-article a[href*="#term-"]').first


def test_a_definition_is_shown_under_the_mouse_and_can_be_gone_over_to(
    term: tuple[Any, Any], book: Path
) -> None:
    page, link = term
    assert not page.is_visible(BOX)
    link.hover()
    page.wait_for_selector(BOX)
    script = (book / "_static" / "definitions.js").read_text(encoding="utf-8")
    known = json.loads(script.removeprefix("window.DEFINITIONS = ").rstrip(";\n"))
    assert page.inner_html(BOX) == page.evaluate(
        "html => { const it = document.createElement('div'); it.innerHTML = html;"
        " return it.innerHTML; }",
        known[link.get_attribute("href").partition("#")[2]],
    )
    page.hover(BOX)
    page.wait_for_timeout(600)
    assert page.is_visible(BOX), "it stays while the mouse is on it"
    page.mouse.move(0, 0)
    page.wait_for_selector(BOX, state="hidden")


def test_a_definition_is_shown_at_the_focus_and_put_away_with_escape(
    term: tuple[Any, Any],
) -> None:
    page, link = term
    page.keyboard.press("Tab")  # from here on the focus is the keyboard's
    link.focus()
    assert page.is_visible(BOX)
    assert link.get_attribute("aria-describedby") == "definition"
    assert page.get_attribute(BOX, "role") == "tooltip"
    page.keyboard.press("Escape")
    assert not page.is_visible(BOX)
    assert link.get_attribute("aria-describedby") is None
    assert page.evaluate("document.activeElement.getAttribute('href')") == link.get_attribute(
        "href"
    )
    page.keyboard.press("Shift+Tab")
    link.focus()
    assert page.is_visible(BOX)
    page.keyboard.press("Tab")
    assert not page.is_visible(BOX) or link.get_attribute("aria-describedby") is None


@pytest.mark.parametrize("mode", MODES)
def test_a_definition_stays_on_the_screen(opened: Any, mode: str) -> None:
    page = opened("notebooks/01_data.html", mode)
    for link in page.locator('.bd-article a[href*="#term-"]').all():
        if not link.is_visible():
            continue
        page.keyboard.press("Tab")
        link.focus()
        box = page.locator(BOX).bounding_box()
        width = page.viewport_size["width"]
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_tap_goes_to_the_glossary(browser: Any, book: Path) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto((book / "notebooks/01_data.html").as_uri(), wait_until="domcontentloaded")
    page.locator('.bd-article a[href*="#term-"]').first.tap()
    page.wait_for_url("**/book/glossary.html#term-*")
    context.close()


# Folded code and long outputs.

LONGEST_PX = 48 * 16
SCROLLED = ".cell_output :is(pre, .pst-scrollable-table-container)"


def test_folded_code_says_what_it_holds(opened: Any) -> None:
    page = opened("notebooks/02_training.html")
    summary = page.get_by_text("Show the code").first
    fold = page.locator("details.above-input").first
    assert fold.locator("pre").is_hidden()
    assert page.locator("summary[aria-label]").count() == 0
    summary.locator("xpath=ancestor::summary").press("Enter")
    assert fold.locator("pre").is_visible()
    assert fold.get_by_text("Hide the code").is_visible()


@pytest.mark.parametrize("mode", MODES)
def test_long_outputs_scroll_by_keyboard(opened: Any, mode: str) -> None:
    page = opened("notebooks/19_exchange.html", mode)
    page.wait_for_load_state("load")
    page.evaluate(UNFOLD)
    page.evaluate("dispatchEvent(new Event('resize'))")
    page.wait_for_timeout(500)
    heights = page.locator(SCROLLED).evaluate_all("all => all.map((one) => one.offsetHeight)")
    assert 0 < max(heights) <= LONGEST_PX
    long = page.locator(f"{SCROLLED}[tabindex='0']").first
    long.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.activeElement.scrollTop > 0")
