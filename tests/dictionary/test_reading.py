"""Atoms, strongest strings, and rules read off hand-built activations."""

import pytest
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.dictionary.reading import (
    atoms,
    encoder_directions,
    read_rule,
    strongest_latents,
    strongest_strings,
    usual_numbers,
)
from palindrome_lens.sae.autoencoders import GeluKL, SAEConfig
from palindrome_lens.sae.training import flat_activations
from palindrome_lens.task import Task, letters
from palindrome_lens.tokenizer import encode

TASK = Task(alphabet="abcd")
STRINGS = TASK.strings()
LETTERS = letters(TASK, encode(TASK, STRINGS))


def where(*halves: str, value: float = 1.0) -> Tensor:
    """An activation that is ``value`` on strings whose first half fits (``.`` fits any letter)."""

    def fits(text: str) -> bool:
        return any(
            all(wanted in (".", got) for wanted, got in zip(half, text[1:4], strict=True))
            for half in halves
        )

    return torch.tensor([value if fits(text) else 0.0 for text in STRINGS], dtype=torch.float64)


def test_an_atom_is_what_its_latent_adds_at_each_position() -> None:
    autoencoder = GeluKL(SAEConfig(architecture="gelu-kl"), 8 * 16)
    found = atoms(autoencoder, 8)
    assert found.shape == (512, 8, 16) and not found.requires_grad
    one = torch.zeros(1, 512, dtype=torch.float64)
    one[0, 37] = 1
    written = (autoencoder.decode(one) - autoencoder.b_dec)[0]
    for position in range(8):
        torch.testing.assert_close(
            found[37, position], written[16 * position : 16 * (position + 1)].detach()
        )


def test_an_encoder_direction_is_what_its_latent_listens_to_at_each_position() -> None:
    autoencoder = GeluKL(SAEConfig(architecture="gelu-kl"), 8 * 16)
    found = encoder_directions(autoencoder, 8)
    assert found.shape == (512, 8, 16)
    x = torch.zeros(1, 8 * 16, dtype=torch.float64)
    x[0, 16 * 5 + 3] = 1
    heard = (x @ autoencoder.W_enc)[0]
    torch.testing.assert_close(found[:, 5, 3], heard.detach())


def test_the_usual_numbers_are_counted_over_all_strings(random: TransformerBridge) -> None:
    task = Task(alphabet="abcd", half_length=2)
    tokens = encode(task, task.strings())
    x = flat_activations(random, tokens, "blocks.0.hook_mlp_out")
    config = SAEConfig(architecture="gelu-kl", d_sae=3)
    autoencoder = GeluKL(config, x.shape[1])
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.zero_()
        # Nothing is read but the biases: of the GELUs one is above 0, one below, and one 0.
        autoencoder.b_enc.copy_(torch.tensor([1.0, -1.0, 0.0]))
        autoencoder.b_dec.copy_(x.mean(dim=0))
    usual = usual_numbers(random, tokens, x, autoencoder)
    assert (usual.l0, usual.above, usual.live, usual.positive_mean) == (2, 1, 1, 1)
    assert usual.explained_variance == pytest.approx(0, abs=1e-12)
    assert usual.recovered_from_mean == pytest.approx(0, abs=1e-9)


def test_the_strongest_latents_vary_most_however_large_they_are() -> None:
    latents = torch.tensor([[100.0, 0.0, 1.0, 0.0], [100.0, 4.0, 3.0, 0.1], [100.0, 0.0, 2.0, 0.0]])
    assert strongest_latents(latents, 3).tolist() == [1, 2, 3]


def test_the_strongest_strings_are_the_first_of_a_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    found = strongest_strings(latents, STRINGS, 2, n=6)
    ranked = sorted(zip(latents[:, 2].tolist(), STRINGS, strict=True), reverse=True)
    assert list(zip(found.activations, found.strings, strict=True)) == ranked[:6]
    assert found.firing_count == sum(value > 0 for value, _ in ranked)
    assert found.latent == 2


@pytest.mark.parametrize(
    ("half", "text", "n"),
    [
        ("a.c", "a·c", 4),
        ("..d", "··d", 16),
        ("bcd", "bcd", 1),
        ("...", "···", 64),
        ("aa.", "aa·", 4),
    ],
)
def test_a_rule_is_read_exactly(half: str, text: str, n: int) -> None:
    rule = read_rule(TASK, LETTERS, where(half))
    assert rule.text == text
    assert (rule.precision, rule.recall, rule.n_strings) == (1.0, 1.0, n)


def test_strings_at_or_below_half_the_maximum_do_not_count() -> None:
    activation = where("a.c", value=2.0) + where("d..", value=1.0)
    rule = read_rule(TASK, LETTERS, activation)
    assert (rule.text, rule.precision, rule.recall) == ("a·c", 1.0, 1.0)


def test_precision_and_recall_are_counted_over_all_strings() -> None:
    activation = where("a.c") + where("ddd", "dbd", value=0.9)
    activation[STRINGS.index("<abc|cba>")] = 0.0
    rule = read_rule(TASK, LETTERS, activation)
    assert rule.text == "a·c"
    assert rule.precision == pytest.approx(3 / 4)
    assert rule.recall == pytest.approx(3 / 5)


def test_a_choice_of_letters_has_no_good_rule() -> None:
    rule = read_rule(TASK, LETTERS, where("ab.", "ba.", "cd.", "dc."))
    assert min(rule.precision, rule.recall) < 0.5


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_a_latent_that_is_nowhere_active_has_no_rule(value: float) -> None:
    with pytest.raises(ValueError, match=f"largest activation is {value:g}; a rule needs"):
        read_rule(TASK, LETTERS, torch.full((64,), value))
