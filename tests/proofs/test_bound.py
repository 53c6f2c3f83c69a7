"""The checker's bound is below the truth on every box, and each of its steps is needed for that."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from proofs.mutants import GUESSED, MUTANTS, ROUGH
from proofs.specimens import SMALL, boxes, model_of, noisy, truth, variant

from palindrome_lens.proofs import checker
from palindrome_lens.proofs.files import exported

SLACK = 1e-9
"""What PyTorch's rounding and the checker's may differ by, relative to F."""
FAR = "x0 = Ball.of(centre[:-1] / centre[-1])"


def excess(module: Any, seed: int, each: int = 5) -> tuple[float, float]:
    """By how much the bound on F, and that on the margin, exceed the least over a box.

    The most over all boxes, over the scale of F and of the margin; below 0 where the bound holds.
    """
    found, model = truth(noisy(seed)), model_of(module, exported(noisy(seed), SMALL))
    by_F, by_margin = [-np.inf], [-np.inf]
    for cell, box, inside in boxes(found, seed, each):
        table = module.select(model.attention(cell.query, cell.own), box)
        rivals = np.delete(np.arange(len(SMALL.alphabet) + 3), cell.target)
        with np.errstate(all="ignore"):
            F, margin = module.bound(model, table, cell.target, rivals)
        true = found.margins[inside, cell.query, cell.target][:, rivals]
        true_F = (true * found.scales[inside, cell.query, None]).min(0)
        sure = ~np.isnan(F)
        by_F += [*((F - true_F) / (1 + abs(true_F)))[sure]]
        by_margin += [*((margin - true.min(0)) / (1 + abs(true.min(0))))[sure & (F > 0)]]
    return float(max(by_F)), float(max(by_margin))


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_below_the_truth_on_every_box(seed: int) -> None:
    by_F, by_margin = excess(checker, seed)
    assert by_F < SLACK
    assert by_margin < SLACK


def test_the_bound_is_the_truth_on_single_strings() -> None:
    found, model = truth(noisy(0)), model_of(checker, exported(noisy(0), SMALL))
    compared = 0
    for cell, box, inside in boxes(found, 0, 2):
        if checker.size(box) > 1:
            continue
        table = checker.select(model.attention(cell.query, cell.own), box)
        rivals = np.delete(np.arange(len(SMALL.alphabet) + 3), cell.target)
        F, _ = checker.bound(model, table, cell.target, rivals)
        true = found.margins[inside, cell.query, cell.target][0, rivals]
        true_F = true * found.scales[inside, cell.query]
        # What is lost: a negative bias of the last LayerNorm is held against an interval.
        np.testing.assert_allclose(F, true_F, rtol=1e-8, atol=1e-8)
        compared += 1
    assert compared >= 65


@pytest.mark.parametrize("offset", [0.3, 3.0, 30.0])
def test_a_centre_off_the_hull_makes_the_bound_wide_but_not_wrong(offset: float) -> None:
    moved = variant((FAR, f"{FAR[:-1]} + {offset} * (-1.0) ** np.arange(len(centre) - 1))"))
    by_F, by_margin = excess(moved, 0)
    assert by_F < SLACK
    assert by_margin < SLACK


def form_excess(module: Any) -> float:
    """By how much a quadratic form of sums over slots exceeds its bound from pairs, at most."""
    slots, letters = 4, 3
    generator = np.random.default_rng(0)
    above = []
    for _ in range(20):
        half = generator.normal(size=(slots, letters, slots, letters))
        half[0], half[:, :, 0] = half[0, :1], half[:, :, 0, :1]  # the fixed keys are no letters
        form = (half + half.transpose(2, 3, 0, 1)).reshape(slots * letters, -1)
        rows = np.arange(slots) * letters + np.array([*np.ndindex(*[letters] * slots)])
        values = form[rows[:, :, None], rows[:, None]].sum((1, 2))
        above.append(values.max() - module.pairwise(form, slots).sum(-1).max(1).sum())
    return float(max(above))


def test_pairs_of_slots_bound_a_quadratic_form() -> None:
    assert form_excess(checker) < SLACK
    assert form_excess(variant(("largest[1:, :, 0] *= 2", "largest[1:, :, 0] *= 0"))) > 0.1
    assert form_excess(variant(("largest[1:, :, 0] *= 2", "pass"))) > 0.1


def test_a_verdict_is_never_wrong() -> None:
    verdicts = set()
    for seed in range(3):
        found, model = truth(noisy(seed)), model_of(checker, exported(noisy(seed), SMALL))
        for cell, box, inside in boxes(found, seed, 4):
            table = checker.select(model.attention(cell.query, cell.own), box)
            verdict = checker.judge(model, table, cell.target).name
            true = found.margins[inside, cell.query, cell.target]
            rivals = np.delete(true, cell.target, axis=1)
            right = (rivals > 0).all(1)
            assert {"right": right.all(), "wrong": not right.any(), "open": True}[verdict]
            verdicts.add(verdict)
    assert verdicts == {"right", "wrong", "open"}


def verdict_errors(module: Any, seed: int) -> int:
    """How many boxes get a verdict that does not hold."""
    found, model = truth(noisy(seed)), model_of(module, exported(noisy(seed), SMALL))
    errors = 0
    for cell, box, inside in boxes(found, seed, 3):
        table = module.select(model.attention(cell.query, cell.own), box)
        with np.errstate(all="ignore"):
            verdict = module.judge(model, table, cell.target).name
        true = np.delete(found.margins[inside, cell.query, cell.target], cell.target, axis=1)
        right = (true > 0).all(1)
        errors += (verdict == "right" and not right.all()) or (verdict == "wrong" and right.any())
    return errors


def caught(module: ModuleType) -> bool:
    """Whether the tests above see that a variant is unsound."""
    return any(
        max(excess(module, seed, 3)) >= SLACK or verdict_errors(module, seed) for seed in range(2)
    )


@pytest.mark.parametrize("name", MUTANTS)
def test_no_step_of_the_bound_can_go(name: str) -> None:
    assert caught(variant(*MUTANTS[name])), "the variant passes for sound"


def test_any_guess_is_sound() -> None:
    """What makes the bound narrow can be left out, and nothing is caught."""
    assert not caught(variant(GUESSED, ROUGH))
