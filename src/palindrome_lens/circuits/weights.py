"""What the weights of the attention layer say, read off the exact tables."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import anova
from palindrome_lens.circuits.tables import Tables, finish, scores
from palindrome_lens.task import Task, inputs


class ScoreTerms(NamedTuple):
    """One attention score, from a query position to a key position, split by what it depends on."""

    mean: float
    """The position-position term: the score averaged over the tokens that can stand there."""
    by_query: float
    """Standard deviation of the effect of the query's token. What of it is the same for every key
    of a row cancels in the softmax."""
    by_key: float
    """Standard deviation of the effect of the key's token."""
    by_both: float
    """Standard deviation of what depends on the pair of tokens."""


def tokens_at(tokens: Int64[Tensor, "strings length"], position: int) -> Int64[Tensor, "token"]:
    """The ids that stand at a position in any of the strings, in ascending order."""
    return tokens[:, position].unique()


def score_terms(
    tables: Tables, tokens: Int64[Tensor, "strings length"], query: int, key: int, head: int = 0
) -> ScoreTerms:
    """Split a score over the tokens that can stand at its two positions, each pair counted once.

    All pairs count, also those of two positions that always hold the same letter. A query that is
    its own key has one token, not a pair: its score has a key term alone.

    Raises:
        ValueError: the key lies behind the query, where attention cannot reach.
    """
    if key > query:
        raise ValueError(f"Key {key} lies behind query {query}; attention is causal.")
    at_query, at_key = tokens_at(tokens, query), tokens_at(tokens, key)
    if query == key:
        own = tables.scores[head, query, at_key, key, at_key]
        return ScoreTerms(float(own.mean()), 0.0, float(own.std(correction=0)), 0.0)
    grid = tables.scores[head, query][at_query][:, key][:, at_key]
    found = anova.decompose(grid, 2)
    spread = [float(found.variance(axes)) ** 0.5 for axes in ((0,), (1,), (0, 1))]
    return ScoreTerms(float(found.mean), *spread)


def position_scores(
    tables: Tables, tokens: Int64[Tensor, "strings length"], head: int = 0
) -> Float[Tensor, "query key"]:
    """The position-position term of every score; not-a-number where attention cannot reach."""
    length = tokens.shape[1] - 1
    found = torch.full((length, length), torch.nan, dtype=tables.scores.dtype)
    for query in range(length):
        for key in range(query + 1):
            found[query, key] = score_terms(tables, tokens, query, key, head).mean
    return found


def advantage(
    task: Task,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
    head: int = 0,
) -> Float[Tensor, "strings"]:
    """How far the score of the mirror position lies above the best other score, on each string.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    mirror = task.mirror_position(query)
    # Scores, not log-weights: strings that differ only where it does not matter then tie exactly.
    found = scores(tables, inputs(tokens), query)[:, head]
    others = [key for key in range(query + 1) if key != mirror]
    return found[:, mirror] - found[:, others].amax(dim=-1)


def copying(
    model: TransformerBridge,
    task: Task,
    tables: Tables,
    tokens: Int64[Tensor, "strings length"],
    query: int,
    mlp_out: Float[Tensor, "d_model"] | None = None,
) -> Float[Tensor, "query_token read written"]:
    """The OV circuit to its end: logits of each letter if the head reads this letter alone.

    Attention is set to 1 on the mirror position, in every head. What follows (MLP, LayerNorm,
    unembedding) is the model's own, for each token that can stand at the query.

    Args:
        mlp_out: stands in for what the MLP writes; by default the MLP itself computes it.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    mirror = task.mirror_position(query)
    letters = tokens_at(tokens, mirror)
    own = tables.embedded[query, tokens_at(tokens, query)].unsqueeze(1)
    resid_mid = own + tables.values[:, mirror, letters].sum(dim=0) + tables.bias
    if mlp_out is None:
        return finish(model, resid_mid)[..., letters]
    with torch.no_grad():
        return model.unembed(model.ln_final(resid_mid + mlp_out))[..., letters]


def share_copied(logits: Float[Tensor, "query_token read written"]) -> float:
    """The share of (query token, letter) cases in which the letter read has the largest logit."""
    wanted = torch.arange(logits.shape[1])
    return float((logits.argmax(dim=-1) == wanted).double().mean())
