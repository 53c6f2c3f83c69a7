"""How the book writes its numbers."""

from collections.abc import Iterable
from numbers import Integral

SIGNIFICANT = 4


def rounded(value: float | int, digits: int = SIGNIFICANT) -> float | int:
    """The value to ``digits`` significant digits; an integer stays as it is."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def written(value: float | int, form: str = "") -> str:
    """The value as text: ``17,576``, ``1.222``, ``99.87 %``.

    Args:
        form: a format specification of Python, such as ``.2f``. If it ends in ``%``, the value is
            written as a percentage, with what stands before the sign (``.1f%``). Without one, an
            integer has separators and anything else 4 significant digits.
    """
    if form.endswith("%"):
        return f"{format(100 * value, form[:-1] or f'.{SIGNIFICANT}g')} %"
    return format(value, form or ("," if isinstance(value, Integral) else f".{SIGNIFICANT}g"))


WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def in_words(number: int) -> str:
    """A whole number as prose has it: up to twelve in words."""
    return WORDS[number] if 0 <= number < len(WORDS) else written(number)


def span(values: Iterable[float | int], form: str = "") -> str:
    """The least and the largest value, ``.912 to .998``; one number if both read the same."""
    chosen = list(values)
    low, high = written(min(chosen), form), written(max(chosen), form)
    return high if low == high else f"{low.removesuffix(' %')} to {high}"


def within(value: float | int, low: float | int, high: float | int) -> str:
    """``low to high`` if the value lies there, else the value itself and that it does not.

    For what cannot be the same everywhere: training that amplifies the last digit of a float64
    has an interval, not a number.
    """
    between = f"{written(low)} to {written(high)}"
    return between if low <= value <= high else f"{written(value)}, which is outside {between}"
