"""Kinds of autoencoders: their configurations, their numbers, and the shipped table."""

from pathlib import Path

import pytest
from handbuilt import HandBuilt

from palindrome_lens.dictionary import kinds
from palindrome_lens.dictionary.kinds import Case
from palindrome_lens.sae.autoencoders import SAEConfig
from palindrome_lens.sae.training import flat_activations
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
HOOK = "blocks.0.hook_resid_post"
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


@pytest.fixture
def subject(handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch) -> kinds.Subject:
    monkeypatch.setattr(kinds, "Task", lambda: TINY)
    return kinds.Subject(handbuilt.model, TOKENS, flat_activations(handbuilt.model, TOKENS, HOOK))


def test_strings_are_solved_with_what_the_model_computes_and_not_with_its_mean(
    subject: kinds.Subject,
) -> None:
    assert kinds.solved(subject, subject.x, HOOK) == 16
    # One answer everywhere is right on one string at most.
    assert kinds.solved(subject, subject.x.mean(dim=0).expand_as(subject.x), HOOK) <= 1


def test_numbers_are_counted_over_all_samples(
    subject: kinds.Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    config = SAEConfig(architecture="topk", d_sae=9, k=2, steps=3, batch_size=8, hook=HOOK)
    logged: list[dict[str, float]] = []
    learned = kinds.learn(config, subject, logged.append)
    fires = learned.latents > 0
    assert learned.numbers.l0 == float((learned.latents != 0).sum()) / 16
    assert learned.numbers.dead == int((~fires.any(dim=0)).sum())
    assert learned.numbers.solved == kinds.solved(subject, learned.rebuilt, HOOK)
    spread = (subject.x - subject.x.mean(dim=0)).square().sum()
    left = float((subject.x - learned.rebuilt).square().sum() / spread)
    assert learned.numbers.explained_variance == pytest.approx(1 - left)
    assert len(logged) == len(learned.history.mse) == 3


def test_one_factor_undoes_what_one_factor_has_done(subject: kinds.Subject) -> None:
    mean = subject.x.mean(dim=0)
    short = mean + 1 + 0.25 * (subject.x - mean)
    assert kinds.stretched(subject.x, short) == pytest.approx((4, 1))


def test_the_shipped_table_holds_these_cases_in_their_order() -> None:
    assert list(kinds.read()) == kinds.cases()
