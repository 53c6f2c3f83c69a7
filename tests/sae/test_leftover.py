"""Latents without a feature of their own."""

import pytest
import torch
from torch import Tensor

from palindrome_lens.sae.leaderboard import Live
from palindrome_lens.sae.leftover import Leftover, between_seeds, leftovers, of_seeds, partners
from palindrome_lens.sae.reference import Reference


def split_letter() -> tuple[Tensor, Tensor, Reference]:
    """Three features on six samples. Of the three samples that have the first, latent 0 fires on
    two and latent 1 on one; latent 1 also fires on one that has the second."""
    labels = torch.tensor([[1, 0, 0]] * 3 + [[0, 1, 0]] * 2 + [[0, 0, 1]]).bool()
    codes = torch.zeros(6, 4, dtype=torch.float64)
    codes[:2, 0], codes[2, 1], codes[3, 1] = 1.0, 2.0, 0.5
    codes[3:5, 2] = 1.0
    codes[5, 3] = 1.0
    vectors = torch.eye(3, dtype=torch.float64)
    atoms = vectors[[0, 0, 1, 2]]
    truth = Reference(torch.zeros(3), vectors, labels, torch.zeros(3).long(), ["a", "b", "c"])
    return codes, atoms, truth


def test_a_latent_that_shares_a_letter_is_left_over_beside_the_better_one() -> None:
    codes, atoms, truth = split_letter()
    assert partners(codes, atoms, truth).tolist() == [True, False, True, True]
    (left,) = leftovers(codes, atoms, truth)
    assert left == Leftover(latent=1, fires=2, feature=0, share=0.5, partner_fires=2, both=0)


def test_samples_on_which_both_fire_are_counted() -> None:
    codes, atoms, truth = split_letter()
    codes[1, 1] = 1.0
    (left,) = leftovers(codes, atoms, truth)
    assert (left.fires, left.both) == (3, 1)
    assert left.share == pytest.approx(2 / 3)


def test_without_more_latents_than_features_nothing_is_left_over() -> None:
    codes, atoms, truth = split_letter()
    kept = [0, 2, 3]
    assert leftovers(codes[:, kept], atoms[kept], truth) == []


def test_what_is_left_over_costs_two_seeds_their_agreement() -> None:
    codes, atoms, truth = split_letter()
    kept = [0, 2, 3]
    parts = {4: Live(atoms, codes), 6: Live(atoms[kept], codes[:, kept])}
    (pair,) = between_seeds(parts, truth).itertuples(index=False)
    assert (pair.seeds, pair.first, pair.second) == ("4, 6", 4, 3)
    assert (pair.bound, pair.features) == pytest.approx((3 / 4, 1))
    assert pair[-1] == pytest.approx(3 / 4)  # of all latents


def test_what_is_left_over_is_listed_by_seed() -> None:
    codes, atoms, truth = split_letter()
    kept = [0, 2, 3]
    parts = {4: Live(atoms[kept], codes[:, kept]), 6: Live(atoms, codes)}
    left = of_seeds(parts, truth)
    assert left.to_numpy().tolist() == [[6, *leftovers(codes, atoms, truth)[0]]]
