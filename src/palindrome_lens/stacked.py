"""Many models of one shape as one: stacked parameters, batched matrix products, one graph.

A step of training one small model is mostly the cost of calling operations, not of computing.
Stacked models share the calls. What each model computes is what it computes alone, up to the
order of sums: everything before attention depends on a token and its position only and is
computed once for each such pair, and the weights of a LayerNorm are multiplied into the matrix
behind it.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformer_lens.model_bridge.sources.native.model import NativeModel

Parameters = Mapping[str, Float[Tensor, "model *shape"]]
Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


class Stack:
    """Models of one shape with their parameters side by side in one tensor.

    Attributes:
        flat: the parameters, one row for each model; what an optimiser changes.

    Raises:
        ValueError: there is no model, or two have parameters of different shapes.
    """

    flat: Float[Tensor, "model parameter"]

    def __init__(self, models: Sequence[NativeModel]) -> None:
        shapes = [{name: p.shape for name, p in model.named_parameters()} for model in models]
        if not models or any(shape != shapes[0] for shape in shapes):
            raise ValueError("A stack needs models, and all of one shape.")
        self.models = list(models)
        self.shapes = shapes[0]
        rows = [nn.utils.parameters_to_vector(model.parameters()) for model in models]
        self.flat = torch.stack(rows).detach().requires_grad_()

    def parameters(self) -> dict[str, Float[Tensor, "model *shape"]]:
        """The parameters by name, as views of ``flat``."""
        parts = self.flat.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.unflatten(1, shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def logits(
        self, tokens: Int64[Tensor, "model strings position"]
    ) -> Float[Tensor, "model strings position vocab"]:
        """What each model answers to its own strings."""
        cfg, weights = self.models[0].cfg, self.parameters()
        k, n, length = tokens.shape
        residual, q, key, v = _looked_up(weights, tokens, cfg.n_heads, cfg.d_head)
        for layer in range(cfg.n_layers):
            name = f"layers.{layer}"
            if layer:
                split = _projected(weights, name, residual, cfg.n_heads, cfg.d_head)
                q, key, v = (part.view(k * n, length, *part.shape[2:]) for part in split)
            # (model·strings, head, position, d_head)
            q, key, v = (part.transpose(1, 2) for part in (q, key, v))
            read = F.scaled_dot_product_attention(q, key, v, is_causal=True)
            read = read.transpose(1, 2).reshape(k, n * length, -1)
            residual = residual + _linear(weights, f"{name}.attn.o", read)
            if not cfg.attn_only:
                act = ACTIVATIONS[cfg.act_fn]
                hidden = act(_normed_linear(weights, f"{name}.ln2", f"{name}.mlp.fc_in", residual))
                residual = residual + _linear(weights, f"{name}.mlp.fc_out", hidden)
        return _normed_linear(weights, "ln_out", "head", residual).view(k, n, length, -1)

    def unstacked(self) -> list[NativeModel]:
        """The models again, each with its own parameters."""
        with torch.no_grad():
            for model, row in zip(self.models, self.flat.detach(), strict=True):
                # Not parameters_to_vector's inverse: that would make them views of one row.
                for parameter, part in zip(
                    model.parameters(),
                    row.split([shape.numel() for shape in self.shapes.values()]),
                    strict=True,
                ):
                    parameter.copy_(part.view_as(parameter))
        return self.models


def _looked_up(
    weights: Parameters, tokens: Int64[Tensor, "model strings position"], n_heads: int, d_head: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Residual stream, queries, keys and values before the first attention.

    They are functions of a token and its position: looked up in a table of all such pairs.
    """
    k, n, length = tokens.shape
    vocab, d_model = weights["tok_embed.weight"].shape[1:]
    embedded = weights["tok_embed.weight"].unsqueeze(1) + weights["pos.weight"][
        :, :length
    ].unsqueeze(2)
    embedded = embedded.view(k, length * vocab, d_model)
    projected = _projected(weights, "layers.0", embedded, n_heads, d_head)
    table = torch.cat([embedded, *(part.flatten(2) for part in projected)], dim=2)
    places = tokens + torch.arange(length, device=tokens.device) * vocab
    models = torch.arange(k, device=tokens.device)[:, None, None]
    rows = places + models * length * vocab
    # (model·strings·position, d_model + 3·head·d_head)
    values = F.embedding(rows.flatten(), table.flatten(end_dim=1))
    residual, *heads = values.split([d_model, *[n_heads * d_head] * 3], dim=1)
    shape = (k * n, length, n_heads, d_head)
    return residual.reshape(k, n * length, d_model), *(part.reshape(shape) for part in heads)


def _projected(
    weights: Parameters, layer: str, residual: Tensor, n_heads: int, d_head: int
) -> list[Float[Tensor, "model row head d_head"]]:
    return [
        _normed_linear(weights, f"{layer}.ln1", f"{layer}.attn.{name}", residual).unflatten(
            2, (n_heads, d_head)
        )
        for name in "qkv"
    ]


def _normed_linear(
    weights: Parameters, norm: str, linear: str, x: Float[Tensor, "model row d_in"]
) -> Float[Tensor, "model row d_out"]:
    """A linear map behind a LayerNorm, whose weight and bias go into the map."""
    matrix, bias = weights[f"{linear}.weight"], weights.get(f"{linear}.bias")
    if f"{norm}.weight" in weights:
        x = F.layer_norm(x, x.shape[-1:])
        shift = torch.bmm(weights[f"{norm}.bias"].unsqueeze(1), matrix.mT).squeeze(1)
        bias = shift if bias is None else bias + shift
        matrix = matrix * weights[f"{norm}.weight"].unsqueeze(1)
    return _affine(x, matrix, bias)


def _linear(
    weights: Parameters, name: str, x: Float[Tensor, "model row d_in"]
) -> Float[Tensor, "model row d_out"]:
    return _affine(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _affine(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return torch.bmm(x, matrix.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, matrix.mT)
