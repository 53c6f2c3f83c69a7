"""Sparse coding and dictionary learning from first principles.

Sparse coding finds the coefficients of *atoms* that are known; dictionary learning has to find the
atoms as well. Both are tried on images whose atoms are known.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.matching import match

EXHAUSTED = 1e-9
"""Relative to the image: a correlation below this is rounding, and no reason to add an atom."""


def unit(atoms: Float[Tensor, "atom pixel"]) -> Float[Tensor, "atom pixel"]:
    """The same directions at length 1."""
    return atoms / atoms.norm(dim=1, keepdim=True)


def pursue(
    images: Float[Tensor, "image pixel"], atoms: Float[Tensor, "atom pixel"], active: int
) -> Float[Tensor, "image atom"]:
    """Orthogonal matching pursuit (Pati, Rezaiifar, Krishnaprasad 1993), all images at once.

    Each step adds the atom that correlates most with what is left of the image, then fits all
    chosen coefficients again by least squares. An image that is used up keeps fewer atoms.

    Args:
        atoms: of length 1.

    Raises:
        ValueError: ``active`` is below 1 or above the number of atoms, or the widths differ.
    """
    check_active(active, atoms)
    _check_width(images, atoms)
    codes = torch.zeros(len(images), len(atoms), dtype=images.dtype)
    open_ = torch.arange(len(images))
    chosen = torch.zeros(len(images), 0, dtype=torch.int64)
    gram, along = atoms @ atoms.T, images @ atoms.T
    for _ in range(active):
        left = along[open_] - codes[open_] @ gram
        best, index = left.abs().max(dim=1)
        go_on = best > EXHAUSTED * images[open_].norm(dim=1)
        open_, chosen = open_[go_on], torch.cat([chosen, index[:, None]], dim=1)[go_on]
        fitted = torch.linalg.solve(
            gram[chosen[:, :, None], chosen[:, None, :]], along[open_].gather(1, chosen)
        )
        codes[open_] = torch.zeros_like(codes[open_]).scatter(1, chosen, fitted)
    return codes


class Learned(NamedTuple):
    """A learned dictionary and how well it represented the images on the way."""

    atoms: Float[Tensor, "atom pixel"]
    """Of length 1."""
    error: Float[Tensor, "iteration"]
    """Root mean square over all pixels of what was left, after each iteration."""


def ksvd(
    images: Float[Tensor, "image pixel"],
    n_atoms: int,
    active: int,
    iterations: int = 30,
    seed: int = 0,
) -> Learned:
    """K-SVD (Aharon, Elad, Bruckstein 2006), started from images drawn at random.

    Each iteration codes all images by :func:`pursue` and then replaces one atom after the other,
    with the coefficients of its users, by the best rank-1 fit of what the other atoms leave of
    these images. An atom that no image uses starts again from the image that is represented worst.

    Raises:
        ValueError: more atoms than images, no iteration, or an ``active`` that cannot be.
    """
    if not 1 <= n_atoms <= len(images):
        raise ValueError(f"{n_atoms:,} atoms were asked for; {len(images):,} images start 1 each.")
    if iterations < 1:
        raise ValueError(f"{iterations} iterations were asked for; at least 1 is needed.")
    generator = torch.Generator().manual_seed(seed)
    atoms = unit(images[torch.randperm(len(images), generator=generator)[:n_atoms]])
    errors = []
    for _ in range(iterations):
        codes = pursue(images, atoms, active)
        left = images - codes @ atoms
        for j in range(n_atoms):
            users = codes[:, j].nonzero().squeeze(1)
            if len(users) == 0:
                worst = int(left.square().sum(dim=1).argmax())
                atoms[j] = images[worst] / images[worst].norm()
                continue
            own = left[users] + codes[users, j, None] * atoms[j]
            atoms[j] = _first_direction(own, atoms[j])
            codes[users, j] = own @ atoms[j]
            left[users] = own - codes[users, j, None] * atoms[j]
        errors.append(float(left.square().mean().sqrt()))
    return Learned(atoms, torch.tensor(errors, dtype=torch.float64))


def _first_direction(
    rows: Float[Tensor, "row pixel"], old: Float[Tensor, "pixel"]
) -> Float[Tensor, "pixel"]:
    """The first right singular vector, with the sign that agrees with the old one.

    It is an eigenvector of the small pixel-by-pixel matrix, which is faster to decompose.
    """
    direction = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -1]
    return direction if direction @ old >= 0 else -direction


RECOVERED = 0.99
"""|cosine| above which an atom counts as found (Aharon, Elad, Bruckstein 2006)."""
NEAR = 0.95
MIXED = 0.5
"""|cosine| above which an atom counts as nearly another, and as holding a part of it."""


class Score(NamedTuple):
    """How well true atoms were found, each by one learned atom of its own."""

    recovered: int
    """Those with |cosine| above ``RECOVERED``."""
    cosine: float
    """The mean |cosine|."""


def score(learned: Float[Tensor, "learned pixel"], true: Float[Tensor, "true pixel"]) -> Score:
    """How well a learned dictionary agrees with the true one."""
    cosines = match(learned, true).cosine.abs()
    return Score(int((cosines > RECOVERED).sum()), float(cosines.mean()))


def recovered(learned: Float[Tensor, "learned pixel"], true: Float[Tensor, "true pixel"]) -> int:
    """How many true atoms have a learned one of their own with |cosine| above ``RECOVERED``."""
    return score(learned, true).recovered


class Missed(NamedTuple):
    """The learned atoms whose true partner is not recovered, counted by what they look like."""

    all: int
    near: int
    """|cosine| above ``NEAR`` with the partner."""
    double: int
    """Above ``NEAR`` with a true atom that another learned one is paired with."""
    mixed: int
    """Neither, and above ``MIXED`` with two true atoms."""


def missed(learned: Float[Tensor, "learned pixel"], true: Float[Tensor, "true pixel"]) -> Missed:
    """What stands in the place of the true atoms that were not recovered."""
    pairs = match(learned, true)
    lost = pairs.cosine.abs() <= RECOVERED
    cosines = (unit(learned[pairs.learned[lost]]) @ unit(true).T).abs()
    first, second = cosines.topk(2, dim=1).values.T
    near = int((pairs.cosine[lost].abs() > NEAR).sum())
    double = int((first > NEAR).sum()) - near
    return Missed(len(cosines), near, double, int(((first <= NEAR) & (second > MIXED)).sum()))


def check_active(active: int, atoms: Float[Tensor, "atom pixel"]) -> None:
    """ValueError where so many atoms cannot be active."""
    if not 1 <= active <= len(atoms):
        raise ValueError(f"{active} active atoms were asked for; 1 to {len(atoms)} are possible.")


def _check_width(images: Float[Tensor, "image pixel"], atoms: Float[Tensor, "atom pixel"]) -> None:
    if images.shape[1] != atoms.shape[1]:
        raise ValueError(f"The images have {images.shape[1]} pixels, the atoms {atoms.shape[1]}.")
