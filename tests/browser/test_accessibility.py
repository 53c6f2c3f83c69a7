"""The book without a mouse, and for readers whom movement disturbs.

That no page breaks a rule of WCAG, and that the focus is seen everywhere, is part of the visit to
each page in ``test_pages.py``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.visits import MODES

SLIDER = "notebooks/10_emergence.html"
FOCUS = """() => {
  const one = document.activeElement;
  return (one.getAttribute("aria-label") || one.textContent).trim();
}"""
WITH_SLIDER = ".plotly-figure:has(.figure-slider)"
SHOWN = f"""() => {{
  const cells = document.querySelector("{WITH_SLIDER} .js-plotly-plot");
  return JSON.stringify(cells.data[0].z);
}}"""
MOVING = """() => [...document.querySelectorAll("*")].filter((one) => {
  const { transitionDuration, animationDuration, scrollBehavior } = getComputedStyle(one);
  const times = `${transitionDuration}, ${animationDuration}`.split(", ");
  return times.some((time) => parseFloat(time) > 0.01) || scrollBehavior === "smooth";
}).length"""


@pytest.fixture
def opened(browser: Any, book: Path) -> Iterator[Any]:
    """Opens a page from disk, with what a context can be told."""
    contexts: list[Any] = []

    def _open(name: str, mode: str = "light", **options: Any) -> Any:
        contexts.append(browser.new_context(**MODES[mode], **options))
        page = contexts[-1].new_page()
        page.goto((book / name).as_uri())
        return page

    yield _open
    for context in contexts:
        context.close()


def tab_to(page: Any, name: str, most: int = 120) -> None:
    """Press Tab until the element of that name has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS) == name:
            return
    raise AssertionError(f"{most} stops of the Tab key, and none is {name!r}")


def test_the_first_stop_skips_to_the_text(opened: Any) -> None:
    page = opened("book/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS) == "Skip to main content"
    page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = "document.querySelector('#main-content').contains(document.activeElement)"
    assert page.evaluate(inside), "the next stop is in the text"


def test_the_theme_is_switched_by_keyboard(opened: Any) -> None:
    page = opened("book/index.html")
    tab_to(page, "Color mode")
    theme = "document.documentElement.dataset.mode"
    before = page.evaluate(theme)
    page.keyboard.press("Enter")
    assert page.evaluate(theme) != before


def test_the_side_bar_is_opened_and_closed_by_keyboard_on_a_phone(opened: Any) -> None:
    page = opened("book/index.html", "phone")
    link = page.locator("#pst-primary-sidebar-modal a:has-text('Glossary')")
    tab_to(page, "Toggle primary sidebar")
    page.keyboard.press("Enter")
    link.wait_for(state="visible")
    page.keyboard.press("Escape")
    link.wait_for(state="hidden")


def test_the_book_is_searched_by_keyboard(opened: Any) -> None:
    page = opened("book/index.html")
    page.keyboard.press("Control+k")
    page.wait_for_function("document.activeElement.name === 'q'")
    page.keyboard.type("mirror")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li p.context:has-text('mirror')")


def test_folded_code_is_unfolded_by_keyboard(opened: Any) -> None:
    page = opened(SLIDER)
    folded = page.locator("details.above-input").first
    folded.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.evaluate("one => one.open")
    page.keyboard.press("Space")
    assert not folded.evaluate("one => one.open")


def test_a_figure_with_a_slider_is_moved_by_keyboard(opened: Any) -> None:
    page = opened(SLIDER)
    slider = page.get_by_role("slider", name="step")
    slider.focus()
    page.wait_for_selector(f"{WITH_SLIDER}[data-drawn]")
    first = page.evaluate(SHOWN)
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "1000"
    page.wait_for_function(f"first => ({SHOWN})() !== first", arg=first)
    page.keyboard.press("Home")
    page.wait_for_function(f"first => ({SHOWN})() === first", arg=first)
    assert page.inner_text(".figure-slider output") == "step 0"


def test_the_buttons_of_a_figure_show_when_the_keyboard_reaches_them(opened: Any) -> None:
    page = opened(SLIDER)
    page.locator(".plotly-figure").first.scroll_into_view_if_needed()
    bar = page.locator("[data-drawn] .modebar-group").first
    page.mouse.move(1, 1)
    assert bar.evaluate("one => getComputedStyle(one).opacity") == "0"
    tab_to(page, "Zoom in", most=200)
    assert (
        page.evaluate("getComputedStyle(document.activeElement.closest('.modebar')).opacity") == "1"
    )


@pytest.mark.parametrize("name", ["book/index.html", SLIDER, "book/latents.html"])
def test_nothing_moves_for_who_asks_for_less_motion(opened: Any, name: str) -> None:
    assert opened(name).evaluate(MOVING) > 0, "else there was nothing to hold still"
    page = opened(name, reduced_motion="reduce")
    assert page.evaluate(MOVING) == 0
