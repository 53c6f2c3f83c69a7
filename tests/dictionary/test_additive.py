"""What letters account for alone: on values made of known parts, and with the model run on them."""

import pytest
import torch
from handbuilt import HandBuilt
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import anova, evaluation
from palindrome_lens.circuits.interventions import evaluate_replaced
from palindrome_lens.dictionary import additive
from palindrome_lens.model import activations
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
RESID = "blocks.0.hook_resid_post"
MLP = "blocks.0.hook_mlp_out"


def made_of(first: float, second: float, together: float) -> anova.Decomposition:
    """At query 3 parts of known variance: of the first letter, of the second, of both."""
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    values = torch.zeros(4, 4, 6, 2, dtype=torch.float64)
    values[..., 3, 0] = first * sign[:, None] + second * sign
    values[..., 3, 1] = together * torch.outer(sign, sign)
    values[..., 4, 0] = first * sign[:, None]
    return anova.decompose(values, 2)


def test_parts_at_a_query_are_those_that_were_put_there() -> None:
    split = made_of(1.0, 2.0, 3.0)
    parts = additive.parts_at(TINY, split, 3)
    torch.testing.assert_close(parts * 14, torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
    with pytest.raises(ValueError, match="position 0 do not vary"):
        additive.parts_at(TINY, split, 0)


def test_the_own_letter_is_that_of_the_mirror() -> None:
    # Query 3 predicts the second letter, query 4 the first.
    own = additive.own_letter(TINY, made_of(1.0, 2.0, 3.0))
    assert own == pytest.approx({3: 4 / 14, 4: 1.0})


def test_orders_share_the_variance() -> None:
    shares = additive.by_order(made_of(1.0, 2.0, 3.0))
    assert shares == pytest.approx({1: 6 / 15, 2: 9 / 15})
    one, two = additive.by_position(made_of(1.0, 2.0, 3.0)).values()
    assert (15 * one).tolist() == pytest.approx([0, 0, 0, 5, 1, 0])
    assert (15 * two).tolist() == pytest.approx([0, 0, 0, 9, 0, 0])


def test_similarity_is_the_mean_over_pairs() -> None:
    values = torch.zeros(4, 4, 6, 2, dtype=torch.float64)
    # The first letters point north, south, east, west: of six pairs two are opposite.
    compass = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]], dtype=torch.float64)
    values[:, :, 4] = compass[:, None]
    values[:, :, 3] = torch.tensor([1, 1, -1, -1], dtype=torch.float64)[:, None] * compass[0]
    means = additive.similarity(TINY, anova.decompose(values, 2))
    torch.testing.assert_close(means, torch.tensor([1 / 3, 1.0], dtype=torch.float64))


def test_random_directions_sum_to_nothing_and_are_sorted() -> None:
    drawn = additive.similarity_by_chance(2, 5, draws=10)
    # Two vectors that sum to 0 are opposite.
    torch.testing.assert_close(drawn, torch.ones(10, dtype=torch.float64))
    many = additive.similarity_by_chance(26, 16, draws=50)
    assert torch.equal(many, many.sort().values)
    assert 0.18 < many[0] < many[-1] < 0.24
    assert torch.equal(many, additive.similarity_by_chance(26, 16, draws=50))


def test_a_model_with_all_its_parts_is_as_it_was(random: TransformerBridge) -> None:
    split = additive.decomposed(TINY, random, TOKENS, MLP)
    runs = additive.replaced(TINY, random, TOKENS, MLP, split)
    whole = evaluation.evaluate(random, TOKENS)
    torch.testing.assert_close(runs.kept[2].loss, whole.loss, rtol=0, atol=1e-12)
    x = activations(random, inputs(TOKENS), [MLP])[MLP]
    mean = evaluate_replaced(random, TOKENS, MLP, x.mean(dim=0).expand_as(x))
    torch.testing.assert_close(runs.kept[0].loss, mean.loss, rtol=0, atol=1e-12)
    assert (runs.kept[1].loss - whole.loss).abs().max() > 1e-6


def test_costs_are_against_the_model_as_it_is(handbuilt: HandBuilt) -> None:
    split = additive.decomposed(TINY, handbuilt.model, TOKENS, RESID)
    runs = additive.replaced(TINY, handbuilt.model, TOKENS, RESID, split)
    mean, single, foreign = runs.costs(TINY)
    whole = evaluation.evaluate(handbuilt.model, TOKENS)
    assert mean.solved < single.solved == int(runs.kept[1].solved(TINY).sum())
    assert mean.change == pytest.approx(runs.kept[0].mean_loss - whole.mean_loss)
    assert single.change == pytest.approx(runs.kept[1].mean_loss - whole.mean_loss)
    assert foreign.change == pytest.approx(runs.foreign.mean_loss - whole.mean_loss)


def test_foreign_interactions_are_those_of_another_string(random: TransformerBridge) -> None:
    split = additive.decomposed(TINY, random, TOKENS, MLP)
    runs = [additive.replaced(TINY, random, TOKENS, MLP, split, seed) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].foreign.loss, runs[1].foreign.loss)
    assert (runs[0].foreign.loss - runs[2].foreign.loss).abs().max() > 1e-9
    assert (runs[0].foreign.loss - runs[0].kept[2].loss).abs().max() > 1e-9


def test_where_letters_add_up_nothing_foreign_is_left(random: TransformerBridge) -> None:
    split = additive.decomposed(TINY, random, TOKENS, MLP)
    alone = anova.Decomposition(
        {axes: e if len(axes) < 2 else torch.zeros_like(e) for axes, e in split.effects.items()}
    )
    runs = additive.replaced(TINY, random, TOKENS, MLP, alone)
    torch.testing.assert_close(runs.foreign.loss, runs.kept[1].loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(runs.kept[2].loss, runs.kept[1].loss, rtol=0, atol=1e-12)


def test_what_is_copied_is_the_own_letters(handbuilt: HandBuilt) -> None:
    own = additive.own_letter(TINY, additive.decomposed(TINY, handbuilt.model, TOKENS, RESID))
    # Only the letter that stands at the query itself is there as well.
    assert min(own.values()) > 0.9
