"""What things cost: the committed measurements, and the tables that are made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from palindrome_lens import costs

MACHINE = {"processor": "a clock", "peers": {}}
ROW = {"name": "this book", "batch_size": 64, "models": 1, "seconds": 0.00123456}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of measurements that is not there yet."""
    path = tmp_path / "costs.json"
    monkeypatch.setattr(costs, "DATA", path)
    return path


def test_what_was_measured_is_there_and_complete() -> None:
    measured = costs.read()
    assert costs.training(measured).notna().all(axis=None)
    assert len(costs.analyses(measured)) == 7
    samples = costs.autoencoders(measured)
    assert samples.drop(columns="sparsify", level="name").notna().all(axis=None)
    assert samples["sparsify"].notna().all(axis="columns").sum() == 3
    assert (measured.rows.least <= measured.rows.seconds).all()
    assert (measured.rows.seconds <= measured.rows.most).all()


def test_a_rate_is_steps_of_one_model_per_second(data: Path) -> None:
    slow_way = {"name": "HookedTransformer", "batch_size": 64, "dtype": "float32", "seconds": 0.01}
    costs.write(MACHINE, "training", [slow_way, ROW, ROW | {"models": 4}])
    rates = costs.training(costs.read())[64]
    assert rates[costs.SLOW_WAY] == pytest.approx(100)
    assert rates["this book, float64"] == pytest.approx(1 / 0.001235)
    assert rates["this book, float64, 4 together"] == pytest.approx(4 / 0.001235)


def test_the_share_is_of_the_machine_s_own_rate(data: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "matrix product", "cases": 1, "flops": 1000, "seconds": 0.5},
        {"name": "evaluate", "cases": 30, "flops": 100, "seconds": 0.25},
    ]
    costs.write(MACHINE, "analyses", rows)
    table = costs.analyses(costs.read())
    assert table.loc["evaluate"].tolist() == [30, 120, 0.2]


def test_a_contest_replaces_its_last_one_alone(data: Path) -> None:
    costs.write(MACHINE, "training", [ROW])
    costs.write(MACHINE, "together", [ROW])
    costs.write(MACHINE, "training", [ROW | {"seconds": 2.0}])
    rows = costs.read().rows.set_index("contest")
    assert rows.seconds.to_dict() == {"together": 0.001235, "training": 2.0}


def test_measurements_of_two_machines_are_not_mixed(data: Path) -> None:
    costs.write(MACHINE, "training", [ROW])
    costs.write(MACHINE | {"processor": "another"}, "together", [ROW])
    assert json.loads(data.read_text())["machine"]["processor"] == "another"
    with pytest.raises(KeyError, match="no contest 'training'"):
        costs.read().contest("training")
