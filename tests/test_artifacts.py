"""Artifacts on disk: whole or absent, and never mistaken for another."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from claimbook.provenance import Library, code_behind
from palindrome_lens import artifacts
from palindrome_lens.artifacts import (
    ArtifactError,
    Tensors,
    find_or_make,
    fingerprint,
    key,
    read,
    write,
)
from palindrome_lens.model import ModelConfig
from palindrome_lens.sae import leaderboard
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import SAEConfig
from palindrome_lens.stored import trained
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe

TENSORS = {"weight": torch.arange(6.0, dtype=torch.float64).reshape(2, 3), "n": torch.tensor(7)}
BY = "palindrome_lens.config"
MADE_FROM = {"lr": 0.01, "task": {"alphabet": "ab"}}


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in which ``training`` imports ``model``, which imports ``helper``."""
    folder = tmp_path / "src" / "tinylens"
    folder.mkdir(parents=True)
    sources = {
        "__init__": "",
        "training": "from tinylens import model",
        "model": "from tinylens import helper",
        "helper": "STEPS = 1",
        "figures": "",
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(f"{source}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    code_behind.cache_clear()
    yield folder
    code_behind.cache_clear()


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


def only(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"[!.]*{suffix}")
    return path


def make() -> Tensors:
    return dict(TENSORS)


def refuse() -> Tensors:
    pytest.fail("it was made again although it was there")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    assert same(read(tmp_path / "a", MADE_FROM), TENSORS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"The artifact gone is missing: there is no .*gone\.json"
    ):
        read(tmp_path / "gone")


def test_a_record_without_tensors_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"missing: there is no .*a\.safetensors"):
        read(tmp_path / "a")


@pytest.mark.parametrize("length", [0, 10, -1])
def test_a_truncated_artifact_is_damaged(tmp_path: Path, length: int) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data[:length])
    with pytest.raises(
        ArtifactError, match=r"damaged: its .* bytes do not have the recorded checksum"
    ):
        read(tmp_path / "a")


def test_one_flipped_bit_anywhere_is_damage(tmp_path: Path) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    data = (tmp_path / "a.safetensors").read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1
        (tmp_path / "a.safetensors").write_bytes(flipped)
        with pytest.raises(ArtifactError, match="checksum"):
            read(tmp_path / "a")


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"3", b"{}", b'{"sha256": "0"}', b"\xff\xfe"])
def test_a_record_that_is_none_is_damaged(tmp_path: Path, record: bytes) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    (tmp_path / "a.json").write_bytes(record)
    with pytest.raises(ArtifactError, match=r"The record .*a\.json is damaged"):
        read(tmp_path / "a")


def test_an_artifact_of_another_configuration_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", TENSORS, MADE_FROM)
    with pytest.raises(ArtifactError, match=r'was made from .*"lr": 0.01.*, not from .*"lr": 0.02'):
        read(tmp_path / "a", {**MADE_FROM, "lr": 0.02})


def test_the_order_of_a_configuration_does_not_matter(tmp_path: Path) -> None:
    turned = dict(reversed(MADE_FROM.items()))
    write(tmp_path / "a", TENSORS, MADE_FROM)
    assert same(read(tmp_path / "a", turned), TENSORS)
    assert key(MADE_FROM, BY) == key(turned, BY)


def test_the_key_follows_configuration_and_code() -> None:
    assert key(MADE_FROM, BY) == key(MADE_FROM, BY)
    assert key(MADE_FROM, BY) != key(MADE_FROM, "palindrome_lens.sae.training")
    assert key(MADE_FROM, BY) != key({**MADE_FROM, "lr": 0.02}, BY)


def test_an_artifact_is_made_once(store: Path) -> None:
    assert same(find_or_make("a", MADE_FROM, BY, make), TENSORS)
    assert same(find_or_make("a", MADE_FROM, BY, refuse), TENSORS)
    assert len(list(store.iterdir())) == 2


@pytest.mark.parametrize(("changed", "again"), [("helper", True), ("figures", False)])
def test_a_change_deep_below_the_code_makes_it_again(
    package: Path, changed: str, again: bool
) -> None:
    find_or_make("a", MADE_FROM, "tinylens.training", make)
    with (package / f"{changed}.py").open("a", encoding="utf-8") as file:
        file.write("STEPS = 2\n")
    code_behind.cache_clear()  # as in a new process
    other = {"weight": torch.zeros(1)}
    made = find_or_make("a", MADE_FROM, "tinylens.training", lambda: other)
    assert same(made, other if again else TENSORS)


def test_scores_depend_on_the_code_that_splices_reconstructions_in() -> None:
    library = Library.of(["palindrome_lens"])
    assert "palindrome_lens.sae.splicing" in library.reached([leaderboard.__name__])
    assert not any("figures" in module for module in library.reached([leaderboard.__name__]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".safetensors", truncate),
        (".safetensors", flip),
        (".safetensors", Path.unlink),
        (".json", truncate),
    ],
)
def test_a_damaged_artifact_is_reported_and_made_again(
    store: Path, caplog: pytest.LogCaptureFixture, suffix: str, damage: Callable[[Path], None]
) -> None:
    find_or_make("a", MADE_FROM, BY, make)
    damage(only(store, suffix))
    with caplog.at_level(logging.WARNING):
        assert same(find_or_make("a", MADE_FROM, BY, make), TENSORS)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "It is made again." in record.getMessage()
    assert same(find_or_make("a", MADE_FROM, BY, refuse), TENSORS)


