"""Training autoencoders on cached activations."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.sae.autoencoders import SAEConfig, init_autoencoder
from palindrome_lens.sae.metrics import explained_variance
from palindrome_lens.sae.training import flat_activations, learning_rate, train, trained
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
HOOK = "blocks.0.hook_mlp_out"
TOPK = SAEConfig(architecture="topk", expansion=2, k=4, steps=20, batch_size=16)
GELU = SAEConfig(architecture="gelu-kl", expansion=2, steps=20, batch_size=16)


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    return hooked(init_model(ModelConfig(), TINY), ModelConfig(), TINY)


@pytest.fixture(scope="module")
def data(model: TransformerBridge) -> Tensor:
    return flat_activations(model, TOKENS, HOOK)


def test_flat_activations_are_those_of_all_positions_side_by_side(
    model: TransformerBridge, data: Tensor
) -> None:
    written = activations(model, inputs(TOKENS), [HOOK])[HOOK]
    assert data.shape == (16, 6 * 16)
    assert torch.equal(data, torch.cat([written[:, position] for position in range(6)], dim=1))


def test_an_unknown_hook_is_refused_with_near_names(model: TransformerBridge) -> None:
    with pytest.raises(ValueError, match=r"'blocks.0.mlp_out'.*blocks.0.hook_mlp_out"):
        flat_activations(model, TOKENS, "blocks.0.mlp_out")


@pytest.mark.parametrize("config", [TOPK, GELU])
def test_the_history_begins_with_the_fresh_autoencoder(config: SAEConfig, data: Tensor) -> None:
    fresh = init_autoencoder(config, data)
    history = train(config, data).history
    assert len(history.mse) == len(history.sparsity) == 20
    assert history.mse[0].item() == pytest.approx(mse_loss(fresh(data), data).item(), rel=1e-12)


def test_the_first_step_is_adams(data: Tensor) -> None:
    config = GELU.model_copy(update={"steps": 1, "schedule": "constant", "lr": 0.01})
    fresh = init_autoencoder(config, data)
    fresh.loss(data).total.backward()
    moved = train(config, data).autoencoder
    for before, after in zip(fresh.parameters(), moved.parameters(), strict=True):
        assert before.grad is not None
        wanted = before - 0.01 * before.grad / (before.grad.abs() + 1e-8)
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [TOPK, GELU])
def test_training_explains_more_variance_than_a_fresh_autoencoder(
    config: SAEConfig, data: Tensor
) -> None:
    longer = config.model_copy(update={"steps": 120})
    before = explained_variance(data, init_autoencoder(longer, data)(data).detach())
    after = explained_variance(data, train(longer, data).autoencoder(data).detach())
    assert before < 0.6 < after < 1


def test_the_sparsity_term_pulls_positive_mean_activations_to_their_target(data: Tensor) -> None:
    config = GELU.model_copy(update={"steps": 150, "sparsity_weight": 10.0, "lr": 0.01})
    mean = train(config, data).autoencoder.encode(data).detach().mean(dim=0)
    positive = mean[mean > 0]
    assert len(positive) > 20
    assert (positive - 0.05).abs().median() < 0.005


def test_topk_atoms_stay_at_unit_length(data: Tensor) -> None:
    norms = train(TOPK, data).autoencoder.W_dec.square().sum(dim=1).sqrt()
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-12)


def test_gelu_atoms_are_left_alone(data: Tensor) -> None:
    norms = train(GELU, data).autoencoder.W_dec.square().sum(dim=1).sqrt()
    assert (norms - 1).abs().max() > 0.1


@pytest.mark.parametrize("config", [TOPK, GELU])
def test_the_same_configuration_gives_identical_tensors(config: SAEConfig, data: Tensor) -> None:
    first, again = train(config, data), train(config, data)
    weights, weights_again = first.autoencoder.state_dict(), again.autoencoder.state_dict()
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert torch.equal(first.history.mse, again.history.mse)


def test_every_step_is_logged(data: Tensor) -> None:
    rows: list[dict[str, float]] = []
    history = train(GELU, data, rows.append).history
    assert [row["step"] for row in rows] == list(range(20))
    assert [row["mse"] for row in rows] == history.mse.tolist()
    assert [row["sparsity_loss"] for row in rows] == history.sparsity.tolist()
    assert history.sparsity.min() > 0


def test_the_cosine_schedule_ends_near_0_and_the_constant_one_stays() -> None:
    config = TOPK.model_copy(update={"steps": 1000, "lr": 0.5})
    assert learning_rate(config, 0) == 0.5
    assert learning_rate(config, 500) == pytest.approx(0.25)
    assert 0 <= learning_rate(config, 999) < 0.5 * 1e-5
    assert learning_rate(config.model_copy(update={"schedule": "constant"}), 999) == 0.5


def test_a_batch_larger_than_the_data_is_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match="A batch of 17 was asked for; the training set has 16"):
        train(TOPK.model_copy(update={"batch_size": 17}), data)


def test_more_active_latents_than_there_are_is_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match="k is 500; the autoencoder has 192 latents"):
        train(TOPK.model_copy(update={"k": 500}), data)


@pytest.mark.parametrize("config", [TOPK, GELU])
def test_a_trained_autoencoder_is_found_again(
    config: SAEConfig, data: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    rows: list[dict[str, float]] = []
    made = trained(config, data, rows.append)
    found = trained(config, data, rows.append)
    assert len(rows) == 40
    assert rows[20:] == rows[:20], "what is found logs the rows of its training"
    assert torch.equal(made.autoencoder(data), found.autoencoder(data))
    assert torch.equal(found.autoencoder(data), train(config, data).autoencoder(data))
    assert torch.equal(made.history.mse, found.history.mse)
    assert torch.equal(made.history.sparsity, found.history.sparsity)


def test_other_data_or_another_configuration_never_finds_it(
    data: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    moved = data.clone()
    moved[3, 5] *= 1.001
    other = TOPK.model_copy(update={"seed": 1})
    for config, values in ((TOPK, data), (TOPK, moved), (other, data)):
        rows: list[dict[str, float]] = []
        trained(config, values, rows.append)
        assert len(rows) == 20
