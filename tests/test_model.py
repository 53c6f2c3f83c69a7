"""Fresh models, their hooks, and what they compute."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from palindrome_lens.config import ConfigError
from palindrome_lens.model import (
    ModelConfig,
    activations,
    check_hook_name,
    hook_names,
    hooked,
    init_model,
    n_weights,
)
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
ORIGINAL_HOOKS = [
    "hook_embed",
    "hook_pos_embed",
    "blocks.0.hook_resid_pre",
    "blocks.0.ln1.hook_scale",
    "blocks.0.ln1.hook_normalized",
    "blocks.0.attn.hook_q",
    "blocks.0.attn.hook_k",
    "blocks.0.attn.hook_v",
    "blocks.0.attn.hook_attn_scores",
    "blocks.0.attn.hook_pattern",
    "blocks.0.attn.hook_z",
    "blocks.0.hook_attn_out",
    "blocks.0.hook_resid_mid",
    "blocks.0.ln2.hook_scale",
    "blocks.0.ln2.hook_normalized",
    "blocks.0.mlp.hook_pre",
    "blocks.0.mlp.hook_post",
    "blocks.0.hook_mlp_out",
    "blocks.0.hook_resid_post",
    "ln_final.hook_scale",
    "ln_final.hook_normalized",
]


def tiny_inputs() -> Tensor:
    return inputs(encode(TINY, TINY.strings()))


def noisy(config: ModelConfig) -> torch.nn.Module:
    """A model whose biases and LayerNorms are not at their neutral starting values."""
    model = init_model(config, TINY)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            parameter.add_(0.3 * noise)
    return model


def by_hand(weights: dict[str, Tensor], tokens: Tensor, heads: int, d_head: int) -> Tensor:
    """The logits of a one-layer pre-norm transformer, computed from its weights."""

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    def affine(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    length = tokens.shape[1]
    resid = weights["tok_embed.weight"][tokens] + weights["pos.weight"][:length]
    x = norm(resid, "layers.0.ln1")
    mixed = torch.zeros(*tokens.shape, heads * d_head, dtype=torch.float64)
    for head in range(heads):
        part = slice(head * d_head, (head + 1) * d_head)
        q, k, v = (affine(x, f"layers.0.attn.{name}")[..., part] for name in "qkv")
        for query in range(length):
            scores = (k[:, : query + 1] * q[:, query : query + 1]).sum(-1) / math.sqrt(d_head)
            weight = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
            mixed[:, query, part] = (weight.unsqueeze(-1) * v[:, : query + 1]).sum(dim=1)
    resid = resid + affine(mixed, "layers.0.attn.o")
    inner = affine(norm(resid, "layers.0.ln2"), "layers.0.mlp.fc_in").clamp(min=0)
    resid = resid + affine(inner, "layers.0.mlp.fc_out")
    return norm(resid, "ln_out") @ weights["head.weight"].T


def test_the_original_model_has_3072_weights_in_matrices_and_4384_in_all() -> None:
    assert n_weights(init_model(ModelConfig(), Task())) == {"all": 4384, "matrices": 3072}


def test_weights_are_counted_the_same_with_and_without_their_biases() -> None:
    embeddings, norms, biases = 29 * 16 + 9 * 16 + 16 * 29, 3 * 2 * 16, 4 * 16 + 64 + 16
    assert n_weights(init_model(ModelConfig(), Task()))["all"] == 3072 + embeddings + norms + biases


def test_fresh_weights_follow_the_seed() -> None:
    first, again = (init_model(ModelConfig(seed=3), TINY).state_dict() for _ in range(2))
    other = init_model(ModelConfig(seed=4), TINY).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    matrices = [name for name in first if first[name].dim() == 2]
    assert len(matrices) == 9
    assert not any(torch.equal(first[name], other[name]) for name in matrices)


def test_fresh_weights_do_not_touch_the_global_generator() -> None:
    torch.manual_seed(1)
    first = init_model(ModelConfig(), TINY).state_dict()
    torch.manual_seed(2)
    again = init_model(ModelConfig(), TINY).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_everything_is_float64() -> None:
    model = init_model(ModelConfig(), TINY)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    bridge = hooked(model, ModelConfig(), TINY)
    assert bridge(tiny_inputs()).dtype == torch.float64


def test_fresh_weights_have_the_stated_spread() -> None:
    model = init_model(ModelConfig(d_model=64, d_head=64, d_mlp=256, n_layers=2), TINY)
    weights = dict(model.named_parameters())
    usual, writing = 0.8 / 8, 0.8 / 8 / 2
    assert weights["layers.1.attn.q.weight"].std().item() == pytest.approx(usual, rel=0.05)
    assert weights["layers.0.mlp.fc_in.weight"].std().item() == pytest.approx(usual, rel=0.05)
    assert weights["layers.1.attn.o.weight"].std().item() == pytest.approx(writing, rel=0.05)
    assert weights["layers.0.mlp.fc_out.weight"].std().item() == pytest.approx(writing, rel=0.05)
    assert weights["layers.0.ln1.weight"].unique().tolist() == [1.0]
    assert weights["layers.0.attn.o.bias"].unique().tolist() == [0.0]


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(n_heads=2, d_head=8)])
def test_the_model_is_a_pre_norm_transformer_with_causal_attention(config: ModelConfig) -> None:
    model, tokens = noisy(config), tiny_inputs()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    wanted = by_hand(weights, tokens, config.n_heads, config.d_head)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), wanted, rtol=0, atol=1e-10)
        torch.testing.assert_close(hooked(model, config, TINY)(tokens), wanted, rtol=0, atol=1e-10)


def test_the_hooked_model_equals_the_bare_one() -> None:
    config = ModelConfig(n_layers=2, act_fn="gelu", normalization_type=None)
    with torch.no_grad():
        bare = noisy(config)(tiny_inputs())
        torch.testing.assert_close(
            hooked(noisy(config), config, TINY)(tiny_inputs()), bare, rtol=0, atol=1e-12
        )


def test_the_21_hooks_of_the_original_exist() -> None:
    model = hooked(init_model(ModelConfig(), Task()), ModelConfig(), Task())
    assert len(ORIGINAL_HOOKS) == 21
    assert set(ORIGINAL_HOOKS) <= set(hook_names(model))


def test_hooked_activations_have_the_originals_shapes() -> None:
    model = hooked(init_model(ModelConfig(), Task()), ModelConfig(), Task())
    tokens = inputs(encode(Task(), ["<abc|cba>", "<xyz|zyx>"]))
    names = ["blocks.0.attn.hook_q", "blocks.0.attn.hook_pattern", "blocks.0.hook_mlp_out"]
    found = activations(model, tokens, names)
    assert {name: tuple(found[name].shape) for name in names} == {
        "blocks.0.attn.hook_q": (2, 8, 1, 16),
        "blocks.0.attn.hook_pattern": (2, 1, 8, 8),
        "blocks.0.hook_mlp_out": (2, 8, 16),
    }


def test_the_residual_stream_is_the_sum_of_what_is_written_into_it() -> None:
    model = hooked(noisy(ModelConfig()), ModelConfig(), TINY)
    parts = ["hook_embed", "hook_pos_embed", "blocks.0.hook_attn_out", "blocks.0.hook_mlp_out"]
    found = activations(model, tiny_inputs(), [*parts, "blocks.0.hook_resid_post"])
    total = torch.stack([found[name] for name in parts]).sum(dim=0)
    torch.testing.assert_close(total, found["blocks.0.hook_resid_post"], rtol=0, atol=1e-12)


def test_an_unknown_hook_is_refused_with_the_near_ones() -> None:
    model = hooked(init_model(ModelConfig(), TINY), ModelConfig(), TINY)
    with pytest.raises(ValueError, match=r"no hook 'blocks.0.hook_mlpout'") as caught:
        activations(model, tiny_inputs(), ["blocks.0.hook_mlpout"])
    assert "blocks.0.hook_mlp_out" in str(caught.value)


def test_a_hook_that_is_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(ValueError, match="no hook 'zzz'; near ones are hook_a, hook_b"):
        check_hook_name("zzz", ["hook_a", "hook_b"])


def test_a_known_hook_is_returned() -> None:
    assert check_hook_name("hook_a", iter(["hook_a"])) == "hook_a"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"d_model": "16"}, "ModelConfig.d_model is '16' (str)"),
        ({"n_layers": 0}, "ModelConfig.n_layers is 0 (int)"),
        ({"act_fn": "tanh"}, "'relu', 'gelu' or 'silu'"),
        ({"width": 16}, "no field 'width'"),
    ],
)
def test_an_impossible_model_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig(**fields)
    assert said in str(caught.value)


def test_the_context_is_the_length_of_a_whole_string() -> None:
    with pytest.raises(ValueError, match="n_ctx=7"):
        hooked(init_model(ModelConfig(), TINY), ModelConfig(), TINY)(
            torch.zeros(1, 8, dtype=torch.int64)
        )
