"""The row of numbers of one dictionary: of a hand-made one, and of the shipped table."""

from typing import Any

import pytest
import torch
from handbuilt import HandBuilt
from letterbuilt import KEYS, TINY, TOKENS, ByHand

from palindrome_lens.dictionary import verdicts
from palindrome_lens.dictionary.verdicts import Case, Seen
from palindrome_lens.sae import choosing, leaderboard, standings

CASE = Case(True, 0, "TopK", 3, 9, 0)


def seen(built: HandBuilt, share: float) -> Seen:
    dictionary: Any = ByHand(built, share)
    x = dictionary.rest.resid.flatten(start_dim=1)
    material: Any = leaderboard.Material(built.model, TOKENS, x, None, 0.0)  # type: ignore[arg-type]
    rebuilt = dictionary.latents @ dictionary.W_dec
    return Seen(
        material,
        dictionary,
        dictionary.latents,
        rebuilt,
        dictionary.rules,
        dictionary.rest,
        dictionary.chosen,
    )


def measure(built: HandBuilt, share: float, monkeypatch: pytest.MonkeyPatch) -> verdicts.Numbers:
    monkeypatch.setattr(verdicts, "Task", lambda: TINY)
    monkeypatch.setattr(verdicts, "HOOK", "blocks.0.hook_resid_post")
    monkeypatch.setattr(verdicts, "look", lambda _: seen(built, share))
    return verdicts.measure(CASE)


def test_letters_that_are_needed_and_enough(
    handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = measure(handbuilt, 2.0, monkeypatch)
    assert (numbers.live, numbers.single, numbers.pairs) == (9, len(KEYS), len(KEYS))
    assert (numbers.fired, numbers.swap_cases) == (8 * 4, 8 * 12)
    assert (numbers.lost, numbers.lost_elsewhere, numbers.error_kept) == (32, 0, 32)
    assert (numbers.idle, numbers.complete) == (0, 8)
    assert (numbers.swapped, numbers.rivals_on) == (1.0, 1.0)
    assert numbers.raised == 8
    assert numbers.random_lost < numbers.lost


def test_letters_that_are_written_elsewhere_too(
    handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weak latent takes a part of a letter that stands there without it."""
    numbers = measure(handbuilt, 0.3, monkeypatch)
    assert (numbers.lost, numbers.idle, numbers.complete) == (0, 8, 0)
    assert (numbers.swapped, numbers.rivals_on, numbers.nothing) == (0.0, 0.0, 0.0)
    assert numbers.raised == 8


def test_survivors_are_compared_letter_by_letter(
    handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole stream at its mean is the same for both; what is lost without a latent is not."""
    needed, spared = (measure(handbuilt, share, monkeypatch) for share in (2.0, 0.3))
    assert needed.agree + spared.agree == len(KEYS)
    # All survive without a weak latent, none without a strong one.
    assert needed.agree_by_chance == needed.agree
    assert spared.agree_by_chance == spared.agree


def test_what_is_lost_without_a_latent_and_answered_without_anything(
    handbuilt: HandBuilt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "Task", lambda: TINY)
    monkeypatch.setattr(verdicts, "HOOK", "blocks.0.hook_resid_post")
    by_hand = seen(handbuilt, 2.0)
    agreed = verdicts.survivors(by_hand)
    assert torch.equal(agreed.lost, by_hand.chosen.has)
    # Each letter in each slot is on as many strings, and has one latent.
    assert agreed.attention_alone == agreed.without_mlp.mean() < 1


def test_the_shipped_table_is_about_the_setting_that_is_chosen() -> None:
    setting = choosing.without_labels(standings.read())
    assert list(verdicts.read()) == verdicts.cases(setting)
    assert torch.tensor([n.swapped for n in verdicts.read().values()]).isfinite().all()
