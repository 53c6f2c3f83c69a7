"""How numbers are set on the pages."""

from pathlib import Path

import pytest
from tiny_sphinx import CONF, build_in, words

from claimbook.markup.typography import set_numbers

PAGE = """# Page

It is -4.2e-06 nats, 99.9 % of `1e-6 %`, and $-1$. ({math}`2e-3`)
"""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2.432e-06", "2.432\u00a0×\u00a010⁻⁶"),
        ("-4.195e-06 nats", "−4.195\u00a0×\u00a010⁻⁶ nats"),
        ("1.2e+12", "1.2\u00a0×\u00a010¹²"),
        ("± 2e-09", "±\u00a02\u00a0×\u00a010⁻⁹"),
        ("99.87 % of (-1)", "99.87\u00a0% of (−1)"),
        ("3-5, e-6, 0x1e-6, a1e5, n-1, 2 of 3", "3-5, e-6, 0x1e-6, a1e5, n-1, 2 of 3"),
    ],
)
def test_numbers_are_set_as_in_print(given: str, shown: str) -> None:
    assert set_numbers(given) == shown
    assert set_numbers(shown) == shown


def test_code_and_formulas_stay_as_they_are(tmp_path: Path) -> None:
    page = build_in(tmp_path, {"book/index.md": PAGE}, CONF).page("book/index")
    assert "−4.2\u00a0×\u00a010⁻⁶ nats, 99.9\u00a0% of" in page
    assert "1e-6 %" in words(page)
    assert 'alttext="-1"' in page
    assert 'alttext="2e-3"' in page
