"""All circuits against ablations made in the running model, and a circuit that is known."""

import itertools

import pytest
import torch
from handbuilt import HandBuilt
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import subsets
from palindrome_lens.circuits.scrubbing import recovered
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.subsets import Ablation, enumerate_circuits
from palindrome_lens.circuits.tables import tabulate
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())


def ablated(
    model: TransformerBridge, query: int, kept: set[str], everywhere: dict[str, Tensor]
) -> Tensor:
    """Log-probabilities of the running model, in which nodes write what they do everywhere."""
    tokens = inputs(STRINGS)
    wrote = contributions(model, query)
    mid = sum(wrote[node] if node in kept else everywhere[node] for node in wrote if node != "mlp")
    start = model.run_with_cache(tokens)[1]["blocks.0.hook_resid_pre"][:, query]

    def attend(value: Tensor, hook: object) -> Tensor:
        changed = value.clone()
        changed[:, query] = mid - start + model.blocks[0].attn.o.bias
        return changed

    def process(value: Tensor, hook: object) -> Tensor:
        return value if "mlp" in kept else everywhere["mlp"].unsqueeze(1).expand_as(value)

    hooks = [("blocks.0.hook_attn_out", attend), ("blocks.0.hook_mlp_out", process)]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        return model(tokens)[:, query].log_softmax(dim=-1)


def contributions(model: TransformerBridge, query: int) -> dict[str, Tensor]:
    """What each node writes, from the activations of the running model."""
    _, cache = model.run_with_cache(inputs(STRINGS))
    v = cache["blocks.0.attn.hook_v"].reshape(16, TINY.n_positions, 2, 5)
    weights = cache["blocks.0.attn.hook_pattern"][:, :, query]
    out = model.blocks[0].attn.o.weight.detach().unflatten(1, (2, 5))
    keys = {
        f"key {k}": torch.einsum("bh, bhd, mhd -> bm", weights[:, :, k], v[:, k], out)
        for k in range(query + 1)
    }
    embedded = cache["blocks.0.hook_resid_pre"][:, query]
    return {"direct": embedded, **keys, "mlp": cache["blocks.0.hook_mlp_out"][:, query]}


@pytest.mark.parametrize("ablation", ["mean", "zero", "donor"])
@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_each_circuit_is_the_running_model_with_the_rest_ablated(
    random: TransformerBridge, query: int, ablation: Ablation
) -> None:
    found = enumerate_circuits(subject(TINY, random), query, ablation, seed=7)
    wrote = contributions(random, query)
    donor = torch.randperm(16, generator=torch.Generator().manual_seed(7))
    everywhere = {
        node: {"mean": value.mean(0, keepdim=True), "zero": 0 * value, "donor": value[donor]}[
            ablation
        ]
        for node, value in wrote.items()
    }
    wanted = STRINGS[:, query + 1]
    assert found.nodes == tuple(wrote)
    assert len(found.right) == 2 ** len(wrote)
    for circuit in range(len(found.right)):
        log_probs = ablated(random, query, set(found.names(circuit)), everywhere)
        loss = -log_probs[torch.arange(16), wanted].mean()
        assert float(found.loss[circuit]) == pytest.approx(float(loss), abs=1e-10)
        assert int(found.right[circuit]) == int((log_probs.argmax(dim=-1) == wanted).sum())
    none, *_, whole = found.loss.tolist()
    for loss, share in zip(found.loss.tolist(), found.recovered.tolist(), strict=True):
        assert share == pytest.approx(recovered(loss, none, whole))


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_without_one_node_the_circuit_of_all_others_is_left(
    random: TransformerBridge, query: int
) -> None:
    whole = subject(TINY, random)
    circuits = enumerate_circuits(whole, query)
    for i, node in enumerate(circuits.nodes):
        rest = len(circuits.right) - 1 - (1 << i)
        assert node not in circuits.spelt(rest)
        assert subsets.right_without(whole, query, node) == int(circuits.right[rest])
    with pytest.raises(ValueError, match="not in tuple"):
        subsets.right_without(whole, query, "key 9")


