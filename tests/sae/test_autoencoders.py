"""The first two architectures, and what all have in common, against plain Python."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from palindrome_lens.config import ConfigError
from palindrome_lens.sae.autoencoders import (
    ORIGINAL_SAE,
    Autoencoder,
    GeluKL,
    SAEConfig,
    TopK,
    as_samples,
    init_autoencoder,
    kl_divergence,
)

GELU = SAEConfig(architecture="gelu-kl", d_sae=10, sparsity_weight=0.5)
TOPK = SAEConfig(architecture="topk", d_sae=20, k=3)


def data(n: int = 7, d_in: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(n, d_in, dtype=torch.float64, generator=generator) + 0.5


def affine(row: list[float], matrix: list[list[float]], bias: list[float]) -> list[float]:
    """A row times a matrix, plus a bias."""
    return [
        sum(x * column[j] for x, column in zip(row, matrix, strict=True)) + b
        for j, b in enumerate(bias)
    ]


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def mean_square(a: list[list[float]], b: list[list[float]]) -> float:
    squares = [(x - y) ** 2 for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)]
    return sum(squares) / len(squares)


def test_the_divergence_of_two_coins_is_the_sum_over_their_sides() -> None:
    wanted = 0.0
    for mean in (0.3, 0.6):
        wanted += 0.05 * math.log(0.05 / mean) + 0.95 * math.log(0.95 / (1 - mean))
    found = kl_divergence(0.05, torch.tensor([0.3, 0.6], dtype=torch.float64))
    assert found.item() == pytest.approx(wanted, abs=1e-12)
    assert wanted == pytest.approx(0.2005 + 0.6974, abs=1e-3)


def test_the_divergence_is_0_at_the_target_and_positive_beside_it() -> None:
    assert kl_divergence(0.05, torch.tensor([0.05, 0.05])).item() == pytest.approx(0, abs=1e-6)
    assert kl_divergence(0.05, torch.tensor([0.04])) > 0
    assert kl_divergence(0.05, torch.tensor([0.06])) > 0


def test_the_gelu_loss_is_the_mean_squared_error_and_the_weighted_divergence() -> None:
    x, autoencoder = data(), GeluKL(GELU, 5)
    w_enc, b_enc = autoencoder.W_enc.tolist(), autoencoder.b_enc.tolist()
    w_dec, b_dec = autoencoder.W_dec.tolist(), autoencoder.b_dec.tolist()
    latents = [[gelu(value) for value in affine(row, w_enc, b_enc)] for row in x.tolist()]
    mse = mean_square([affine(row, w_dec, b_dec) for row in latents], x.tolist())
    sparsity = 0.0
    for column in zip(*latents, strict=True):
        mean = min(max(sum(column) / len(column), 1e-10), 1 - 1e-10)
        sparsity += 0.05 * math.log(0.05 / mean) + 0.95 * math.log(0.95 / (1 - mean))
    found = autoencoder.loss(x)
    assert found.mse.item() == pytest.approx(mse, rel=1e-10)
    assert found.sparsity.item() == pytest.approx(0.5 * sparsity, rel=1e-10)
    assert found.total.item() == pytest.approx(mse + 0.5 * sparsity, rel=1e-10)


def test_a_mean_outside_0_to_1_is_clamped_and_has_no_gradient() -> None:
    autoencoder = GeluKL(SAEConfig(architecture="gelu-kl", d_sae=2), 2)
    with torch.no_grad():
        autoencoder.W_enc.zero_()
        autoencoder.b_enc.copy_(torch.tensor([3.0, 0.4]))
    sparsity = autoencoder.loss(data(4, 2)).sparsity
    sparsity.backward()
    assert sparsity.isfinite()
    assert autoencoder.b_enc.grad is not None
    assert autoencoder.b_enc.grad[0] == 0 and autoencoder.b_enc.grad[1] != 0


def test_topk_keeps_the_k_largest_of_each_row() -> None:
    x = data(50)
    autoencoder = init_autoencoder(TOPK, x)
    latents = autoencoder.encode(x).tolist()
    centre, w_enc = x.mean(dim=0).tolist(), autoencoder.W_enc.tolist()
    for row, found in zip(x.tolist(), latents, strict=True):
        centred = [a - b for a, b in zip(row, centre, strict=True)]
        before = affine(centred, w_enc, [0.0] * 20)
        kept = sorted(range(20), key=lambda j: before[j], reverse=True)[:3]
        wanted = [max(before[j], 0.0) if j in kept else 0.0 for j in range(20)]
        assert found == pytest.approx(wanted, abs=1e-12)


def test_topk_has_exactly_k_active_latents_where_enough_are_positive() -> None:
    autoencoder = TopK(TOPK, 5)
    with torch.no_grad():
        autoencoder.b_enc.fill_(100.0)
    assert ((autoencoder.encode(data(50)) != 0).sum(dim=1) == 3).all()


def test_topk_never_keeps_a_negative_latent() -> None:
    autoencoder = TopK(TOPK, 5)
    with torch.no_grad():
        autoencoder.b_enc.fill_(-100.0)
    assert not autoencoder.encode(data(50)).any()


def test_topk_loss_is_the_mean_squared_error_alone() -> None:
    x = data()
    autoencoder = init_autoencoder(TOPK, x)
    found = autoencoder.loss(x)
    wanted = mean_square(autoencoder(x).tolist(), x.tolist())
    assert found.total.item() == found.mse.item() == pytest.approx(wanted, rel=1e-12)
    assert found.sparsity == 0


def test_topk_starts_tied_with_unit_atoms_at_the_mean_of_the_data() -> None:
    x = data()
    autoencoder = init_autoencoder(TOPK, x)
    assert torch.equal(autoencoder.W_enc, autoencoder.W_dec.T)
    norms = [math.sqrt(sum(w * w for w in atom)) for atom in autoencoder.W_dec.tolist()]
    assert norms == pytest.approx([1.0] * 20, abs=1e-12)
    assert torch.equal(autoencoder.b_dec, x.mean(dim=0))
    assert not autoencoder.b_enc.any()


def test_gelu_weights_start_uniform_within_one_over_the_root_of_the_fan_in() -> None:
    autoencoder = GeluKL(ORIGINAL_SAE, 128)
    assert autoencoder.W_enc.shape == (128, 512) and autoencoder.W_dec.shape == (512, 128)
    for weights, fan_in in ((autoencoder.W_enc, 128), (autoencoder.W_dec, 512)):
        bound = 1 / math.sqrt(fan_in)
        assert 0.999 * bound < weights.max().item() <= bound
        assert -bound <= weights.min().item() < -0.999 * bound
        assert weights.mean().item() == pytest.approx(0, abs=0.01 * bound)


def test_decoding_adds_the_atoms_of_the_active_latents_to_the_bias() -> None:
    autoencoder = GeluKL(GELU, 5)
    latents = torch.zeros(1, 10, dtype=torch.float64)
    latents[0, 3], latents[0, 8] = 2.0, -0.5
    wanted = 2 * autoencoder.W_dec[3] - 0.5 * autoencoder.W_dec[8] + autoencoder.b_dec
    torch.testing.assert_close(autoencoder.decode(latents)[0], wanted)


@pytest.mark.parametrize("config", [GELU, TOPK])
def test_a_fresh_autoencoder_follows_its_seed_and_is_float64(config: SAEConfig) -> None:
    first, again = (init_autoencoder(config, data()).state_dict() for _ in range(2))
    other = init_autoencoder(config.model_copy(update={"seed": 1}), data()).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["W_enc"], other["W_enc"])
    assert {weight.dtype for name, weight in first.items() if name != "quiet"} == {torch.float64}


def test_the_architecture_is_the_one_asked_for() -> None:
    assert type(init_autoencoder(GELU, data())) is GeluKL
    assert type(init_autoencoder(TOPK, data())) is TopK


def test_the_original_is_the_notebooks() -> None:
    sae = ORIGINAL_SAE
    assert (sae.hook, sae.d_sae) == ("blocks.0.hook_mlp_out", 512)
    assert (sae.sparsity_target, sae.sparsity_weight) == (0.05, 1e-3)
    assert (sae.steps, sae.batch_size, sae.lr, sae.schedule) == (10_000, 4, 1e-4, "constant")


def test_more_active_latents_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="k is 21; the autoencoder has 20 latents"):
        init_autoencoder(TOPK.model_copy(update={"k": 21}), data())
    init_autoencoder(TOPK.model_copy(update={"k": 20}), data())


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="takes 5 numbers per sample, not 6"):
        init_autoencoder(TOPK, data())(data(7, 6))


def test_samples_are_strings_or_their_positions_in_order() -> None:
    values = torch.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert as_samples(values, "string").tolist() == [list(range(12)), list(range(12, 24))]
    by_position = as_samples(values, "position")
    assert by_position.shape == (6, 4)
    assert torch.equal(by_position[1 * 3 + 2], values[1, 2])
    assert as_samples(values.reshape(2, 3, 2, 2), "position").tolist() == by_position.tolist()


def test_an_architecture_that_does_not_encode_says_so() -> None:
    with pytest.raises(TypeError, match="Autoencoder does not say how it encodes"):
        Autoencoder(GELU, 5)(data())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"architecture": "relu"}, "'jumprelu' or 'matryoshka'"),
        ({"architecture": "topk", "d_sae": 0}, "SAEConfig.d_sae is 0 (int)"),
        ({"architecture": "batchtopk", "d_sae": 7}, "k is 8; the autoencoder has 7 latents"),
        ({"architecture": "matryoshka", "prefixes": (128, 64, 512)}, "must ascend from 1 or more"),
        ({"architecture": "matryoshka", "prefixes": (64, 128)}, "to all 512 latents"),
        ({"architecture": "matryoshka", "prefixes": (0, 512)}, "[0, 512]; they must ascend"),
        ({"architecture": "topk", "inputs": "letter"}, "'string' or 'position'"),
        ({"architecture": "topk", "k": "8"}, "SAEConfig.k is '8' (str)"),
        ({"architecture": "topk", "k": 0}, "SAEConfig.k is 0 (int)"),
        ({"architecture": "gelu-kl", "sparsity_target": 1.0}, "less than 1"),
        ({"architecture": "topk", "factor": 2}, "no field 'factor'"),
    ],
)
def test_an_impossible_autoencoder_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SAEConfig(**fields)
    assert said in str(caught.value)
