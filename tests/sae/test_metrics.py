"""What the scores of a dictionary are where the answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from sklearn.metrics import f1_score
from torch import Tensor

from palindrome_lens.sae.controls import Given
from palindrome_lens.sae.gauge import centred_mcc, mislabelled, unfitted_mcc, written
from palindrome_lens.sae.metrics import (
    Reference,
    agreement,
    best_f1,
    code_consistency,
    consistency,
    densities,
    explained_variance,
    firing_counts,
    firing_f1,
    l0,
    mean_max_cosine,
    reference,
    score,
    shrinkage,
    uniqueness,
)
from palindrome_lens.task import Task

TINY = Task(alphabet="abcd", half_length=2)


def data() -> Tensor:
    return torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3


def test_the_mean_predictor_explains_nothing() -> None:
    x = data()
    assert explained_variance(x, x.mean(dim=0).expand_as(x)) == pytest.approx(0, abs=1e-12)


def test_a_perfect_reconstruction_explains_everything() -> None:
    assert explained_variance(data(), data()) == 1


def test_predicting_zero_explains_less_than_nothing() -> None:
    assert explained_variance(data(), torch.zeros_like(data())) < -1


def test_explained_variance_by_hand() -> None:
    x = torch.tensor([[0.0, 10.0], [2.0, 14.0]])
    reconstruction = torch.tensor([[0.0, 11.0], [2.0, 12.0]])
    assert explained_variance(x, reconstruction) == pytest.approx(1 - 5 / 10)


def test_inputs_that_do_not_vary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"All inputs are equal \(variance 0\)"):
        explained_variance(torch.ones(3, 2), torch.zeros(3, 2))


def test_l0_counts_what_is_not_0_and_firing_what_is_above_0() -> None:
    latents = torch.tensor([[0.0, 1.0, -2.0], [0.0, 3.0, 0.0], [0.0, 0.5, 4.0], [0.0, 0.0, 0.0]])
    assert l0(latents) == pytest.approx((2 + 1 + 2 + 0) / 4)
    assert firing_counts(latents).tolist() == [0, 3, 1]


SIMPLEX = torch.eye(4, dtype=torch.float64) - 0.25
"""The effects of a slot's four letters: of squared length 3/4, with cosine −1/3, of sum 0."""


def true_dictionary() -> tuple[Tensor, Reference, Given]:
    """Activations that are exactly additive, their reference, and the dictionary they came from."""
    vectors = torch.block_diag(SIMPLEX, 2 * SIMPLEX)
    bias = torch.arange(8.0, dtype=torch.float64)
    labels = torch.zeros(16, 8, dtype=torch.float64)
    for i, string in enumerate(TINY.strings()):
        labels[i, "abcd".index(string[1])] = 1
        labels[i, 4 + "abcd".index(string[2])] = 1
    x = labels @ vectors + bias
    return x, reference(TINY, x), Given(bias, vectors, labels)


def test_the_reference_is_what_additive_activations_were_made_of() -> None:
    _, found, made = true_dictionary()
    torch.testing.assert_close(found.vectors, made.W_dec)
    torch.testing.assert_close(found.mean, made.centre)
    assert torch.equal(found.labels, made.latents.bool())
    assert found.names == ["a·", "b·", "c·", "d·", "·a", "·b", "·c", "·d"]
    assert found.slots.tolist() == [0] * 4 + [1] * 4


def test_the_true_dictionary_scores_1() -> None:
    x, truth, made = true_dictionary()
    found = score(made, x, truth)
    for name in (
        *("explained_variance", "shrinkage", "mcc", "centred_mcc", "mean_max_cosine"),
        *("coverage", "firing_coverage", "uniqueness"),
    ):
        assert getattr(found, name) == pytest.approx(1, abs=1e-12), name
    assert (found.l0, found.n_latents, found.dead, found.dense) == (2, 8, 0, 8)
    assert (found.matched, found.absorption) == (8, 0)
    assert found.mse == pytest.approx(0, abs=1e-24)


