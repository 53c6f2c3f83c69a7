"""Attribution against edits of the running model, and a circuit that is known."""

import functools
import itertools

import pytest
import torch
from handbuilt import HandBuilt
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import attribution, patching
from palindrome_lens.circuits.attribution import PARTS, audit, direct_logit_attribution, vectors
from palindrome_lens.circuits.scrubbing import NODES, parts_of
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.tables import tabulate
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())
LETTERS = [2, 3, 4, 5]
CASES = [(query, part) for query in TINY.mirrored_positions for part in PARTS]


def lead_of(logits: Tensor, wanted: int) -> Tensor:
    others = [letter for letter in LETTERS if letter != wanted]
    return logits[wanted] - torch.stack([logits[letter] for letter in others]).mean()


@functools.cache
def cached(model: TransformerBridge, string: int) -> dict[str, Tensor]:
    with torch.no_grad():
        _, cache = model.run_with_cache(inputs(STRINGS[[string]]))
    return {name.removeprefix("blocks.0."): cache[name][0] for name in cache}


def node(model: TransformerBridge, own: int, donor: int, query: int, part: str) -> Tensor:
    """What a part adds at a query: weights of one string, values of another."""
    first, second = cached(model, own), cached(model, donor)
    if part == "direct":
        return second["hook_resid_pre"][query]
    values = second["attn.hook_v"].reshape(-1, 2, 5).clone()
    mirror = TINY.mirror_position(query)
    keys = [mirror] if part == "mirror" else [k for k in range(query + 1) if k != mirror]
    weights = first["attn.hook_pattern"][:, query, keys]
    attention = model.blocks[0].attn
    with torch.no_grad():
        z = torch.einsum("hk, khd -> hd", weights, values[keys]).flatten()
        return attention.o(z) - attention.o.bias


def run(model: TransformerBridge, own: int, query: int, name: str, change: Tensor) -> Tensor:
    """The lead in the running model when something is added at a hook, at the query alone."""

    def put(value: Tensor, hook: object) -> Tensor:
        changed = value.clone()
        changed[:, query] = value[:, query] + change
        return changed

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, put)]):
        logits = model(inputs(STRINGS[[own]]))[0, query]
    return lead_of(logits, int(STRINGS[own, query + 1]))


def lost(model: TransformerBridge, own: int, query: int, part: str) -> dict[str, Tensor]:
    """What a string's lead loses by each replacement, made in the running model."""
    nothing = torch.zeros(model.cfg.d_model, dtype=torch.float64)
    name = "blocks.0.hook_mlp_out" if part == "mlp" else "blocks.0.hook_attn_out"
    if part == "mlp":
        start, swaps = cached(model, own)["hook_mlp_out"][query], []
        middle = cached(model, own)["hook_resid_mid"][query]
        for donor in range(16):
            moved = node(model, own, donor, query, "mirror") - node(
                model, own, own, query, "mirror"
            )
            with torch.no_grad():
                swaps.append(model.blocks[0].mlp(model.blocks[0].ln2(middle + moved)))
    else:
        start = node(model, own, own, query, part)
        swaps = [node(model, own, donor, query, part) for donor in range(16)]
    whole = run(model, own, query, name, nothing)
    mean = torch.stack(swaps).mean(dim=0)
    slope = run(model, own, query, name, 1e-5 * (mean - start)) - run(
        model, own, query, name, -1e-5 * (mean - start)
    )
    return {
        "resample": whole
        - torch.stack([run(model, own, query, name, s - start) for s in swaps]).mean(),
        "zero": whole - run(model, own, query, name, -start),
        "mean": whole - run(model, own, query, name, mean - start),
        "gradient": -slope / 2e-5,
    }


