"""What the weights of the attention layer say, read off the exact tables."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palindrome_lens import anova
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import Tables, finish, handed_over, scores, unembedded


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


class QueryEffect(NamedTuple):
    """What the token at a query does to the scores of the keys before it."""

    spread: float
    """Standard deviation of its effect on a score, the mean over the keys."""
    left: float
    """The same once what it does to all keys alike is taken out: that cancels in the softmax."""


class Direction(NamedTuple):
    """One direction of the QK circuit: a number for each query, times a number for each key."""

    share: float
    """Its part of the sum of all squared scores."""
    query: Float[Tensor, "query"]
    """Mean at each query position over the tokens that can stand there; times ``key`` it is what
    the direction adds to the position-position term."""
    key: Float[Tensor, "key"]
    """Mean at each key position, likewise."""
    by_query: float
    """Part of its variance over queries that their position explains; the rest is their token's."""
    by_key: float
    """Part of its variance over keys that their position explains."""


def tokens_at(tokens: Int64[Tensor, "strings length"], position: int) -> Int64[Tensor, "token"]:
    """The ids that stand at a position in any of the strings, in ascending order."""
    return tokens[:, position].unique()


def logits(subject: Subject) -> Float[Tensor, "strings position vocab"]:
    """What follows from the tables alone, through softmax, MLP and unembedding, on each string."""
    _, model, tables, _ = subject
    by_position = []
    for query, read in enumerate(subject.read.T):
        # (strings, heads, keys, d_model) summed over heads and keys
        fetched = handed_over(tables, subject.read, query).sum(dim=(1, 2)) + tables.bias
        by_position.append(finish(model, tables.embedded[query, read] + fetched))
    return torch.stack(by_position, dim=1)


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
    split = anova.decompose(grid, 2)
    spread = [float(split.variance(axes)) ** 0.5 for axes in ((0,), (1,), (0, 1))]
    return ScoreTerms(float(split.mean), *spread)


def query_effect(
    tables: Tables, tokens: Int64[Tensor, "strings length"], query: int, head: int = 0
) -> QueryEffect:
    """The effect of the query's token on its scores, over all tokens that can stand at the keys."""
    at_query = tables.scores[head, query, tokens_at(tokens, query)]
    means = [at_query[:, key, tokens_at(tokens, key)].mean(dim=1) for key in range(query)]
    effects = torch.stack(means, dim=1)  # (tokens at the query, keys)
    left = effects - effects.mean(dim=1, keepdim=True)
    return QueryEffect(*(float(part.std(dim=0, correction=0).mean()) for part in (effects, left)))


def position_scores(
    tables: Tables, tokens: Int64[Tensor, "strings length"], head: int = 0
) -> Float[Tensor, "query key"]:
    """The position-position term of every score; not-a-number where attention cannot reach."""
    length = tokens.shape[1] - 1
    by_pair = torch.full((length, length), torch.nan, dtype=tables.scores.dtype)
    for query in range(length):
        for key in range(query + 1):
            by_pair[query, key] = score_terms(tables, tokens, query, key, head).mean
    return by_pair


def directions(
    tables: Tables, tokens: Int64[Tensor, "strings length"], queries: Sequence[int], head: int = 0
) -> list[Direction]:
    """The QK circuit of some queries as a sum of directions, the largest first.

    They are the singular vectors of the table of scores: one row for each (query position, token)
    that occurs, one column for each (key position, token) up to the last query. The mean of each
    row is taken out, because the softmax does not see it. The mask is not applied.
    """
    keys = range(max(queries) + 1)
    rows = torch.tensor([(q, t) for q in queries for t in tokens_at(tokens, q).tolist()])
    columns = torch.tensor([(k, t) for k in keys for t in tokens_at(tokens, k).tolist()])
    grid = tables.scores[head][tuple(rows.T)][:, columns[:, 0], columns[:, 1]]
    left, strength, right = torch.linalg.svd(grid - grid.mean(dim=1, keepdim=True))
    total = strength.square().sum()
    by_strength = []
    for u, s, v in zip(left.T, strength, right, strict=False):
        sign = v[v.abs().argmax()].sign() * s.sqrt()
        query, by_query = _by_position(u * sign, rows[:, 0])
        key, by_key = _by_position(v * sign, columns[:, 0])
        by_strength.append(Direction(float(s.square() / total), query, key, by_query, by_key))
    return by_strength


