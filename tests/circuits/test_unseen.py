"""What is answered for new letters: on a circuit that is known, with one part broken at a time."""

import pytest
import torch
from handbuilt import HandBuilt
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import unseen
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.unseen import Answers, Mended, Restricted
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
HELD = Restricted(slot=1, seen="ac")
QUERY, MIRROR = 3, 2


@pytest.fixture
def copies(handbuilt: HandBuilt) -> Subject:
    """The hand-built model: it looks at the mirror position and copies every letter."""
    return subject(TINY, handbuilt.model)


def new_ids(handbuilt: HandBuilt) -> list[int]:
    return [handbuilt.ids[letter] for letter in "bd"]


def blind(of: Subject, new: list[int]) -> Subject:
    """It no longer looks at a new letter in the slot."""
    scores = of.tables.scores.clone()
    scores[:, QUERY, :, MIRROR, new] = -50.0
    return of._replace(tables=of.tables._replace(scores=scores))


def illiterate(of: Subject, new: list[int], old: int) -> Subject:
    """It reads every new letter in the slot as the same old one."""
    values = of.tables.values.clone()
    values[:, MIRROR, new] = values[:, MIRROR, [old]]
    return of._replace(tables=of.tables._replace(values=values))


def mute(of: Subject, directions: list[int]) -> Subject:
    """Its query never writes a new letter, whatever it is told."""
    embedded = of.tables.embedded.clone()
    embedded[QUERY, :, directions] -= 100.0
    return of._replace(tables=of.tables._replace(embedded=embedded))


def test_a_model_that_copies_everything_needs_no_mending(copies: Subject) -> None:
    new = unseen.is_new(TINY, TOKENS, HELD)
    result = unseen.answers(copies, new, [1])
    assert result[:3] == (1.0, 1.0, 1.0)
    assert min(result.weight, result.weight_seen) > 0.999
    assert unseen.mistakes(copies, HELD) == (0.0, 0.0, 1.0)
    assert unseen.mended(copies, HELD) == Mended(1.0, 1.0, 1.0, 1.0, 1.0)


def test_what_cannot_look_is_mended_by_looking(copies: Subject, handbuilt: HandBuilt) -> None:
    broken = blind(copies, new_ids(handbuilt))
    result = unseen.answers(broken, unseen.is_new(TINY, TOKENS, HELD), [1])
    assert (result.right_seen, result.others) == (1.0, 1.0)
    assert result.right < 0.5 and result.weight < 1e-9 < 0.999 < result.weight_seen
    mended = unseen.mended(broken, HELD)
    assert (mended.forced, mended.looking, mended.both) == (1.0, 1.0, 1.0)
    assert mended.reading == result.right
    assert mended.writing < 0.5


def test_what_cannot_read_is_mended_by_reading(copies: Subject, handbuilt: HandBuilt) -> None:
    broken = illiterate(copies, new_ids(handbuilt), handbuilt.ids["a"])
    assert unseen.mended(broken, HELD) == Mended(
        forced=0.0, looking=0.0, reading=1.0, writing=0.0, both=0.0
    )
    assert unseen.mistakes(broken, HELD).old_letter == 1.0


def test_what_cannot_write_is_mended_by_writing(copies: Subject, handbuilt: HandBuilt) -> None:
    broken = mute(copies, [handbuilt.write[i] for i in new_ids(handbuilt)])
    assert unseen.mended(broken, HELD) == Mended(
        forced=0.0, looking=0.0, reading=0.0, writing=1.0, both=1.0
    )
    mistakes = unseen.mistakes(broken, HELD)
    # The letter is still the best of the new ones: they are all held down alike.
    assert mistakes.confined == 1.0
    assert unseen.answers(broken, unseen.is_new(TINY, TOKENS, HELD), [1])[:3] == (0.0, 1.0, 1.0)


def test_a_wrong_map_is_seen_as_such(copies: Subject, handbuilt: HandBuilt) -> None:
    values = copies.tables.values.clone()
    ids = [handbuilt.ids[letter] for letter in "abcd"]
    values[:, :, ids] = values[:, :, [*ids[1:], ids[0]]]
    wrong = copies._replace(tables=copies.tables._replace(values=values))
    mistakes = unseen.mistakes(wrong, HELD)
    assert (mistakes.shifted, mistakes.old_letter) == (1.0, 1.0)


