"""What a reconstruction costs the model, where the answer is known."""

import pytest
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.interventions import mean_ablate, zero_ablate
from palindrome_lens.evaluation import evaluate
from palindrome_lens.model import ModelConfig, activations, hooked
from palindrome_lens.sae.autoencoders import Autoencoder, SAEConfig, init_autoencoder
from palindrome_lens.sae.splicing import CrossEntropy, cross_entropy
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe, train

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
CONFIG = SAEConfig(architecture="gelu-kl", d_sae=96)


class Linear(Autoencoder):
    """Latents are a multiple of the inputs."""

    factor = 1.0

    def encode(self, x: Tensor) -> Tensor:
        return self.factor * x


def linear(factor: float, bias: Tensor) -> Linear:
    autoencoder = Linear(CONFIG, len(bias))
    autoencoder.factor = factor
    with torch.no_grad():
        autoencoder.W_dec.copy_(torch.eye(len(bias)))
        autoencoder.b_dec.copy_(bias)
    return autoencoder


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    recipe = Recipe(steps=100, batch_size=8, test_fraction=0.25)
    return hooked(train(TINY, ModelConfig(), recipe)[0], ModelConfig(), TINY)


def test_recovered_cross_entropy_by_hand() -> None:
    found = CrossEntropy(clean=1.0, spliced=1.5, mean_ablated=3.0, zero_ablated=2.0)
    assert found.recovered_from_mean == pytest.approx(0.75)
    assert found.recovered_from_zero == pytest.approx(0.5)
    assert found.added == pytest.approx(0.5)


def test_splicing_in_the_activations_themselves_recovers_everything(
    model: TransformerBridge,
) -> None:
    found = cross_entropy(
        model, TOKENS, CONFIG.hook, linear(1.0, torch.zeros(96, dtype=torch.float64))
    )
    assert found.clean == evaluate(model, TOKENS).mean_loss
    assert found.spliced == pytest.approx(found.clean, abs=1e-12)
    assert found.recovered_from_mean == pytest.approx(1)
    assert found.recovered_from_zero == pytest.approx(1)


def test_splicing_in_the_mean_or_zero_recovers_nothing_from_it(model: TransformerBridge) -> None:
    written = activations(model, inputs(TOKENS), [CONFIG.hook])[CONFIG.hook].flatten(start_dim=1)
    mean = cross_entropy(model, TOKENS, CONFIG.hook, linear(0.0, written.mean(dim=0)))
    zero = cross_entropy(
        model, TOKENS, CONFIG.hook, linear(0.0, torch.zeros(96, dtype=torch.float64))
    )
    assert mean.spliced == pytest.approx(mean_ablate(model, TOKENS, CONFIG.hook).mean_loss)
    assert mean.recovered_from_mean == pytest.approx(0, abs=1e-9)
    assert zero.spliced == pytest.approx(zero_ablate(model, TOKENS, CONFIG.hook).mean_loss)
    assert zero.recovered_from_zero == pytest.approx(0, abs=1e-9)
    assert mean.zero_ablated == zero.zero_ablated != mean.mean_ablated


def test_positions_one_by_one_are_spliced_in_where_they_were(model: TransformerBridge) -> None:
    scaled = cross_entropy(model, TOKENS, CONFIG.hook, lambda x: 0.5 * x)
    one_by_one = cross_entropy(
        model, TOKENS, CONFIG.hook, lambda x: (0.5 * x.reshape(-1, 16)).view_as(x)
    )
    assert one_by_one == scaled
    assert scaled.spliced != scaled.clean


def test_an_autoencoder_of_another_width_or_hook_is_refused(model: TransformerBridge) -> None:
    other = init_autoencoder(CONFIG, torch.zeros(1, 95, dtype=torch.float64))
    with pytest.raises(ValueError, match="takes 95 numbers per sample, not 96"):
        cross_entropy(model, TOKENS, CONFIG.hook, other)
    with pytest.raises(ValueError, match=r"no hook 'hook_mlp'; near ones are .*hook_mlp_out"):
        cross_entropy(model, TOKENS, "hook_mlp", other)
