"""Training autoencoders on cached activations."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.sae.autoencoders import ARCHITECTURES, SAEConfig, TopK, init_autoencoder
from palindrome_lens.sae.metrics import explained_variance
from palindrome_lens.sae.training import flat_activations, learning_rate, train, trained
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
HOOK = "blocks.0.hook_mlp_out"
TOPK = SAEConfig(architecture="topk", d_sae=192, k=4, steps=20, batch_size=16)
EVERY = [
    SAEConfig.model_validate(
        {"architecture": name, "d_sae": 40, "k": 4, "steps": 20, "batch_size": 16}
        | {"normalise": True, "aux_weight": 1 / 32, "dead_after": 5}
    )
    for name in ARCHITECTURES
]
GELU = SAEConfig(architecture="gelu-kl", d_sae=192, steps=20, batch_size=16)


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


def test_each_position_can_be_a_sample(model: TransformerBridge) -> None:
    written = activations(model, inputs(TOKENS), [HOOK])[HOOK]
    found = flat_activations(model, TOKENS, HOOK, "position")
    assert found.shape == (16 * 6, 16)
    assert torch.equal(found[6 * 3 + 2], written[3, 2])


def test_activations_without_positions_are_refused_position_by_position(
    model: TransformerBridge,
) -> None:
    hook = "blocks.0.attn.hook_pattern"
    assert flat_activations(model, TOKENS, hook).shape == (16, 36)
    with pytest.raises(ValueError, match=r"has shape \(16, 1, 6, 6\); there are 6 positions"):
        flat_activations(model, TOKENS, hook, "position")


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


def by_name(config: SAEConfig) -> str:
    return config.architecture


@pytest.mark.parametrize("config", EVERY, ids=by_name)
def test_every_architecture_learns_and_keeps_its_atoms_at_their_length(
    config: SAEConfig, data: Tensor
) -> None:
    """Folding makes unit atoms as long as the scale of the inputs."""
    longer = config.model_copy(update={"steps": 150, "lr": 0.01})
    result = train(longer, data)
    centred = data - data.mean(dim=0)
    variance = (result.autoencoder(data).detach() - data).square().sum() / centred.square().sum()
    assert variance < 0.6
    assert result.history.mse[-1] < 0.5 * result.history.mse[0]
    norms = result.autoencoder.W_dec.detach().square().sum(dim=1).sqrt()
    scale = centred.square().mean().sqrt()
    is_unit = torch.allclose(norms, scale.expand_as(norms), rtol=1e-12, atol=0)
    assert is_unit == (not config.architecture.endswith("-kl"))


@pytest.mark.parametrize("config", EVERY, ids=by_name)
def test_the_scale_of_the_inputs_changes_nothing_but_scales(
    config: SAEConfig, data: Tensor
) -> None:
    plain, moved = train(config, data), train(config, 1000 * data + 3)
    torch.testing.assert_close(plain.history.mse, moved.history.mse, rtol=1e-8, atol=0)
    latents = plain.autoencoder.encode(data), moved.autoencoder.encode(1000 * data + 3)
    torch.testing.assert_close(*latents, rtol=0, atol=1e-7)


def test_normalising_is_training_on_scaled_inputs(data: Tensor) -> None:
    config = EVERY[0]
    scaled = (data - data.mean(dim=0)) / (data - data.mean(dim=0)).square().mean().sqrt()
    assert scaled.square().sum(dim=1).mean().item() == pytest.approx(data.shape[1])
    wanted = train(config.model_copy(update={"normalise": False}), scaled)
    found = train(config, data)
    assert torch.equal(found.history.mse, wanted.history.mse)
    torch.testing.assert_close(
        found.autoencoder.encode(data), wanted.autoencoder.encode(scaled), rtol=0, atol=1e-12
    )


def test_a_projected_gradient_trains_otherwise(data: Tensor) -> None:
    plain = train(TOPK, data).autoencoder
    moved = train(TOPK.model_copy(update={"project_gradient": False}), data).autoencoder
    assert not torch.equal(plain.W_dec, moved.W_dec)


def test_the_first_step_with_a_projected_gradient_is_adams(data: Tensor) -> None:
    config = TOPK.model_copy(update={"steps": 1, "schedule": "constant", "lr": 0.01})
    fresh = init_autoencoder(config, data)
    fresh.loss(data).total.backward()
    gradient = fresh.W_dec.grad
    assert gradient is not None
    gradient = gradient - (gradient * fresh.W_dec).sum(dim=1, keepdim=True) * fresh.W_dec
    wanted = fresh.W_dec - 0.01 * gradient / (gradient.abs() + 1e-8)
    wanted = wanted / wanted.norm(dim=1, keepdim=True)
    torch.testing.assert_close(train(config, data).autoencoder.W_dec, wanted, rtol=0, atol=1e-6)


def test_auxk_moves_latents_that_never_fire_and_nothing_else_does(data: Tensor) -> None:
    config = TOPK.model_copy(update={"k": 1, "dead_after": 10})
    fresh = init_autoencoder(config, data)
    for weight in (0.0, 1 / 32):
        autoencoder = train(config.model_copy(update={"aux_weight": weight}), data).autoencoder
        assert isinstance(autoencoder, TopK)
        never = autoencoder.quiet == 20
        assert 100 < never.sum() < 192
        moved = (autoencoder.W_dec - fresh.W_dec)[never].abs().amax(dim=1) > 1e-6
        assert moved.any() == (weight > 0)


def test_the_threshold_of_batchtopk_keeps_about_k_latents_on_average(data: Tensor) -> None:
    config = next(config for config in EVERY if config.architecture == "batchtopk")
    autoencoder = train(config.model_copy(update={"steps": 200}), data).autoencoder
    assert (autoencoder.encode(data) > 0).sum(dim=1).double().mean().item() == pytest.approx(
        4, abs=0.5
    )


@pytest.mark.parametrize("config", [TOPK, GELU, *EVERY], ids=by_name)
def test_the_same_configuration_gives_identical_tensors(config: SAEConfig, data: Tensor) -> None:
    first, again = train(config, data), train(config, data)
    weights, weights_again = first.autoencoder.state_dict(), again.autoencoder.state_dict()
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert all(map(torch.equal, first.history, again.history))


def test_every_step_is_logged(data: Tensor) -> None:
    rows: list[dict[str, float]] = []
    history = train(GELU, data, rows.append).history
    assert [row["step"] for row in rows] == list(range(20))
    assert [row["mse"] for row in rows] == history.mse.tolist()
    assert [row["sparsity_loss"] for row in rows] == history.sparsity.tolist()
    assert [row["auxiliary_loss"] for row in rows] == history.auxiliary.tolist()
    assert [row["l0"] for row in rows] == history.l0.tolist() == [192.0] * 20
    assert history.sparsity.min() > 0


def test_the_progress_bar_sees_every_step(data: Tensor) -> None:
    seen: list[int] = []

    def watched(steps: Iterator[int]) -> Iterator[int]:
        for step in steps:
            seen.append(step)
            yield step

    train(TOPK, data, progress=watched)
    assert seen == list(range(20))


def test_the_cosine_schedule_ends_near_0_and_the_constant_one_stays() -> None:
    config = TOPK.model_copy(update={"steps": 1000, "lr": 0.5})
    assert learning_rate(config, 0) == 0.5
    assert learning_rate(config, 500) == pytest.approx(0.25)
    assert 0 <= learning_rate(config, 999) < 0.5 * 1e-5
    assert learning_rate(config.model_copy(update={"schedule": "constant"}), 999) == 0.5


def test_a_batch_larger_than_the_data_is_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match="A batch of 17 was asked for; the training set has 16"):
        train(TOPK.model_copy(update={"batch_size": 17}), data)


def with_one(data: Tensor, value: float) -> Tensor:
    data = data.clone()
    data[5, 3] = value
    return data


@pytest.mark.parametrize("training", [train, trained])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_activations_that_are_no_numbers_are_refused(
    training: Callable[[SAEConfig, Tensor], object], value: float, data: Tensor
) -> None:
    with pytest.raises(
        ValueError, match="1 of 16 samples hold NaN or infinity, the first in row 5"
    ):
        training(TOPK, with_one(data, value))


def test_activations_of_another_type_or_shape_are_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match=r"are torch.float32; autoencoders need torch.float64"):
        train(TOPK, data.float())
    with pytest.raises(ValueError, match=r"have shape \(16, 6, 16\); they need one row for each"):
        train(TOPK, data.reshape(16, 6, 16))
    with pytest.raises(ValueError, match=r"have shape \(0, 96\); they need one row for each"):
        train(TOPK, data[:0])
    with pytest.raises(ValueError, match="All samples are equal"):
        train(EVERY[0], torch.ones_like(data))


def test_no_latents_is_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match=r"SAEConfig.d_sae is 0 \(int\)"):
        train(TOPK.model_copy(update={"d_sae": 0}), data)


def test_more_active_latents_than_there_are_is_refused(data: Tensor) -> None:
    with pytest.raises(ValueError, match="k is 500; the autoencoder has 192 latents"):
        train(TOPK.model_copy(update={"k": 500}), data)


@pytest.mark.parametrize("config", [TOPK, GELU, *EVERY], ids=by_name)
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
    assert all(map(torch.equal, made.history, found.history))


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
