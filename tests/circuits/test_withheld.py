"""What is withheld, and that no model sees it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from palindrome_lens import training
from palindrome_lens.circuits import withheld as module
from palindrome_lens.circuits.withheld import Run, models, restricted, slots_of, withheld
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.task import Split, Task

TASK = Task(alphabet="abcde", half_length=3)
STRINGS = TASK.strings()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Split]:
    """The splits on which models were really trained, in three steps."""
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(module, "TASK", TASK)
    short = module.RECIPE.model_copy(update={"steps": 3, "batch_size": 8, "warmup": 0})
    monkeypatch.setattr(module, "RECIPE", short)
    seen: list[Split] = []
    train = training.train_together

    def noted(task: Any, configs: Any, recipes: Any, splits: list[Split]) -> Any:
        seen.extend(splits)
        return train(task, configs, recipes, splits)

    monkeypatch.setattr(training, "train_together", noted)
    return seen


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_slot_holds_only_the_letters_of_its_run(slot: int) -> None:
    run = Run("letters", slot, 2, 3)
    held, new = restricted(TASK, run), withheld(TASK, run)
    assert held.slot == slot and len(held.seen) == 2
    for text, is_withheld in zip(STRINGS, new.tolist(), strict=True):
        assert is_withheld == (text[slot + 1] not in held.seen)


def test_more_letters_include_the_fewer_and_seeds_differ() -> None:
    held = [set(restricted(TASK, Run("letters", 0, size, 1)).seen) for size in range(1, 5)]
    assert all(fewer < more for fewer, more in pairwise(held))
    firsts = {restricted(TASK, Run("letters", 0, 1, seed)).seen for seed in range(10)}
    assert len(firsts) > 2


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_every_letter_keeps_equally_many_partners(slot: int, size: int) -> None:
    run = Run("pairs", slot, size, 0)
    kept = [
        text for text, out in zip(STRINGS, withheld(TASK, run).tolist(), strict=True) if not out
    ]
    one, other = (s + 1 for s in slots_of(TASK, run))
    pairs = {(text[one], text[other]) for text in kept}
    assert len(pairs) == 5 * size and len(kept) == 25 * size
    for side in (0, 1):
        assert all(sum(pair[side] == letter for pair in pairs) == size for letter in "abcde")


def test_strings_are_drawn_from_all() -> None:
    new = withheld(TASK, Run("strings", 0, 2, 0))
    assert int((~new).sum()) == 50
    assert not torch.equal(new, withheld(TASK, Run("strings", 0, 2, 1)))


def test_what_a_run_is_about() -> None:
    assert slots_of(TASK, Run("letters", 1, 2, 0)) == [1]
    assert slots_of(TASK, Run("pairs", 1, 2, 0)) == [0, 2]
    assert slots_of(TASK, Run("strings", 0, 2, 0)) == [0, 1, 2]
    with pytest.raises(ValueError, match="3 slots, not 2"):
        slots_of(Task(alphabet="abc", half_length=2), Run("pairs", 0, 1, 0))


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("kind", ["letters", "strings", "pairs"])
def test_neither_side_may_be_empty(kind: Any, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 4 leave something"):
        withheld(TASK, Run(kind, 0, size, 0))


def test_models_train_on_what_is_not_withheld(trainings: list[Split]) -> None:
    runs = [Run("letters", 0, 1, 0), Run("pairs", 2, 3, 1), Run("strings", 0, 4, 0)]
    models(runs)
    for run, split in zip(runs, trainings, strict=True):
        new = withheld(TASK, run).tolist()
        assert split.train == [s for s, out in zip(STRINGS, new, strict=True) if not out]
        assert set(split.test) <= {s for s, out in zip(STRINGS, new, strict=True) if out}


def test_a_model_is_trained_once_and_is_the_same_beside_others(trainings: list[Split]) -> None:
    runs = [Run("letters", 0, 1, 0), Run("letters", 1, 2, 0)]
    (alone,) = models(runs[1:])
    together = models(runs)
    assert len(trainings) == 2
    assert torch.equal(alone.embed.weight, together[1].embed.weight)
    (fresh,) = training.train_together(
        TASK,
        [ModelConfig(seed=0)],
        [module.RECIPE],
        [Split([s for s in STRINGS if s[2] in restricted(TASK, runs[1]).seen], STRINGS[:2])],
    )
    weights: Any = fresh[0]
    torch.testing.assert_close(alone.embed.weight, weights.tok_embed.weight, rtol=0, atol=1e-12)


def test_runs_begin_with_the_fresh_model_of_their_seed(trainings: list[Split]) -> None:
    assert not torch.equal(module.untrained(0).embed.weight, module.untrained(1).embed.weight)
    config = ModelConfig(seed=1)
    fresh = init_model(config, TASK).tok_embed.weight
    assert torch.equal(module.untrained(1).embed.weight, fresh)
