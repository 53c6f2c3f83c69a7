"""The reading of the weights, against a circuit that is known and against the model."""

import pytest
import torch
from handbuilt import LOUDNESS, SHARPNESS, HandBuilt
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.tables import Tables, tabulate
from palindrome_lens.circuits.weights import (
    advantage,
    copied,
    copying,
    cosines,
    directions,
    fewer_directions,
    logits,
    position_scores,
    query_effect,
    score_terms,
    share_copied,
    tokens_at,
)
from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())


def test_the_tokens_at_a_position_are_those_of_the_layout() -> None:
    assert [len(tokens_at(TOKENS, p)) for p in range(7)] == [1, 4, 4, 1, 4, 4, 1]


def test_the_tables_alone_make_the_logits_of_the_model(random: TransformerBridge) -> None:
    with torch.no_grad():
        wanted = random(inputs(TOKENS))
    whole = subject(TINY, random)
    torch.testing.assert_close(logits(whole), wanted, rtol=0, atol=1e-10)
    values = whole.tables.values.clone()
    values[0, 1, TOKENS[:, 1].min()] *= 1.01
    spoilt = logits(whole._replace(tables=whole.tables._replace(values=values)))
    # Four of the 16 strings have the first letter there, which no earlier position reads.
    assert ((spoilt - wanted).abs().amax(dim=2) > 1e-10).sum(dim=0).tolist() == [0, *[4] * 5]


def test_position_scores_of_the_handbuilt_model_are_the_mirror(handbuilt: HandBuilt) -> None:
    found = position_scores(tabulate(handbuilt.model), TOKENS)
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[3, 2] = expected[4, 1] = SHARPNESS
    reachable = ~torch.ones(6, 6).triu(diagonal=1).bool()
    torch.testing.assert_close(found[reachable], expected[reachable], rtol=0, atol=1e-12)
    assert found[~reachable].isnan().all()