def test_order_length_and_sign_change_no_score() -> None:
    x, truth, made = true_dictionary()
    order = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])
    factor = torch.tensor([2.0, -0.1, 1.0, -7.0, 0.5, 3.0, -1.0, 0.2], dtype=torch.float64)
    other = Given(
        made.centre, (made.W_dec * factor[:, None])[order], (made.latents / factor)[:, order]
    )
    before, after = score(made, x, truth), score(other, x, truth)
    for name, value in after._replace(dead=0, dense=8)._asdict().items():
        assert value == pytest.approx(getattr(before, name), abs=1e-12), name
    assert (after.dead, after.dense) == (3, 5)


def test_a_merged_pair_loses_exactly_that() -> None:
    x, truth, made = true_dictionary()
    merged = Given(
        made.centre,
        torch.cat([made.W_dec[:2].mean(dim=0, keepdim=True), made.W_dec[2:]]),
        torch.cat([made.latents[:, :2].sum(dim=1, keepdim=True), made.latents[:, 2:]], dim=1),
    )
    found = score(merged, x, truth)
    cosine = 1 / math.sqrt(3)  # of e_a + e_b with e_a: (3/4 − 1/4) / (1 · √(3/4))
    assert found.mcc == pytest.approx((6 + cosine) / 8)
    assert found.matched == 7
    assert found.mean_max_cosine == pytest.approx((6 + 2 * cosine) / 8)
    assert found.coverage == pytest.approx((6 + 2 * 2 / 3) / 8)  # precision 1/2, recall 1
    assert found.uniqueness == 1
    # On half of the strings |e_a − e_b|² / 4 = 1/2 is lost, of 3/4 + 4 · 3/4 on each.
    assert found.explained_variance == pytest.approx(1 - 0.25 / 3.75)
    assert found.shrinkage == pytest.approx(1)  # a projection
    assert found.absorption == 0


def test_a_dead_latent_loses_exactly_that() -> None:
    x, truth, made = true_dictionary()
    latents = made.latents.clone()
    latents[:, 0] = 0
    found = score(made._replace(latents=latents), x, truth)
    assert (found.dead, found.matched, found.uniqueness) == (1, 7, 1)
    assert found.mcc == pytest.approx(7 / 8)
    # The best that is left for it is a letter of the other slot: 1 of 4 hits, 1 of 4 found.
    assert found.coverage == pytest.approx((7 + 1 / 4) / 8)
    assert found.l0 == pytest.approx(2 - 1 / 4)


def test_a_doubled_latent_is_not_unique() -> None:
    x, truth, made = true_dictionary()
    twice = Given(
        made.centre,
        torch.cat([made.W_dec, made.W_dec[:2]]),
        torch.cat([made.latents, made.latents[:, :2]], dim=1)
        * torch.tensor([0.5] * 2 + [1] * 6 + [0.5] * 2),
    )
    found = score(twice, x, truth)
    assert found.uniqueness == pytest.approx(8 / 10)
    for value in (found.explained_variance, found.mcc, found.centred_mcc, found.coverage):
        assert value == pytest.approx(1)


@pytest.mark.parametrize(("along", "rate"), [(1.0, 1 / 32), (0.5, 0.0)])
def test_absorption_built_on_purpose(along: float, rate: float) -> None:
    """A latent for the string ``aa`` that writes the first a, whose own latent then is silent."""
    x, truth, made = true_dictionary()
    latents = torch.cat([made.latents, torch.zeros(16, 1, dtype=torch.float64)], dim=1)
    latents[0, 0], latents[0, 8] = 0, 1
    first, second = (F.normalize(made.W_dec[i], dim=0) for i in (0, 4))
    # Its cosine with the first a is 1/√2 in one case, 1/√5 in the other.
    carrier = along * first + second
    found = score(Given(made.centre, torch.cat([made.W_dec, carrier[None]]), latents), x, truth)
    assert found.absorption == pytest.approx(rate)
    latents[0, 8] = -1
    flipped = Given(made.centre, torch.cat([made.W_dec, -carrier[None]]), latents)
    assert score(flipped, x, truth).absorption == pytest.approx(rate)


