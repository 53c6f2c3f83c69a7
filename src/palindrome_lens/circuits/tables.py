"""A one-layer model as tables: exact, and the ground on which everything else here stands.

Before attention mixes positions, everything depends on one token at one position. So the residual
stream, the attention score between two positions, and what a position hands over when attended to
(the OV circuit) are tables over (position, token), LayerNorm included; there is nothing to
approximate. What follows attention is a function of 16 numbers at one position (:func:`finish`).
The terms are those of Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.stacked import ACTIVATIONS

CHUNK = 8192
"""Cases that :func:`finish` is given at a time where there are very many."""


class Tables(NamedTuple):
    """What a one-layer model knows before its positions are mixed."""

    embedded: Float[Tensor, "position token d_model"]
    """The residual stream before the layer: token plus position embedding."""
    scores: Float[Tensor, "head query query_token key key_token"]
    """The QK circuit: scaled attention scores, before the softmax. The mask is not applied."""
    values: Float[Tensor, "head position token d_model"]
    """The OV circuit: what the head adds to the residual stream if it attends here with weight 1;
    without the output bias."""
    bias: Float[Tensor, "d_model"]
    """The output bias of attention, added once at each position."""


def tabulate(model: TransformerBridge) -> Tables:
    """Read the tables off a model.

    Raises:
        ValueError: the model has more than one layer; behind the first, a position depends on
            all before it.
    """
    if model.cfg.n_layers != 1:
        raise ValueError(f"Tables exist for models of 1 layer; this one has {model.cfg.n_layers}.")
    tokens = torch.arange(model.cfg.d_vocab)
    positions = torch.arange(model.cfg.n_ctx)
    attention = model.blocks[0].attn
    with torch.no_grad():
        embedded = model.embed.weight[tokens] + model.pos_embed.weight[positions].unsqueeze(1)
        normalized = model.blocks[0].ln1(embedded)
        q, k, v = (
            project(normalized).unflatten(-1, (model.cfg.n_heads, model.cfg.d_head))
            for project in (attention.q, attention.k, attention.v)
        )
        scores = torch.einsum("pthd, quhd -> hptqu", q, k) / model.cfg.d_head**0.5
        out = attention.o.weight.unflatten(1, (model.cfg.n_heads, model.cfg.d_head))
        values = torch.einsum("pthd, mhd -> hptm", v, out)
    return Tables(embedded, scores, values, attention.o.bias.detach())


def pattern(
    tables: Tables, tokens: Int64[Tensor, "strings position"], query: int
) -> Float[Tensor, "strings head key"]:
    """The attention weights of one query position on itself and the positions before it."""
    return scores(tables, tokens, query).softmax(dim=-1)


def scores(
    tables: Tables, tokens: Int64[Tensor, "strings position"], query: int
) -> Float[Tensor, "strings head key"]:
    """The attention scores of one query position on itself and the positions before it."""
    by_key = [
        tables.scores[:, query, tokens[:, query], key, tokens[:, key]] for key in range(query + 1)
    ]
    return torch.stack(by_key, dim=-1).transpose(0, 1)


def handed_over(
    tables: Tables, tokens: Int64[Tensor, "strings position"], query: int
) -> Float[Tensor, "strings head key d_model"]:
    """What each key position hands to a query: attention weight times OV.

    Summed over heads and keys, plus ``tables.bias``, it is the layer's ``hook_attn_out``.
    """
    weights = pattern(tables, tokens, query)
    positions = torch.arange(query + 1)
    return weights.unsqueeze(-1) * tables.values[:, positions, tokens[:, : query + 1]].transpose(
        0, 1
    )


def finish(
    model: TransformerBridge, resid_mid: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases vocab"]:
    """The logits that follow from a residual stream after attention: MLP, LayerNorm, unembedding.

    Everything here works on one position alone, so any number of cases can be given.
    """
    with torch.no_grad():
        return unembedded(model, resid_mid + mlp_out(model, resid_mid))


def mlp_out(
    model: TransformerBridge, resid_mid: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases d_model"]:
    """What the MLP, behind its LayerNorm, writes. Without hooks, and so without their cost."""
    mlp = model.blocks[0].mlp
    return F.linear(neurons(model, resid_mid), mlp.out.weight, mlp.out.bias)


def neurons(
    model: TransformerBridge, resid_mid: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases neuron"]:
    """The activations of the MLP's neurons."""
    block = model.blocks[0]
    reads = getattr(block.mlp, "in")
    before = F.linear(normalized(model, block.ln2, resid_mid), reads.weight, reads.bias)
    return ACTIVATIONS[model.cfg.act_fn](before)


def unembedded(
    model: TransformerBridge, resid_post: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases vocab"]:
    """The logits that the last LayerNorm and the unembedding make of a residual stream."""
    head = model.unembed
    return F.linear(normalized(model, model.ln_final, resid_post), head.weight, head.bias)


def margin(
    logits: Float[Tensor, "*cases vocab"], wanted: Int64[Tensor, "*cases"]
) -> Float[Tensor, "*cases"]:
    """How far the wanted token's logit lies above the best other; negative where it loses.

    Log-probabilities have the same margins.
    """
    own = wanted.unsqueeze(-1)
    rivals = logits.scatter(-1, own, -torch.inf).amax(dim=-1)
    return logits.gather(-1, own).squeeze(-1) - rivals


def normalized(
    model: TransformerBridge, norm: Any, resid: Float[Tensor, "*cases d_model"]
) -> Float[Tensor, "*cases d_model"]:
    """A residual stream behind one of the model's LayerNorms; itself, where there are none."""
    if model.cfg.normalization_type is None:
        return resid
    return F.layer_norm(resid, resid.shape[-1:], norm.weight, norm.bias, model.cfg.eps)
