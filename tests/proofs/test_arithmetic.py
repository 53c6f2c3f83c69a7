"""Balls hold the exact result of each operation, which rational arithmetic knows."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from proofs.specimens import variant

from palindrome_lens.proofs import checker

Numbers = list[list[Fraction]]
SHAPE = (6, 6)


def numbers(seed: int) -> np.ndarray[Any, Any]:
    """Numbers of both signs and of many sizes."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal(SHAPE) * 10.0 ** generator.integers(-12, 12, SHAPE)


def exact(values: np.ndarray[Any, Any]) -> Numbers:
    return [[Fraction(x) for x in row] for row in values.tolist()]


def elementwise(operation: Callable[[Fraction, Fraction], Fraction]) -> Any:
    def applied(a: Numbers, b: Numbers) -> Numbers:
        return [[operation(x, y) for x, y in zip(*r, strict=True)] for r in zip(a, b, strict=True)]

    return applied


def product(a: Numbers, b: Numbers) -> Numbers:
    columns = [*zip(*b, strict=True)]
    terms = [[[x * y for x, y in zip(row, c, strict=True)] for c in columns] for row in a]
    return [[sum(cell, Fraction(0)) for cell in row] for row in terms]


EXACT: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    "+": elementwise(lambda x, y: x + y),
    "-": elementwise(lambda x, y: x - y),
    "*": elementwise(lambda x, y: x * y),
    "/": elementwise(lambda x, y: x / y),
    "@": product,
}
COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "@": lambda x, y: x @ y,
}


def outside(ball: Any, true: Numbers) -> int:
    """How many exact results are farther from the midpoint than the radius says."""
    mid, rad = exact(ball.mid), exact(ball.rad)
    places = [(i, j) for i in range(SHAPE[0]) for j in range(SHAPE[1])]
    return sum(abs(true[i][j] - mid[i][j]) > rad[i][j] for i, j in places)


def ends_of(values: Numbers, end: int) -> Numbers:
    """One end of balls around the values whose relative radius is 2 ** -30."""
    return [[x + end * abs(x) / 2**30 for x in row] for row in values]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("ends", [(0, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_operations_hold_the_exact_result(name: str, ends: tuple[int, int]) -> None:
    for seed in range(5):
        a, b = numbers(seed), numbers(seed + 1)
        b = abs(b) if name == "/" else b
        found = COMPUTED[name](*(checker.Ball(x, abs(x) / 2**30) for x in (a, b)))
        true = EXACT[name](ends_of(exact(a), ends[0]), ends_of(exact(b), ends[1]))
        assert outside(found, true) == 0


def unrounded(module: Any, name: str) -> int:
    """How many results of exact operands are not held."""
    missed = 0
    for seed in range(5):
        a, b = numbers(seed), abs(numbers(seed + 1))
        found = COMPUTED[name](module.Ball.of(a), module.Ball.of(b))
        missed += outside(found, EXACT[name](exact(a), exact(b)))
    return missed


@pytest.mark.parametrize("name", EXACT)
def test_operations_hold_their_own_rounding(name: str) -> None:
    assert unrounded(checker, name) == 0


def test_roots_hold_the_exact_root() -> None:
    x = abs(numbers(0))
    for relative in (0.0, 1e-9):
        found = checker.Ball(x, x * relative).sqrt()
        for sign in (-1, 1):
            inside = [[v + sign * Fraction(relative) * v for v in row] for row in exact(x)]
            lows, highs = exact(found.lo), exact(found.hi)
            for i in range(6):
                for j in range(6):
                    assert lows[i][j] ** 2 <= inside[i][j] <= highs[i][j] ** 2


def test_exponentials_hold_the_exact_one() -> None:
    x = -abs(np.random.default_rng(0).standard_normal(60) * 200)
    x[:2] = 0.0, -900.0
    found = checker.Ball(x, 1e-9 * abs(x)).exp()
    with mpmath.workprec(300):
        for value, lo, hi in zip(x.tolist(), found.lo.tolist(), found.hi.tolist(), strict=True):
            for end in (-1e-9, 0.0, 1e-9):
                true = mpmath.exp(mpmath.mpf(value) + mpmath.mpf(end) * mpmath.mpf(abs(value)))
                assert lo <= true <= hi


@pytest.mark.parametrize(
    ("least", "most"), [(-1.0, 1.0), (0.1, 0.3), (-1e300, 1e300), (5e-324, 1.0), (0.0, 0.0)]
)
def test_an_interval_lies_in_its_ball(least: float, most: float) -> None:
    ball = checker.Ball.between(np.array([least]), np.array([most]))
    assert ball.lo[0] <= least
    assert most <= ball.hi[0]


def test_what_cannot_be_computed_is_no_number() -> None:
    one, zero = checker.Ball.of([1.0]), checker.Ball(np.array([0.5]), np.array([0.5]))
    with np.errstate(all="ignore"):
        assert np.isnan((one / zero).lo).all()
        assert np.isnan(zero.sqrt().mid).all()
        assert np.isnan(checker.Ball(np.array([0.0]), np.array([2.0])).exp().rad).all()
        huge = checker.Ball.of([1e308])
        assert not ((huge * huge).lo > 0).any()


ROUNDINGS = {
    "+": ("self.rad + other.rad + U * abs(mid)", "self.rad + other.rad"),
    "*": ("up(rad + U * abs(mid))", "up(rad)"),
    "/": ("/ least + U * abs(mid)", "/ least"),
    "@": ("gamma, left, right = 2 * U", "gamma, left, right = 0 * U"),
}


@pytest.mark.parametrize("name", ROUNDINGS)
def test_without_its_rounding_an_operation_misses(name: str) -> None:
    assert unrounded(variant(ROUNDINGS[name]), name)
