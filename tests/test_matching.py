"""The pairing of atoms, against every pairing there is."""

import itertools

import pytest
import torch
from torch import Tensor

from palindrome_lens.matching import match


def drawn(n: int, width: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, dtype=torch.float64, generator=generator)


def test_a_permuted_rescaled_and_flipped_dictionary_is_put_back() -> None:
    true = drawn(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    factors = torch.tensor([2.0, -0.1, 1.0, -7.0, 0.5])[:, None]
    found = match(factors * true[order], true)
    assert order[found.learned].tolist() == found.true.tolist() == [0, 1, 2, 3, 4]
    assert found.cosine.abs().sub(1).abs().max() < 1e-12
    assert found.cosine.sign().tolist() == factors[found.learned, 0].sign().tolist()


@pytest.mark.parametrize("seed", range(5))
def test_no_pairing_has_a_larger_sum(seed: int) -> None:
    learned, true = drawn(6, seed=seed), drawn(4, seed=seed + 100)
    table = torch.nn.functional.cosine_similarity(true[:, None], learned[None], dim=2).abs()
    best = max(
        sum(float(table[i, j]) for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(6), 4)
    )
    found = match(learned, true)
    assert float(found.cosine.abs().sum()) == pytest.approx(best)
    assert len(set(found.learned.tolist())) == 4


def test_fewer_learned_atoms_than_true_ones_leave_some_without_a_partner() -> None:
    true = drawn(5)
    found = match(true[[4, 1]], true)
    assert found.true.tolist() == [1, 4]
    assert found.learned.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (torch.zeros(0, 6, dtype=torch.float64), "learned dictionary has shape"),
        (torch.zeros(2, 6, dtype=torch.float64), "Atom 0 of the learned dictionary has length 0"),
        (torch.full((2, 6), torch.nan, dtype=torch.float64), "has length nan"),
        (drawn(2, width=7), "7 numbers, the true ones 6"),
    ],
)
def test_what_cannot_be_compared_is_refused(learned: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        match(learned, drawn(3))
    if learned.shape[1] == 6:
        with pytest.raises(ValueError, match=message.replace("learned", "true")):
            match(drawn(3), learned)