def test_terms_that_were_put_into_a_score_are_found_again() -> None:
    ids = tokens_at(TOKENS, 1)
    by_query = torch.tensor([3.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    by_key = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    by_both = 2.0 * torch.outer(
        torch.tensor([1.0, -1.0, 0, 0], dtype=torch.float64),
        torch.tensor([1.0, -1.0, 0, 0], dtype=torch.float64),
    )
    scores = torch.full((1, 7, 7, 7, 7), 99.0, dtype=torch.float64)
    for i, a in enumerate(ids):
        for j, b in enumerate(ids):
            scores[0, 4, a, 1, b] = 5.0 + by_query[i] + by_key[j] + by_both[i, j]
    empty = torch.zeros(1)
    found = score_terms(Tables(empty, scores, empty, empty), TOKENS, query=4, key=1)
    assert found == pytest.approx((5.0, 3**0.5, 1.0, 1.0))


def test_what_a_query_does_to_all_keys_alike_is_told_from_the_rest() -> None:
    ids = tokens_at(TOKENS, 4)
    alike = torch.tensor([3.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    scores = torch.randn(1, 7, 7, 1, 7, dtype=torch.float64).expand(1, 7, 7, 7, 7).clone()
    scores[0, 4] = scores[0, 4, :1]
    scores[0, 4, ids] += alike[:, None, None]
    empty = torch.zeros(1)
    assert query_effect(Tables(empty, scores, empty, empty), TOKENS, 4) == pytest.approx(
        (3**0.5, 0)
    )
    # One of the four keys goes the other way: 4/4 of the effect without it, and with it half.
    scores[0, 4, ids, 2] -= 2 * alike[:, None]
    spread, left = query_effect(Tables(empty, scores, empty, empty), TOKENS, 4)
    assert spread == pytest.approx(3**0.5)
    assert left == pytest.approx(3**0.5 * (3 * 0.5 + 1.5) / 4)


def test_a_query_on_itself_counts_only_pairs_that_occur() -> None:
    ids = tokens_at(TOKENS, 4)
    scores = torch.full((1, 7, 7, 7, 7), 99.0, dtype=torch.float64)
    for i, a in enumerate(ids):
        scores[0, 4, a, 4, a] = [1.0, 1.0, 3.0, 3.0][i]
    empty = torch.zeros(1)
    found = score_terms(Tables(empty, scores, empty, empty), TOKENS, query=4, key=4)
    assert found == pytest.approx((2.0, 0.0, 1.0, 0.0))


def test_a_key_behind_its_query_is_refused(handbuilt: HandBuilt) -> None:
    with pytest.raises(ValueError, match="Key 4 lies behind query 3"):
        score_terms(tabulate(handbuilt.model), TOKENS, query=3, key=4)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_advantage_of_the_handbuilt_mirror_is_its_score(
    handbuilt: HandBuilt, query: int
) -> None:
    found = advantage(subject(TINY, handbuilt.model), query)
    expected = torch.full((16,), SHARPNESS, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_advantage_is_that_of_the_queries_and_keys_the_model_computes() -> None:
    config = ModelConfig(seed=3)
    model = hooked(init_model(config, TINY), config, TINY)
    names = ["blocks.0.attn.hook_q", "blocks.0.attn.hook_k"]
    q, k = (activations(model, inputs(TOKENS), [n])[n].reshape(16, 6, 16) for n in names)
    for query in TINY.mirrored_positions:
        scores = ((k @ q[:, query].unsqueeze(-1)).squeeze(-1) / 4)[:, : query + 1].tolist()
        found = advantage(subject(TINY, model), query).tolist()
        for row, value in zip(scores, found, strict=True):
            own = row.pop(TINY.mirror_position(query))
            assert value == pytest.approx(own - max(row), abs=1e-10)


@pytest.mark.parametrize("head", [0, 1])
def test_directions_add_up_to_the_scores_without_the_mean_of_each_row(
    random: TransformerBridge, head: int
) -> None:
    tables, queries = tabulate(random), [3, 4]
    found = directions(tables, TOKENS, queries, head)
    wanted = []
    for q in queries:
        scores = tables.scores[head, q, tokens_at(TOKENS, q)]
        row = torch.cat([scores[:, k, tokens_at(TOKENS, k)] for k in range(5)], dim=1)
        means = [
            (scores[:, k, tokens_at(TOKENS, k)] - row.mean(dim=1, keepdim=True)).mean()
            for k in range(5)
        ]
        wanted.append(torch.stack(means))
    added = torch.stack([torch.outer(d.query, d.key) for d in found]).sum(dim=0)
    torch.testing.assert_close(added, torch.stack(wanted), rtol=0, atol=1e-12)
    assert sum(d.share for d in found) == pytest.approx(1)
    assert found[0].share == max(d.share for d in found)
    assert all(0 <= part <= 1 for d in found[:3] for part in (d.by_query, d.by_key))
    assert found[0].by_key < 0.99


def test_directions_of_the_handbuilt_model_depend_on_the_position_alone(
    handbuilt: HandBuilt,
) -> None:
    found = directions(tabulate(handbuilt.model), TOKENS, TINY.mirrored_positions)
    assert sum(d.share for d in found[:2]) == pytest.approx(1)
    for each in found[:2]:
        assert [each.by_query, each.by_key] == pytest.approx([1, 1])
    added = torch.stack([torch.outer(d.query, d.key) for d in found]).sum(dim=0)
    assert added.argmax(dim=1).tolist() == [2, 1]


def test_fewer_directions_leave_less_of_a_letter(handbuilt: HandBuilt) -> None:
    tables = tabulate(handbuilt.model)
    built = subject(TINY, handbuilt.model)
    all_kept = fewer_directions(built, 3).tables
    torch.testing.assert_close(all_kept.values, tables.values, rtol=0, atol=1e-12)
    # Four letters in four directions, less their mean: three are needed, and two do not do.
    shares = [share_copied(copying(fewer_directions(built, rank), 3)) for rank in (0, 2, 3)]
    assert shares[0] == 0.25
    assert shares[0] < shares[1] < shares[2] == 1.0


def test_fewer_directions_keep_the_leading_ones(random: TransformerBridge) -> None:
    tables = tabulate(random)
    letters = tokens_at(TOKENS, 1)
    codes = tables.values[:, 1:3][:, :, letters]
    centred = (codes - codes.mean(dim=2, keepdim=True)).flatten(0, -2)
    for rank in (1, 4):
        cut = fewer_directions(subject(TINY, random), rank).tables.values
        lost = (cut[:, 1:3][:, :, letters] - codes).square().sum()
        strength = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
        assert float(lost) == pytest.approx(float(strength[rank:].sum()))
        untouched = [0, 3, 4, 5, 6]
        assert torch.equal(cut[:, untouched], tables.values[:, untouched])


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_handbuilt_model_copies_every_letter_with_and_without_its_mlp(
    handbuilt: HandBuilt, query: int
) -> None:
    tables = tabulate(handbuilt.model)
    for mlp_out in (None, torch.zeros_like(tables.bias)):
        logits = copying(Subject(TINY, handbuilt.model, tables, TOKENS), query, mlp_out)
        assert logits.shape == (len(tokens_at(TOKENS, query)), 4, 4)
        assert share_copied(logits) == 1.0
        # The last LayerNorm turns a single long direction into the square root of the width.
        off = ~torch.eye(4, dtype=torch.bool).expand_as(logits)
        assert float(logits.diagonal(dim1=1, dim2=2).min()) > LOUDNESS / 10
        assert float(logits[off].max()) < 0.5


def test_a_model_that_reads_one_letter_and_writes_the_next_copies_none(
    handbuilt: HandBuilt,
) -> None:
    tables = tabulate(handbuilt.model)
    letters = tokens_at(TOKENS, 1)
    shifted = tables.values.clone()
    shifted[:, :, letters] = tables.values[:, :, letters.roll(1)]
    logits = copying(Subject(TINY, handbuilt.model, tables._replace(values=shifted), TOKENS), 3)
    assert share_copied(logits) == 0.0


def test_cases_of_several_queries_count_once(handbuilt: HandBuilt) -> None:
    built = subject(TINY, handbuilt.model)
    assert copied(built) == 1.0
    right, wrong = torch.eye(4).expand(1, 4, 4), torch.eye(4).roll(1, dims=0).expand(4, 4, 4)
    assert share_copied(right, wrong) == pytest.approx(1 / 5)
    values = built.tables.values.clone()
    letters = tokens_at(TOKENS, 1)
    values[:, TINY.mirror_position(4), letters] = values[:, 1, letters.roll(1)]
    # At query 3 one token can stand, the bar, and at query 4 four.
    spoilt = built._replace(tables=built.tables._replace(values=values))
    assert copied(spoilt) == pytest.approx(1 / 5)


def test_cosines_compare_the_letters_less_their_mean() -> None:
    code = torch.tensor([[2.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    # Opposite on either axis; letters of different axes at right angles.
    assert cosines(code).tolist() == pytest.approx([-1, 0, 0, 0, 0, -1])
    assert cosines(3 * code + 7).tolist() == pytest.approx(cosines(code).tolist())


def test_copying_is_the_model_with_its_attention_set_to_the_mirror() -> None:
    config = ModelConfig(seed=3)
    model = hooked(init_model(config, TINY), config, TINY)
    query, mirror = 4, TINY.mirror_position(4)

    def look(pattern: torch.Tensor, hook: object) -> torch.Tensor:
        fixed = torch.zeros_like(pattern)
        fixed[..., mirror] = 1.0
        return fixed

    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", look)]):
        logits = model(inputs(TOKENS))[:, query]
    table = copying(subject(TINY, model), query)
    letters = tokens_at(TOKENS, mirror)
    for i in range(len(TOKENS)):
        here = int((letters == TOKENS[i, query]).nonzero())
        read = int((letters == TOKENS[i, mirror]).nonzero())
        torch.testing.assert_close(table[here, read], logits[i, letters], rtol=0, atol=1e-12)
        assert targets(TOKENS)[i, query] == letters[read]
