"""The sweep of the leaderboard: what it runs, keeps, compares and writes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from palindrome_lens import artifacts
from palindrome_lens.sae import leaderboard, metrics
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.leaderboard import Contestant, Material, Row, Run
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
SHORT: dict[str, Any] = {"steps": 3, "batch_size": 4}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two contestants of three steps on noise; the model is left out."""
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))
    x = torch.randn(TINY.size, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = Material(
        None,  # type: ignore[arg-type]
        encode(TINY, TINY.strings()),
        x,
        metrics.reference(TINY, x),
        clean_loss=0.5,
    )
    contestants = {
        "ReLU + L1": Contestant("relu-l1", SHORT, "sparsity_weight", (1e-3,)),
        "TopK": Contestant("topk", SHORT, "k", (2, 3)),
    }
    monkeypatch.setattr(leaderboard, "CONTESTANTS", contestants)
    monkeypatch.setattr(leaderboard, "WIDTHS", (5, 8))
    monkeypatch.setattr(leaderboard, "SEEDS", (0, 1, 2))
    monkeypatch.setattr(leaderboard, "material", lambda: given)
    monkeypatch.setattr(metrics, "spliced_loss", lambda *_: 0.75)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the autoencoders that were really trained."""
    seen: list[int] = []
    train = sae_training.train

    def noted(config: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(config.seed)
        return train(config, *arguments, **named)

    monkeypatch.setattr(sae_training, "train", noted)
    return seen


def test_the_grid_holds_every_combination_once() -> None:
    runs = leaderboard.grid()
    assert len(runs) == len(set(runs)) == 3 * 2 * 3
    assert {run.config.k for run in runs if run.contestant == "TopK"} == {2, 3}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_the_real_grid_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    configs = [run.config.model_dump_json() for run in leaderboard.grid()]
    assert len(configs) == len(set(configs))
    assert len(set(leaderboard.SEEDS)) >= 5


def test_the_shipped_table_holds_the_real_grid_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert [row.run for row in leaderboard.read()] == leaderboard.grid()


def test_scores_are_those_of_the_trained_autoencoder() -> None:
    run = Run("TopK", 2, 8, 1)
    scores, added = leaderboard.scored(run)
    given = leaderboard.material()
    direct = sae_training.train(run.config, given.x).autoencoder
    assert scores == metrics.score(direct, given.x, given.reference)
    assert added == 0.25


def test_an_interrupted_sweep_goes_on_where_it_stopped(trainings: list[int]) -> None:
    runs = [Run("TopK", 2, 8, seed) for seed in (0, 1, 2)]
    leaderboard.sweep(runs[:2])
    assert trainings == [0, 1]
    rows = leaderboard.sweep(runs)
    assert trainings == [0, 1, 2]
    assert [row.run for row in rows] == runs


def test_changed_settings_are_trained_anew(
    trainings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaderboard.sweep([Run("TopK", 2, 8, 0)])
    other = Contestant("topk", {**SHORT, "lr": 0.1}, "k", (2,))
    monkeypatch.setitem(leaderboard.CONTESTANTS, "TopK", other)
    leaderboard.sweep([Run("TopK", 2, 8, 0)])
    assert trainings == [0, 0]


def test_consistency_is_the_mean_over_the_other_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    eye = torch.eye(6, dtype=torch.float64)
    found = {0: eye[:4], 1: -2 * eye[:4], 2: eye[[0, 1, 4, 5]]}
    monkeypatch.setattr(leaderboard, "live_atoms", lambda run: found[run.seed])
    runs = [Run("TopK", 2, 8, seed) for seed in found]
    # Seeds 0 and 1 agree but for sign and length; each shares two of four atoms with seed 2.
    expected = {runs[0]: 0.75, runs[1]: 0.75, runs[2]: 0.5}
    assert leaderboard.consistencies(runs) == pytest.approx(expected)


def test_only_seeds_of_the_same_settings_are_compared() -> None:
    alone = [Run("TopK", 2, 8, 0), Run("TopK", 3, 8, 1), Run("TopK", 2, 5, 1)]
    assert all(math.isnan(value) for value in leaderboard.consistencies(alone).values())


def test_dead_latents_are_not_compared() -> None:
    run = Run("TopK", 2, 8, 0)
    sae = leaderboard.autoencoder(run)
    with torch.no_grad():
        sae.b_enc[3] = -1e9
    x = leaderboard.material().x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaderboard, "autoencoder", lambda _: sae)
        atoms = leaderboard.live_atoms(run)
    live = (sae.encode(x) != 0).any(dim=0)
    assert not live[3]
    assert torch.equal(atoms, sae.W_dec.detach()[live])


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = leaderboard.sweep(
        [Run("TopK", 2, 8, 0), Run("TopK", 2, 8, 1), Run("ReLU + L1", 1e-3, 5, 0)]
    )
    path = tmp_path / "table.csv"
    leaderboard.write(rows, path)
    again = leaderboard.read(path)
    for row, back in zip(rows, again, strict=True):
        assert back.run == row.run
        assert back.run.config == row.run.config
        assert back.scores == pytest.approx(row.scores, rel=1e-5)
        assert isinstance(back.scores.dead, int)
        assert (back.added_loss, back.consistency) == pytest.approx(
            (row.added_loss, row.consistency), rel=1e-5, nan_ok=True
        )


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("contestant,level\nTopK,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has the columns"):
        leaderboard.read(path)


def test_a_damaged_score_is_computed_again(trainings: list[int]) -> None:
    run = Run("TopK", 2, 8, 0)
    before: Row = leaderboard.sweep([run])[0]
    for path in artifacts.store().glob("scores-*.safetensors"):
        path.write_bytes(b"")
    assert leaderboard.sweep([run])[0].scores == before.scores
    assert trainings == [0]


def test_rows_are_gathered_by_setting() -> None:
    runs = [Run("TopK", 2, 8, 0), Run("TopK", 3, 8, 0), Run("TopK", 2, 8, 1)]
    groups = leaderboard.by_setting(leaderboard.sweep(runs))
    assert list(groups) == [("TopK", 2, 8), ("TopK", 3, 8)]
    both = groups[leaderboard.Setting("TopK", 2, 8)]
    assert [row.run.seed for row in both] == [0, 1]
    assert leaderboard.values(both, "l0").tolist() == [row.scores.l0 for row in both]
    assert leaderboard.values(both, "added_loss").tolist() == [0.25, 0.25]
    with pytest.raises(AttributeError, match="beauty"):
        leaderboard.values(both, "beauty")