def test_circuits_are_spelt_by_their_nodes(random: TransformerBridge) -> None:
    circuits = enumerate_circuits(subject(TINY, random), 3)
    assert circuits.spelt(0b100001, 0b000010) == "direct + mlp; key 0"


def test_the_circuit_of_the_handbuilt_model_is_the_mirror_key(handbuilt: HandBuilt) -> None:
    task, model = handbuilt.task, handbuilt.model
    tokens = encode(task, task.strings())
    for query in task.mirrored_positions:
        found = enumerate_circuits(subject(task, model), query)
        mirror = f"key {task.mirror_position(query)}"
        faithful = found.right == len(tokens)
        assert torch.equal(faithful, found.holding(mirror))
        assert [found.names(c) for c in subsets.minimal(faithful)] == [(mirror,)]
        # Without the mirror the answer does not depend on the letter that is asked for.
        assert (found.right[~found.holding(mirror)] == len(tokens) // len(task.alphabet)).all()
        circuit = subsets.minimal(faithful)[0]
        assert subsets.incompleteness(found.right / len(tokens), circuit)[0] == 0
        assert subsets.minimality(found.right / len(tokens), circuit) == {
            found.nodes.index(mirror): 0.75
        }


def test_minimal_circuits_are_those_without_a_faithful_proper_subset() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        faithful = torch.rand(32, generator=generator, dtype=torch.double) < 0.2
        sets = [frozenset(i for i in range(5) if c >> i & 1) for c in range(32)]
        good = {s for s, is_good in zip(sets, faithful.tolist(), strict=True) if is_good}
        expected = [c for c in range(32) if sets[c] in good and not any(t < sets[c] for t in good)]
        assert subsets.minimal(faithful) == expected


def test_completeness_and_minimality_follow_their_definitions() -> None:
    score = torch.rand(32, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    by_set = {frozenset(i for i in range(5) if c >> i & 1): float(score[c]) for c in range(32)}
    circuit, whole = frozenset([0, 2, 3]), frozenset(range(5))
    removed = [frozenset(k) for n in range(4) for k in itertools.combinations(sorted(circuit), n)]
    gaps = {k: by_set[circuit - k] - by_set[whole - k] for k in removed}
    worst = max(gaps, key=lambda k: abs(gaps[k]))
    gap, at = subsets.incompleteness(score, 0b01101)
    assert gap == pytest.approx(gaps[worst], abs=1e-15)
    assert at == sum(2**i for i in worst)
    assert subsets.minimality(score, 0b01101) == {
        v: pytest.approx(
            max(abs(by_set[circuit - k - {v}] - by_set[circuit - k]) for k in removed if v not in k)
        )
        for v in circuit
    }


def test_two_interchangeable_nodes_make_an_incomplete_circuit() -> None:
    """Nodes 0 and 1 each suffice: either is minimal, and without it the model still answers."""
    score = torch.tensor([0.0, 1.0, 1.0, 1.0])
    assert subsets.minimal(score == 1) == [1, 2]
    assert subsets.incompleteness(score, 1) == (-1.0, 1)


def test_strings_must_be_all_of_the_task_and_the_query_a_mirrored_one(
    random: TransformerBridge,
) -> None:
    with pytest.raises(ValueError, match="15 strings; the task has 16"):
        enumerate_circuits(Subject(TINY, random, tabulate(random), STRINGS[:15]), 3)
    with pytest.raises(ValueError, match="mirror"):
        enumerate_circuits(subject(TINY, random), 1)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_quick_verdicts_are_those_of_the_enumeration(
    handbuilt: HandBuilt, query: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subsets, "REFUSING", 3)
    given = subject(handbuilt.task, handbuilt.model)
    tokens = encode(handbuilt.task, handbuilt.task.strings())
    quick = subsets.faithful_circuits(given, query)
    assert torch.equal(quick, enumerate_circuits(given, query).right == len(tokens))
    assert quick.any() and not quick.all()
