"""Everything known about each latent, one record for each: what the browser of latents shows."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palindrome_lens.dictionary import effects
from palindrome_lens.dictionary.effects import Effect
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.task import Task

BINS = 16
STRONGEST = 6
NEAREST = 3

Card = dict[str, Any]
"""Plain numbers, words, lists and dictionaries: it is written as JSON."""


class Targets(NamedTuple):
    """At which positions each latent is meant to act, and at which it is not.

    Both hold only positions whose target is determined; a latent without a rule is meant nowhere.
    """

    on: Bool[Tensor, "d_sae position"]
    off: Bool[Tensor, "d_sae position"]


def targets_of(task: Task, rules: dict[int, Rule], d_sae: int) -> Targets:
    """On target: the queries that predict the letters of the slots that a rule is about."""
    on = torch.zeros(d_sae, task.n_positions, dtype=torch.bool)
    for latent, rule in rules.items():
        for query in task.mirrored_positions:
            on[latent, query] = rule.slots()[task.mirror_position(query) - 1]
    determined = torch.ones(task.n_positions, dtype=torch.bool)
    determined[list(task.free_positions)] = False
    return Targets(on, ~on & determined)


def wrote(task: Task, effect: Effect, rules: dict[int, Rule]) -> dict[int, int]:
    """On how many strings an intervention makes a query answer a letter of the latent's rule.

    Only the first query on target counts, and only answers that were another letter before.
    """
    found = {}
    for latent, rule in rules.items():
        slots = rule.slots().nonzero()[:, 0].tolist()
        if slots:
            ids = FIRST_LETTER + rule.terms[0][slots[0]].nonzero()[:, 0]
            found[latent] = int(effect.moved_to[latent, task.half_length * 2 - slots[0], ids].sum())
    return found


FIRST_LETTER = 2
"""The id of the first letter of the alphabet: ``<`` and ``>`` come before it."""


def numbers(effect: Effect, where: Targets, latent: int) -> Card:
    """An effect on one latent, on and off target."""
    parts = {"on": effects.divided(effect, where.on), "off": effects.divided(effect, where.off)}
    row: Card = {"strings": int(effect.strings[latent])}
    for name, part in parts.items():
        row[f"{name}_mean"] = _short(part.mean[latent])
        row[f"{name}_worst"] = _short(part.worst[latent])
        row[f"{name}_flips"] = int(part.flips[latent])
    return row


def histogram(activation: Float[Tensor, "strings"]) -> list[int]:
    """How many firing strings fall in each of 16 equal parts between 0 and the largest."""
    on = activation[activation > 0]
    if not len(on):
        return [0] * BINS
    part = (on / on.max() * BINS).floor().clamp(max=BINS - 1).long()
    return torch.bincount(part, minlength=BINS).tolist()


def contributions(
    encode: Any, x: Float[Tensor, "strings d_in"], chosen: Tensor, latent: int, n_positions: int
) -> Float[Tensor, "chosen position"]:
    """How much of a latent's activation is lost when one position says nothing about the string.

    The numbers of that position are replaced by their mean over all strings, and the string is
    encoded again: exact, and the same for every architecture.
    """
    own = x[chosen]
    width = x.shape[1] // n_positions
    mean = x.mean(dim=0)
    with torch.no_grad():
        full = encode(own)[:, latent]
        lost = []
        for position in range(n_positions):
            part = slice(position * width, (position + 1) * width)
            blind = own.clone()
            blind[:, part] = mean[part]
            lost.append(full - encode(blind)[:, latent])
    return torch.stack(lost, dim=1)


def nearest(
    similarity: Float[Tensor, "d_sae d_sae"], latent: int, n: int = NEAREST
) -> list[tuple[int, float]]:
    """The other latents that are most similar to one, with the similarity; of equals the first."""
    row = similarity[latent].clone()
    row[latent] = -torch.inf
    order = row.argsort(descending=True, stable=True)[:n].tolist()
    return [(other, _short(row[other])) for other in order]


def correlations(latents: Float[Tensor, "strings d_sae"]) -> Float[Tensor, "d_sae d_sae"]:
    """Pearson's correlation of two latents' activations over all strings; 0 if one is dead."""
    centred = latents - latents.mean(dim=0)
    norms = centred.norm(dim=0)
    return (centred.T @ centred) / (norms[:, None] * norms).where(norms[:, None] * norms > 0, 1.0)


def promoted(
    direct: Float[Tensor, "position vocab"], position: int, vocabulary: list[str]
) -> dict[str, list[tuple[str, float]]]:
    """The tokens whose logits a latent raises and lowers most at a position, per unit."""
    order = direct[position].argsort(descending=True, stable=True).tolist()
    named = [(vocabulary[token], _short(direct[position, token])) for token in order]
    return {"up": named[:NEAREST], "down": named[: -NEAREST - 1 : -1]}


def _short(value: Tensor | float) -> float:
    """Three significant digits; what is below a thousandth is 0."""
    number = float(value)
    return 0.0 if abs(number) < 1e-3 else float(f"{number:.3g}")
