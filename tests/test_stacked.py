"""Stacked models answer and train as each does alone."""

from typing import Any

import pytest
import torch

from palindrome_lens import training
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.stacked import Stack
from palindrome_lens.task import Split, Task, inputs
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe, train, train_together

TINY = Task(alphabet="abcd", half_length=2)
SHORT = Recipe(steps=30, batch_size=5, warmup=5, test_fraction=0.25, evaluate_every=10)
SHAPES: list[dict[str, Any]] = [
    {},
    {"attn_only": True},
    {"normalization_type": None},
    {"n_layers": 2, "n_heads": 2, "d_head": 8},
    {"act_fn": "gelu", "d_mlp": 5},
    {"act_fn": "silu", "attn_only": False, "d_model": 6},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_stacked_models_answer_what_each_answers_alone(shape: dict[str, Any]) -> None:
    models = [init_model(ModelConfig(seed=seed, **shape), TINY) for seed in range(3)]
    with torch.no_grad():
        for model in models:
            for parameter in model.parameters():
                parameter.add_(torch.rand_like(parameter), alpha=0.2)
    tokens = inputs(encode(TINY, TINY.strings())).view(1, 16, -1).repeat(3, 1, 1)
    for k in range(3):
        tokens[k] = tokens[k].roll(k, dims=0)
    stacked = Stack(models).logits(tokens)
    for k, model in enumerate(models):
        torch.testing.assert_close(stacked[k], model(tokens[k]), rtol=0, atol=1e-12)


def test_a_stack_changes_its_models_only_when_they_are_taken_out() -> None:
    models = [init_model(ModelConfig(seed=seed), TINY) for seed in range(2)]
    stack = Stack(models)
    before = models[1].head.weight.detach().clone()
    with torch.no_grad():
        stack.flat[1] += 1
    assert torch.equal(models[1].head.weight, before)
    assert torch.equal(stack.unstacked()[1].head.weight, before + 1)


def test_models_of_two_shapes_are_no_stack() -> None:
    models = [init_model(ModelConfig(d_mlp=n), TINY) for n in (4, 5)]
    for refused in (models, []):
        with pytest.raises(ValueError, match="all of one shape"):
            Stack(refused)


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_models_train_together_as_each_alone(shape: dict[str, Any]) -> None:
    configs = [ModelConfig(seed=seed, **shape) for seed in (3, 1, 2)]
    recipes = [SHORT.model_copy(update={"seed": seed}) for seed in (3, 1, 2)]
    together = train_together(TINY, configs, recipes)
    for config, recipe, (model, history) in zip(configs, recipes, together, strict=True):
        alone, history_alone = train(TINY, config, recipe)
        for first, second in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=1e-10)
        for curve, curve_alone in zip(history, history_alone, strict=True):
            torch.testing.assert_close(curve, curve_alone, rtol=0, atol=1e-10)


def test_each_model_has_its_own_strings() -> None:
    strings = TINY.strings()
    splits = [Split(strings[:8], strings[8:]), Split(strings[4:], strings[:4])]
    configs, recipes = [ModelConfig()] * 2, [SHORT] * 2
    together = train_together(TINY, configs, recipes, splits)
    heads = [model.get_parameter("head.weight") for model, _ in together]
    for head, (_, history), own in zip(heads, together, splits, strict=True):
        ((alone, history_alone),) = train_together(TINY, configs[:1], recipes[:1], [own])
        assert torch.allclose(head, alone.get_parameter("head.weight"), rtol=0, atol=1e-10)
        assert history.test_loss.tolist() == pytest.approx(history_alone.test_loss.tolist())
    assert not torch.equal(*heads)


def test_a_large_gradient_of_one_model_shortens_no_other() -> None:
    flat = torch.zeros(2, 3, requires_grad=True)
    flat.grad = torch.tensor([[30.0, 40.0, 0.0], [0.3, 0.4, 0.0]])
    training._clip(flat, 1.0)
    assert flat.grad[0].norm() == pytest.approx(1)
    assert flat.grad[1].tolist() == pytest.approx([0.3, 0.4, 0.0])


@pytest.mark.parametrize(
    ("configs", "recipes"),
    [
        ([ModelConfig(), ModelConfig(d_mlp=5)], [SHORT, SHORT]),
        ([ModelConfig(), ModelConfig(seed=1)], [SHORT, SHORT.model_copy(update={"lr": 0.1})]),
        ([ModelConfig(), ModelConfig(seed=1)], [SHORT]),
    ],
)
def test_what_cannot_train_together_is_refused(
    configs: list[ModelConfig], recipes: list[Recipe]
) -> None:
    with pytest.raises(ValueError, match="the seed and the split may differ, no more"):
        train_together(TINY, configs, recipes)
