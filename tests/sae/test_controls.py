"""The controls, where what they must find is known."""

import pytest
import torch
from handbuilt import HandBuilt
from torch import Tensor

from palindrome_lens.evaluation import evaluate
from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.sae import controls
from palindrome_lens.sae.leaderboard import Material
from palindrome_lens.sae.metrics import Dictionary, agreement, reference, score
from palindrome_lens.sae.training import flat_activations
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TASK = Task(alphabet="abcdef", half_length=2)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def additive() -> Tensor:
    """A vector for each letter in each slot, in 60 numbers, the last of them always 1."""
    first, second = drawn(0, 6, 60), drawn(1, 6, 60)
    x = (first[:, None] + second[None]).reshape(36, 60)
    x[:, -1] = 1
    return x


def test_every_control_rebuilds_what_it_can() -> None:
    x = additive()
    truth = reference(TASK, x)
    found: dict[str, Dictionary] = {
        "raw": controls.raw(x),
        "pca": controls.pca(x),
        "ica": controls.ica(x, n_samples=36),
        "ceiling": controls.ceiling(truth, active=2),
    }
    for name, dictionary in found.items():
        scores = score(dictionary, x, truth)
        assert scores.explained_variance == pytest.approx(1, abs=1e-9), name
        assert scores.n_latents == {"raw": 60, "pca": 10, "ica": 10, "ceiling": 12}[name]


def test_the_neurons_add_up_to_what_the_mlp_writes() -> None:
    config = ModelConfig()
    model = hooked(init_model(config, TASK), config, TASK)
    with torch.no_grad():
        model.blocks[0].mlp.out.bias.copy_(drawn(5, 16))  # a fresh one is 0
    tokens, hook = encode(TASK, TASK.strings()), "blocks.0.hook_mlp_out"
    x = activations(model, inputs(tokens), [hook])[hook]
    found = controls.neurons(model, tokens)
    torch.testing.assert_close(found.decode(found.latents), x.flatten(start_dim=1))
    assert found.latents.shape == (36, TASK.n_positions * 64)
    assert bool((found.latents >= 0).all()) and bool((found.latents == 0).any())
    # A neuron writes at its own position alone.
    where = found.W_dec.reshape(TASK.n_positions, 64, TASK.n_positions, 16).abs().sum(dim=(1, 3))
    assert torch.equal(where > 0, torch.eye(TASK.n_positions, dtype=torch.bool))


def test_the_reference_pursued_is_the_ceiling() -> None:
    x = additive()
    scores = score(controls.ceiling(reference(TASK, x), active=2), x, reference(TASK, x))
    assert scores.l0 == 2
    assert scores.coverage == scores.firing_coverage == 1
    assert scores.mcc == scores.centred_mcc == pytest.approx(1)


def test_principal_components_are_orthogonal_and_take_the_variance_in_turn() -> None:
    x = drawn(2, 500, 4) * torch.tensor([1.0, 5.0, 0.0, 2.0]) + 3
    found = controls.pca(x)
    torch.testing.assert_close(found.W_dec @ found.W_dec.T, torch.eye(3, dtype=torch.float64))
    wanted = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)[:3]
    torch.testing.assert_close(found.encode(x).var(dim=0, correction=0), wanted)


def test_ica_separates_independent_sources_that_pca_does_not() -> None:
    sources = (drawn(3, 2000, 3).abs() > 1.8).double() * torch.tensor([1.0, 2.0, 3.0])
    directions = drawn(4, 3, 6)
    x = sources @ directions
    assert agreement(controls.ica(x, 2000).W_dec, directions).mcc > 0.999
    assert agreement(controls.pca(x).W_dec, directions).mcc < 0.95


def test_a_random_dictionary_is_drawn_by_its_seed_and_keeps_its_number_active() -> None:
    x = drawn(5, 50, 8)
    found = controls.random(x, n_latents=30, active=3, seed=1)
    assert torch.equal(found.W_dec, controls.random(x, 30, 3, seed=1).W_dec)
    assert not torch.equal(found.W_dec, controls.random(x, 30, 3, seed=2).W_dec)
    torch.testing.assert_close(found.W_dec.norm(dim=1), torch.ones(30, dtype=torch.float64))
    assert ((found.encode(x) != 0).sum(dim=1) == 3).all()


