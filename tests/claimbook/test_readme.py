"""The README's table takes its numbers from the claims."""

from pathlib import Path

import pytest

from claimbook import readme
from claimbook.claims import Cases, claim
from claimbook.pictures import Picture

STATED = claim(
    "coin.heads", "Heads came {value} times.", 7, on=Cases(10, "throws"), control="2 | 3"
)
TEXT = """# Coin
<!-- claims: written by the run -->
| found | claim | number | checked on | control |
| --- | --- | --- | --- | --- |
| heads | `coin.heads` | 5 | old | |
<!-- /claims -->
| heads | `coin.heads` | outside |
"""


def test_numbers_denominators_and_controls_are_filled_in() -> None:
    text = readme.filled(TEXT, [STATED], {})
    assert "| heads | `coin.heads` | 7 | 10 throws | 2 \\| 3 |\n" in text
    assert text.endswith("| heads | `coin.heads` | outside |\n")
    assert readme.filled(text, [STATED], {}) == text


def test_a_claim_that_is_not_stated_is_named() -> None:
    with pytest.raises(ValueError, match=r"'coin\.heads', which is not stated"):
        readme.filled(TEXT, [], {})


def test_a_readme_without_a_table_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    readme.fill([STATED], {}, path)
    assert not path.exists()
    path.write_text("# No table\n", encoding="utf-8")
    readme.fill([STATED], {}, path)
    assert path.read_text(encoding="utf-8") == "# No table\n"


def test_a_picture_is_described_as_it_was_drawn() -> None:
    text = f"![old words](book/throws.svg)\n![a logo](logo.svg)\n{TEXT}"
    drawn = {"book/throws.svg": Picture("<svg/>", "Seven of ten.")}
    first, second, *_ = readme.filled(text, [STATED], drawn).splitlines()
    assert (first, second) == ("![Seven of ten.](book/throws.svg)", "![a logo](logo.svg)")
