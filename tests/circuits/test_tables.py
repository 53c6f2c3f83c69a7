"""Tables against the model they were read off, and against a circuit that is known."""

import pytest
import torch
from handbuilt import LOUDNESS, SHARPNESS, HandBuilt, random_model
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.patterns import patterns
from palindrome_lens.circuits.tables import finish, handed_over, pattern, tabulate
from palindrome_lens.evaluation import evaluate
from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())
TOKENS = inputs(STRINGS)


@pytest.fixture(scope="module", params=["LN", None])
def random(request: pytest.FixtureRequest) -> TransformerBridge:
    return random_model(TINY, request.param)


def test_the_handbuilt_model_does_what_it_was_built_for(handbuilt: HandBuilt) -> None:
    tokens = encode(handbuilt.task, handbuilt.task.strings())
    assert evaluate(handbuilt.model, tokens).solved(handbuilt.task).all()


def test_scores_of_the_handbuilt_model_are_those_put_there(handbuilt: HandBuilt) -> None:
    scores = tabulate(handbuilt.model).scores
    expected = torch.zeros_like(scores)
    for query in handbuilt.task.mirrored_positions:
        expected[:, query, :, handbuilt.task.mirror_position(query)] = SHARPNESS
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


def test_values_of_the_handbuilt_model_are_those_put_there(handbuilt: HandBuilt) -> None:
    values = tabulate(handbuilt.model).values
    expected = torch.zeros_like(values)
    for letter in handbuilt.task.alphabet:
        token = handbuilt.ids[letter]
        expected[:, :, token, handbuilt.write[token]] = LOUDNESS
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)


def test_scores_are_those_of_the_queries_and_keys_the_model_computes(
    random: TransformerBridge,
) -> None:
    # `hook_attn_scores` is no witness: in transformer-lens 4.3.0 it holds the pattern.
    names = ["blocks.0.attn.hook_q", "blocks.0.attn.hook_k"]
    computed = activations(random, TOKENS, names)
    q, k = (computed[name].reshape(16, TINY.n_positions, 2, 5) for name in names)
    table = tabulate(random).scores
    for query in range(TINY.n_positions):
        for key in range(query + 1):
            wanted = (q[:, query] * k[:, key]).sum(dim=-1) / 5**0.5
            looked_up = table[:, query, TOKENS[:, query], key, TOKENS[:, key]].T
            torch.testing.assert_close(looked_up, wanted, rtol=0, atol=1e-12)


def test_patterns_are_those_the_model_computes(random: TransformerBridge) -> None:
    computed, tables = patterns(random, STRINGS), tabulate(random)
    for query in range(TINY.n_positions):
        found = pattern(tables, TOKENS, query)
        torch.testing.assert_close(found, computed[:, :, query, : query + 1], rtol=0, atol=1e-12)


def test_what_is_handed_over_adds_up_to_the_output_of_attention(random: TransformerBridge) -> None:
    name, tables = "blocks.0.hook_attn_out", tabulate(random)
    computed = activations(random, TOKENS, [name])[name]
    for query in range(TINY.n_positions):
        found = handed_over(tables, TOKENS, query).sum(dim=(1, 2)) + tables.bias
        torch.testing.assert_close(found, computed[:, query], rtol=0, atol=1e-12)


def test_the_tables_followed_to_the_end_give_the_logits(random: TransformerBridge) -> None:
    tables = tabulate(random)
    with torch.no_grad():
        logits = random(TOKENS)
    for query in range(TINY.n_positions):
        written = handed_over(tables, TOKENS, query).sum(dim=(1, 2)) + tables.bias
        found = finish(random, tables.embedded[query, TOKENS[:, query]] + written)
        torch.testing.assert_close(found, logits[:, query], rtol=0, atol=1e-12)


def test_a_model_of_two_layers_has_no_tables() -> None:
    config = ModelConfig(n_layers=2)
    with pytest.raises(ValueError, match="1 layer; this one has 2"):
        tabulate(hooked(init_model(config, TINY), config, TINY))