@pytest.mark.parametrize(("query", "part"), CASES)
def test_the_audit_agrees_with_edits_of_the_running_model(
    random: TransformerBridge, query: int, part: str
) -> None:
    found = audit(subject(TINY, random), query, part)
    for own in (1, 6, 14):
        for name, wanted in lost(random, own, query, part).items():
            assert float(getattr(found, name)[own]) == pytest.approx(float(wanted), abs=1e-6), name


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_shares_add_up_to_the_lead_of_the_running_model(
    random: TransformerBridge, query: int
) -> None:
    tables = tabulate(random)
    found = parts_of(tables, inputs(STRINGS), query)
    added = vectors(Subject(TINY, random, tables, STRINGS), found, query)
    shares = direct_logit_attribution(TINY, random, added, targets(STRINGS)[:, query])
    with torch.no_grad():
        logits = random(inputs(STRINGS))[:, query]
    whole = [lead_of(logits[i], int(STRINGS[i, query + 1])) for i in range(16)]
    torch.testing.assert_close(
        torch.stack(list(shares.values())).sum(dim=0), torch.stack(whole), rtol=0, atol=1e-12
    )
    cache = cached(random, 6)
    torch.testing.assert_close(added["mlp"][6], cache["hook_mlp_out"][query])
    whole_stream = torch.stack(list(added.values())).sum(dim=0)[6]
    torch.testing.assert_close(whole_stream, cache["hook_resid_post"][query])
    # Past the frozen scale a share is linear: the share of the MLP is what its removal costs.
    framed = attribution.shares(subject(TINY, random), query)
    assert list(framed) == list(shares)
    for name, share in shares.items():
        assert framed[name].tolist() == share.tolist(), name
    scale = cache["ln_final.hook_scale"][query]
    moved = cache["hook_mlp_out"][query]
    share = (moved - moved.mean()) / scale * random.ln_final.weight @ random.unembed.weight.T
    torch.testing.assert_close(shares["mlp"][6], lead_of(share, int(STRINGS[6, query + 1])))


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_shares_by_key_are_those_of_all_keys_apart(
    random: TransformerBridge, query: int
) -> None:
    whole, by_key = (
        attribution.shares(subject(TINY, random), query, by_key=apart) for apart in (False, True)
    )
    mirror = f"key {TINY.mirror_position(query)}"
    assert by_key[mirror].tolist() == pytest.approx(whole["mirror"].tolist(), abs=1e-12)
    others = by_key[[f"key {k}" for k in range(query + 1)]].sum(axis=1) - by_key[mirror]
    assert others.tolist() == pytest.approx(whole["others"].tolist(), abs=1e-12)
    assert by_key.sum(axis=1).tolist() == pytest.approx(whole.sum(axis=1).tolist(), abs=1e-12)


def test_mean_shares_are_over_strings_and_queries(random: TransformerBridge) -> None:
    by_query = [attribution.shares(subject(TINY, random), q) for q in TINY.mirrored_positions]
    wanted = torch.cat([torch.tensor(frame["mlp"].to_numpy()) for frame in by_query]).mean()
    assert attribution.mean_shares(subject(TINY, random))["mlp"] == pytest.approx(float(wanted))


def test_the_audit_reads_the_handbuilt_model(handbuilt: HandBuilt) -> None:
    task, model, tables = handbuilt.task, handbuilt.model, tabulate(handbuilt.model)
    tokens = encode(task, task.strings())
    for query in task.mirrored_positions:
        found = {part: audit(Subject(task, model, tables, tokens), query, part) for part in PARTS}
        for name in ("resample", "mean", "dla"):
            helps = {part: getattr(found[part], name).min() for part in PARTS}
            assert helps["mirror"] > 1, name
        for part in ("direct", "others", "mlp"):
            assert float(found[part].resample.abs().max()) < 1e-3, part
            assert float(found[part].dla.abs().max()) < 1e-3, part


def test_patching_reads_the_handbuilt_model(handbuilt: HandBuilt) -> None:
    task, model = handbuilt.task, handbuilt.model
    for query in task.mirrored_positions:
        found = patching.patch(subject(task, model), query)
        for name, outcome in found.items():
            for slot in range(task.half_length):
                moved = name == "mirror" and slot == task.slot_of(query)
                assert bool(outcome[slot, :, 1].all()) == moved, (name, slot)
                assert bool(outcome[slot, :, 1].any()) == moved, (name, slot)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_patching_agrees_with_the_running_model(random: TransformerBridge, query: int) -> None:
    found = patching.patch(subject(TINY, random), query)
    for own, slot, shift in ((1, 0, 0), (6, 1, 2), (14, 1, 0)):
        place = 4 ** (1 - slot)
        digit = own // place % 4
        donor = own + ((digit + shift + 1) % 4 - digit) * place
        with torch.no_grad():
            before = int(random(inputs(STRINGS[[own]]))[0, query].argmax())
        for part in PARTS:
            name = "blocks.0.hook_mlp_out" if part == "mlp" else "blocks.0.hook_attn_out"
            if part == "mlp":
                change = cached(random, donor)["hook_mlp_out"] - cached(random, own)["hook_mlp_out"]
                moved = change[query]
            else:
                moved = node(random, own, donor, query, part) - node(random, own, own, query, part)

            def put(value: Tensor, hook: object, moved: Tensor = moved) -> Tensor:
                changed = value.clone()
                changed[:, query] = value[:, query] + moved
                return changed

            with torch.no_grad(), random.hooks(fwd_hooks=[(name, put)]):
                answer = int(random(inputs(STRINGS[[own]]))[0, query].argmax())
            follows = answer == int(STRINGS[donor, query + 1])
            assert found[part][slot, shift, :, own].tolist() == [follows, answer != before], part


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_a_tally_counts_the_pairs(random: TransformerBridge, query: int) -> None:
    slot = TINY.slot_of(query)
    tally = patching.tally(subject(TINY, random), query)
    for name, outcome in patching.patch(subject(TINY, random), query).items():
        counts = dict.fromkeys(tally.columns, 0)
        for at, shift, string in itertools.product(range(2), range(3), range(16)):
            follows, changed = outcome[at, shift, :, string].tolist()
            counts["by_other"] += changed and at != slot
            counts["changed"] += changed and at == slot
            counts["follows"] += follows and at == slot
            counts["third"] += changed and not follows and at == slot
        assert tally.loc[name].to_dict() == counts
    assert (tally.loc["mlp"] > 0).all()


