"""Kinds of autoencoders: their configurations, their numbers, and the shipped table."""

import pytest
import torch
from handbuilt import HandBuilt

from palindrome_lens.dictionary import kinds
from palindrome_lens.dictionary.kinds import Case, Numbers
from palindrome_lens.sae.training import flat_activations
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())


def test_a_kind_changes_what_all_have_in_common() -> None:
    plain = kinds.config(Case("TopK", 2))
    assert plain == kinds.COMMON.model_copy(update={"aux_weight": 1 / 32, "seed": 2})
    heavy = kinds.config(Case("8 of 512, AuxK 1", 0))
    assert (heavy.d_sae, heavy.k, heavy.steps, heavy.aux_weight) == (512, 8, 300, 1.0)
    assert kinds.config(Case("sigmoid + KL", 0)).sparsity_target == 3 / 128


def test_configurations_are_possible_and_differ() -> None:
    configs = [kinds.config(case).model_dump_json() for case in kinds.cases()]
    # One weight of AuxK is that of the TopK kind.
    assert len(set(configs)) == len(configs) - len(kinds.SEEDS)


def test_numbers_are_counted_over_all_samples(
    handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "Task", lambda: TINY)
    hook = "blocks.0.hook_resid_post"
    x = flat_activations(handbuilt.model, TOKENS, hook)
    latents = torch.zeros(16, 3, dtype=torch.float64)
    latents[:8, 0], latents[0, 1] = 1.0, -1.0
    subject = kinds.Subject(handbuilt.model, TOKENS, x)
    whole = kinds.measured(subject, x, latents, x, hook)
    assert whole == Numbers(l0=9 / 16, explained_variance=1.0, dead=2, solved=16)
    without = kinds.measured(subject, x, latents, x.mean(dim=0).expand_as(x), hook)
    # One answer everywhere is right on one string at most.
    assert without.solved <= 1
    assert abs(without.explained_variance) < 1e-12


def test_pairs_are_ordered_differently_where_one_rises_and_the_other_falls() -> None:
    rows = [Numbers(3, 0.9, 0, 10), Numbers(3, 0.8, 0, 12), Numbers(3, 0.7, 0, 9)]
    assert kinds.ordered_differently(rows) == (1, 3)
    assert kinds.ordered_differently([rows[0], rows[0]]) == (0, 1)


def test_the_shipped_table_holds_these_cases_in_their_order() -> None:
    assert list(kinds.read()) == kinds.cases()
