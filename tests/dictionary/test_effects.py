"""What a latent does, in a model that writes letters as they are, and against full runs."""

import itertools

import pytest
import torch
from handbuilt import LOUDNESS, HandBuilt
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.interventions import evaluate_replaced
from palindrome_lens.dictionary import effects
from palindrome_lens.model import activations
from palindrome_lens.task import Task, inputs, letters
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
RESID = "blocks.0.hook_resid_post"
MLP = "blocks.0.hook_mlp_out"
QUERY = {0: 4, 1: 3}
"""The query that predicts the letter of a slot."""
KEYS = list(itertools.product((0, 1), TINY.alphabet))
"""Latent 4 · slot + letter stands for that letter in that slot."""


class ByHand:
    """One latent for each (letter, slot), which writes that letter at the query of the slot."""

    def __init__(self, built: HandBuilt, share: float = 2.0) -> None:
        self.rest = effects.rest_of(built.model, TOKENS, RESID)
        given = letters(TINY, TOKENS)
        self.has = torch.stack([given[:, s] == built.ids[c] for s, c in KEYS], dim=1)
        self.latents = LOUDNESS * self.has.double()
        atoms = torch.zeros(len(KEYS), *self.rest.resid.shape[1:], dtype=torch.float64)
        for j, (slot, letter) in enumerate(KEYS):
            atoms[j, QUERY[slot], built.write[built.ids[letter]]] = share
        self.W_dec = atoms.flatten(start_dim=1)


@pytest.fixture(scope="module")
def by_hand(handbuilt: HandBuilt) -> ByHand:
    return ByHand(handbuilt)


def test_the_rest_of_the_model_is_right_about_the_model(handbuilt: HandBuilt) -> None:
    rest = effects.rest_of(handbuilt.model, TOKENS, RESID)
    full = evaluate_replaced(handbuilt.model, TOKENS, RESID, rest.resid)
    torch.testing.assert_close(rest.loss, full.loss, rtol=1e-12, atol=1e-12)
    assert torch.equal(rest.answer == rest.wanted, full.correct)


@pytest.mark.parametrize("hook", [MLP, RESID])
def test_the_rest_goes_on_from_what_is_put_in_place(random: TransformerBridge, hook: str) -> None:
    x = activations(random, inputs(TOKENS), [hook])[hook]
    rebuilt = 0.5 * x + 0.1
    rest = effects.rest_of(random, TOKENS, hook, rebuilt.flatten(start_dim=1))
    full = evaluate_replaced(random, TOKENS, hook, rebuilt)
    torch.testing.assert_close(rest.loss, full.loss, rtol=1e-12, atol=1e-12)
    assert torch.equal(rest.answer == rest.wanted, full.correct)


def test_ablating_a_letter_flips_exactly_its_strings_at_exactly_its_query(by_hand: ByHand) -> None:
    found = effects.ablate(by_hand.rest, by_hand.latents, by_hand.W_dec)
    assert found.strings.tolist() == [4] * 8
    for j, (slot, _) in enumerate(KEYS):
        flips = {p: n for p, n in enumerate(found.flips[j].tolist()) if n}
        assert flips == {QUERY[slot]: 4}
        assert found.mean[j, QUERY[slot]] > 1
        elsewhere = [p for p in range(6) if p != QUERY[slot]]
        assert found.worst[j, elsewhere].abs().max() < 1e-12
        # The letter is gone from the answers, and nothing of it is written anywhere.
        assert found.moved_to[j, QUERY[slot]].sum() == 4
        assert found.moved_to[j, elsewhere].sum() == 0


def test_clamping_a_letter_writes_it_on_every_other_string(by_hand: ByHand) -> None:
    found = effects.clamp(
        by_hand.rest, by_hand.latents, by_hand.W_dec, effects.mean_firing(by_hand.latents)
    )
    assert found.strings.tolist() == [12] * 8
    for j, (slot, letter) in enumerate(KEYS):
        token = 2 + TINY.alphabet.index(letter)
        assert found.moved_to[j, QUERY[slot], token] == 12
        assert found.moved_to[j].sum() == 12
        assert found.flips[j].sum() == found.flips[j, QUERY[slot]] == 12