def test_a_dictionary_that_writes_a_fifth_too_little_shrinks_to_four_fifths() -> None:
    x, truth, made = true_dictionary()
    found = score(made._replace(W_dec=0.8 * made.W_dec), x, truth)
    assert found.shrinkage == pytest.approx(0.8, abs=1e-12)
    assert found.explained_variance == pytest.approx(1 - 0.2**2)
    assert found.mcc == pytest.approx(1)


def test_a_vector_moved_from_the_bias_to_all_atoms_of_a_slot_moves_the_mcc_alone() -> None:
    x, truth, made = true_dictionary()
    offset = torch.full((8,), 0.3, dtype=torch.float64)
    atoms = made.W_dec + offset * (truth.slots == 0)[:, None]
    before, after = (
        score(made, x, truth),
        score(Given(made.centre - offset, atoms, made.latents), x, truth),
    )
    # |e + c|² = 3/4 + 8 · 0.09, and c · e = 0, so the cosine is |e| / |e + c|.
    assert after.mcc == pytest.approx((4 + 4 * math.sqrt(0.75 / (0.75 + 8 * 0.09))) / 8)
    assert after.centred_mcc == pytest.approx(1)
    f1 = best_f1(made.latents, truth.labels)
    assert unfitted_mcc(made.latents, atoms, truth, f1) == pytest.approx(1)
    assert after.explained_variance == pytest.approx(1)
    assert after.coverage == before.coverage


def test_what_is_written_is_each_partner_at_its_size_less_the_mean_of_the_slot() -> None:
    _, truth, made = true_dictionary()
    # Half as long atoms at twice the size, and the last letter of slot 2 has no latent.
    latents, atoms = 2 * made.latents[:, :7], made.W_dec[:7] / 2
    vectors = written(latents, atoms, truth, best_f1(latents, truth.labels))
    assert torch.allclose(vectors[:4], truth.vectors[:4])
    left = truth.vectors[4:7]
    assert torch.allclose(vectors[4:7], left - left.mean(dim=0))
    assert not vectors[7].any()
    # Where a latent is silent it says nothing about its size.
    silent = latents.clone()
    silent[latents[:, 0].nonzero()[0], 0] = 0
    again = written(silent, atoms, truth, best_f1(silent, truth.labels))
    assert torch.allclose(again, vectors)


def test_centring_cannot_fit_the_vectors_of_other_letters() -> None:
    _, truth, made = true_dictionary()
    f1 = best_f1(made.latents, truth.labels)
    wrong = mislabelled(truth)
    assert torch.equal(wrong.vectors[1], truth.vectors[0])
    assert torch.equal(wrong.vectors[4], truth.vectors[7])
    # Every direction of a slot may be turned into any other's by one vector for the slot only where
    # they differ by one; here each needs its own.
    assert unfitted_mcc(made.latents, made.W_dec, wrong, f1) == pytest.approx(1 / 3)
    assert centred_mcc(made.W_dec, wrong, f1) < 0.8


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_best_f1_tries_every_threshold() -> None:
    latents = drawn(0, 40, 5).round(decimals=1).relu()
    labels = drawn(1, 40, 3) > 0.5
    found = best_f1(latents, labels)
    for j in range(5):
        cuts = [c for c in latents[:, j].unique().tolist()[:-1]]
        for f in range(3):
            each = [f1_score(labels[:, f], latents[:, j] > cut) for cut in cuts]
            assert found[j, f] == pytest.approx(max(each))
            assert firing_f1(latents, labels)[j, f] == pytest.approx(each[0])


def test_random_directions_agree_as_much_as_expected() -> None:
    width, n = 12, 30
    cosine_squared = stats.beta(0.5, (width - 1) / 2)
    expected = integrate.quad(lambda t: 1 - cosine_squared.cdf(t * t) ** n, 0, 1)[0]
    means = [mean_max_cosine(drawn(s, n, width), drawn(s + 900, 8, width)) for s in range(200)]
    assert sum(means) / 200 == pytest.approx(expected, abs=0.005)

    angle = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 * math.pi / 2
    one, other = angle[:, None], angle
    best = torch.maximum(one.cos() + other.sin(), one.sin() + other.cos()) / 2
    plane = torch.eye(2, dtype=torch.float64)
    found = [agreement(drawn(s, 2, 2), plane).mcc for s in range(1500)]
    assert sum(found) / 1500 == pytest.approx(float(best.mean()), abs=0.01)