def _by_position(
    values: Float[Tensor, "entry"], positions: Int64[Tensor, "entry"]
) -> tuple[Float[Tensor, "position"], float]:
    """The mean at each position, and the part of the variance that lies between positions."""
    _, place = positions.unique(return_inverse=True)
    count = torch.bincount(place)
    mean = torch.bincount(place, weights=values) / count
    spread = values.var(correction=0)
    return mean, float((mean[place] - values.mean()).square().mean() / spread)


def fewer_directions(subject: Subject, rank: int) -> Subject:
    """The subject with the letters at its mirror positions handed over in ``rank`` directions.

    They are the leading ones of all these vectors together; each position keeps its mean.
    """
    task, _, tables, tokens = subject
    places = [task.mirror_position(q) for q in task.mirrored_positions]
    codes = torch.stack([tables.values[:, m, tokens_at(tokens, m)] for m in places])
    mean = codes.mean(dim=2, keepdim=True)
    leading = torch.linalg.svd((codes - mean).flatten(0, -2), full_matrices=False)[2][:rank]
    kept = (codes - mean) @ leading.T @ leading + mean
    values = tables.values.clone()
    for code, m in zip(kept, places, strict=True):
        values[:, m, tokens_at(tokens, m)] = code
    return subject._replace(tables=tables._replace(values=values))


def advantage(subject: Subject, query: int) -> Float[Tensor, "strings"]:
    """How far the score of the mirror position lies above the best other score, on each string.

    Of several heads that one counts which leads most.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    mirror = subject.task.mirror_position(query)
    # Scores, not log-weights: strings that differ only where it does not matter then tie exactly.
    by_key = scores(subject.tables, subject.read, query)  # (strings, heads, keys)
    others = [key for key in range(query + 1) if key != mirror]
    return (by_key[..., mirror] - by_key[..., others].amax(dim=-1)).amax(dim=-1)


def copying(
    subject: Subject,
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
    task, model, tables, tokens = subject
    mirror = task.mirror_position(query)
    letters = tokens_at(tokens, mirror)
    own = tables.embedded[query, tokens_at(tokens, query)].unsqueeze(1)
    resid_mid = own + tables.values[:, mirror, letters].sum(dim=0) + tables.bias
    if mlp_out is None:
        return finish(model, resid_mid)[..., letters]
    with torch.no_grad():
        return unembedded(model, resid_mid + mlp_out)[..., letters]


def share_copied(*by_query: Float[Tensor, "query_token read written"]) -> float:
    """The share of (query token, letter) cases in which the letter read has the largest logit.

    With the logits of several queries, each of their cases counts once.
    """
    wanted = torch.arange(by_query[0].shape[1])
    copied = torch.cat([(logits.argmax(dim=-1) == wanted).flatten() for logits in by_query])
    return float(copied.double().mean())


def copied(subject: Subject) -> float:
    """The share of the cases of all queries in which the letter read has the largest logit."""
    return share_copied(*(copying(subject, query) for query in subject.queries))


def cosines(code: Float[Tensor, "letter d_model"]) -> Float[Tensor, "pair"]:
    """The cosine between the codes of each pair of letters, less the mean of all letters."""
    centred = code - code.mean(dim=0)
    by_pair = torch.nn.functional.cosine_similarity(centred[:, None], centred[None], dim=2)
    return by_pair[*torch.triu_indices(len(code), len(code), offset=1)]
