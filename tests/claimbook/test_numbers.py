"""How numbers are rounded and written."""

import numpy as np
import pytest

from claimbook.numbers import rounded, span, within, written


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.2217861, 1.222),
        (-0.000123456, -0.0001235),
        (99_999.9, 100_000.0),
        (17_576, 17_576),
        (0.0, 0.0),
        (1e-30, 1e-30),
    ],
)
def test_numbers_are_rounded_to_4_significant_digits(value: float, wanted: float) -> None:
    assert rounded(value) == wanted
    assert type(rounded(value)) is type(wanted)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.2217861, "", "1.222"),
        (17_576, "", "17,576"),
        (np.int64(17_576), "", "17,576"),
        (17_576.0, ",.0f", "17,576"),
        (0.998712, "%", "99.87 %"),
        (1, "%", "100 %"),
        (0.998712, ".1f%", "99.9 %"),
        (0.998712, ".2f", "1.00"),
        (-0.0001, "z.2f", "0.00"),
        (0.00001234, "", "1.234e-05"),
    ],
)
def test_a_value_is_written_in_its_form(value: float, form: str, text: str) -> None:
    assert written(value, form) == text


@pytest.mark.parametrize(
    ("values", "form", "text"),
    [
        ([5, 3, 4], "", "3 to 5"),
        (iter([0.25, 0.5]), "", "0.25 to 0.5"),
        ([3, 3], "", "3"),
        # Equal to four digits is equal for a reader.
        ([0.99501, 0.99502], "", "0.995"),
        ([0.25, 0.5], "%", "25 to 50 %"),
        ([0.25, 0.2501], ".0f%", "25 %"),
        ([-1.234, 2.0], ".1f", "-1.2 to 2.0"),
    ],
)
def test_a_span_goes_from_the_least_to_the_largest(
    values: list[float], form: str, text: str
) -> None:
    assert span(values, form) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1 to 2"),
        (1, "1 to 2"),
        (2.0, "1 to 2"),
        (2.0001, "2, which is outside 1 to 2"),
        (0.5, "0.5, which is outside 1 to 2"),
    ],
)
def test_an_interval_is_stated_only_where_the_value_lies_in_it(value: float, text: str) -> None:
    assert within(value, 1, 2) == text
