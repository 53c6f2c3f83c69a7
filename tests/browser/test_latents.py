"""The browser of latents: from disk, with the keyboard alone, on a phone, in both themes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.visits import FAULTS, MODES, leaves

from palindrome_lens.pages.latents.directive import COLUMNS
from palindrome_lens.pages.latents.schema import MIME

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
    notebook = json.loads((book.parents[1] / "notebooks" / "18_latents.ipynb").read_text("utf-8"))
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    (found,) = [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]
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
    near = str(alive["similar"][0]["latent"])
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