def answer_with(model: TransformerBridge, own: int, query: int, hooks: dict[str, Tensor]) -> int:
    """The answer of the running model with activations at the query replaced."""

    def put(value: Tensor, hook: object, new: Tensor) -> Tensor:
        changed = value.clone()
        changed[:, query] = new
        return changed

    edits = [(f"blocks.0.{name}", functools.partial(put, new=new)) for name, new in hooks.items()]
    with torch.no_grad(), model.hooks(fwd_hooks=edits):
        return int(model(inputs(STRINGS[[own]]))[0, query].argmax())


def pairs(slot: int) -> list[tuple[int, int]]:
    """All ordered pairs of strings that differ in one slot."""
    rows = STRINGS[:, 1:3]
    return [
        (own, other)
        for own in range(16)
        for other in range(16)
        if ((rows[own] != rows[other]).nonzero().flatten().tolist()) == [slot]
    ]


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_path_patching_agrees_with_the_running_model(random: TransformerBridge, query: int) -> None:
    found = patching.patch_paths(subject(TINY, random), query)
    wanted = {path: [0, 0] for path in patching.PATHS}
    for own, other in pairs(TINY.slot_of(query)):
        first = cached(random, own)
        moved = node(random, own, other, query, "mirror") - node(random, own, own, query, "mirror")
        new = first["hook_resid_mid"][query] + moved
        with torch.no_grad():
            mlp = random.blocks[0].mlp(random.blocks[0].ln2(new))
        attention = first["hook_attn_out"][query] + moved
        edits = {
            "through the MLP": {"hook_mlp_out": mlp},
            "past the MLP": {
                "hook_attn_out": attention,
                "hook_mlp_out": first["hook_mlp_out"][query],
            },
            "both": {"hook_attn_out": attention},
        }
        before = answer_with(random, own, query, {})
        for path, hooks in edits.items():
            after = answer_with(random, own, query, hooks)
            wanted[path][0] += after == int(STRINGS[other, query + 1])
            wanted[path][1] += after == before
    assert {path: counts.tolist() for path, counts in found.items()} == wanted


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_patching_an_embedding_agrees_with_the_running_model(
    random: TransformerBridge, query: int
) -> None:
    found = patching.patch_embeddings(subject(TINY, random), query)
    wanted = torch.zeros_like(found)
    for slot in range(2):
        for own, other in pairs(slot):
            before = answer_with(random, own, query, {})
            for position in range(query + 1):
                new = cached(random, other)["hook_resid_pre"][position]

                def put(value: Tensor, hook: object, p: int = position, v: Tensor = new) -> Tensor:
                    changed = value.clone()
                    changed[:, p] = v
                    return changed

                hooks = [("blocks.0.hook_resid_pre", put)]
                with torch.no_grad(), random.hooks(fwd_hooks=hooks):
                    after = int(random(inputs(STRINGS[[own]]))[0, query].argmax())
                wanted[0, slot, position] += after == int(STRINGS[other, query + 1])
                wanted[1, slot, position] += after != before
    assert torch.equal(found, wanted)


def test_the_embedding_that_the_handbuilt_model_copies_is_the_mirrors(
    handbuilt: HandBuilt,
) -> None:
    tables = tabulate(handbuilt.model)
    for query in TINY.mirrored_positions:
        found = patching.patch_embeddings(Subject(TINY, handbuilt.model, tables, STRINGS), query)
        wanted = torch.zeros_like(found[1])
        wanted[TINY.slot_of(query), TINY.mirror_position(query)] = 16 * 3
        assert torch.equal(found[1], wanted)
        # Its MLP writes nothing here: all of the letter goes past it.
        paths = patching.patch_paths(Subject(TINY, handbuilt.model, tables, STRINGS), query)
        assert {path: counts.tolist() for path, counts in paths.items()} == {
            "through the MLP": [0, 48],
            "past the MLP": [48, 0],
            "both": [48, 0],
        }


def test_donors_give_each_value_once() -> None:
    task = Task()
    tokens = encode(task, task.strings())
    counts = [len(attribution.donors(task, tokens, 5, node)) for node in NODES]
    assert dict(zip(NODES, counts, strict=True)) == {
        "direct": 26,
        "pattern": 17576,
        "mirror": 26,
        "others": 676,
    }
    assert len(attribution.donors(task, tokens, 4, "direct")) == 1


def test_an_unknown_part(random: TransformerBridge) -> None:
    with pytest.raises(ValueError, match="'head'; direct, mirror, others, mlp"):
        audit(subject(TINY, random), 3, "head")
