"""Which learned atom stands for which true one."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matching(NamedTuple):
    """Pairs of a learned and a true atom, each atom in one pair at most."""

    learned: Int64[Tensor, "pair"]
    true: Int64[Tensor, "pair"]
    """In ascending order; all true atoms, unless fewer were learned."""
    cosine: Float[Tensor, "pair"]
    """With its sign: the length and the sign of an atom are arbitrary, the pairing ignores them."""


def match(learned: Float[Tensor, "learned width"], true: Float[Tensor, "true width"]) -> Matching:
    """The one-to-one pairing with the largest sum of |cosine| (Kuhn 1955, the Hungarian method).

    Raises:
        ValueError: a dictionary is empty, holds an atom of length 0, or has another width.
    """
    for name, atoms in (("learned", learned), ("true", true)):
        if atoms.ndim != 2 or atoms.numel() == 0:
            raise ValueError(
                f"The {name} dictionary has shape {tuple(atoms.shape)}; it needs one row for each "
                "atom, and at least one."
            )
        lengths = atoms.norm(dim=1)
        if not bool((lengths > 0).all()):
            bad = int((~(lengths > 0)).nonzero()[0])
            raise ValueError(
                f"Atom {bad} of the {name} dictionary has length {float(lengths[bad])}; "
                "it has no direction to compare."
            )
    if learned.shape[1] != true.shape[1]:
        raise ValueError(
            f"The learned atoms have {learned.shape[1]} numbers, the true ones {true.shape[1]}."
        )
    cosines = (true / true.norm(dim=1, keepdim=True)) @ (
        learned / learned.norm(dim=1, keepdim=True)
    ).T
    rows, columns = linear_sum_assignment(cosines.abs().numpy(), maximize=True)
    return Matching(torch.as_tensor(columns), torch.as_tensor(rows), cosines[rows, columns])
