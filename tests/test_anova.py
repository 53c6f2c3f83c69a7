"""The decomposition against sums that were put together by hand."""

import itertools

import pytest
import torch

from palindrome_lens.anova import by_slot, decompose
from palindrome_lens.task import Task


def centred(*shape: int, seed: int) -> torch.Tensor:
    """Random numbers that sum to 0 along every axis longer than 1."""
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for axis, length in enumerate(shape):
        if length > 1:
            values = values - values.mean(dim=axis, keepdim=True)
    return values


PARTS = {
    (): torch.tensor([[[7.0]]], dtype=torch.float64),
    (0,): centred(4, 1, 1, seed=1),
    (2,): centred(1, 1, 3, seed=2),
    (0, 1): centred(4, 5, 1, seed=3),
    (0, 1, 2): centred(4, 5, 3, seed=4),
}
TOTAL = sum(PARTS.values(), torch.zeros(4, 5, 3, dtype=torch.float64))


def test_known_parts_are_found_again_and_the_others_are_0() -> None:
    found = decompose(TOTAL, 3).effects
    assert len(found) == 8
    for axes, effect in found.items():
        expected = PARTS.get(axes, torch.zeros(1, dtype=torch.float64)).expand_as(effect)
        torch.testing.assert_close(effect, expected, rtol=0, atol=1e-12)


def test_the_mean_has_no_axes_left() -> None:
    assert decompose(TOTAL, 3).mean.shape == ()
    assert float(decompose(TOTAL, 3).mean) == pytest.approx(7.0)


def test_effects_add_up_to_the_values() -> None:
    torch.testing.assert_close(decompose(TOTAL, 3).up_to(3), TOTAL, rtol=0, atol=1e-12)


def test_variances_of_the_effects_add_up_to_the_variance() -> None:
    found = decompose(TOTAL, 3)
    parts = sum(float(found.variance(axes)) for axes in found.effects if axes)
    assert parts == pytest.approx(float(TOTAL.var(correction=0)), abs=1e-12)
    assert sum(found.shares().values()) == pytest.approx(1.0)
    assert found.shares()[0, 1] == pytest.approx(float(PARTS[0, 1].square().mean()) / parts)


def test_the_additive_part_is_the_sum_of_mean_and_single_effects() -> None:
    expected = PARTS[()] + PARTS[0,] + PARTS[2,]
    found = decompose(TOTAL, 3).up_to(1)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=0, atol=1e-12)


def test_further_axes_are_decomposed_each_for_itself() -> None:
    both = torch.stack([TOTAL, 2 * TOTAL], dim=-1)
    together, alone = decompose(both, 3), decompose(TOTAL, 3)
    for axes, effect in alone.effects.items():
        torch.testing.assert_close(together.effects[axes][..., 1], 2 * effect)
    assert together.mean.tolist() == pytest.approx([7.0, 14.0])


def test_a_constant_has_no_shares() -> None:
    with pytest.raises(ValueError, match="same everywhere"):
        decompose(torch.ones(3, 3), 2).shares()


@pytest.mark.parametrize("n_axes", [0, 4])
def test_a_wrong_number_of_axes_is_refused(n_axes: int) -> None:
    with pytest.raises(ValueError, match=f"{n_axes} axes were asked for; the values have 3"):
        decompose(TOTAL, n_axes)


def test_strings_lie_along_the_axes_by_their_letters() -> None:
    task = Task(alphabet="abc", half_length=2)
    values = torch.arange(9.0)
    grid = by_slot(task, values)
    strings = task.strings()
    for i, j in itertools.product(range(3), repeat=2):
        assert strings[int(grid[i, j])] == task.string("abc"[i] + "abc"[j])


def test_values_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="5 values for the 26 strings"):
        by_slot(Task(half_length=1), torch.zeros(5))
