"""The cards of a hand-made dictionary, whose every entry is known."""

import itertools
import json
from typing import Any

import numpy
import pytest
import torch
from handbuilt import LOUDNESS, HandBuilt
from torch import Tensor

from palindrome_lens import anova
from palindrome_lens.dictionary import effects, rules
from palindrome_lens.dictionary.targets import targets_of
from palindrome_lens.pages.latents import cards, schema
from palindrome_lens.task import Task, letters
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
KEYS = list(itertools.product((0, 1), "abcd"))
QUERY = {0: 4, 1: 3}


class ByHand:
    """Latent 4 · slot + letter reads that letter at its query and writes it there; 8 is dead."""

    def __init__(self, built: HandBuilt, shape: torch.Size) -> None:
        atoms = torch.zeros(9, *shape, dtype=torch.float64)
        for j, (slot, letter) in enumerate(KEYS):
            atoms[j, QUERY[slot], built.write[built.ids[letter]]] = 1.0
        atoms[8, 0, 0] = 1.0
        self.W_dec = atoms.flatten(start_dim=1)

    def encode(self, x: Tensor) -> Tensor:
        latents = x @ self.W_dec.T
        latents[latents < LOUDNESS / 2] = 0
        latents[:, 8] = 0
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.W_dec


@pytest.fixture(scope="module")
def collected(handbuilt: HandBuilt) -> list[schema.Card]:
    hook = "blocks.0.hook_resid_post"
    rest = effects.rest_of(handbuilt.model, TOKENS, hook)
    x = rest.resid.flatten(start_dim=1)
    dictionary = ByHand(handbuilt, rest.resid.shape[1:])
    latents = dictionary.encode(x)
    found = {j: rules.shortest(TINY, latents[:, j] > 0) for j in range(8)}
    split = anova.decompose(anova.by_slot(TINY, x), 2)
    evidence = cards.Evidence(
        dictionary,
        x,
        latents,
        found,
        {
            "ablated": effects.ablate(rest, latents, dictionary.W_dec),
            "at its largest": effects.clamp(
                rest, latents, dictionary.W_dec, 9 * latents.amax(dim=0)
            ),
        },
        effects.pairs(rest, latents, dictionary.W_dec),
        torch.stack([split.effects[(slot,)].reshape(4, -1) for slot in (0, 1)]),
    )
    return cards.collect(TINY, rest, evidence)


@pytest.mark.parametrize("latent", range(8))
def test_a_card_says_what_was_put_in(collected: list[schema.Card], latent: int) -> None:
    slot, letter = KEYS[latent]
    card = collected[latent]
    name = letter + "·" if slot == 0 else "·" + letter
    assert (card["rule"], card["support"], card["exceptions"]) == (name, 4, 0)
    assert (card["precision"], card["recall"], card["queries"]) == (1, 1, [QUERY[slot]])
    assert card["reference"] == name
    assert card["logits"]["position"] == QUERY[slot]
    assert card["logits"]["up"][0]["token"] == letter
    assert [int(n) for n in card["histogram"].split()] == [0] * 15 + [4]


def test_effects_are_on_target_and_the_letter_is_written(collected: list[schema.Card]) -> None:
    for card in collected[:8]:
        clamped = card["effects"]["at its largest"]
        assert (clamped["strings"], clamped["wrote"], clamped["on_flips"]) == (12, 12, 12)
        assert (clamped["off_flips"], clamped["off_mean"], clamped["off_worst"]) == (0, 0, 0)
        ablated = card["effects"]["ablated"]
        assert (ablated["strings"], ablated["on_flips"], ablated["off_flips"]) == (4, 4, 0)
        assert ablated["on_worst"] >= ablated["on_mean"] > 1


def test_the_strongest_strings_hold_the_letter_and_are_read_at_its_query(
    collected: list[schema.Card],
) -> None:
    for (slot, letter), card in zip(KEYS, collected, strict=False):
        assert len(card["strongest"]) == 4
        for row in card["strongest"]:
            assert row["letters"][slot] == letter
            assert row["activation"] == pytest.approx(LOUDNESS, rel=1e-2)
            lost = [int(share) for share in row["lost"].split()]
            assert lost == [100 if p == QUERY[slot] else 0 for p in range(6)]


def test_a_dead_latent_has_an_atom_and_nothing_else(collected: list[schema.Card]) -> None:
    dead = collected[8]
    assert (dead["latent"], dead["support"]) == (8, 0)
    assert not {"rule", "effects", "strongest", "histogram", "together"} & dead.keys()
    assert dead["atom"].startswith("100 0 0 ")


def test_latents_of_one_slot_exclude_each_other(collected: list[schema.Card]) -> None:
    others = {other["latent"] for other in collected[0]["together"]}
    # Each of the others in its slot correlates with −1/3; those of the other slot, with 0.
    assert not others & {1, 2, 3}
    for latent, slots in ((0, range(4, 8)), (6, range(4))):
        partner = collected[latent]["partner"]
        assert partner is not None and partner["latent"] in slots
        assert partner["strings"] == 1


def test_correlations_are_numpys_and_0_for_the_dead() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(40, 4, dtype=torch.float64, generator=generator)
    latents[:, 2] = 0
    found = cards.correlations(latents)
    kept = [0, 1, 3]
    expected = torch.from_numpy(numpy.corrcoef(latents[:, kept].numpy(), rowvar=False))
    torch.testing.assert_close(found[kept][:, kept], expected)
    assert found[2].abs().sum() == found[:, 2].abs().sum() == 0


def test_the_nearest_leave_out_the_latent_itself_and_equals_come_in_order() -> None:
    similarity = torch.tensor([[1.0, 0.5, 0.5, 0.9], [0.5, 1.0, 0, 0]])
    assert cards.nearest(similarity, 0) == [
        {"latent": 3, "similarity": 0.9},
        {"latent": 1, "similarity": 0.5},
        {"latent": 2, "similarity": 0.5},
    ]


def test_a_histogram_counts_every_firing_string_once() -> None:
    activation = torch.tensor([0.0, -1.0, 0.5, 8.0, 16.0, 15.5])
    counts = cards.histogram(activation)
    assert sum(counts) == 4
    assert {i: n for i, n in enumerate(counts) if n} == {0: 1, 8: 1, 15: 2}


def test_what_is_meant_leaves_out_the_free_positions() -> None:
    given = letters(TINY, TOKENS)
    rule = rules.shortest(TINY, given[:, 0] == 2)
    found = targets_of(TINY, {1: rule}, 2)
    assert found.on.int().tolist() == [[0] * 6, [0, 0, 0, 0, 1, 0]]
    assert found.off.int().tolist() == [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 1]]


def test_cards_are_stored_as_json(collected: list[schema.Card]) -> None:
    bundle: dict[str, Any] = schema.Latents(TINY, collected)._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[schema.MIME])) == {"positions": 6, "cards": collected}
    assert bundle["text/plain"] == "9 latents, each with a card of its own."