def test_an_answer_that_makes_an_old_pair_is_counted(copies: Subject, handbuilt: HandBuilt) -> None:
    """The pairs of training were aa, bb, cc, dd."""
    new = TOKENS[:, 1] != TOKENS[:, 2]
    assert unseen.old_partner(copies, new, [0, 1]) == 0.0
    # Both queries read the first letter: the query of the second answers its old partner.
    scores = copies.tables.scores.clone()
    scores[:, QUERY, :, 1] += 100.0
    led = copies._replace(tables=copies.tables._replace(scores=scores))
    assert unseen.old_partner(led, new, [0, 1]) == 1.0
    assert unseen.answers(led, new, [0, 1]).right == 0.0


def test_answers_count_all_slots_together(copies: Subject, handbuilt: HandBuilt) -> None:
    broken = blind(copies, new_ids(handbuilt))
    new = unseen.is_new(TINY, TOKENS, HELD)
    alone, both = (unseen.answers(broken, new, slots) for slots in ([1], [0, 1]))
    assert both.right == alone.right < 0.5
    assert both.weight == pytest.approx((alone.weight + 1) / 2, abs=1e-3)
    assert both.others == 1.0


def test_answers_are_those_of_the_model_run_with_hooks(random: TransformerBridge) -> None:
    of = subject(TINY, random)
    new = unseen.is_new(TINY, TOKENS, HELD)
    with torch.no_grad():
        logits, cache = random.run_with_cache(inputs(TOKENS))
    correct = logits.argmax(dim=-1) == TOKENS[:, 1:]
    weight = cache["blocks.0.attn.hook_pattern"][:, :, QUERY, MIRROR].mean(dim=1)
    expected = Answers(
        float(correct[new, QUERY].double().mean()),
        float(correct[~new, QUERY].double().mean()),
        float(correct[new][:, [2, 4, 5]].all(dim=1).double().mean()),
        float(weight[new].mean()),
        float(weight[~new].mean()),
    )
    assert unseen.answers(of, new, [1]) == pytest.approx(expected, abs=1e-12)


def test_forced_weights_are_those_of_the_model_run_with_hooks(random: TransformerBridge) -> None:
    of = subject(TINY, random)
    wanted = torch.linspace(0, 1, 2 * len(TOKENS), dtype=torch.float64).view(-1, 2)
    weight = unseen.weights(of, TOKENS, 1, wanted)
    assert torch.equal(weight[:, :, MIRROR], wanted)
    torch.testing.assert_close(weight.sum(dim=-1), torch.ones_like(wanted))
    own = unseen.weights(of, TOKENS, 1)
    ratio = weight[1:-1] / own[1:-1]
    torch.testing.assert_close(ratio[:, :, 0], ratio[:, :, 3])

    def force(pattern: torch.Tensor, hook: object) -> torch.Tensor:
        moved = pattern.clone()
        moved[:, :, QUERY, : QUERY + 1] = weight
        return moved

    with torch.no_grad(), random.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", force)]):
        logits = random(inputs(TOKENS))[:, QUERY]
    torch.testing.assert_close(unseen.answer(of, TOKENS, QUERY, weight), logits)


def test_an_exchanged_code_keeps_the_mean_of_its_target(random: TransformerBridge) -> None:
    of = subject(TINY, random)
    before, after = (
        own.tables.values for own in (of, unseen.exchanged(of, HELD, source=0, target=1))
    )
    ids = dict(zip("abcd", range(2, 6), strict=True))
    seen, new = [ids[letter] for letter in "ac"], [ids[letter] for letter in "bd"]
    codes = [
        values[:, place, new] - values[:, place, seen].mean(dim=1, keepdim=True)
        for values, place in ((before, 1), (after, 2))
    ]
    torch.testing.assert_close(*codes)
    unchanged = torch.ones(before.shape[1:3], dtype=torch.bool)
    unchanged[2, new] = False
    assert torch.equal(after[:, unchanged], before[:, unchanged])
    own = unseen.exchanged(of, HELD, source=1, target=1).tables.values
    torch.testing.assert_close(own, before)


@pytest.mark.parametrize("seen", ["", "abcd"])
def test_some_letters_must_be_new_and_some_seen(copies: Subject, seen: str) -> None:
    with pytest.raises(ValueError, match=f"{len(seen)} of 4 letters were seen"):
        unseen.mistakes(copies, Restricted(1, seen))


def test_what_does_not_exist_is_refused(copies: Subject) -> None:
    with pytest.raises(ValueError, match="16 of 16 strings are new"):
        unseen.answers(copies, torch.ones(16, dtype=torch.bool), [0])
    short = Task(alphabet="ab", half_length=1)
    with pytest.raises(ValueError, match="this task has one"):
        unseen.mended(copies._replace(task=short), Restricted(0, "a"))
