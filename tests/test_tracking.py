"""Tracked runs, read back from disk."""

from pathlib import Path

import pytest

from palindrome_lens.model import ModelConfig
from palindrome_lens.task import Task
from palindrome_lens.tracking import SAE_PROJECT, TRAINING_PROJECT, tracked
from palindrome_lens.training import Recipe, train
from tests import wandb_file

TINY = Task(alphabet="abcd", half_length=2)
SHORT = Recipe(steps=300, batch_size=4, test_fraction=0.25, evaluate_every=100)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "build" / "artifacts"))


def test_an_offline_training_can_be_read_back(tmp_path: Path) -> None:
    config = {"model": ModelConfig().model_dump(), "recipe": SHORT.model_dump()}
    with tracked(TRAINING_PROJECT, config, folder=tmp_path) as run:
        assert run.offline
        _, history = train(TINY, ModelConfig(), SHORT, log=run.log)
    path = wandb_file.finished(tmp_path)
    stored = wandb_file.config(path)
    assert stored["model"] == config["model"]
    assert stored["recipe"] == {**config["recipe"], "betas": [0.9, 0.95]}
    rows = wandb_file.rows(path)
    assert [row["step"] for row in rows] == list(range(301))
    assert [row["train_loss"] for row in rows[:-1]] == history.train_loss.tolist()
    assert [(row["step"], row["test_loss"]) for row in rows if "test_loss" in row] == list(
        zip([0, 100, 200, 300], history.test_loss.tolist(), strict=True)
    )
    assert wandb_file.exit_code(path) == 0


def test_a_run_that_fails_is_finished_and_keeps_its_rows(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"), tracked("p", {}, folder=tmp_path) as run:
        run.log({"step": 0, "train_loss": 2.5})
        raise RuntimeError("stopped")
    path = wandb_file.finished(tmp_path)
    assert wandb_file.rows(path)[0]["train_loss"] == 2.5
    assert wandb_file.exit_code(path) != 0


def test_runs_are_written_beside_the_artifacts(tmp_path: Path) -> None:
    with tracked("p", {}) as run:
        run.log({"step": 0})
    assert wandb_file.finished(tmp_path).is_relative_to(tmp_path / "build" / "wandb")


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_disabled_run_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    with tracked("p", {}, "disabled" if by == "argument" else None, tmp_path) as run:
        run.log({"step": 0, "train_loss": 1.0})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_argument_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with tracked("p", {}, "disabled", tmp_path) as run:
        run.log({"step": 0})
    assert not list(tmp_path.rglob("*.wandb"))


@pytest.mark.parametrize("mode", ["dryrun", "offlin"])
def test_an_unknown_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    said = rf"W&B mode is '{mode}'; 'offline', 'online' and 'disabled' are allowed"
    with pytest.raises(ValueError, match=said), tracked("p", {}, mode, tmp_path):  # type: ignore[arg-type]
        pass
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ValueError, match=said), tracked("p", {}, folder=tmp_path):
        pass
    assert not list(tmp_path.rglob("*.wandb"))


def test_the_projects_are_the_originals() -> None:
    assert TRAINING_PROJECT == "toy-problem-hooked-transformer"
    assert SAE_PROJECT == "toy-problem-hooked-transformer-sae"
