"""Causal scrubbing against swaps made in the running model, and a circuit that is known."""

import itertools

import pytest
import torch
from handbuilt import HandBuilt
from pandas.testing import assert_frame_equal
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import scrubbing
from palindrome_lens.circuits.interventions import margins
from palindrome_lens.circuits.scrubbing import (
    FINAL,
    LADDER,
    NODES,
    NOTHING,
    REVERSE,
    STEPS,
    WHOLE,
    Group,
    hypotheses,
    recovered,
    scrub,
    scrub_drawn,
    scrubbed,
    simplified,
    stand_ins,
)
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.tables import finish, tabulate
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())
ALL, NONE = frozenset(range(2)), frozenset[int]()
SPLIT = [
    Group(("mirror",), ALL),
    Group(("direct", "pattern"), frozenset([1])),
    Group(("others",), NONE),
]


def swapped(model: TransformerBridge, query: int, donor: dict[str, int]) -> Tensor:
    """Log-probabilities with the nodes of a query taken from donors, in the running model."""
    mirror = TINY.mirror_position(query)
    caches = {node: model.run_with_cache(inputs(STRINGS[[i]]))[1] for node, i in donor.items()}
    v = caches["others"]["blocks.0.attn.hook_v"].reshape(1, TINY.n_positions, 2, 5).clone()
    v[:, mirror] = caches["mirror"]["blocks.0.attn.hook_v"].reshape(v.shape)[:, mirror]
    weights = caches["pattern"]["blocks.0.attn.hook_pattern"][:, :, query]
    attention = model.blocks[0].attn
    out = attention.o(torch.einsum("bhk, bkhd -> bhd", weights, v).flatten(1))

    def put(value: Tensor, hook: object) -> Tensor:
        changed = value.clone()
        changed[:, query] = out
        return changed

    own = inputs(STRINGS[[donor["direct"]]])
    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.0.hook_attn_out", put)]):
        return model(own)[0, query].log_softmax(dim=-1)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_scrubbing_is_the_mean_over_all_swaps_in_the_running_model(
    random: TransformerBridge, query: int
) -> None:
    found = scrub(subject(TINY, random), query, SPLIT)
    losses, right = [], []
    for own, second, third in itertools.product(range(16), repeat=3):
        if second % 4 != own % 4:
            continue
        donor = {"mirror": own, "direct": second, "pattern": second, "others": third}
        answer = int(STRINGS[own, query + 1])
        log_probs = swapped(random, query, donor)
        losses.append(-float(log_probs[answer]))
        right.append(int(log_probs.argmax()) == answer)
    by_string = torch.tensor(losses).reshape(16, -1).mean(dim=1)
    assert found.loss == pytest.approx(float(by_string.mean()), abs=1e-5)
    assert found.worst == pytest.approx(float(by_string.max()), abs=1e-5)
    assert found.right == pytest.approx(sum(right) / len(right), abs=1e-12)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_keeping_everything_is_the_model(random: TransformerBridge, query: int) -> None:
    found = scrub(subject(TINY, random), query, [Group(NODES, ALL)])
    with torch.no_grad():
        log_probs = random(inputs(STRINGS))[:, query].log_softmax(dim=-1)
    losses = -log_probs[torch.arange(16), STRINGS[:, query + 1]]
    assert found.loss == pytest.approx(float(losses.mean()), abs=1e-12)
    assert found.cases == 16


def test_the_handbuilt_model_needs_the_mirror_letter_alone(handbuilt: HandBuilt) -> None:
    tested = scrubbed(subject(handbuilt.task, handbuilt.model))
    for query in handbuilt.task.mirrored_positions:
        right = tested.loc[query, "right"].to_dict()
        assert right == dict.fromkeys(right, 0.25) | {FINAL: 1.0, WHOLE: 1.0}
        assert list(right) == [*LADDER, REVERSE]


def test_the_ladder_goes_from_a_random_donor_to_the_model(random: TransformerBridge) -> None:
    solver = subject(TINY, random)
    tested = scrubbed(solver)
    for query, stated in ((q, hypotheses(TINY, q)) for q in TINY.mirrored_positions):
        by_name = {name: scrub(solver, query, groups) for name, groups in stated.items()}
        none, whole = by_name[NOTHING].loss, by_name[WHOLE].loss
        for name, wanted in by_name.items():
            row = tested.loc[(query, name)]
            assert tuple(row[list(wanted._fields)]) == pytest.approx(tuple(wanted))
            assert row["above"] == pytest.approx(wanted.loss - whole)
            assert row["recovered"] == pytest.approx((none - wanted.loss) / (none - whole))


def test_some_hypotheses_are_tested_as_they_are_among_all(random: TransformerBridge) -> None:
    solver = subject(TINY, random)
    every, some = scrubbed(solver), scrubbed(solver, [FINAL])
    assert set(some.index.get_level_values("what matters")) == {NOTHING, FINAL, WHOLE}
    assert_frame_equal(some, every.loc[some.index])


def test_the_reverse_keeps_what_the_final_hypothesis_swaps() -> None:
    for query in TINY.mirrored_positions:
        stated = hypotheses(TINY, query)
        final, reverse = ({g.nodes: g.kept for g in stated[n]} for n in (FINAL, REVERSE))
        assert final == {nodes: ALL - kept for nodes, kept in reverse.items()}
        assert final[("mirror",)] == ALL


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_drawn_donors_have_the_mean_of_all_donors(random: TransformerBridge, query: int) -> None:
    tables = tabulate(random)
    apart = [
        Group(("mirror",), ALL),
        Group(("direct",), NONE),
        Group(("pattern",), frozenset([0])),
        Group(("others",), NONE),
    ]
    for hypothesis in (apart, SPLIT):
        wanted = scrub(Subject(TINY, random, tables, STRINGS), query, hypothesis)
        drawn = [
            scrub_drawn(Subject(TINY, random, tables, STRINGS), query, hypothesis, 500, seed)
            for seed in range(4)
        ]
        losses = torch.tensor([d.loss for d in drawn])
        error = float(losses.std()) / 2
        assert float(losses.mean()) == pytest.approx(wanted.loss, abs=6 * error)
        assert error < 0.05 * wanted.loss
        assert sum(d.right for d in drawn) / 4 == pytest.approx(wanted.right, abs=0.03)


