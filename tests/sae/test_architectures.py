"""The published architectures, against their formulas in NumPy, sample by sample."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palindrome_lens.sae.autoencoders import (
    ARCHITECTURES,
    Autoencoder,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    SAEConfig,
    TopK,
    init_autoencoder,
)

D_IN, D_SAE = 5, 12
Array = NDArray[np.float64]


def data(n: int = 9, seed: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D_IN, dtype=torch.float64, generator=generator) + 0.5


def perturbed(architecture: str, **fields: Any) -> Autoencoder:
    """An autoencoder that has left its symmetric start."""
    config = SAEConfig.model_validate(
        {"architecture": architecture, "d_sae": D_SAE, "k": 3, "sparsity_weight": 0.2, **fields}
    )
    autoencoder = init_autoencoder(config, data())
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in autoencoder.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, dtype=torch.float64, generator=generator))
    return autoencoder


def weights(autoencoder: Autoencoder) -> dict[str, Array]:
    return {name: value.numpy().copy() for name, value in autoencoder.state_dict().items()}


def mean_square(error: Array) -> float:
    return float((error**2).sum() / error.size)


def decoded(w: dict[str, Array], latents: Array, n: int = D_SAE) -> Array:
    return np.stack([row[:n] @ w["W_dec"][:n] + w["b_dec"] for row in latents])


def test_sigmoid_kl_is_ngs_loss() -> None:
    autoencoder, x = perturbed("sigmoid-kl", sparsity_target=0.1), data()
    w = weights(autoencoder)
    latents = 1 / (1 + np.exp(-(x.numpy() @ w["W_enc"] + w["b_enc"])))
    rho = latents.mean(axis=0)
    divergence = sum(0.1 * np.log(0.1 / r) + 0.9 * np.log(0.9 / (1 - r)) for r in rho)
    found = autoencoder.loss(x)
    np.testing.assert_allclose(found.latents.detach(), latents, rtol=1e-12)
    assert found.mse.item() == pytest.approx(mean_square(decoded(w, latents) - x.numpy()))
    assert found.sparsity.item() == pytest.approx(0.2 * divergence, rel=1e-12)
    assert found.total.item() == pytest.approx(found.mse.item() + 0.2 * divergence, rel=1e-12)


def test_relu_l1_is_the_error_and_the_weighted_sum_of_latents() -> None:
    autoencoder, x = perturbed("relu-l1"), data()
    w = weights(autoencoder)
    latents = np.maximum((x.numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)
    mse = mean_square(decoded(w, latents) - x.numpy())
    found = autoencoder.loss(x)
    np.testing.assert_allclose(autoencoder.encode(x).detach(), latents, atol=1e-12)
    assert found.sparsity.item() == pytest.approx(0.2 * latents.sum() / len(x), rel=1e-12)
    assert found.total.item() == pytest.approx(mse + 0.2 * latents.sum() / len(x), rel=1e-12)


def test_gated_is_equations_6_to_8() -> None:
    autoencoder, x = perturbed("gated"), data()
    w = weights(autoencoder)
    centred = x.numpy() - w["b_dec"]
    gate = centred @ w["W_enc"] + w["b_enc"]
    size = np.maximum(centred @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0)
    latents = np.where(gate > 0, size, 0)
    assert 0 < (latents > 0).sum() < (gate > 0).sum(), "both halves decide"
    gate = np.maximum(gate, 0)
    parts = [
        mean_square(decoded(w, latents) - x.numpy()),
        0.2 * gate.sum() / len(x),
        mean_square(decoded(w, gate) - x.numpy()),
    ]
    found = autoencoder.loss(x)
    np.testing.assert_allclose(autoencoder.encode(x).detach(), latents, atol=1e-12)
    assert [part.item() for part in found[1:4]] == pytest.approx(parts, rel=1e-12)
    assert found.total.item() == pytest.approx(sum(parts), rel=1e-12)


def test_the_auxiliary_loss_of_the_gate_does_not_reach_the_decoder_or_the_sizes() -> None:
    autoencoder, x = perturbed("gated"), data()
    assert isinstance(autoencoder, Gated)
    autoencoder.loss(x).auxiliary.backward()
    assert autoencoder.W_enc.grad is not None and autoencoder.W_enc.grad.abs().sum() > 0
    assert autoencoder.W_dec.grad is None and autoencoder.r_mag.grad is None


def test_jumprelu_is_the_error_and_the_weighted_count() -> None:
    autoencoder, x = perturbed("jumprelu", threshold=0.5), data()
    w = weights(autoencoder)
    before = x.numpy() @ w["W_enc"] + w["b_enc"]
    latents = np.where(before > np.exp(w["log_threshold"]), before, 0)
    count = (latents != 0).sum() / len(x)
    assert 1 < count < (before > 0).sum() / len(x), "thresholds silence some positive latents"
    mse = mean_square(decoded(w, latents) - x.numpy())
    found = autoencoder.loss(x)
    np.testing.assert_allclose(autoencoder.encode(x).detach(), latents, atol=1e-12)
    assert found.sparsity.item() == pytest.approx(0.2 * count, rel=1e-12)
    assert found.total.item() == pytest.approx(mse + 0.2 * count, rel=1e-12)


def test_the_gradient_of_jumprelu_thresholds_is_the_papers() -> None:
    """Equations 11 and 12, sample by sample: dL/dθ = Σ −(θ dL/df + λ) K((z − θ)/ε) / ε."""
    bandwidth, x = 0.7, data(60)
    autoencoder = perturbed("jumprelu", threshold=0.5, bandwidth=bandwidth)
    assert isinstance(autoencoder, JumpRelu)
    w = weights(autoencoder)
    threshold = np.exp(w["log_threshold"])
    before = x.numpy() @ w["W_enc"] + w["b_enc"]
    error = decoded(w, np.where(before > threshold, before, 0)) - x.numpy()
    in_theta, in_b_enc = np.zeros(D_SAE), np.zeros(D_SAE)
    for n in range(len(x)):
        for j in range(D_SAE):
            by_latent = 2 * error[n] @ w["W_dec"][j] / error.size
            u = (before[n, j] - threshold[j]) / bandwidth
            kernel = 1.0 if -0.5 < u < 0.5 else 0.0
            in_theta[j] -= (threshold[j] * by_latent + 0.2 / len(x)) * kernel / bandwidth
            in_b_enc[j] += by_latent * (before[n, j] > threshold[j])
    autoencoder.loss(x).total.backward()
    assert autoencoder.log_threshold.grad is not None and autoencoder.b_enc.grad is not None
    assert (in_theta != 0).sum() > D_SAE / 2
    np.testing.assert_allclose(autoencoder.log_threshold.grad, in_theta * threshold, atol=1e-12)
    np.testing.assert_allclose(autoencoder.b_enc.grad, in_b_enc, atol=1e-12)


def with_quiet(autoencoder: Autoencoder, dead: list[int]) -> TopK:
    assert isinstance(autoencoder, TopK)
    autoencoder.quiet[dead] = autoencoder.config.dead_after
    return autoencoder


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka"])
def test_a_length_weight_prices_the_summed_latents(architecture: str) -> None:
    x = data()
    free = perturbed(architecture).loss(x)
    priced = perturbed(architecture, length_weight=0.2).loss(x)
    summed = priced.latents.detach().numpy().sum() / len(x)
    assert free.sparsity.item() == 0
    assert priced.sparsity.item() == pytest.approx(0.2 * summed)
    assert (priced.total - free.total).item() == pytest.approx(0.2 * summed)


@pytest.mark.parametrize("k", [2, D_SAE])
def test_a_topk_learns_as_if_all_latents_were_multiplied_with_all_atoms(k: int) -> None:
    """The k atoms of each sample are added up instead; values and gradients are the same."""
    made, samples = perturbed("topk", k=k, aux_weight=0.0), data()
    stated = made.loss(samples)
    stated.total.backward()
    gradients = [parameter.grad for parameter in made.parameters()]
    made.zero_grad()
    latents = made.encode(samples)
    dense = torch.nn.functional.mse_loss(made.decode(latents), samples)
    dense.backward()
    torch.testing.assert_close(stated.mse, dense, rtol=0, atol=1e-14)
    torch.testing.assert_close(stated.latents, latents, rtol=0, atol=0)
    for gradient, parameter in zip(gradients, made.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-14)


def test_auxk_is_the_residual_rebuilt_from_the_largest_dead_latents() -> None:
    x, dead = data(), [1, 4, 6, 7, 10]
    autoencoder = with_quiet(perturbed("topk", aux_weight=1 / 32, aux_k=2), dead)
    w = weights(autoencoder)
    before = (x.numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    squares = 0.0
    for row, sample in zip(before, x.numpy(), strict=True):
        kept = sorted(range(D_SAE), key=lambda j: row[j])[-3:]
        residual = sample - w["b_dec"] - sum(max(row[j], 0) * w["W_dec"][j] for j in kept)
        largest = sorted(dead, key=lambda j: row[j])[-2:]
        rebuilt = sum(max(row[j], 0) * w["W_dec"][j] for j in largest)
        squares += float(((rebuilt - residual) ** 2).sum())
    found = autoencoder.loss(x)
    assert found.auxiliary.item() == pytest.approx(squares / x.numel() / 32, rel=1e-12)
    assert found.total.item() == (found.mse + found.auxiliary).item()


def test_auxk_reaches_dead_latents_only() -> None:
    dead = [1, 4, 6]
    autoencoder = with_quiet(perturbed("topk", aux_weight=1 / 32), dead)
    autoencoder.loss(data(200)).auxiliary.backward()
    alive = [j for j in range(D_SAE) if j not in dead]
    assert autoencoder.W_dec.grad is not None and autoencoder.W_enc.grad is not None
    assert (autoencoder.W_dec.grad[dead] != 0).any(dim=1).all()
    assert not autoencoder.W_dec.grad[alive].any()
    assert (autoencoder.W_enc.grad[:, dead] != 0).any(dim=0).all()
    assert not autoencoder.W_enc.grad[:, alive].any()


@pytest.mark.parametrize("fields", [{"aux_weight": 0.0}, {"aux_weight": 1.0, "dead_after": 51}])
def test_without_a_weight_or_dead_latents_there_is_no_auxk(fields: dict[str, Any]) -> None:
    autoencoder = perturbed("topk", **fields)
    assert isinstance(autoencoder, TopK)
    autoencoder.quiet += 50
    assert autoencoder.loss(data()).auxiliary == 0


def test_a_latent_is_quiet_since_it_was_last_above_0() -> None:
    autoencoder = perturbed("topk")
    assert isinstance(autoencoder, TopK)
    fired = torch.zeros(3, 2, D_SAE)
    fired[0, 1, 4] = fired[2, 0, 4] = fired[1, 0, 7] = 0.1
    for latents in fired:
        autoencoder.observe(latents)
    assert autoencoder.quiet.tolist() == [3] * 4 + [0] + [3] * 2 + [1] + [3] * 4


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka"])
def test_batchtopk_keeps_the_largest_of_the_batch(architecture: str) -> None:
    autoencoder, x = perturbed(architecture), data()
    w = weights(autoencoder)
    before = np.maximum((x.numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)
    smallest = np.sort(before.flatten())[-3 * len(x)]
    wanted = np.where(before >= smallest, before, 0)
    assert len(set((wanted > 0).sum(axis=1))) > 1, "samples differ in how many they use"
    np.testing.assert_allclose(autoencoder.encode(x).detach(), wanted, atol=1e-12)


def test_the_threshold_of_batchtopk_is_a_running_mean_of_the_smallest_kept() -> None:
    autoencoder = perturbed("batchtopk")
    assert isinstance(autoencoder, BatchTopK)
    wanted = None
    for seed in range(4):
        latents = autoencoder.loss(data(seed=seed)).latents.detach()
        autoencoder.observe(latents)
        smallest = min(value for value in latents.flatten().tolist() if value > 0)
        wanted = smallest if wanted is None else 0.99 * wanted + 0.01 * smallest
    assert autoencoder.threshold.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka"])
def test_after_training_a_sample_does_not_depend_on_others(architecture: str) -> None:
    autoencoder, x = perturbed(architecture), data()
    assert isinstance(autoencoder, BatchTopK)
    autoencoder.threshold.fill_(0.8)
    in_training = autoencoder.encode(x[:1])
    autoencoder.eval()
    w = weights(autoencoder)
    before = (x.numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    wanted = np.where(before > 0.8, before, 0)
    np.testing.assert_allclose(autoencoder.encode(x).detach(), wanted, atol=1e-12)
    np.testing.assert_allclose(autoencoder.encode(x[:1]).detach(), wanted[:1], atol=1e-12)
    assert not torch.equal(autoencoder.encode(x[:1]), in_training)


def test_matryoshka_adds_the_errors_of_its_prefixes() -> None:
    autoencoder, x = perturbed("matryoshka", prefixes=(2, 7, D_SAE)), data()
    w, latents = weights(autoencoder), autoencoder.encode(x).detach().numpy()
    errors = [mean_square(decoded(w, latents, n) - x.numpy()) for n in (2, 7, D_SAE)]
    found = autoencoder.loss(x)
    assert found.mse.item() == pytest.approx(errors[2], rel=1e-12)
    assert found.auxiliary.item() == pytest.approx(errors[0] + errors[1], rel=1e-12)
    assert found.total.item() == pytest.approx(sum(errors), rel=1e-12)


def test_later_latents_of_a_matryoshka_do_not_reach_an_earlier_prefix() -> None:
    autoencoder, x = perturbed("matryoshka", prefixes=(2, 7, D_SAE)), data()
    autoencoder.loss(x).auxiliary.backward()
    assert autoencoder.W_dec.grad is not None
    reached = autoencoder.W_dec.grad.abs().sum(dim=1) > 0
    assert reached[:7].any() and not reached[7:].any()


def test_the_prefixes_of_a_matryoshka_are_a_quarter_a_half_and_all_unless_said() -> None:
    assert SAEConfig(architecture="matryoshka").nested == (128, 256, 512)
    assert SAEConfig(architecture="matryoshka", d_sae=1, k=1).nested == (1,)
    alone = perturbed("matryoshka", prefixes=(D_SAE,))
    assert isinstance(alone, Matryoshka) and alone.loss(data()).auxiliary == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_gives_the_same_autoencoder_of_plain_inputs(architecture: str) -> None:
    autoencoder, x = perturbed(architecture).eval(), data(50)
    if isinstance(autoencoder, BatchTopK):
        autoencoder.threshold.fill_(0.4)
    mean, scale = torch.arange(D_IN, dtype=torch.float64), 7.0
    latents, rebuilt = autoencoder.encode(x), autoencoder(x)
    plain = x * scale + mean
    autoencoder.fold(mean, scale)
    torch.testing.assert_close(autoencoder.encode(plain), latents, rtol=0, atol=1e-11)
    torch.testing.assert_close(autoencoder(plain), rebuilt * scale + mean, rtol=0, atol=1e-11)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loss_is_the_sum_of_its_parts_and_changes_nothing(architecture: str) -> None:
    autoencoder, x = perturbed(architecture), data()
    before = weights(autoencoder)
    found = autoencoder.loss(x)
    assert found.total.item() == pytest.approx(sum(part.item() for part in found[1:4]), rel=1e-12)
    assert torch.equal(found.latents, autoencoder.encode(x))
    assert found.latents.shape == (len(x), D_SAE)
    after = weights(autoencoder)
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_projected_gradient_leaves_the_length_of_atoms(architecture: str) -> None:
    autoencoder = perturbed(architecture)
    autoencoder.loss(data()).total.backward()
    gradient = autoencoder.W_dec.grad
    assert gradient is not None
    wanted = np.stack(
        [
            g - (g @ atom) / (atom @ atom) * atom
            for g, atom in zip(gradient.numpy(), weights(autoencoder)["W_dec"], strict=True)
        ]
    )
    assert not np.allclose(gradient, wanted)
    autoencoder.project_gradient()
    np.testing.assert_allclose(gradient, wanted, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_autoencoder_has_unit_atoms_unless_it_is_one_with_kl(architecture: str) -> None:
    config = SAEConfig.model_validate({"architecture": architecture, "d_sae": D_SAE})
    autoencoder = init_autoencoder(config, data())
    norms = autoencoder.W_dec.square().sum(dim=1).sqrt()
    is_unit = torch.allclose(norms, torch.ones_like(norms), rtol=0, atol=1e-12)
    assert is_unit == (not architecture.endswith("-kl"))
    assert torch.equal(autoencoder.b_dec, data().mean(dim=0)) == is_unit


def test_an_impossible_change_of_a_configuration_is_refused() -> None:
    config = SAEConfig(architecture="topk").model_copy(update={"d_sae": 0})
    with pytest.raises(ValueError, match=r"SAEConfig.d_sae is 0 \(int\)"):
        init_autoencoder(config, data())
