"""Three readers walk through the book, from disk, by what they see and what they can click.

A newcomer goes from the first page to the first exercise; a practitioner from a finding to the code
that computed it; a reviewer from a number to its denominator and control. What they should see is
taken from the claims, never typed.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser.visits import leaves

from claimbook import claims

ROOT = Path(__file__).parents[2]
STATED = {one.id: one for one in claims.read(ROOT / "notebooks" / "claims.json")}
FINDINGS = ("mechanism.right", "attribution.without-layer-norm", "leaderboard.above-untrained")
MOST_CLICKS = 3
FIRST_PAGE_MOST_BYTES = 300_000
PATIENCE_MS = 30_000  # on a busy machine; says nothing about the page

IN_VIEW = """element => {
  const box = element.getBoundingClientRect();
  return box.height > 0 && box.top < innerHeight && box.bottom > 0;
}"""


class Reader:
    """Someone with a mouse: sees what is rendered, and clicks on what can be read."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0

    def sees(self, text: str, within: str = "main") -> None:
        """Fails unless the text is rendered; runs of white space count as one blank, ’ as '."""
        rendered = " ".join(self.page.locator(within).first.inner_text().split()).replace("’", "'")
        assert " ".join(text.split()) in rendered, f"{text!r} is not to be seen"

    def click(self, text: str, within: str = "main") -> None:
        """Click on the first visible link, button or summary that reads so; 16 is not 16,720."""
        spaced = r"\s+".join(map(re.escape, text.split()))  # a page may forbid a break there
        words = re.compile(rf"(?<![\d,.]){spaced}(?![\d,.])")
        clickable = self.page.locator(f"{within} :is(a, button, summary)")
        clickable.filter(has_text=words).locator("visible=true").first.click()
        self.page.wait_for_load_state()
        self.clicks += 1

    def looks_at(self, selector: str) -> None:
        """Fails unless the screen shows the element without scrolling."""
        self.page.locator(selector).first.wait_for()
        assert self.page.locator(selector).first.evaluate(IN_VIEW), f"{selector} is not in view"


@pytest.fixture
def opens(contexts: dict[str, Any], book: Path) -> Iterator[Callable[[str], Reader]]:
    """Opens a page of the book from disk; nothing may be asked of anywhere else."""
    opened: list[tuple[Any, list[str]]] = []

    def _open(name: str, mode: str = "light") -> Reader:
        page, asked = contexts[mode].new_page(), []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda it: asked.append(it.url))
        page.goto((book / name).as_uri())
        opened.append((page, asked))
        return Reader(page)

    yield _open
    for page, asked in opened:
        page.close()
        assert [url for url in asked if leaves(url)] == []


def anchored(id: str) -> str:
    """The element that has this id, dots and all."""
    return f'[id="{id}"]'


def test_a_newcomer_gets_from_the_first_page_to_the_first_exercise(
    opens: Callable[[str], Reader],
) -> None:
    reader = opens("book/index.html")
    reader.sees("How does a small transformer write a string backwards?")
    reader.sees("New to this?")
    reader.click("start with the data")
    reader.sees("The data: strings with a mirror")
    reader.sees("how low the loss of any model can go")
    reader.click("Exercises", within="nav.page-toc")
    reader.looks_at("#exercises h2")
    reader.sees("Exercise 1 (Recall)", within="#exercises")
    answer = reader.page.locator(".solution").first.locator("#solution-content p").first
    assert not answer.is_visible()
    reader.page.locator(".solution .toggle-button, .solution summary").first.click()
    assert answer.is_visible()
    assert len(answer.inner_text()) > 20


@pytest.mark.parametrize("id", FINDINGS)
def test_a_practitioner_gets_from_a_finding_to_its_code_in_three_clicks(
    opens: Callable[[str], Reader], id: str
) -> None:
    finding, cell = STATED[id], f".cell:has({anchored('computed-' + id.replace('.', '-'))})"
    reader = opens("book/index.html")
    reader.click(finding.text, within=".findings")
    reader.looks_at(anchored(id))
    reader.sees(finding.statement.replace("**", "").replace("`", ""), within=anchored(id))
    reader.click("this code", within=anchored(id))
    reader.looks_at(cell)
    assert not reader.page.locator(f"{cell} .cell_input pre").first.is_visible()
    reader.click("Show the code", within=cell)
    reader.sees(f'"{id}",', within=f"{cell} .cell_input")
    assert reader.clicks <= MOST_CLICKS


@pytest.mark.parametrize(
    ("start", "id"),
    [
        ("book/index.html", "attention.least-5"),
        ("book/misconceptions.html", "circuits.zero"),
        ("book/misconceptions.html", "scores.components"),
    ],
)
def test_a_reviewer_gets_from_a_number_to_its_denominator_and_control(
    opens: Callable[[str], Reader], start: str, id: str
) -> None:
    number = STATED[id]
    reader = opens(start)
    reader.page.locator(f'main a[href="results.html#{id}"]').first.scroll_into_view_if_needed()
    reader.click(number.text)
    reader.looks_at(anchored(id))
    reader.sees(f"Checked on {number.denominator}", within=anchored(id))
    reader.sees(f"Control {number.control.replace('`', '')}", within=anchored(id))


def test_a_reviewer_finds_every_number_in_one_list(opens: Callable[[str], Reader]) -> None:
    reader = opens("book/index.html")
    reader.sees("Reviewing it?")
    reader.click("All results")
    for one in STATED.values():
        reader.sees(f"Checked on {one.denominator}", within=anchored(one.id))
        reader.sees("Control", within=anchored(one.id))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_first_screen_holds_question_picture_findings_and_where_to_start(
    opens: Callable[..., Reader], mode: str
) -> None:
    reader = opens("book/index.html", mode)
    for selector in (".hero-words", "svg.mirror", ".findings", ".starts"):
        box = reader.page.locator(selector).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= reader.page.viewport_size["height"]
    for id in FINDINGS:
        reader.sees(STATED[id].text, within=".findings")
    for who in ("New to this?", "In the field?", "Reviewing it?"):
        reader.sees(who, within=".starts")
    label = reader.page.locator("svg.mirror").get_attribute("aria-label")
    assert all(STATED[f"attention.least-{query}"].text in label for query in (4, 5, 6))


def test_the_first_page_is_light(opens: Callable[..., Reader], book: Path) -> None:
    """What it loads beyond the styles, fonts and scripts that every page shares."""

    def loaded(name: str) -> set[Path]:
        page, files = opens("search.html").page, set()
        page.on("request", lambda it: files.add(Path(urlsplit(it.url).path)))
        page.goto((book / name).as_uri(), wait_until="load")
        return {file for file in files if file.is_file()}

    first = book / "book" / "index.html"
    own = loaded("book/index.html") - loaded("book/bibliography.html")
    assert first in own
    assert sum(file.stat().st_size for file in own) < FIRST_PAGE_MOST_BYTES
