"""Images made of known atoms: the toy on which dictionary learning can be held against the truth.

An image is a sum of a few *atoms*, each times a coefficient, plus noise.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from palindrome_lens.config import Config
from palindrome_lens.sparse_coding import Learned, check_active, ksvd, unit

SIDE = 8
N_RANDOM = 4


class ImagesConfig(Config):
    """How images are made.

    Attributes:
        n: the number of images.
        active: atoms in each image, all different, drawn uniformly.
        noise: standard deviation of the Gaussian noise on each pixel; an atom has length 1, so a
            bar's pixels are 0.35.
        seed: of the choice of atoms, the coefficients and the noise.
    """

    n: int = Field(default=1500, ge=1)
    active: int = Field(default=3, ge=1)
    noise: float = Field(default=0.02, ge=0)
    seed: int = 0


class Images(NamedTuple):
    """Images and what they were made of."""

    pixels: Float[Tensor, "image pixel"]
    codes: Float[Tensor, "image atom"]
    """Coefficients, uniform between 0.5 and 1.5 where an atom is active, else 0."""


def true_atoms() -> Float[Tensor, "atom pixel"]:
    """24 atoms of length 1: 8 rows, 8 columns, 2 diagonals, a cross, a box, 4 random ones."""
    grid = torch.zeros(20, SIDE, SIDE, dtype=torch.float64)
    along = torch.arange(SIDE)
    grid[along, along, :] = 1
    grid[SIDE + along, :, along] = 1
    grid[16, along, along] = 1
    grid[17, along, SIDE - 1 - along] = 1
    grid[18, 3:5, 1:7] = 1
    grid[18, 1:7, 3:5] = 1
    grid[19, 1:7, 1:7] = 1
    grid[19, 2:6, 2:6] = 0
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(N_RANDOM, SIDE * SIDE, dtype=torch.float64, generator=generator)
    return unit(torch.cat([grid.flatten(start_dim=1), drawn]))


def make_images(config: ImagesConfig, atoms: Float[Tensor, "atom pixel"]) -> Images:
    """Draw images that are sums of atoms.

    Raises:
        ValueError: more active atoms than there are.
    """
    check_active(config.active, atoms)
    generator = torch.Generator().manual_seed(config.seed)
    shape = (config.n, len(atoms))
    order = torch.rand(shape, dtype=torch.float64, generator=generator).argsort(dim=1)
    size = 0.5 + torch.rand(shape, dtype=torch.float64, generator=generator)
    codes = torch.where(order < config.active, size, 0.0)
    noise = torch.randn(config.n, atoms.shape[1], dtype=torch.float64, generator=generator)
    return Images(codes @ atoms + config.noise * noise, codes)


def signal(config: ImagesConfig) -> float:
    """Root mean square over all pixels of the images without their noise."""
    clean = make_images(config.model_copy(update={"noise": 0.0}), true_atoms())
    return float(clean.pixels.square().mean().sqrt())


def learned(config: ImagesConfig, n_atoms: int, iterations: int) -> Learned:
    """What K-SVD makes of images of the true atoms, started by the seed that draws them."""
    pixels = make_images(config, true_atoms()).pixels
    return ksvd(pixels, n_atoms, config.active, iterations, config.seed)
