"""Latents about one letter: found by their rules, switched off and swapped, against full runs."""

import pytest
import torch
from handbuilt import HandBuilt
from letterbuilt import KEYS, QUERY, TINY, ByHand

from palindrome_lens.dictionary import effects, letters, rules
from palindrome_lens.dictionary.letters import Letters
from palindrome_lens.dictionary.targets import wrote


@pytest.fixture(scope="module")
def by_hand(handbuilt: HandBuilt) -> ByHand:
    return ByHand(handbuilt)


def test_latents_are_chosen_by_their_rules(by_hand: ByHand) -> None:
    chosen = by_hand.chosen
    assert chosen.latents.tolist() == list(range(8))
    assert chosen.slots.tolist() == [slot for slot, _ in KEYS]
    assert "".join(TINY.alphabet[i] for i in chosen.letters.tolist()) == "abcdabcd"
    assert chosen.queries.tolist() == [QUERY[slot] for slot, _ in KEYS]
    assert torch.equal(chosen.has, by_hand.has)


def test_rules_about_no_letter_or_two_are_left_out() -> None:
    grid = torch.zeros(4, 4, dtype=torch.bool)
    two, corner = grid.clone(), grid.clone()
    two[:2] = True
    corner[1, 2] = True
    read_off = {
        j: rules.shortest(TINY, support.flatten())
        for j, support in {3: two, 5: corner, 7: grid.index_fill(1, torch.tensor(2), True)}.items()
    }
    assert letters.letter_latents(TINY, read_off).latents.tolist() == [7]
    with pytest.raises(ValueError, match="None of 1 rules"):
        letters.letter_latents(TINY, {3: read_off[3]})


def test_rivals_are_the_other_letters_of_a_slot(by_hand: ByHand) -> None:
    rival = letters.rivals(by_hand.chosen, 9)
    assert rival.sum(dim=1).tolist() == [3] * 8 + [0]
    assert not rival.diagonal().any()
    assert not rival[0, 4:].any()


def test_random_directions_are_as_long_at_each_position(by_hand: ByHand) -> None:
    drawn = letters.alike_at_random(by_hand.rest, by_hand.W_dec, seed=1)
    shape = (9, *by_hand.rest.resid.shape[1:])
    torch.testing.assert_close(drawn.view(shape).norm(dim=2), by_hand.W_dec.view(shape).norm(dim=2))
    assert torch.equal(drawn, letters.alike_at_random(by_hand.rest, by_hand.W_dec, seed=1))
    assert not torch.allclose(drawn, letters.alike_at_random(by_hand.rest, by_hand.W_dec, seed=2))


@pytest.mark.parametrize("share", [0.3, 0.6, 2.0])
def test_answers_lost_are_those_of_an_ablation_of_everything(
    handbuilt: HandBuilt, share: float
) -> None:
    partly = ByHand(handbuilt, share)
    lost = letters.answers_lost(partly.rest, partly.latents, partly.W_dec, partly.chosen)
    whole = effects.ablate(partly.rest, partly.latents, partly.W_dec)
    at_query = whole.flips[partly.chosen.latents, partly.chosen.queries]
    assert lost.sum(dim=1).tolist() == at_query.tolist()
    assert bool((lost <= partly.has).all())


def test_a_letter_is_lost_on_all_of_its_strings(by_hand: ByHand) -> None:
    lost = letters.answers_lost(by_hand.rest, by_hand.latents, by_hand.W_dec, by_hand.chosen)
    assert torch.equal(lost, by_hand.has)
    assert letters.still_answered(lost, by_hand.chosen).tolist() == [0.0] * 8
    half = lost.clone()
    half[0, by_hand.has[0].nonzero()[:2, 0]] = False
    assert letters.still_answered(half, by_hand.chosen).tolist() == [0.5] + [0.0] * 7


def test_an_answer_that_was_wrong_before_is_not_lost(by_hand: ByHand) -> None:
    wrong = by_hand.rest._replace(answer=torch.zeros_like(by_hand.rest.answer))
    lost = letters.answers_lost(wrong, by_hand.latents, by_hand.W_dec, by_hand.chosen)
    assert not lost.any()
    assert letters.answered(wrong, by_hand.chosen).tolist() == [0.0] * 8
    assert letters.answered(by_hand.rest, by_hand.chosen).tolist() == [1.0] * 8


@pytest.mark.parametrize("share", [0.3, 0.9, 2.0])
def test_a_swap_is_that_of_the_whole_residual_stream(handbuilt: HandBuilt, share: float) -> None:
    partly = ByHand(handbuilt, share)
    levels = effects.mean_firing(partly.latents)
    counts = letters.swapped(TINY, partly.rest, partly.latents, partly.W_dec, partly.chosen, levels)
    silenced = letters.rivals(partly.chosen, 9)
    clamped = {
        "with_rivals": effects.clamp(partly.rest, partly.latents, partly.W_dec, levels),
        "alone": effects.clamp(partly.rest, partly.latents, partly.W_dec, levels, silenced),
        "nothing": effects.clamp(partly.rest, partly.latents, partly.W_dec, 0 * levels, silenced),
    }
    assert counts.cases.tolist() == [12] * 8
    for name, effect in clamped.items():
        answers = wrote(TINY, effect, partly.rules)
        assert getattr(counts, name).tolist() == [answers[j] for j in range(8)], name


def test_a_letter_that_was_answered_before_is_not_written_by_a_swap(by_hand: ByHand) -> None:
    first = by_hand.rest.answer[by_hand.has[0].nonzero()[0, 0], QUERY[0]]
    always = by_hand.rest._replace(answer=torch.full_like(by_hand.rest.answer, int(first)))
    levels = effects.mean_firing(by_hand.latents)
    counts = letters.swapped(TINY, always, by_hand.latents, by_hand.W_dec, by_hand.chosen, levels)
    assert counts.cases.tolist() == [12] * 8
    # Latents 0 and 4 are about this letter.
    assert counts.alone.tolist() == [0, 12, 12, 12, 0, 12, 12, 12]


def test_own_letters_are_raised_and_random_ones_hardly(by_hand: ByHand) -> None:
    assert letters.raised_most(TINY, by_hand.rest, by_hand.W_dec, by_hand.chosen).all()
    opposite = letters.raised_most(TINY, by_hand.rest, -by_hand.W_dec, by_hand.chosen)
    assert not opposite.any()


def test_letters_are_listed_in_order_by_slot() -> None:
    chosen = Letters(
        torch.tensor([1, 4, 6]),
        torch.tensor([0, 0, 1]),
        torch.tensor([3, 1, 0]),
        torch.tensor([4, 4, 3]),
        torch.zeros(3, 16, dtype=torch.bool),
    )
    shares = torch.tensor([0.9, 0.6, 0.5])
    assert letters.listed(TINY, chosen, shares, 0) == "b d"
    assert letters.listed(TINY, chosen, shares, 1) == ""
    assert letters.listed(TINY, chosen, shares, 0, above=0.7) == "d"