def test_making_something_new_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    find_or_make("a", MADE_FROM, BY, make)
    assert not caplog.records


def _write_and_die(at: str, call: int) -> None:
    owner = {"fsync": os, "replace": Path}[at]
    usual, calls = getattr(owner, at), []

    def deadly(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments)

    setattr(owner, at, deadly)
    find_or_make("a", MADE_FROM, BY, make)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_writer_that_is_killed_leaves_nothing_that_can_be_read(
    store: Path, at: str, call: int
) -> None:
    writer = multiprocessing.get_context("fork").Process(target=_write_and_die, args=(at, call))
    writer.start()
    writer.join(timeout=60)
    assert writer.exitcode == -signal.SIGKILL
    assert list(store.iterdir()) and not list(store.glob("[!.]*.json"))
    assert same(find_or_make("a", MADE_FROM, BY, make), TENSORS)
    assert same(find_or_make("a", MADE_FROM, BY, refuse), TENSORS)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_writer_killed_while_it_repairs_leaves_nothing_that_can_be_read(store: Path) -> None:
    find_or_make("a", MADE_FROM, BY, lambda: {"weight": torch.ones(3)})
    truncate(only(store, ".safetensors"))
    writer = multiprocessing.get_context("fork").Process(target=_write_and_die, args=("replace", 2))
    writer.start()
    writer.join(timeout=60)
    assert writer.exitcode == -signal.SIGKILL
    assert same(find_or_make("a", MADE_FROM, BY, make), TENSORS)


def test_a_failure_while_making_leaves_nothing(store: Path) -> None:
    def fail() -> Tensors:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        find_or_make("a", MADE_FROM, BY, fail)
    assert not store.exists() or not list(store.iterdir())


def test_the_fingerprint_sees_the_last_bit() -> None:
    values = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert fingerprint(values) == fingerprint(values.clone())
    for index in range(values.numel()):
        moved = values.clone()
        moved.view(-1)[index] = torch.nextafter(values.view(-1)[index], torch.tensor(9.0).double())
        assert fingerprint(values) != fingerprint(moved)


def test_the_fingerprint_sees_shape_and_order() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    seen = {fingerprint(one) for one in (values, values.flatten(), values.T, -values)}
    assert len(seen) == 4


def test_the_store_lies_where_the_environment_says(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert artifacts.store() == store
    monkeypatch.delenv("PALINDROME_LENS_STORE")
    assert artifacts.store().parts[-2:] == ("_build", "artifacts")


def test_nothing_on_disk_is_a_pickle(store: Path) -> None:
    task = Task(alphabet="abcd", half_length=2)
    recipe = Recipe(steps=2, batch_size=4, test_fraction=0.25)
    model = trained(task, ModelConfig(), recipe).model
    config = SAEConfig(architecture="topk", steps=2, batch_size=4)
    data = sae_training.flat_activations(model, encode(task, task.strings()), config.hook)
    sae_training.trained(config, data)
    files = [path for path in store.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".json"] * 2 + [".safetensors"] * 2
    for path in files:
        with path.open("rb") as file, pytest.raises(Exception):  # noqa: B017
            pickle.load(file)
        assert not path.read_bytes().startswith(b"PK")


def test_a_record_says_what_made_it(store: Path) -> None:
    find_or_make("a", MADE_FROM, BY, make)
    assert json.loads(only(store, ".json").read_bytes())["made_from"] == MADE_FROM


WAITING = """
import sys, time
from pathlib import Path
import torch
from claimbook.provenance import Library, code_behind
from palindrome_lens import artifacts

def make():
    with Path(sys.argv[1]).open("a") as file:
        file.write("made ")
    time.sleep(1)
    return {"x": torch.ones(2)}

artifacts.find_or_make("slow", {"a": 1}, "palindrome_lens.config", make)
"""


def test_of_two_processes_that_want_an_artifact_one_makes_it(tmp_path: Path) -> None:
    env = {**os.environ, "PALINDROME_LENS_STORE": str(tmp_path / "store")}
    said = tmp_path / "said.txt"
    started = [
        subprocess.Popen([sys.executable, "-c", WAITING, str(said)], env=env) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    assert said.read_text() == "made "


def test_several_artifacts_are_made_at_once_and_only_those_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path))
    asked: list[list[int]] = []

    def make(missing: list[int]) -> list[artifacts.Tensors]:
        asked.append(missing)
        return [{"x": torch.full((1,), float(i))} for i in missing]

    settings = [{"n": n} for n in range(4)]
    artifacts.find_or_make("x", settings[2], BY, lambda: {"x": torch.full((1,), 20.0)})
    tensors = artifacts.find_or_make_all("x", settings, BY, make)
    assert [float(content["x"]) for content in tensors] == [0, 1, 20, 3]
    artifacts.find_or_make_all("x", settings, BY, make)
    assert asked == [[0, 1, 3]]
