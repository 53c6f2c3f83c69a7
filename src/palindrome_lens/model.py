"""A typed configuration to a small transformer: trained bare, analysed with hooks.

The weights are drawn in float64, which gives the same numbers on every CPU; float32 draws
differ with the width of its vector instructions.
"""

import contextlib
import difflib
import io
import math
from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor, nn
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformer_lens.model_bridge.sources.native.model import NativeModel

from palindrome_lens.config import Config
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import make_tokenizer, vocabulary

ORIGINAL_HOOKS = (
    *("hook_embed", "hook_pos_embed", "blocks.0.hook_resid_pre"),
    *("blocks.0.ln1.hook_scale", "blocks.0.ln1.hook_normalized"),
    *(f"blocks.0.attn.hook_{name}" for name in ("q", "k", "v", "attn_scores", "pattern", "z")),
    *("blocks.0.hook_attn_out", "blocks.0.hook_resid_mid"),
    *("blocks.0.ln2.hook_scale", "blocks.0.ln2.hook_normalized"),
    *("blocks.0.mlp.hook_pre", "blocks.0.mlp.hook_post", "blocks.0.hook_mlp_out"),
    *("blocks.0.hook_resid_post", "ln_final.hook_scale", "ln_final.hook_normalized"),
)
"""The 21 names that the original notebook listed, in the order in which they are computed."""


class ModelConfig(Config):
    """The shape of the transformer. The defaults are the original notebook's.

    Attributes:
        attn_only: without an MLP; ``d_mlp`` and ``act_fn`` then say nothing.
        n_ctx: longest input; ``None`` stands for the length of a whole string of the task.
        seed: of the initial weights.
    """

    n_layers: int = Field(default=1, ge=1)
    d_model: int = Field(default=16, ge=1)
    n_heads: int = Field(default=1, ge=1)
    d_head: int = Field(default=16, ge=1)
    d_mlp: int = Field(default=64, ge=1)
    act_fn: Literal["relu", "gelu", "silu"] = "relu"
    normalization_type: Literal["LN"] | None = "LN"
    attn_only: bool = False
    n_ctx: int | None = Field(default=None, ge=1)
    seed: int = 0

    def bridge_config(self, task: Task) -> TransformerBridgeConfig:
        """The same configuration as TransformerLens spells it."""
        return TransformerBridgeConfig(
            **self.model_dump(exclude={"n_ctx", "seed"}),
            n_ctx=self.n_ctx or task.n_positions + 1,
            d_vocab=len(vocabulary(task)),
            init_weights=False,
            # The strings bring their own "<".
            default_prepend_bos=False,
            tokenizer_prepends_bos=False,
            dtype=torch.float64,
            architecture="TransformerLensNative",
        )


def init_model(config: ModelConfig, task: Task) -> NativeModel:
    """A bare model with fresh weights: normal with standard deviation 0.8 / √d_model, biases 0.

    The two projections that write into the residual stream are drawn 1 / √(2 · n_layers) smaller,
    after GPT-2, as TransformerLens does.
    """
    model = NativeModel(config.bridge_config(task)).to(torch.float64)
    generator = torch.Generator().manual_seed(config.seed)
    deviation = 0.8 / math.sqrt(config.d_model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0 if _is_norm_weight(name) else 0.0)
                continue
            drawn = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            writes = name.endswith(("attn.o.weight", "mlp.fc_out.weight"))
            scale = deviation / math.sqrt(2 * config.n_layers) if writes else deviation
            parameter.copy_(drawn * scale)
    return model


def _is_norm_weight(name: str) -> bool:
    return name.endswith(".weight") and ("ln" in name)


def hooked(native: nn.Module, config: ModelConfig, task: Task) -> TransformerBridge:
    """The same weights with TransformerLens's hooks, and the task's tokenizer, in eval mode."""
    # TransformerLens announces conversions on standard output; in a notebook that is noise.
    with contextlib.redirect_stdout(io.StringIO()):
        bridge = build_bridge_from_module(
            native,
            architecture="TransformerLensNative",
            tl_config=config.bridge_config(task),
            dtype=next(native.parameters()).dtype,
        )
    # Handed to the builder, the tokenizer would be loaded anew under its name, from a hub.
    bridge.tokenizer = make_tokenizer(task)
    return bridge.eval()


def n_weights(model: nn.Module) -> dict[str, int]:
    """How many numbers the model has: ``all``, and ``matrices``.

    The second is what TransformerLens calls ``n_params``: without embeddings, unembedding, biases
    and LayerNorm.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    matrices = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if name.startswith("layers.") and parameter.dim() == 2
    )
    return {"all": sum(sizes.values()), "matrices": matrices}


def check_hook_name(name: str, known: Iterable[str]) -> str:
    """Return ``name`` if the model has such a hook.

    Raises:
        ValueError: it has not; the message lists the nearest names.
    """
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names
    raise ValueError(f"The model has no hook {name!r}; near ones are {', '.join(near)}.")


def hook_names(bridge: TransformerBridge) -> list[str]:
    """The names under which activations are cached and can be edited."""
    with torch.no_grad():
        _, cache = bridge.run_with_cache(torch.zeros(1, 1, dtype=torch.int64))
    return list(cache)


def activations(
    bridge: TransformerBridge, tokens: Int64[Tensor, "strings position"], names: Iterable[str]
) -> dict[str, Tensor]:
    """What passes through the named hooks when the model reads ``tokens``.

    Raises:
        ValueError: an unknown hook name.
    """
    hooks = hook_names(bridge)
    wanted = [check_hook_name(name, hooks) for name in names]
    with torch.no_grad():
        _, cache = bridge.run_with_cache(tokens, names_filter=wanted)
    return {name: cache[name] for name in wanted}