def test_a_weak_latent_writes_only_where_its_rivals_are_silenced(handbuilt: HandBuilt) -> None:
    weak = ByHand(handbuilt, share=0.9)
    levels = effects.mean_firing(weak.latents)
    alone = effects.clamp(weak.rest, weak.latents, weak.W_dec, levels)
    assert alone.flips.sum() == 0
    slots = torch.tensor([slot for slot, _ in KEYS])
    rivals = (slots[:, None] == slots) & ~torch.eye(8, dtype=torch.bool)
    swapped = effects.clamp(weak.rest, weak.latents, weak.W_dec, levels, silenced=rivals)
    for j, (slot, letter) in enumerate(KEYS):
        assert swapped.moved_to[j, QUERY[slot], 2 + TINY.alphabet.index(letter)] == 12


def test_two_halves_of_a_letter_interact(handbuilt: HandBuilt) -> None:
    half = ByHand(handbuilt, share=0.6)
    latents = half.latents[:, :1].repeat(1, 2)
    W_dec = half.W_dec[:1].repeat(2, 1)
    alone = effects.ablate(half.rest, latents, W_dec)
    assert alone.flips.sum() == 0
    both = effects.pairs(half.rest, latents, W_dec)
    assert (both.first.tolist(), both.second.tolist(), both.strings.tolist()) == ([0], [1], [4])
    assert both.joint_flips[0].tolist() == [0, 0, 0, 0, 4, 0]
    assert both.interaction[0, 4] > 1
    assert both.interaction[0, [0, 1, 2, 3, 5]].abs().max() < 1e-12


def test_latents_that_write_at_different_queries_do_not_interact(by_hand: ByHand) -> None:
    both = effects.pairs(by_hand.rest, by_hand.latents, by_hand.W_dec)
    # Each letter of slot 0 meets each of slot 1 on one string; two letters of a slot never meet.
    assert len(both.first) == 16
    assert both.strings.tolist() == [1] * 16
    assert both.largest.max() < 1e-12
    assert both.joint_flips.sum() == 0


@pytest.fixture(scope="module")
def noisy(random: TransformerBridge) -> tuple[effects.Rest, Tensor, Tensor, Tensor]:
    """A model of noise, latents of noise that are often 0 or below, and the activations."""
    generator = torch.Generator().manual_seed(0)
    x = activations(random, inputs(TOKENS), [MLP])[MLP]
    latents = torch.randn(16, 5, dtype=torch.float64, generator=generator)
    latents[latents.abs() < 0.4] = 0
    W_dec = torch.randn(5, x[0].numel(), dtype=torch.float64, generator=generator)
    return effects.rest_of(random, TOKENS, MLP), latents, W_dec, x


Noisy = tuple[effects.Rest, Tensor, Tensor, Tensor]


def changed(model: TransformerBridge, noisy: Noisy, to: Tensor) -> Tensor:
    """The loss of the whole model with the latents as given, minus its own."""
    rest, latents, W_dec, x = noisy
    moved = x + ((to - latents) @ W_dec).reshape(x.shape)
    return evaluate_replaced(model, TOKENS, MLP, moved).loss - rest.loss


def test_ablation_agrees_with_running_the_whole_model(
    random: TransformerBridge, noisy: Noisy
) -> None:
    rest, latents, W_dec, _ = noisy
    found = effects.ablate(rest, latents, W_dec)
    for j in range(5):
        to = latents.clone()
        to[:, j] = 0
        rise = changed(random, noisy, to)[latents[:, j] != 0]
        torch.testing.assert_close(found.mean[j], rise.mean(dim=0), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.worst[j], rise.amax(dim=0), rtol=1e-9, atol=1e-12)


def test_clamping_agrees_with_running_the_whole_model(
    random: TransformerBridge, noisy: Noisy
) -> None:
    rest, latents, W_dec, _ = noisy
    levels = torch.arange(1.0, 6.0, dtype=torch.float64)
    silenced = torch.zeros(5, 5, dtype=torch.bool)
    silenced[2, [0, 4]] = True
    found = effects.clamp(rest, latents, W_dec, levels, silenced)
    for j in range(5):
        to = latents.clone()
        to[:, silenced[j]] = 0
        to[:, j] = levels[j]
        off = latents[:, j] <= 0
        rise = changed(random, noisy, to)[off]
        assert found.strings[j] == off.sum()
        torch.testing.assert_close(found.mean[j], rise.mean(dim=0), rtol=1e-9, atol=1e-12)


