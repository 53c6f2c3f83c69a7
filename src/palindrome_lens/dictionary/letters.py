"""The latents about one letter in one slot: what is lost without each, and what each can write.

All of them are asked at their *query*, the position that predicts the letter of their slot. There
the answer follows from the residual stream at that position alone, so every case is cheap.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from palindrome_lens.dictionary.effects import Rest, direct_logits
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary


class Letters(NamedTuple):
    """The latents whose shortest rule is about one letter in one slot, in ascending order."""

    latents: Int64[Tensor, "single"]
    slots: Int64[Tensor, "single"]
    letters: Int64[Tensor, "single"]
    """The place of the letter in the alphabet."""
    queries: Int64[Tensor, "single"]
    """The position that predicts the letter."""
    has: Bool[Tensor, "single string"]
    """Which strings have the letter in the slot."""


def letter_latents(task: Task, rules: dict[int, Rule]) -> Letters:
    """Those of the latents with a rule that names one letter, in one slot, and nothing else there.

    Raises:
        ValueError: no rule is about one letter.
    """
    kept = {}
    for latent, rule in sorted(rules.items()):
        slots = rule.slots().nonzero()[:, 0].tolist()
        if len(slots) == 1 and int(rule.terms[0][slots[0]].sum()) == 1:
            kept[latent] = slots[0], int(rule.terms[0][slots[0]].int().argmax())
    if not kept:
        raise ValueError(f"None of {len(rules)} rules is about one letter in one slot.")
    slots, letters = torch.tensor(list(kept.values())).T
    n, h = len(task.alphabet), task.half_length
    strings = torch.cartesian_prod(*[torch.arange(n)] * h).reshape(task.size, h)
    has = strings.T[slots] == letters[:, None]  # single, string
    return Letters(torch.tensor(list(kept)), slots, letters, 2 * h - slots, has)


def rivals(chosen: Letters, d_sae: int) -> Bool[Tensor, "d_sae d_sae"]:
    """For each latent about a letter, the others about the letters of its slot."""
    slot = torch.full([d_sae], -1)
    slot[chosen.latents] = chosen.slots
    same = (slot[:, None] == slot) & (slot >= 0)
    return same & ~torch.eye(d_sae, dtype=torch.bool)


def alike_at_random(rest: Rest, W_dec: Float[Tensor, "d_sae d_in"], seed: int) -> Tensor:
    """Directions that are as long as each atom at each position, and drawn at random there."""
    by_position = W_dec.detach().view(len(W_dec), *rest.resid.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(by_position.shape, dtype=torch.float64, generator=generator)
    return (F.normalize(drawn, dim=2) * by_position.norm(dim=2, keepdim=True)).flatten(1)


def answers_lost(
    rest: Rest,
    latents: Float[Tensor, "strings d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    chosen: Letters,
) -> Bool[Tensor, "single string"]:
    """Where the answer at a latent's own query is right, and wrong once the latent is set to 0."""
    atoms = W_dec.detach().view(len(W_dec), *rest.resid.shape[1:])
    lost = torch.zeros_like(chosen.has)
    for i, (latent, query) in enumerate(zip(chosen.latents, chosen.queries, strict=True)):
        wanted = rest.wanted[:, query]
        without = rest.resid[:, query] - latents[:, latent, None] * atoms[latent, query]
        changed = (latents[:, latent] != 0) & (rest.answer[:, query] == wanted)
        lost[i, changed] = _answers(rest, without[changed]) != wanted[changed]
    return lost


def still_answered(lost: Bool[Tensor, "single string"], chosen: Letters) -> Float[Tensor, "single"]:
    """Of the strings with each latent's letter, the share on which no answer is lost."""
    kept = chosen.has & ~lost
    return kept.sum(dim=1) / chosen.has.sum(dim=1).double()


def answered(rest: Rest, chosen: Letters) -> Float[Tensor, "single"]:
    """Of the strings with each latent's letter, the share on which its query answers right."""
    right = (rest.answer == rest.wanted).T[chosen.queries]  # single, string
    return (right & chosen.has).sum(dim=1) / chosen.has.sum(dim=1).double()


class Swapped(NamedTuple):
    """How often each latent's query answers the latent's letter, of the strings where it is off.

    Only answers count that were another letter before.
    """

    cases: Int64[Tensor, "single"]
    """Strings on which the latent is off."""
    with_rivals: Int64[Tensor, "single"]
    """Set to its mean, all others as they are."""
    alone: Int64[Tensor, "single"]
    """Set to its mean, the latents for the other letters of its slot set to 0: the swap."""
    nothing: Int64[Tensor, "single"]
    """Those others set to 0, itself left off."""


def swapped(
    task: Task,
    rest: Rest,
    latents: Float[Tensor, "strings d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    chosen: Letters,
    levels: Float[Tensor, "d_sae"],
) -> Swapped:
    """Set one latent at a time to its level, on each string on which it is off."""
    atoms = W_dec.detach().view(len(W_dec), *rest.resid.shape[1:])
    first = vocabulary(task)[task.alphabet[0]]
    silent = {
        slot: rest.resid[:, query] - latents[:, group] @ atoms[group, query]
        for slot, query, group in _by_slot(chosen)
    }
    unwritten = {slot: _answers(rest, resid) for slot, resid in silent.items()}
    rows = []
    for latent, slot, letter, query in zip(*chosen[:4], strict=True):
        off = latents[:, latent] <= 0
        off_before = off & (rest.answer[:, query] != first + letter)
        written = levels[latent] * atoms[latent, query]
        beside = rest.resid[:, query] - latents[:, latent, None] * atoms[latent, query] + written
        answers = (
            _answers(rest, beside[off_before]),
            _answers(rest, silent[int(slot)][off_before] + written),
            unwritten[int(slot)][off_before],
        )
        rows.append(torch.stack([off.sum(), *((a == first + letter).sum() for a in answers)]))
    return Swapped(*torch.stack(rows, dim=1))


def raised_most(
    task: Task, rest: Rest, W_dec: Float[Tensor, "d_sae d_in"], chosen: Letters
) -> Bool[Tensor, "single"]:
    """Whether a latent raises the logit of its letter most (:func:`effects.direct_logits`)."""
    added = direct_logits(rest, W_dec)[chosen.latents, chosen.queries]  # single, vocab
    return added.argmax(dim=1) == vocabulary(task)[task.alphabet[0]] + chosen.letters


def _by_slot(chosen: Letters) -> list[tuple[int, int, Tensor]]:
    groups = []
    for slot in chosen.slots.unique().tolist():
        members = chosen.slots == slot
        groups.append((slot, int(chosen.queries[members][0]), chosen.latents[members]))
    return groups


def _answers(rest: Rest, resid: Float[Tensor, "case d_model"]) -> Int64[Tensor, "case"]:
    with torch.no_grad():
        return rest.model.unembed(rest.model.ln_final(resid[:, None]))[:, 0].argmax(dim=-1)


def listed(
    task: Task, chosen: Letters, shares: Float[Tensor, "single"], slot: int, above: float = 0.5
) -> str:
    """The letters of a slot whose share is above a bound, in order, with spaces between."""
    kept = chosen.letters[(chosen.slots == slot) & (shares > above)]
    return " ".join(task.alphabet[letter] for letter in sorted(kept.tolist()))
