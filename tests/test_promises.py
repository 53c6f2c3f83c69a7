"""The promises about numbers: stated once, by a run, and the same wherever they stand."""

import re
from pathlib import Path

import pytest

from claimbook import claims, pictures, readme
from claimbook.project import Project
from palindrome_lens.pages.mirror import picture

ROOT = Path(__file__).parents[1]
REFERENCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
# A notebook that was renamed leaves its executed copy behind under the old name.
COPIES = [ROOT / "_build" / "executed" / path.name for path in REFERENCES]
EXECUTED = [path for path in COPIES if path.exists()]
COMMITTED = ROOT / "notebooks" / "claims.json"


def departures(stated: list[claims.Claim], reference: list[claims.Claim]) -> list[str]:
    """One sentence for each claim that is missing, new, or beyond its tolerance."""
    now = {one.id: one for one in stated}
    before = {one.id: one for one in reference}
    found = [f"{id} is stated on one side only" for id in sorted(now.keys() ^ before.keys())]
    for id in sorted(now.keys() & before.keys()):
        if abs(now[id].value - before[id].value) > before[id].tolerance:
            found.append(f"{id} is {now[id].value}; the reference says {before[id].value}")
        if now[id].checked_on != before[id].checked_on:
            found.append(
                f"{id} was checked on {now[id].checked_on}, before on {before[id].checked_on}"
            )
    return found


def test_the_list_of_claims_is_that_of_the_committed_notebooks() -> None:
    stored = claims.collect(REFERENCES)
    assert len(stored) >= 10
    assert claims.read(COMMITTED) == stored


def test_the_claims_of_the_last_run_agree_with_the_committed_ones() -> None:
    assert len(EXECUTED) == len(REFERENCES), "run `make book` first"
    assert departures(claims.collect(EXECUTED), claims.read(COMMITTED)) == []


@pytest.mark.parametrize("id", [one.id for one in claims.read(COMMITTED)])
def test_a_claim_that_moves_by_a_fifth_of_a_percent_is_noticed(id: str) -> None:
    reference = claims.read(COMMITTED)
    moved = [
        one.model_copy(update={"value": one.value * 1.002 if one.value else 1})
        if one.id == id
        else one
        for one in reference
    ]
    assert len(departures(moved, reference)) == 1


def drawn() -> tuple[list[claims.Claim], dict[str, pictures.Picture]]:
    """The committed claims, and the pictures that are drawn from them."""
    stated = claims.read(COMMITTED)
    return stated, pictures.drawn(Project(ROOT).pictures, stated)


def test_the_readme_says_what_the_claims_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.filled(text, *drawn()) == text
    assert len(shown_in(text)) >= 10


def shown_in(text: str) -> list[str]:
    """The ids of the claims that a page or the README shows."""
    in_table = re.findall(r"^\| [^|]+ \| `([a-z]+\.[a-z0-9-]+)` \|", text, re.M)
    return in_table + re.findall(r"\{(?:claim|control)\}`([a-z]+\.[a-z0-9-]+)`", text)


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_each_claim_of_a_first_page_has_a_control_that_names_a_number(page: str) -> None:
    stated = {one.id: one for one in claims.read(COMMITTED)}
    shown = set(shown_in((ROOT / page).read_text(encoding="utf-8")))
    assert len(shown) >= 10
    without = [id for id in shown if not re.search(r"\d", stated[id].control)]
    assert without == []


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_each_claim_of_a_first_page_about_the_model_is_about_several(page: str) -> None:
    """Of one seed, or of none, are only the strings, and the recipe that is quoted."""
    many = r"(?:five|[5-9]|\d\d) (?:trained )?(?:models|seeds|transformers|dictionaries)"
    several = re.compile(many)
    alone = {"data.strings", "data.floor", "training.original-solved", "circuits.compiled"}
    stated = {one.id: one for one in claims.read(COMMITTED)}
    shown = set(shown_in((ROOT / page).read_text(encoding="utf-8"))) - alone
    said = {id: f"{stated[id].sentence} {stated[id].denominator}" for id in shown}
    assert [id for id, words in said.items() if not several.search(words)] == []


def test_the_picture_is_drawn_from_the_claims() -> None:
    (path, drawing), *others = drawn()[1].items()
    assert not others
    assert drawing.svg == (ROOT / path).read_text(encoding="utf-8")


def test_the_readme_shows_the_picture_and_says_what_is_seen_in_it() -> None:
    least = picture.least_weights(claims.read(COMMITTED))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"![{picture.alternative(least)}](book/mirror.svg)" in text
    svg = picture.mirror_svg(least)
    assert all(
        claim.text in svg and claim.text in picture.alternative(least) for claim in least.values()
    )


def test_without_its_claims_the_picture_is_not_drawn() -> None:
    assert pictures.drawn(Project(ROOT).pictures, []) == {}


def test_pages_without_code_type_no_measured_number_by_hand() -> None:
    """Decimal fractions in these pages can only come from a claim."""
    for page in (ROOT / "book").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
        typed = [n for n in re.findall(r"(?<![\w./-])0?\.\d{2,}|\b\d+\.\d{3,}", prose)]
        assert not typed or page.name == "glossary.md", f"{page.name}: {typed}"