def test_interaction_agrees_with_running_the_whole_model(
    random: TransformerBridge, noisy: Noisy
) -> None:
    rest, latents, W_dec, _ = noisy
    found = effects.pairs(rest, latents, W_dec)
    on = latents > 0
    wanted = [(i, j) for i, j in itertools.combinations(range(5), 2) if (on[:, i] & on[:, j]).any()]
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
    for row, (i, j) in enumerate(wanted):
        without = [latents.clone() for _ in range(3)]
        without[0][:, i] = 0
        without[1][:, j] = 0
        without[2][:, [i, j]] = 0
        one, other, both = (changed(random, noisy, to) for to in without)
        extra = (both - one - other)[on[:, i] & on[:, j]]
        torch.testing.assert_close(found.interaction[row], extra.mean(dim=0), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            found.largest[row], extra.abs().amax(dim=0), rtol=1e-9, atol=1e-12
        )


def test_direct_logits_are_the_derivative_where_the_scale_stands_still(
    random: TransformerBridge,
) -> None:
    """A direction at right angles to the centred stream does not change LayerNorm's deviation."""
    rest = effects.rest_of(random, TOKENS[:1], RESID)
    stream = rest.resid[0]
    centred = stream - stream.mean(dim=-1, keepdim=True)
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(stream.shape, dtype=torch.float64, generator=generator)
    way -= way.mean(dim=-1, keepdim=True)
    way -= (way * centred).sum(-1, keepdim=True) / centred.square().sum(-1, keepdim=True) * centred
    with torch.no_grad():
        after, before = (random.unembed(random.ln_final(stream + h * way)) for h in (1e-5, -1e-5))
    slope = (after - before) / 2e-5
    found = effects.direct_logits(rest, way.flatten()[None])[0]
    torch.testing.assert_close(found, slope - slope.mean(dim=-1, keepdim=True), rtol=0, atol=1e-8)


def test_an_effect_is_divided_by_position() -> None:
    effect = effects.Effect(
        strings=torch.tensor([3, 3]),
        mean=torch.tensor([[1.0, 2.0, 6.0], [1.0, 2.0, 3.0]]),
        worst=torch.tensor([[4.0, 9.0, 7.0], [-1.0, -2.0, -3.0]]),
        flips=torch.tensor([[1, 2, 4], [1, 2, 4]]),
        moved_to=torch.zeros(2, 3, 5, dtype=torch.int64),
    )
    mask = torch.tensor([[True, False, True], [False, False, False]])
    found = effects.divided(effect, mask)
    assert found.mean.tolist() == [3.5, 0]
    assert found.worst.tolist() == [7, 0]
    assert found.flips.tolist() == [5, 0]


def test_a_summary_is_over_the_chosen_latents() -> None:
    effect = effects.Effect(
        strings=torch.tensor([3, 50, 5]),
        mean=torch.tensor([[1.0, 2.0], [70.0, 80.0], [5.0, 6.0]]),
        worst=torch.tensor([[4.0, 9.0], [70.0, 80.0], [-1.0, 7.0]]),
        flips=torch.tensor([[1, 2], [70, 80], [4, 8]]),
        moved_to=torch.zeros(3, 2, 5, dtype=torch.int64),
    )
    first = torch.tensor([[True, False]] * 3)
    summary = effects.summary({"ablated": effect}, first, torch.tensor([0, 2]))
    assert summary.to_dict("index") == {
        "ablated": {"cases": 8, "loss": 3.0, "worst": 4.0, "answers lost": 5}
    }
    assert [*summary.dtypes.astype(str)] == ["int64", "float64", "float64", "int64"]


def test_the_mean_over_firing_strings_leaves_the_others_out() -> None:
    latents = torch.tensor([[2.0, 0.0, -1.0], [4.0, 0.0, 3.0]])
    assert effects.mean_firing(latents).tolist() == [3, 0, 3]


def test_what_does_not_fit_is_refused(handbuilt: HandBuilt, by_hand: ByHand) -> None:
    with pytest.raises(ValueError, match="cannot be followed from the last residual stream"):
        effects.rest_of(handbuilt.model, TOKENS, "blocks.0.hook_attn_out")
    with pytest.raises(ValueError, match=r"\(3, 8\) do not fit 16 strings and 8 atoms"):
        effects.ablate(by_hand.rest, by_hand.latents[:3], by_hand.W_dec)
    with pytest.raises(ValueError, match="atoms have 5 numbers"):
        effects.ablate(by_hand.rest, by_hand.latents, by_hand.W_dec[:, :5])
