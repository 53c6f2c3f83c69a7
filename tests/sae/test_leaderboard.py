"""The sweep of the leaderboard: what it runs, keeps, compares and writes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pandas import DataFrame
from pandas.testing import assert_frame_equal

from palindrome_lens import artifacts
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.sae import choosing, contestants, leaderboard, metrics, standings
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.contestants import Contestant, Run, Setting
from palindrome_lens.sae.leaderboard import FIRST, Agreed, Live, Material, Row, Transformer
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode


def runs_of(table: DataFrame) -> list[Run]:
    return [Run(*fields) for fields in table[list(Run._fields)].itertuples(index=False)]


TINY = Task(alphabet="abcd", half_length=2)
SHORT: dict[str, Any] = {"steps": 3, "batch_size": 4}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two contestants of three steps on noise; the model is left out. Each transformer has noise
    of its own."""
    monkeypatch.setenv("PALINDROME_LENS_STORE", str(tmp_path / "store"))

    def material(transformer: Transformer = FIRST) -> Material:
        generator = torch.Generator().manual_seed(2 * transformer.seed + transformer.trained)
        x = torch.randn(TINY.size, 6, dtype=torch.float64, generator=generator)
        tokens, truth = encode(TINY, TINY.strings()), metrics.reference(TINY, x)
        return Material(None, tokens, x, truth, clean_loss=0.5)  # type: ignore[arg-type]

    few = {
        "ReLU + L1": Contestant("relu-l1", SHORT, "sparsity_weight", (1e-3,)),
        "TopK": Contestant("topk", SHORT, "k", (2, 3)),
    }
    monkeypatch.setattr(contestants, "CONTESTANTS", few)
    monkeypatch.setattr(contestants, "WIDTHS", (5, 8))
    monkeypatch.setattr(contestants, "SEEDS", (0, 1, 2))
    monkeypatch.setattr(leaderboard, "material", material)
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
    runs = contestants.grid()
    assert len(runs) == len(set(runs)) == 3 * 2 * 3
    assert {run.config.k for run in runs if run.contestant == "TopK"} == {2, 3}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_the_real_grid_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    configs = [run.config.model_dump_json() for run in contestants.grid()]
    assert len(configs) == len(set(configs))
    assert len(set(contestants.SEEDS)) >= 5


def test_the_shipped_table_holds_the_real_grid_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert runs_of(standings.read()) == contestants.grid()


def test_the_table_of_transformers_holds_each_with_and_without_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    runs = standings.read_transformers()
    transformers = runs.groupby(["transformer", "trained"], sort=False)
    assert tuple(transformers.indices) == leaderboard.TRANSFORMERS
    assert {t.seed for t in leaderboard.TRANSFORMERS if t.trained} == {*runs["transformer"]}
    for _, own in transformers:
        assert runs_of(own) == contestants.probes()


def test_what_is_chosen_without_labels_is_trained_on_other_transformers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert choosing.without_labels(standings.read()) == contestants.PROBED
    runs = standings.read_transformers()
    for setting, seeds in ((contestants.PROBED, 3), *((other, 1) for other in contestants.BESIDE)):
        own = choosing.of_setting(runs, setting)
        assert len(own) == seeds * len(leaderboard.TRANSFORMERS)
        assert {run[:3] for run in runs_of(own)} == {setting}


def test_both_tables_state_the_same_where_they_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    runs = standings.read_transformers()
    first = runs[(runs["transformer"] == FIRST.seed) & runs["trained"]]
    names = [*Run._fields, *metrics.Scores._fields]
    assert len(first[names].merge(standings.read()[names])) == len(first)


def test_untrained_means_the_weights_that_training_starts_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    untrained = leaderboard.material(Transformer(3, trained=False))
    task = Task()
    fresh = init_model(ModelConfig(seed=3), task)
    with torch.no_grad():
        logits = fresh(inputs(untrained.tokens[:5]))
        log_probabilities = untrained.model(inputs(untrained.tokens[:5])).log_softmax(-1)
    assert torch.allclose(log_probabilities, logits.log_softmax(-1))
    assert untrained.clean_loss > 2


def test_each_transformer_has_autoencoders_of_its_own(trainings: list[int]) -> None:
    run, other = Run("TopK", 2, 8, 0), Transformer(0, trained=False)
    rows = [leaderboard.sweep([run], transformer=t)[0] for t in (FIRST, other, FIRST, other)]
    assert trainings == [0, 0]
    assert [row.scores for row in rows[:2]] == [row.scores for row in rows[2:]]
    assert rows[0].scores != rows[1].scores


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
    monkeypatch.setitem(contestants.CONTESTANTS, "TopK", other)
    leaderboard.sweep([Run("TopK", 2, 8, 0)])
    assert trainings == [0, 0]