def test_drawn_donors_that_share_every_letter_are_the_model(random: TransformerBridge) -> None:
    tables, whole = tabulate(random), [Group(NODES, ALL)]
    drawn = scrub_drawn(Subject(TINY, random, tables, STRINGS), 3, whole, 2)
    wanted = scrub(Subject(TINY, random, tables, STRINGS), 3, whole)
    assert drawn[:3] == pytest.approx(wanted[:3], abs=1e-12)
    assert drawn.cases == 32


def test_slots_are_those_whose_letters_change_a_node() -> None:
    assert [scrubbing.slots(Task(), node, 5) for node in NODES] == [{2}, {0, 1, 2}, {1}, {0, 2}]
    assert scrubbing.slots(Task(), "direct", 4) == set()


def test_a_node_may_not_be_in_two_groups(random: TransformerBridge) -> None:
    with pytest.raises(ValueError, match="exactly one group"):
        scrub(subject(TINY, random), 3, [Group(("mirror",), ALL)] * 2)


def test_loss_recovered_runs_from_a_random_donor_to_the_model() -> None:
    assert [recovered(loss, 5.0, 1.0) for loss in (5.0, 2.0, 1.0)] == [0.0, 0.75, 1.0]


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_simplified(random: TransformerBridge, query: int) -> None:
    tables = tabulate(random)
    found = simplified(Subject(TINY, random, tables, STRINGS), query)
    with torch.no_grad():
        wanted = random(inputs(STRINGS))[:, query].log_softmax(dim=-1)
    torch.testing.assert_close(found["model"], wanted, rtol=0, atol=1e-12)
    same = STRINGS[:, TINY.mirror_position(query)] == STRINGS[6, TINY.mirror_position(query)]
    torch.testing.assert_close(found["answer table"][6], wanted[same].mean(dim=0))


def test_the_shared_codes_read_a_letter_by_the_mean_of_its_values(
    random: TransformerBridge,
) -> None:
    tables, query = tabulate(random), 4
    found = simplified(Subject(TINY, random, tables, STRINGS), query)
    ids = STRINGS[:, 1].unique()
    first, second = (tables.values[:, place].sum(dim=0) for place in (1, 2))
    letter = STRINGS[6, 1]
    shared = (first[letter] + second[letter]) / 2
    moved = (first[ids].mean(dim=0) - second[ids].mean(dim=0)) / 2
    start = tables.embedded[query, STRINGS[6, query]] + tables.bias
    for name, read in (("one letter table", shared), ("one code", shared + moved)):
        wanted = finish(random, start + read).log_softmax(dim=-1)
        torch.testing.assert_close(found[name][6], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_mlp_table_looks_up_what_the_running_mlp_writes(
    random: TransformerBridge, query: int
) -> None:
    tables = tabulate(random)
    found = simplified(Subject(TINY, random, tables, STRINGS), query)
    with torch.no_grad():
        _, cache = random.run_with_cache(inputs(STRINGS))
    mirror = TINY.mirror_position(query)
    same = STRINGS[:, mirror] == STRINGS[6, mirror]
    looked_up = cache["blocks.0.hook_mlp_out"][same, query].mean(dim=0)
    ids = STRINGS[:, 1].unique()
    values = tables.values[:, 1:3].sum(dim=0)
    shared, own = values.mean(dim=0), values[mirror - 1, ids].mean(dim=0)
    read = shared[STRINGS[6, mirror]] - shared[ids].mean(dim=0) + own
    end = tables.embedded[query, STRINGS[6, query]] + tables.bias + read + looked_up
    with torch.no_grad():
        wanted = random.unembed(random.ln_final(end)).log_softmax(dim=-1)
    torch.testing.assert_close(found["MLP table"][6], wanted, rtol=0, atol=1e-12)


def test_the_handbuilt_model_and_its_stand_ins_agree(handbuilt: HandBuilt) -> None:
    task, model = handbuilt.task, handbuilt.model
    compared = stand_ins(subject(task, model))
    assert list(compared.index) == list(STEPS)
    assert (compared["same"] == task.size).all()
    assert (compared["least margin"] > 0).all()


def test_stand_ins_are_compared_string_by_string(random: TransformerBridge) -> None:
    whole = subject(TINY, random)
    compared = stand_ins(whole)
    own = margins(random, STRINGS)
    for step in STEPS:
        same, apart, least = torch.ones(16, dtype=torch.bool), 0.0, float("inf")
        for query in TINY.mirrored_positions:
            logits, wanted = simplified(whole, query)[step], STRINGS[:, query + 1, None]
            rivals = logits.scatter(1, wanted, -torch.inf).amax(dim=1)
            by_string = logits.gather(1, wanted)[:, 0] - rivals
            same &= logits.argmax(dim=1) == simplified(whole, query)["model"].argmax(dim=1)
            apart = max(apart, float((by_string - own[:, query]).abs().max()))
            least = min(least, float(by_string.min()))
        assert compared.loc[step, "same"] == int(same.sum())
        assert compared.loc[step, "margin off"] == pytest.approx(apart, abs=1e-9)
        assert compared.loc[step, "least margin"] == pytest.approx(least)
    assert compared.loc["one letter table", "same"] < 16
