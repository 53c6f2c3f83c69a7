"""Answers to impossible inputs: against a known circuit, and against the model run with hooks."""

import itertools

import pytest
import torch
from handbuilt import SHARPNESS, HandBuilt
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import limits
from palindrome_lens.circuits.subject import subject
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)


def test_wrong_letters_are_all_prefixes_in_product_order() -> None:
    choices = limits.wrong_letters(TINY, 4)
    expected = [f"<{a}{b}|{x}" for a, b, x in itertools.product("abcd", repeat=3)]
    found = limits.prefixes(choices, torch.arange(limits.count(choices)))
    assert torch.equal(found, encode(TINY, expected))


def test_any_token_includes_the_reserved() -> None:
    choices = limits.any_token(TINY)
    expected = [f"<{a}{b}|" for a, b in itertools.product("<>abcd|", repeat=2)]
    found = limits.prefixes(choices, torch.arange(limits.count(choices)))
    assert torch.equal(found, encode(TINY, expected))


def test_the_handbuilt_model_copies_whatever_was_written_before(handbuilt: HandBuilt) -> None:
    choices = limits.wrong_letters(handbuilt.task, 4)
    found = limits.answers(subject(handbuilt.task, handbuilt.model), choices)
    tokens = limits.prefixes(choices, torch.arange(64))
    assert torch.equal(found.answer, tokens[:, 1])
    assert torch.equal(found.prefixes, tokens)
    assert (found.margin > 0).all() and found.failures == 0
    sharp = torch.tensor([SHARPNESS, 0, 0, 0, 0]).double().softmax(dim=0)[0]
    torch.testing.assert_close(found.weight, sharp.expand(64, 1), rtol=0, atol=1e-12)


def test_the_handbuilt_model_cannot_copy_reserved_characters(handbuilt: HandBuilt) -> None:
    """Its head moves letters only: a reserved character at the mirror position is not answered."""
    choices = limits.any_token(handbuilt.task)
    found = limits.answers(subject(handbuilt.task, handbuilt.model), choices)
    mirror = found.prefixes[:, 2]
    letters = torch.tensor([handbuilt.ids[c] for c in handbuilt.task.alphabet])
    assert torch.equal(found.margin > 0, torch.isin(mirror, letters))


@pytest.mark.parametrize("forced", [False, True])
def test_answers_are_those_of_the_model_run_with_hooks(
    random: TransformerBridge, forced: bool
) -> None:
    choices, key = limits.wrong_letters(TINY, 4), 1
    tokens = limits.prefixes(choices, torch.arange(64))

    def force(weights: torch.Tensor, hook: object) -> torch.Tensor:
        moved = weights.clone()
        moved[:, :, -1] = torch.eye(5, dtype=weights.dtype)[key]
        return moved

    hooks = [("blocks.0.attn.hook_pattern", force)] if forced else []
    with torch.no_grad(), random.hooks(fwd_hooks=hooks):
        logits = random(tokens)[:, -1]
    found = limits.answers(subject(TINY, random), choices, key, forced)
    assert torch.equal(found.answer, logits.argmax(dim=1))
    for i, row in enumerate(logits.tolist()):
        wanted = row.pop(int(tokens[i, key]))
        assert float(found.margin[i]) == pytest.approx(wanted - max(row), abs=1e-10)
    wrong = logits.argmax(dim=1) != tokens[:, key]
    assert torch.equal(found.failed, wrong) and found.failures == int(wrong.sum()) > 0
    assert torch.equal(found.tightest, tokens[found.margin.argmin()])


@pytest.mark.parametrize(("row", "name"), [((7, 7, 7), "aaa"), ((7, 2, 7), "aba"), ((2, 3), "ab")])
def test_equality_names_the_pattern(row: tuple[int, ...], name: str) -> None:
    assert limits.equality(row) == name


def test_what_is_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="predicts no mirrored letter"):
        limits.wrong_letters(TINY, 2)
    choices = limits.wrong_letters(TINY, 4)
    with pytest.raises(ValueError, match="has 64 prefixes"):
        limits.prefixes(choices, torch.tensor([64]))


def test_a_key_behind_the_last_position_is_refused(random: TransformerBridge) -> None:
    with pytest.raises(ValueError, match="The key is 5; the prefixes have positions 0 to 4"):
        limits.answers(subject(TINY, random), limits.wrong_letters(TINY, 4), 5)