def test_consistency_is_the_mean_over_the_other_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    eye = torch.eye(6, dtype=torch.float64)
    # Codes of 24 strings: each latent is on for four of them, none with another.
    code = eye.repeat_interleave(4, dim=0)
    parts = {
        0: Live(eye[:4], code[:, :4]),
        1: Live(-2 * eye[:4], 3 * code[:, :4]),
        2: Live(eye[[0, 1, 4, 5]], code[:, :4]),
    }
    monkeypatch.setattr(leaderboard, "live", lambda run, _: parts[run.seed])
    runs = [Run("TopK", 2, 8, seed) for seed in parts]
    agreed = leaderboard.consistencies(runs)
    # Seeds 0 and 1 agree but for sign and length; each shares two of four atoms with seed 2, which
    # is on for the same strings all the same.
    assert [agreed[run].consistency for run in runs] == pytest.approx([0.75, 0.75, 0.5])
    assert [agreed[run].code_consistency for run in runs] == pytest.approx([1, 1, 1])


def test_only_seeds_of_the_same_settings_are_compared() -> None:
    alone = [Run("TopK", 2, 8, 0), Run("TopK", 3, 8, 1), Run("TopK", 2, 5, 1)]
    agreed = leaderboard.consistencies(alone).values()
    assert all(math.isnan(number) for pair in agreed for number in pair)
    assert all(isinstance(pair, Agreed) for pair in agreed)


def test_dead_latents_are_not_compared() -> None:
    run = Run("TopK", 2, 8, 0)
    sae = leaderboard.autoencoder(run)
    with torch.no_grad():
        sae.b_enc[3] = -1e9
    x = leaderboard.material().x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaderboard, "autoencoder", lambda *_: sae)
        atoms, codes = leaderboard.live(run)
    alive = (sae.encode(x) != 0).any(dim=0)
    assert not alive[3]
    assert torch.equal(atoms, sae.W_dec.detach()[alive])
    assert torch.equal(codes, sae.encode(x).detach()[:, alive])


def test_live_latents_are_those_of_the_same_transformer() -> None:
    run, transformer = Run("TopK", 2, 8, 0), Transformer(1)
    sae = leaderboard.autoencoder(run, transformer)
    with torch.no_grad():
        latents = sae.encode(leaderboard.material(transformer).x)
    codes = leaderboard.live(run, transformer).codes
    assert torch.equal(codes, latents[:, (latents != 0).any(dim=0)])


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = leaderboard.sweep(
        [Run("TopK", 2, 8, 0), Run("TopK", 2, 8, 1), Run("ReLU + L1", 1e-3, 5, 0)]
    )
    path = tmp_path / "table.csv"
    standings.write(standings.frame(rows), path)
    again = standings.read(path)
    assert runs_of(again) == [row.run for row in rows]
    assert_frame_equal(again, standings.frame(rows), rtol=1e-5)
    assert again["dead"].tolist() == [row.scores.dead for row in rows]


def test_a_table_of_transformers_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs = [Run("TopK", 2, 8, 0), Run("TopK", 2, 8, 1)]
    transformers = (Transformer(1, trained=False), Transformer(1))
    tables = {t: leaderboard.sweep(runs, transformer=t) for t in transformers}
    path = tmp_path / "table.csv"
    standings.write(standings.transformers_frame(tables), path)
    again = standings.read_transformers(path)
    assert again["trained"].tolist() == [False, False, True, True]
    assert_frame_equal(again, standings.transformers_frame(tables), rtol=1e-5)
    with pytest.raises(ValueError, match="has the columns"):
        standings.read(path)


@pytest.mark.parametrize(
    ("read", "path"),
    [
        (standings.read, standings.FILE),
        (standings.read_transformers, standings.TRANSFORMERS_FILE),
    ],
)
def test_the_shipped_tables_are_as_this_code_writes_them(
    read: Callable[[], DataFrame], path: Path, tmp_path: Path
) -> None:
    standings.write(read(), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == path.read_bytes()


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("contestant,level\nTopK,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has the columns"):
        standings.read(path)


def test_a_damaged_score_is_computed_again(trainings: list[int]) -> None:
    run = Run("TopK", 2, 8, 0)
    before: Row = leaderboard.sweep([run])[0]
    for path in artifacts.store().glob("scores-*.safetensors"):
        path.write_bytes(b"")
    assert leaderboard.sweep([run])[0].scores == before.scores
    assert trainings == [0]


def test_a_setting_has_a_name_for_tables_and_one_for_sentences() -> None:
    assert str(Setting("TopK", 2, 8)) == "TopK, 2, 8"
    assert Setting("TopK", 2, 8).in_words == "TopK with a k of 2 and 8 latents"
    weighted = Setting("ReLU + L1", 1e-3, 5).in_words
    assert weighted == "ReLU + L1 with a sparsity weight of 0.001 and 5 latents"
