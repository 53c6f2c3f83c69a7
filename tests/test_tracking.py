"""Tracked runs, read back from disk.

W&B's file is a log in LevelDB's format after a header of 7 bytes: blocks of 32 KiB, each a
sequence of (checksum, length, type) and that many bytes; a record is one such piece, or several.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from palindrome_lens.model import ModelConfig
from palindrome_lens.task import Task
from palindrome_lens.tracking import SAE_PROJECT, TRAINING_PROJECT, tracked
from palindrome_lens.training import Recipe, train

TINY = Task(alphabet="abcd", half_length=2)
SHORT = Recipe(steps=300, batch_size=4, test_fraction=0.25, evaluate_every=100)
BLOCK, HEADER, FULL, LAST = 32 * 1024, 7, 1, 4


def records(path: Path) -> Iterator[Record]:
    """Every record of a ``.wandb`` file."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, record = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if place > len(data):
            return  # still being written
        if kind in (FULL, LAST):
            yield Record.FromString(record)
            record = b""


def stored_config(path: Path) -> dict[str, Any]:
    """The configuration of the run."""
    updates = [one.run.config.update for one in records(path) if one.HasField("run")]
    return {item.key: json.loads(item.value_json) for update in updates for item in update}


def stored_rows(path: Path) -> list[dict[str, Any]]:
    """Each logged row."""
    return [
        {
            ".".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in one.history.item
        }
        for one in records(path)
        if one.HasField("history")
    ]


def exit_code(path: Path) -> int | None:
    """With what the run ended; ``None`` if it did not."""
    codes = [one.exit.exit_code for one in records(path) if one.HasField("exit")]
    return codes[-1] if codes else None


def finished(folder: Path, patience: float = 60) -> Path:
    """The one run below a folder, once its end is on disk.

    W&B's own process writes the file, and may still be at it when ``finish`` has returned.
    """
    (path,) = folder.rglob("*.wandb")
    until = time.monotonic() + patience
    while exit_code(path) is None:
        assert time.monotonic() < until, f"{path} has no end after {patience} s"
        time.sleep(0.05)
    return path


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "build" / "artifacts"))


def test_an_offline_training_can_be_read_back(tmp_path: Path) -> None:
    config = {"model": ModelConfig().model_dump(), "recipe": SHORT.model_dump()}
    with tracked(TRAINING_PROJECT, config, folder=tmp_path) as run:
        assert run.offline
        _, history = train(TINY, ModelConfig(), SHORT, log=run.log)
    path = finished(tmp_path)
    stored = stored_config(path)
    assert stored["model"] == config["model"]
    assert stored["recipe"] == {**config["recipe"], "betas": [0.9, 0.95]}
    rows = stored_rows(path)
    assert [row["step"] for row in rows] == list(range(301))
    assert [row["train_loss"] for row in rows[:-1]] == history.train_loss.tolist()
    assert [(row["step"], row["test_loss"]) for row in rows if "test_loss" in row] == list(
        zip([0, 100, 200, 300], history.test_loss.tolist(), strict=True)
    )
    assert exit_code(path) == 0


def test_a_run_that_fails_is_finished_and_keeps_its_rows(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"), tracked("p", {}, folder=tmp_path) as run:
        run.log({"step": 0, "train_loss": 2.5})
        raise RuntimeError("stopped")
    path = finished(tmp_path)
    assert stored_rows(path)[0]["train_loss"] == 2.5
    assert exit_code(path) != 0


def test_runs_are_written_beside_the_artifacts(tmp_path: Path) -> None:
    with tracked("p", {}) as run:
        run.log({"step": 0})
    assert finished(tmp_path).is_relative_to(tmp_path / "build" / "wandb")


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
    with pytest.raises(ValueError, match=said), tracked("p", {}, mode, tmp_path):
        pass
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ValueError, match=said), tracked("p", {}, folder=tmp_path):
        pass
    assert not list(tmp_path.rglob("*.wandb"))


def test_the_projects_are_the_originals() -> None:
    assert TRAINING_PROJECT == "toy-problem-hooked-transformer"
    assert SAE_PROJECT == "toy-problem-hooked-transformer-sae"