def test_turned_axes_keep_the_span_and_rebuild_the_same() -> None:
    x = drawn(3, 60, 5) @ drawn(4, 5, 9)
    axes = controls.pca(x)
    turned = controls.turned(axes, seed=1)
    torch.testing.assert_close(turned.decode(turned.encode(x)), x)
    torch.testing.assert_close(turned.W_dec @ turned.W_dec.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(turned.W_dec.T @ turned.W_dec, axes.W_dec.T @ axes.W_dec)
    assert float((turned.W_dec @ axes.W_dec.T).abs().max()) < 0.99
    assert torch.equal(turned.W_dec, controls.turned(axes, seed=1).W_dec)
    assert not torch.equal(turned.W_dec, controls.turned(axes, seed=2).W_dec)
    # Another machine may find the same components with other signs.
    flipped = axes._replace(W_enc=-axes.W_enc, W_dec=-axes.W_dec)
    torch.testing.assert_close(controls.turned(flipped, seed=1).W_dec, turned.W_dec)


def test_no_axis_is_left_where_it_was_more_than_another() -> None:
    axes = controls.Linear(torch.zeros(2), torch.eye(2), torch.eye(2))
    kept = torch.stack([controls.turned(axes, seed).W_dec[0] for seed in range(200)])
    assert kept.mean(dim=0).abs().max() < 0.2
    torch.testing.assert_close(kept.square().mean(dim=0), torch.full((2,), 0.5), atol=0.1, rtol=0)


def test_directions_like_the_data_have_its_covariance() -> None:
    deviation = torch.tensor([5.0, 1.0, 0.0], dtype=torch.float64)
    x = 7 + drawn(6, 400, 3) * deviation
    found = controls.like_data(x, n_latents=300, active=2, seed=1)
    torch.testing.assert_close(found.W_dec.norm(dim=1), torch.ones(300, dtype=torch.float64))
    assert torch.equal(found.centre, x.mean(dim=0))
    sizes = found.W_dec.abs().mean(dim=0)
    assert sizes[0] > 0.8 > 3 * sizes[1] / 2 and float(sizes[2]) < 1e-9
    assert torch.equal(found.W_dec, controls.like_data(x, 300, 2, seed=1).W_dec)


def test_what_cannot_be_is_refused_in_one_sentence() -> None:
    x = additive()
    with pytest.raises(ValueError, match="no principal components"):
        controls.pca(torch.ones(4, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="5,000 samples were asked for; there are 36"):
        controls.ica(x)
    truth = reference(TASK, x)
    flat = truth._replace(vectors=truth.vectors * (torch.arange(12) != 7)[:, None])
    with pytest.raises(ValueError, match="feature ·b has length 0"):
        controls.ceiling(flat, active=2)
    with pytest.raises(ValueError, match="code of 36 samples is given, not 35"):
        controls.Given(x[0], truth.vectors, truth.labels.double()).encode(x[1:])
    with pytest.raises(ValueError, match="13 active"):
        controls.ceiling(truth, active=13).encode(x)


def test_each_dictionary_made_on_purpose_has_its_one_fault() -> None:
    x = additive()
    truth = reference(TASK, x)
    scores = {name: score(made, x, truth) for name, made in controls.on_purpose(truth).items()}
    for name in ("the truth", "shifted", "absorbed"):
        assert scores[name].explained_variance == pytest.approx(1), name
    assert scores["the truth"].mcc == pytest.approx(1)
    # Merged: precision 1/2, recall 1 for two of 12 features. Dead: one of 12 is not covered.
    assert scores["merged"].coverage == pytest.approx(1 - 2 / 3 / 12)
    assert scores["dead"].coverage == pytest.approx(1 - 1 / 12, abs=0.05)
    assert scores["dead"].dead == 1
    assert scores["short"].shrinkage == pytest.approx(0.8)
    # On one of 36 strings two of 72 pairs of a string and a feature are absorbed.
    assert scores["absorbed"].absorption == pytest.approx(2 / 72)
    assert scores["shifted"].centred_mcc == pytest.approx(1)
    assert scores["shifted"].mcc < 0.95


def test_principal_components_are_compared_with_each_kind_of_chance() -> None:
    x = additive()
    vectors = controls.pca(x).W_dec[:3]
    mccs = controls.chance(x, vectors, draws=4)
    assert {name: len(drawn) for name, drawn in mccs.items()} == {
        **{"PCA": 1, "turned": 4, "like the data": 4, "evenly": 4}
    }
    assert mccs["PCA"] == pytest.approx([1])
    for name in ("turned", "like the data", "evenly"):
        assert len(set(mccs[name])) == 4
        assert max(mccs[name]) < 0.9


def test_a_dictionary_that_keeps_everything_costs_nothing(handbuilt: HandBuilt) -> None:
    task, hook = Task(alphabet="abcd", half_length=2), "blocks.0.hook_resid_post"
    tokens = encode(task, task.strings())
    x = flat_activations(handbuilt.model, tokens, hook)
    clean = evaluate(handbuilt.model, tokens).mean_loss
    material = Material(handbuilt.model, tokens, x, reference(task, x), clean)
    kept = controls.tried(controls.raw(x), material, hook)
    assert kept.loss.added == pytest.approx(0)
    assert kept.loss.recovered_from_mean == pytest.approx(1)
    assert kept.scores == score(controls.raw(x), x, material.reference)
    used = (x != 0).any(dim=0)
    assert torch.equal(kept.live.codes, x[:, used])
    assert len(kept.live.atoms) == int(used.sum()) < len(kept.atoms)
    nothing = controls.Given(x.mean(dim=0), torch.eye(x.shape[1]).double(), 1e-9 * x)
    lost = controls.tried(nothing, material, hook).loss
    assert lost.spliced == pytest.approx(lost.mean_ablated, rel=1e-3)


def test_a_centred_mcc_stands_beside_its_controls() -> None:
    x = additive()
    truth = reference(TASK, x)
    centring = controls.centring(truth.labels.double(), truth.vectors, truth)
    assert centring[:2] == pytest.approx((1, 1))
    assert centring.mislabelled < 0.8
