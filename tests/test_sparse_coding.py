"""Sparse coding and dictionary learning, against scikit-learn, NumPy and the known atoms."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp
from torch import Tensor

from palindrome_lens.config import ConfigError
from palindrome_lens.images import ImagesConfig, learned, make_images, signal, true_atoms
from palindrome_lens.sparse_coding import Missed, ksvd, missed, pursue, recovered, score, unit

TRUE = true_atoms()


def drawn(n: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, dtype=torch.float64, generator=generator)


def test_the_atoms_are_what_they_are_called() -> None:
    pictures = TRUE.reshape(24, 8, 8)
    lit = (pictures != 0).sum(dim=(1, 2)).tolist()
    assert lit == [8] * 18 + [20, 20] + [64] * 4
    assert bool((pictures[3, 3] > 0).all()) and bool((pictures[13, :, 5] > 0).all())
    assert float(pictures[16].trace()) == pytest.approx(8**0.5)
    assert float(pictures[17].flip(0).trace()) == pytest.approx(8**0.5)
    assert not pictures[19, 2:6, 2:6].any() and bool(pictures[19, 1, 1:7].all())
    assert TRUE.norm(dim=1).sub(1).abs().max() < 1e-12


def test_images_are_sums_of_exactly_the_active_atoms() -> None:
    images = make_images(ImagesConfig(n=400, active=4, noise=0, seed=1), TRUE)
    assert images.codes.count_nonzero(dim=1).tolist() == [4] * 400
    on = images.codes[images.codes != 0]
    assert 0.5 <= float(on.min()) < 0.51 and 1.49 < float(on.max()) <= 1.5
    assert images.pixels.sub(images.codes @ TRUE).abs().max() == 0
    noisy = make_images(ImagesConfig(n=400, active=4, noise=0.1, seed=1), TRUE)
    assert float(noisy.pixels.sub(images.pixels).std()) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("active", [1, 3, 7])
def test_pursuit_agrees_with_scikit_learn(active: int) -> None:
    atoms, images = unit(drawn(40, 20)), drawn(50, 20, seed=1)
    theirs = orthogonal_mp(atoms.T.numpy(), images.T.numpy(), n_nonzero_coefs=active).T
    ours = pursue(images, atoms, active)
    assert ours.sub(torch.as_tensor(theirs)).abs().max() < 1e-10
    assert ours.count_nonzero(dim=1).tolist() == [active] * 50


def test_pursuit_stops_when_nothing_is_left() -> None:
    """Also where an atom is there twice, which would make the equations singular."""
    atoms = torch.cat([TRUE, TRUE[:1]])
    images = torch.stack([2 * TRUE[0], 0 * TRUE[0], TRUE[20]])
    codes = pursue(images, atoms, 5)
    assert codes.count_nonzero(dim=1).tolist() == [1, 0, 1]
    assert codes.sum(dim=1).sub(torch.tensor([2.0, 0.0, 1.0])).abs().max() < 1e-12


def test_with_one_active_atom_ksvd_finds_the_singular_vectors_of_its_clusters() -> None:
    """Images near two orthogonal directions: the atoms are NumPy's first singular vectors."""
    axes = torch.eye(2, 6, dtype=torch.float64)
    which = torch.arange(40) % 2
    images = axes[which] * (1 + which[:, None]) + 0.05 * drawn(40, 6)
    found = ksvd(images, 2, 1, iterations=3, seed=3)
    for side in (0, 1):
        first = np.linalg.svd(images[which == side].numpy())[2][0]
        assert np.abs(found.atoms.numpy() @ first).max() == pytest.approx(1, abs=1e-12)


def test_ksvd_finds_the_atoms_of_clean_images_but_not_those_of_noise() -> None:
    pixels = make_images(ImagesConfig(n=600, active=2, noise=0.01), TRUE).pixels
    found = ksvd(pixels, 24, 2, iterations=15)
    assert recovered(found.atoms, TRUE) >= 18
    assert float(found.error[-1]) < float(found.error[0]) / 2
    assert found.atoms.norm(dim=1).sub(1).abs().max() < 1e-12
    assert recovered(ksvd(drawn(600, 64, seed=1), 24, 2, iterations=3).atoms, TRUE) == 0


def test_an_atom_that_no_image_uses_starts_again() -> None:
    """Equal images: all atoms start as doubles, and none may stay one where there are two kinds."""
    images = torch.cat([TRUE[0].expand(50, -1), TRUE[9].expand(2, -1)])
    start = torch.randperm(52, generator=torch.Generator().manual_seed(0))[:2]
    assert start.max() < 50
    assert recovered(ksvd(images, 2, 1, iterations=3, seed=0).atoms, TRUE[[0, 9]]) == 2


def test_the_true_dictionary_is_recovered_in_full_and_a_random_one_not_at_all() -> None:
    assert recovered(-3 * TRUE.flip(0), TRUE) == 24
    assert recovered(drawn(24, 64, seed=1), TRUE) == 0


def test_a_score_is_of_pairs_and_blind_to_length_and_sign() -> None:
    axes = torch.eye(4, 6, dtype=torch.float64)
    learned = torch.stack([-2 * axes[0], axes[1] + axes[2], axes[3]])
    assert score(learned, axes[:3]) == pytest.approx((1, (1 + 0.5**0.5) / 3))


def test_what_was_missed_is_told_by_what_it_looks_like() -> None:
    axes = torch.eye(6, 8, dtype=torch.float64)
    nearly = axes[1] + 0.2 * torch.eye(8, dtype=torch.float64)[6]
    double, mixed = axes[0] + 0.15 * axes[2], axes[3] + axes[4]
    lonely = 3 * torch.eye(8, dtype=torch.float64)[7] + axes[5]
    learned = torch.stack([axes[0], nearly, double, mixed, lonely])
    assert missed(learned, axes[[0, 1, 2, 3, 4]]) == Missed(4, near=1, double=1, mixed=1)
    assert missed(axes, axes) == Missed(0, 0, 0, 0)


def test_the_signal_is_what_noise_is_held_against() -> None:
    """Images of one atom of length 1, whose squared coefficients have the mean 13 / 12."""
    quiet = ImagesConfig(n=4000, active=1, noise=0)
    assert signal(quiet) ** 2 == pytest.approx(13 / 12 / 64, rel=0.02)
    assert signal(quiet.model_copy(update={"noise": 0.3})) == signal(quiet)


def test_learned_atoms_are_those_of_the_images_that_a_seed_draws() -> None:
    config = ImagesConfig(n=60, active=2, seed=1)
    own = ksvd(make_images(config, TRUE).pixels, 10, 2, 2, seed=1)
    assert torch.equal(learned(config, 10, 2).atoms, own.atoms)
    assert not torch.equal(learned(config.model_copy(update={"seed": 2}), 10, 2).atoms, own.atoms)


def test_what_cannot_be_is_refused() -> None:
    images = drawn(5, 64)
    with pytest.raises(ConfigError, match=r"ImagesConfig\.noise"):
        ImagesConfig(noise=-0.1)
    with pytest.raises(ValueError, match="25 active atoms were asked for; 1 to 24"):
        make_images(ImagesConfig(active=25), TRUE)
    with pytest.raises(ValueError, match="0 active atoms"):
        pursue(images, TRUE, 0)
    with pytest.raises(ValueError, match="7 pixels, the atoms 64"):
        pursue(drawn(5, 7), TRUE, 2)
    with pytest.raises(ValueError, match="6 atoms were asked for; 5 images"):
        ksvd(images, 6, 1)
    with pytest.raises(ValueError, match="0 iterations"):
        ksvd(images, 3, 1, iterations=0)