def test_latents_that_fire_at_random_have_the_expected_f1() -> None:
    n, fires, has = 200, 30, 50
    order = drawn(0, n, 3000).argsort(dim=0).argsort(dim=0)
    found = firing_f1((order < fires).double(), (torch.arange(n) < has)[:, None])
    assert float(found.mean()) == pytest.approx(2 * (fires * has / n) / (fires + has), abs=0.005)


def test_seeds_agree_up_to_what_only_one_of_them_has() -> None:
    first = drawn(0, 5, 8)
    second = torch.cat([-2 * first.flip(0), torch.linalg.svd(first)[2][5:6]])
    assert consistency(first, second) == consistency(second, first)
    assert consistency(first, second).mcc == pytest.approx(5 / 6)
    assert consistency(first, second).matched == 5


def test_codes_agree_whatever_the_order_and_size_of_latents() -> None:
    code = torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    other = torch.stack([5 * code[:, 2], code[:, 0] + 1, -code[:, 1]], dim=1)
    assert tuple(code_consistency(code, other)) == pytest.approx((1, 3))


def test_a_latent_that_only_one_code_has_counts_0_and_so_does_one_that_never_varies() -> None:
    code = torch.eye(4, dtype=torch.float64).repeat(5, 1)
    assert tuple(code_consistency(code, code[:, :3])) == pytest.approx((3 / 4, 3))
    constant = code.clone()
    constant[:, 3] = 0.1
    assert code_consistency(code, constant).mcc == pytest.approx(3 / 4)


def test_codes_agree_as_far_as_their_latents_correlate() -> None:
    first = torch.tensor([[1.0], [1.0], [0.0], [0.0]], dtype=torch.float64)
    second = torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=torch.float64)
    expected = abs(stats.pearsonr(first[:, 0].numpy(), second[:, 0].numpy()).statistic)
    assert code_consistency(first, second).mcc == pytest.approx(expected)
    with pytest.raises(ValueError, match="cannot be compared"):
        code_consistency(first, second[:3])


def test_small_scores_by_hand() -> None:
    latents = torch.tensor([[0.0, 1.0], [0.0, -3.0], [0.0, 0.5], [0.0, 2.0]])
    assert densities(latents).tolist() == [0, 0.75]
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    assert shrinkage(x, torch.tensor([[0.5, 1.0], [1.5, 1.0]])) == pytest.approx((2 * 0.25 + 2) / 1)
    assert uniqueness(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.2]])) == pytest.approx(2 / 3)


def test_what_cannot_be_scored_is_refused_in_one_sentence() -> None:
    x, truth, made = true_dictionary()
    nan = x.clone()
    nan[3, 2] = torch.nan
    cases = [
        (made._replace(latents=0 * made.latents), x, "All 8 latents are dead"),
        (made, nan, "1 numbers of the activations are not finite"),
        (made._replace(W_dec=made.W_dec * torch.inf), x, "numbers of the atoms are not finite"),
        (made._replace(latents=made.latents / 0), x, "numbers of the latents are not finite"),
        (made, x[:, 1:], "Activations have 7 numbers, the dictionary's atoms 8"),
        (made, x[1:], "There are 15 samples; the reference labels 16"),
        (made, torch.ones_like(x), r"All inputs are equal \(variance 0\)"),
        (made._replace(W_dec=made.W_dec[:, :5]), x, "the dictionary's atoms 5"),
    ]
    for dictionary, data, message in cases:
        with pytest.raises(ValueError, match=message):
            score(dictionary, data, truth)
    with pytest.raises(ValueError, match="no factor relates them"):
        shrinkage(x, x.mean(dim=0).expand_as(x))
