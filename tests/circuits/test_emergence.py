"""The record of a training, against models and curves that are known."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from handbuilt import HandBuilt, build
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import emergence
from palindrome_lens.circuits.emergence import (
    course,
    halves,
    reached,
    record,
    rises,
    transplanted_loss,
    transplants,
)
from palindrome_lens.circuits.patterns import patterns
from palindrome_lens.evaluation import evaluate
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.stored import checkpoints
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())


def fresh(seed: int) -> TransformerBridge:
    config = ModelConfig(seed=seed)
    return hooked(init_model(config, TINY), config, TINY)


def test_the_handbuilt_model_looks_at_the_mirror_and_copies(handbuilt: HandBuilt) -> None:
    task = handbuilt.task
    tokens = encode(task, task.strings())
    found = record(task, {0: fresh(0), 9: handbuilt.model}, tokens)
    assert found.attention.shape == (2, 2)
    assert (found.attention[1] > 0.999).all() and (found.attention[0] < 0.9).all()
    assert found.copied[1].tolist() == [1.0, 1.0]
    torch.testing.assert_close(
        halves(task, handbuilt.model, tokens), torch.stack([found.attention[1], found.copied[1]])
    )
    assert found.solved.tolist() == [int(evaluate(fresh(0), tokens).solved(task).sum()), 16]


def test_the_record_is_what_the_model_itself_shows() -> None:
    model = fresh(1)
    found = record(TINY, {0: fresh(0), 5: model}, STRINGS)
    own = patterns(model, STRINGS)[:, 0]
    torch.testing.assert_close(found.pattern[1], own.mean(dim=0), rtol=0, atol=1e-12)
    mirrors = {q: TINY.mirror_position(q) for q in TINY.mirrored_positions}
    wanted = [float(own[:, q, k].mean()) for q, k in mirrors.items()]
    assert found.attention[1].tolist() == pytest.approx(wanted, abs=1e-12)
    loss = evaluate(model, STRINGS).loss.mean(dim=0)
    torch.testing.assert_close(found.loss[1], loss, rtol=0, atol=1e-12)
    curves = found.curves(TINY)
    assert list(curves.index) == [0, 5] and list(curves["loss"]) == [2, 3, 4, 5]
    assert curves.loc[5, "loss"].tolist() == found.loss[1, 2:].tolist()
    for i, q in enumerate(TINY.mirrored_positions):
        assert curves["mirror attention", q].tolist() == found.attention[:, i].tolist()
        assert curves["letters copied", q].tolist() == found.copied[:, i].tolist()
    assert curves["strings solved", "all"].tolist() == found.solved.tolist()


def test_a_model_transplanted_into_itself_is_the_model() -> None:
    model = fresh(0)
    own = evaluate(model, STRINGS).loss.mean(dim=0)[list(TINY.mirrored_positions)]
    found = transplanted_loss(TINY, model, model, STRINGS)
    torch.testing.assert_close(found, own, rtol=0, atol=1e-12)


def test_only_the_looking_is_transplanted(handbuilt: HandBuilt) -> None:
    blind = _without_queries()
    tokens = encode(handbuilt.task, handbuilt.task.strings())
    queries = list(handbuilt.task.mirrored_positions)
    sees, gropes = (
        evaluate(model, tokens).loss.mean(dim=0)[queries] for model in (handbuilt.model, blind)
    )
    assert (gropes > sees + 0.3).all()
    for looking, rest, wanted in ((handbuilt.model, blind, sees), (blind, handbuilt.model, gropes)):
        found = transplanted_loss(handbuilt.task, looking, rest, tokens)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def _without_queries() -> TransformerBridge:
    """The hand-built model with uniform attention."""
    blind = build().model
    with torch.no_grad():
        blind.blocks[0].attn.q.weight.zero_()
        blind.blocks[0].attn.q.bias.zero_()
    return blind


def test_transplants_go_both_ways() -> None:
    early, late, finished = fresh(0), fresh(1), fresh(2)
    losses = transplants(TINY, {4: early, 7: late}, finished, STRINGS)
    assert list(losses.index) == [(4, 3), (4, 4), (7, 3), (7, 4)]
    for step, model in ((4, early), (7, late)):
        looking = transplanted_loss(TINY, model, finished, STRINGS)
        rest = transplanted_loss(TINY, finished, model, STRINGS)
        assert losses.loc[step].looking.tolist() == looking.tolist()
        assert losses.loc[step].rest.tolist() == rest.tolist()
        assert not torch.allclose(looking, rest)


RAMP = pd.Series([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0], index=[0, 10, 20, 30, 40, 50, 60])


@pytest.mark.parametrize("curve", [RAMP, 3 - 2 * RAMP])
def test_the_rise_of_a_known_ramp_up_or_down(curve: pd.Series) -> None:
    assert [reached(curve, share) for share in (0.1, 0.5, 0.9)] == [20, 30, 50]


def test_a_jump_has_no_width() -> None:
    jump = pd.Series([0.2] * 6 + [0.9], index=RAMP.index)
    found = rises(pd.DataFrame({"ramp": RAMP, "jump": jump}))
    assert found.loc["ramp"].to_dict() == {"tenth": 20, "half": 30, "nine_tenths": 50, "width": 30}
    assert found.loc["jump"].to_dict() == {"tenth": 60, "half": 60, "nine_tenths": 60, "width": 0}


def test_a_curve_that_goes_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an end unlike its start"):
        reached(0 * RAMP, 0.5)


def test_a_course_is_that_of_the_checkpoints_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    config, steps = ModelConfig(seed=3), [0, 2, 7]
    recipe = Recipe(steps=20, batch_size=5, warmup=2, test_fraction=0.25, seed=3)
    at_checkpoints = checkpoints(TINY, config, recipe, steps).values()
    wanted = torch.stack([halves(TINY, model, STRINGS) for model in at_checkpoints])
    curves = course(TINY, config, recipe, steps)
    assert list(curves.index) == steps
    for half, name in enumerate(("mirror attention", "letters copied")):
        found = torch.tensor(curves[name].to_numpy())
        torch.testing.assert_close(found, wanted[:, half], rtol=0, atol=1e-12)
    assert not torch.equal(wanted[0], wanted[2])
    monkeypatch.setattr(emergence, "train", None)
    assert course(TINY, config, recipe, steps).equals(curves)
