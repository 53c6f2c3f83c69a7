"""Which positions a latent is meant to act on, by its rule, and whether it acts there."""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from palindrome_lens.dictionary.effects import Effect
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary


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
            on[latent, query] = rule.slots()[task.slot_of(query)]
    determined = torch.ones(task.n_positions, dtype=torch.bool)
    determined[list(task.free_positions)] = False
    return Targets(on, ~on & determined)


def wrote(task: Task, effect: Effect, rules: dict[int, Rule]) -> dict[int, int]:
    """On how many strings an intervention makes the query of a rule answer one of its letters.

    Only answers count that were something else before. Rules that are not about one slot are left
    out.
    """
    answers = {}
    for latent, rule in rules.items():
        slots = rule.slots().nonzero()[:, 0].tolist()
        if len(slots) == 1:
            query = task.query_of(slots[0])
            named = zip(task.alphabet, rule.terms[0][slots[0]].tolist(), strict=True)
            ids = [vocabulary(task)[letter] for letter, there in named if there]
            answers[latent] = int(effect.moved_to[latent, query, ids].sum())
    return answers
