"""Patterns, margins and ablations, against recomputations by other means."""

import pytest
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import evaluation
from palindrome_lens.circuits import interventions
from palindrome_lens.circuits.interventions import (
    evaluate_replaced,
    evaluate_with,
    margins,
    mean_ablate,
    zero_ablate,
)
from palindrome_lens.circuits.patterns import (
    distinct_contexts,
    mean_handed_over,
    mirror_attention,
    patterns,
)
from palindrome_lens.circuits.subject import subject
from palindrome_lens.evaluation import evaluate, position_loss
from palindrome_lens.model import ModelConfig, activations, hooked
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe, train

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
ATTN_OUT = "blocks.0.hook_attn_out"
MLP_OUT = "blocks.0.hook_mlp_out"
RESID_MID = "blocks.0.hook_resid_mid"


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    recipe = Recipe(steps=40, batch_size=8, test_fraction=0.25, warmup=0)
    return hooked(train(TINY, ModelConfig(), recipe)[0], ModelConfig(), TINY)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 5)
    monkeypatch.setattr(interventions, "CHUNK", 5)


def loss_without_mlp(model: TransformerBridge, instead: Tensor) -> Tensor:
    """The loss with something in place of what the MLP writes, from the model's own modules."""
    middle = activations(model, inputs(TOKENS), [RESID_MID])[RESID_MID]
    with torch.no_grad():
        logits = model.unembed(model.ln_final(middle + instead))
    return position_loss(logits, targets(TOKENS))


def test_a_pattern_is_causal_and_sums_to_1(model: TransformerBridge) -> None:
    found = patterns(model, TOKENS)
    assert found.shape == (16, 1, 6, 6)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(16, 1, 6, dtype=torch.float64))
    assert not found.triu(diagonal=1).any()


def test_mirror_attention_reads_the_weights_at_the_mirror_positions() -> None:
    pattern = torch.zeros(3, 6, 6, dtype=torch.float64)
    pattern[:, 3, 2] = torch.tensor([0.9, 0.2, 0.7], dtype=torch.float64)
    pattern[:, 4, 1] = torch.tensor([0.5, 0.6, 0.1], dtype=torch.float64)
    first, second = mirror_attention(TINY, pattern)
    assert (first.query, first.key, first.least_index) == (3, 2, 1)
    assert (second.query, second.key, second.least_index) == (4, 1, 2)
    assert (first.mean, first.least) == pytest.approx((0.6, 0.2))
    assert (second.mean, second.least) == pytest.approx((0.4, 0.1))


def test_what_is_handed_over_adds_up_to_the_mean_that_attention_writes(
    random: TransformerBridge,
) -> None:
    solver = subject(TINY, random)
    handed = mean_handed_over(solver)
    written = activations(random, inputs(TOKENS), [ATTN_OUT])[ATTN_OUT].mean(dim=0)
    torch.testing.assert_close(handed.sum(dim=1) + solver.tables.bias, written)
    assert not handed[2, 3:].any() and handed[2, :3].all()


def test_contexts_are_counted_as_the_different_prefixes() -> None:
    counts = [distinct_contexts(TOKENS, position) for position in range(6)]
    assert counts == [1, 4, 16, 16, 16, 16]


def test_a_margin_is_the_targets_logit_above_the_best_other(
    model: TransformerBridge, small_chunks: None
) -> None:
    found = margins(model, TOKENS)
    with torch.no_grad():
        logits = model(inputs(TOKENS)).tolist()
    for i, row in enumerate(targets(TOKENS).tolist()):
        for position, target in enumerate(row):
            scores = list(logits[i][position])
            own = scores.pop(target)
            assert found[i, position].item() == pytest.approx(own - max(scores), abs=1e-12)


def test_a_margin_is_positive_exactly_where_the_prediction_is_right(
    model: TransformerBridge,
) -> None:
    correct = evaluate(model, TOKENS).correct
    assert 0 < correct.sum() < correct.numel()
    assert torch.equal(margins(model, TOKENS) > 0, correct)


def test_an_edit_that_changes_nothing_changes_nothing(
    model: TransformerBridge, small_chunks: None
) -> None:
    found = evaluate_with(model, TOKENS, MLP_OUT, lambda value: value)
    assert torch.equal(found.loss, evaluate(model, TOKENS).loss)


@pytest.mark.parametrize("name", [MLP_OUT, "blocks.0.hook_attn_out", "blocks.0.attn.hook_pattern"])
def test_zeros_change_the_loss_and_only_while_they_are_there(
    model: TransformerBridge, name: str
) -> None:
    before = evaluate(model, TOKENS).loss
    assert not torch.allclose(zero_ablate(model, TOKENS, name).loss, before, atol=1e-3)
    assert torch.equal(evaluate(model, TOKENS).loss, before)


def test_zero_ablating_the_mlp_is_the_model_without_it(
    model: TransformerBridge, small_chunks: None
) -> None:
    wanted = loss_without_mlp(model, torch.zeros(1, dtype=torch.float64))
    found = zero_ablate(model, TOKENS, MLP_OUT).loss
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_mean_ablating_the_mlp_is_the_model_with_its_mean_output_at_each_position(
    model: TransformerBridge, small_chunks: None
) -> None:
    written = activations(model, inputs(TOKENS), [MLP_OUT])[MLP_OUT]
    mean = torch.zeros(6, 16, dtype=torch.float64)
    for one in written:
        mean += one / 16
    wanted = loss_without_mlp(model, mean)
    found = mean_ablate(model, TOKENS, MLP_OUT).loss
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_constant_activation_is_its_own_mean(model: TransformerBridge) -> None:
    found = mean_ablate(model, TOKENS, "hook_pos_embed").loss
    torch.testing.assert_close(found, evaluate(model, TOKENS).loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ablate", [mean_ablate, zero_ablate])
def test_an_unknown_hook_is_refused_with_near_names(model: TransformerBridge, ablate) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"no hook 'blocks.0.hook_mlp'.*blocks.0.hook_mlp_out"):
        ablate(model, TOKENS, "blocks.0.hook_mlp")


def test_each_string_gets_its_own_replacement(model: TransformerBridge, small_chunks: None) -> None:
    own = activations(model, inputs(TOKENS), [MLP_OUT])[MLP_OUT]
    same = evaluate_replaced(model, TOKENS, MLP_OUT, own)
    torch.testing.assert_close(same.loss, evaluate(model, TOKENS).loss)
    shifted = evaluate_replaced(model, TOKENS, MLP_OUT, own.roll(1, dims=0))
    torch.testing.assert_close(shifted.loss, loss_without_mlp(model, own.roll(1, dims=0)))


def test_a_replacement_for_each_string_is_needed(model: TransformerBridge) -> None:
    with pytest.raises(ValueError, match="15 values for 16 strings"):
        evaluate_replaced(model, TOKENS, MLP_OUT, torch.zeros(15, 6, 16, dtype=torch.float64))
