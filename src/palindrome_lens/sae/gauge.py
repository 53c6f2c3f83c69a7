"""What a dictionary says about directions once the arbitrary part of it is taken off.

One letter of each slot is always there. Add a vector c to what stands for each of its letters, take
c from the decoder's bias, and every reconstruction is as before: the data do not say where the 26
directions have their centre. The reference puts it at 0, and a cosine with it depends on that.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from palindrome_lens.sae.reference import Reference

TIE = 1e-6
"""Weight of a cosine beside an F1: it decides where two latents fit a feature equally well."""


def centred_mcc(
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
    f1: Float[Tensor, "latent feature"],
) -> float:
    """The MCC that is left when each slot may take one vector off all its directions.

    Latents are paired with features by F1, and by cosine only among equals. For each slot, the c
    and the lengths s are found that make the sum of ‖s d − c − v‖² over its pairs least (d an atom
    of length 1, v the feature's vector); then s d − c is compared with v. A feature without a
    partner counts 0. A single pair can always be fitted; 26 cannot, and a random dictionary says
    by how much.
    """
    columns, rows = paired(directions, reference, f1)
    total = 0.0
    for slot in reference.slots.unique():
        in_slot = reference.slots[rows] == slot
        true = reference.vectors[rows][in_slot]
        own = F.normalize(directions[columns][in_slot], dim=1)
        # For a given c the best s is d · (v + c); what is left is v + c without its part along d.
        left = true - own * (own * true).sum(dim=1, keepdim=True)
        across = len(own) * torch.eye(own.shape[1], dtype=own.dtype) - own.T @ own
        offset = -torch.linalg.pinv(across, hermitian=True) @ left.sum(dim=0)
        fitted = own * (own * (true + offset)).sum(dim=1, keepdim=True) - offset
        total += float(F.cosine_similarity(fitted, true, dim=1).abs().sum())
    return total / len(reference.vectors)


def unfitted_mcc(
    latents: Float[Tensor, "sample latent"],
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
    f1: Float[Tensor, "latent feature"],
) -> float:
    """The same with nothing fitted to the truth: mean |cosine| of the vectors and what is
    :func:`written` for them."""
    vectors = written(latents, directions, reference, f1)
    return float(F.cosine_similarity(vectors, reference.vectors, dim=1).abs().mean())


def written(
    latents: Float[Tensor, "sample latent"],
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
    f1: Float[Tensor, "latent feature"],
) -> Float[Tensor, "feature d_in"]:
    """What the partner of each feature writes for it, less the mean of its slot.

    A latent's size is its mean over the samples on which it is not 0 and the feature is present.
    The mean is over the features of a slot that have a partner; one without has the vector 0.
    """
    columns, rows = paired(directions, reference, f1)
    on = (latents[:, columns] != 0) & reference.labels[:, rows]
    size = (latents[:, columns] * on).sum(dim=0) / on.sum(dim=0).clamp(min=1)
    vectors = size[:, None] * directions[columns]
    result = torch.zeros_like(reference.vectors)
    for slot in reference.slots.unique():
        in_slot = reference.slots[rows] == slot
        result[rows[in_slot]] = vectors[in_slot] - vectors[in_slot].mean(dim=0)
    return result


def paired(
    directions: Float[Tensor, "latent d_in"],
    reference: Reference,
    f1: Float[Tensor, "latent feature"],
) -> tuple[Int64[Tensor, "pair"], Int64[Tensor, "pair"]]:
    """Latents and features, one to one, so that the sum of F1 is largest."""
    cosines = F.normalize(directions, dim=1) @ F.normalize(reference.vectors, dim=1).T
    fit = (f1 + TIE * cosines.abs()).T
    rows, columns = linear_sum_assignment(fit.numpy(), maximize=True)
    return torch.as_tensor(columns), torch.as_tensor(rows)


def mislabelled(reference: Reference, by: int = 1) -> Reference:
    """The reference in which each letter has the vector of the one so many places before it."""
    vectors = reference.vectors.clone()
    for slot in reference.slots.unique():
        places = reference.slots == slot
        vectors[places] = reference.vectors[places].roll(by, dims=0)
    return reference._replace(vectors=vectors)
