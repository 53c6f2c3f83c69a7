"""Recipes, training, exact evaluation, and that the same recipe gives the same model."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from palindrome_lens import evaluation, training
from palindrome_lens.config import ConfigError
from palindrome_lens.evaluation import Evaluation, evaluate, position_loss
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.stored import checkpoints, trained
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import ORIGINAL, Recipe, batches, make_split, train

TINY = Task(alphabet="abcd", half_length=2)
SHORT = Recipe(steps=30, batch_size=5, warmup=5, test_fraction=0.25, evaluate_every=10)

RUN = """
import torch
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.task import Task
from palindrome_lens.training import Recipe, train
task = Task(alphabet="abcdefgh", half_length=2)
print(torch.backends.cpu.get_cpu_capability())
print(*[w.sum().item().hex() for w in init_model(ModelConfig(), task).parameters()])
print(*train(task, ModelConfig(), Recipe(steps=60, batch_size=16))[1].train_loss.tolist())
"""


def tiny_tokens() -> Tensor:
    return encode(TINY, TINY.strings())


def test_the_constant_schedule_warms_up_and_stays() -> None:
    recipe = Recipe(lr=0.5, warmup=4, schedule="constant")
    assert [recipe.learning_rate(step) for step in (0, 1, 3, 4, 999)] == [
        0.125,
        0.25,
        0.5,
        0.5,
        0.5,
    ]


def test_the_cosine_schedule_falls_from_the_rate_to_nearly_0() -> None:
    recipe = Recipe(steps=1000, lr=0.5, warmup=0)
    assert recipe.learning_rate(0) == 0.5
    assert recipe.learning_rate(500) == pytest.approx(0.25)
    assert recipe.learning_rate(250) == pytest.approx(0.5 * (1 + math.sqrt(0.5)) / 2)
    assert 0 <= recipe.learning_rate(999) < 0.5 * 1e-5


def test_the_original_recipe_is_the_notebooks() -> None:
    assert (ORIGINAL.steps, ORIGINAL.batch_size, ORIGINAL.lr) == (5000, 4, 1e-4)
    assert (ORIGINAL.betas, ORIGINAL.weight_decay) == ((0.9, 0.95), 0.1)
    assert (ORIGINAL.max_grad_norm, ORIGINAL.split, ORIGINAL.test_fraction) == (1.0, "ordered", 0.1)
    assert ORIGINAL.evaluate_every == 500
    rates = [ORIGINAL.learning_rate(step) for step in (0, 49, 99, 100, 4999)]
    assert rates == pytest.approx([1e-6, 5e-5, 1e-4, 1e-4, 1e-4])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": "500"}, "Recipe.steps is '500' (str): it must be a valid integer."),
        ({"steps": 0}, "Recipe.steps is 0 (int)"),
        ({"lr": 0.0}, "Recipe.lr is 0.0 (float): it must be greater than 0."),
        ({"schedule": "linear"}, "'constant' or 'cosine'"),
        ({"split": "half"}, "'random' or 'ordered'"),
        ({"test_fraction": 1.0}, "Recipe.test_fraction is 1.0 (float)"),
        ({"learning_rate": 0.1}, "Recipe has no field 'learning_rate'; its fields are steps,"),
    ],
)
def test_an_impossible_recipe_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(**fields)
    assert said in str(caught.value)


def test_the_loss_is_minus_the_log_probability_of_the_target() -> None:
    logits = torch.tensor([[[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]], dtype=torch.float64)
    first = -math.log(math.exp(0.5) / (math.exp(1) + math.exp(2) + math.exp(0.5)))
    second = -math.log(1 / (2 + math.exp(3)))
    found = position_loss(logits, torch.tensor([[2, 0]]))
    assert found[0].tolist() == pytest.approx([first, second], abs=1e-12)


def test_evaluation_of_all_strings_equals_a_loop_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 5)
    model = init_model(ModelConfig(), TINY)
    found = evaluate(model, tiny_tokens())
    assert found.loss.shape == found.correct.shape == (16, 6)
    for i, text in enumerate(TINY.strings()):
        tokens = encode(TINY, [text])
        with torch.no_grad():
            logs = log_softmax(model(inputs(tokens)), dim=-1)[0]
        for position, target in enumerate(tokens[0, 1:].tolist()):
            assert found.loss[i, position].item() == pytest.approx(
                -logs[position, target].item(), abs=1e-12
            )
            assert bool(found.correct[i, position]) == (int(logs[position].argmax()) == target)
    assert found.mean_loss == pytest.approx(sum(found.loss.flatten().tolist()) / 96, abs=1e-12)


def test_evaluation_leaves_training_mode_as_it_was() -> None:
    model = init_model(ModelConfig(), TINY)
    seen = []
    model.register_forward_hook(lambda module, *_: seen.append(module.training))
    for mode in (True, False):
        evaluate(model.train(mode), tiny_tokens())
        assert model.training is mode
    assert seen == [False, False]


def test_a_string_is_solved_when_everything_determined_is_right() -> None:
    right = torch.tensor(
        [
            [False, False, True, True, True, True],
            [True, True, False, True, True, True],
            [True, True, True, True, False, True],
            [True, True, True, True, True, False],
            [True, True, True, True, True, True],
        ]
    )
    solved = Evaluation(torch.zeros(5, 6), right).solved(TINY)
    assert solved.tolist() == [True, False, False, False, True]


def test_every_epoch_is_shuffled_and_drops_its_short_batch() -> None:
    chosen = batches(11, 4, torch.Generator().manual_seed(0))
    epochs = [torch.cat([next(chosen), next(chosen)]).tolist() for _ in range(30)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 30
    assert {index for epoch in epochs for index in epoch} == set(range(11))


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="A batch of 13 was asked for; the training set has 12"):
        train(TINY, ModelConfig(), SHORT.model_copy(update={"batch_size": 13}))


def test_an_impossible_split_stops_training() -> None:
    with pytest.raises(ValueError, match="17 strings were asked for"):
        train(TINY, ModelConfig(), SHORT.model_copy(update={"n_strings": 17}))


def test_the_first_step_is_adamws() -> None:
    recipe = Recipe(
        steps=1, batch_size=12, lr=0.01, weight_decay=0.2, warmup=0, test_fraction=0.25,
        max_grad_norm=0.05,
    )  # fmt: skip
    fresh = init_model(ModelConfig(), TINY)
    tokens = encode(TINY, make_split(TINY, recipe).train)
    position_loss(fresh(inputs(tokens)), targets(tokens)).mean().backward()
    gradients = [torch.as_tensor(parameter.grad) for parameter in fresh.parameters()]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert norm > 0.05
    moved, _ = train(TINY, ModelConfig(), recipe)
    for before, after, gradient in zip(
        fresh.parameters(), moved.parameters(), gradients, strict=True
    ):
        clipped = gradient * 0.05 / (norm + 1e-6)
        wanted = before * (1 - 0.01 * 0.2) - 0.01 * clipped / (clipped.abs() + 1e-8)
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-6)


def test_the_history_begins_with_the_fresh_model_and_ends_with_the_trained_one() -> None:
    model, history = train(TINY, ModelConfig(), SHORT)
    test = encode(TINY, make_split(TINY, SHORT).test)
    before = evaluate(init_model(ModelConfig(), TINY), test)
    after = evaluate(model, test)
    assert len(history.train_loss) == 30
    assert history.evaluated_at.tolist() == [0, 10, 20, 30]
    torch.testing.assert_close(history.test_position_loss[0], before.loss.mean(dim=0))
    torch.testing.assert_close(history.test_position_loss[-1], after.loss.mean(dim=0))
    assert history.test_loss[-1].item() == pytest.approx(after.mean_loss, abs=1e-12)


def test_every_step_is_logged() -> None:
    rows: list[dict[str, float]] = []
    _, history = train(TINY, ModelConfig(), SHORT, log=rows.append)
    assert [row["step"] for row in rows] == list(range(31))
    assert [row["train_loss"] for row in rows[:-1]] == history.train_loss.tolist()
    assert [row["step"] for row in rows if "test_loss" in row] == [0, 10, 20, 30]
    assert [row["test_loss"] for row in rows if "test_loss" in row] == history.test_loss.tolist()
    assert rows[3]["lr"] == SHORT.learning_rate(3)


def test_training_approaches_the_floor_and_does_not_pass_it() -> None:
    model, _ = train(TINY, ModelConfig(), Recipe(steps=200, batch_size=8, test_fraction=0.1))
    found = evaluate(model, tiny_tokens())
    assert TINY.floor() < found.mean_loss < TINY.floor() + 0.05
    assert found.correct[:, 2].all()


def test_the_same_recipe_gives_identical_tensors() -> None:
    (first, history), (again, history_again) = (train(TINY, ModelConfig(), SHORT) for _ in range(2))
    weights, weights_again = first.state_dict(), again.state_dict()
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert all(torch.equal(a, b) for a, b in zip(history, history_again, strict=True))


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 2e-2}, {"split": "ordered"}])
def test_another_recipe_gives_another_history(change: dict[str, Any]) -> None:
    _, history = train(TINY, ModelConfig(), SHORT)
    _, other = train(TINY, ModelConfig(), SHORT.model_copy(update=change))
    assert not torch.equal(history.train_loss, other.train_loss)


def test_narrow_and_wide_cpus_train_alike() -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RUN],
            env={**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for capability in ("default", "avx2")
    ]
    said = [process.communicate(timeout=120)[0].splitlines() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    (narrow, weights, losses), (wide, other_weights, other_losses) = said
    if narrow == wide:
        pytest.skip(f"this CPU has one instruction set only ({narrow})")
    first, second = (
        [float.fromhex(word) for word in line.split()] for line in (weights, other_weights)
    )
    assert first == pytest.approx(second, rel=1e-14, abs=1e-13)
    first, second = ([float(word) for word in line.split()] for line in (losses, other_losses))
    assert len(first) == 60
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) < 1e-10


def test_a_trained_model_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    made = trained(TINY, ModelConfig(), SHORT)
    found = trained(TINY, ModelConfig(), SHORT)
    fresh, history = train(TINY, ModelConfig(), SHORT)
    tokens = inputs(tiny_tokens())
    with torch.no_grad():
        assert torch.equal(made.model(tokens), found.model(tokens))
        torch.testing.assert_close(found.model(tokens), fresh(tokens), rtol=0, atol=1e-12)
    for stored, new in zip(found.history, history, strict=True):
        assert torch.equal(stored, new) and stored.dtype == new.dtype


def test_another_recipe_model_or_task_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    variants = [
        (TINY, ModelConfig(), SHORT),
        (TINY, ModelConfig(), SHORT.model_copy(update={"seed": 1})),
        (TINY, ModelConfig(seed=1), SHORT),
        (Task(alphabet="abce", half_length=2), ModelConfig(), SHORT),
    ]
    for task, config, recipe in variants:
        rows: list[dict[str, float]] = []
        trained(task, config, recipe, log=rows.append)
        assert len(rows) == 31


def test_a_found_model_logs_the_rows_of_its_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    live: list[dict[str, float]] = []
    replayed: list[dict[str, float]] = []
    trained(TINY, ModelConfig(), SHORT, log=live.append)
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("it was trained again"))
    trained(TINY, ModelConfig(), SHORT, log=replayed.append)
    assert len(live) == SHORT.steps + 1
    assert replayed == live


def test_watching_changes_nothing_and_sees_every_step() -> None:
    seen: dict[int, Tensor] = {}

    def watch(step: int, model: torch.nn.Module) -> None:
        seen[step] = model.get_parameter("head.weight").detach().clone()

    watched, history = train(TINY, ModelConfig(), SHORT, watch=watch)
    alone, history_alone = train(TINY, ModelConfig(), SHORT)
    weights, weights_alone = watched.state_dict(), alone.state_dict()
    assert all(torch.equal(weights[name], weights_alone[name]) for name in weights_alone)
    assert all(torch.equal(a, b) for a, b in zip(history, history_alone, strict=True))
    assert list(seen) == list(range(31))
    assert torch.equal(seen[0], init_model(ModelConfig(), TINY).get_parameter("head.weight"))
    assert torch.equal(seen[30], weights_alone["head.weight"])


def test_checkpoints_are_the_model_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    made = checkpoints(TINY, ModelConfig(), SHORT, [0, 10, 30])
    monkeypatch.setattr(training, "train", None)
    found = checkpoints(TINY, ModelConfig(), SHORT, [0, 10, 30])
    monkeypatch.undo()
    _, history = train(TINY, ModelConfig(), SHORT)
    test = encode(TINY, make_split(TINY, SHORT).test)
    for models in (made, found):
        assert list(models) == [0, 10, 30]
        for step, loss in ((0, 0), (10, 1), (30, 3)):
            wanted = history.test_loss[loss].item()
            assert evaluate(models[step], test).mean_loss == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("steps", [[], [3, 2], [0, 0], [-1, 2], [0, 31]])
def test_impossible_checkpoints_are_refused_before_training(steps: list[int]) -> None:
    with pytest.raises(ValueError, match="must ascend, within 0 and 30"):
        checkpoints(TINY, ModelConfig(), SHORT, steps)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "tpu", ""])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    recipe = Recipe(steps=1, batch_size=4, device=device)
    with pytest.raises(ConfigError, match=f"device is {device!r}: this machine has cpu"):
        train(TINY, ModelConfig(), recipe)
