"""Many autoencoders trained and scored: architectures, sparsity levels, widths, seeds.

``make leaderboard`` trains them all and writes ``leaderboard.csv`` beside this file.
Each run is kept in the store as soon as it ends, so that an interrupted sweep goes on where it
stopped.
"""

import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import combinations, product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

import palindrome_lens.training
from palindrome_lens import anova, artifacts, matching, model
from palindrome_lens.sae import metrics, reference, splicing
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import Autoencoder, SAEConfig
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

FILE = Path(__file__).with_suffix(".csv")
SEEDS = (0, 1, 2, 3, 4)
WIDTHS = (128, 256)
"""More than the 78 features, and many more."""
COMMON: dict[str, Any] = {"normalise": True, "steps": 800, "batch_size": 256, "lr": 6e-3}
REVIVED: dict[str, Any] = {**COMMON, "aux_weight": 1 / 32}
SHORT: dict[str, Any] = {**REVIVED, "length_weight": 3e-3}
SHORTER: dict[str, Any] = {**REVIVED, "length_weight": 1e-2}


class Contestant(NamedTuple):
    """An architecture with its settings, and the one setting that makes it more or less sparse."""

    architecture: str
    settings: dict[str, Any]
    knob: str
    levels: tuple[float, ...]


CONTESTANTS = {
    "GELU + KL": Contestant("gelu-kl", COMMON, "sparsity_weight", (1e-3, 1e-2)),
    "sigmoid + KL": Contestant("sigmoid-kl", COMMON, "sparsity_weight", (1e-2, 5e-2)),
    "ReLU + L1": Contestant("relu-l1", COMMON, "sparsity_weight", (3e-3, 1e-2, 2e-2)),
    "Gated": Contestant("gated", COMMON, "sparsity_weight", (1e-2, 2e-2, 4e-2)),
    "JumpReLU": Contestant(
        "jumprelu",
        {**COMMON, "threshold": 1.0, "bandwidth": 3.0},
        "sparsity_weight",
        (3e-3, 1e-2, 3e-2),
    ),
    "TopK": Contestant("topk", REVIVED, "k", (2, 3, 4, 8)),
    "TopK + L1": Contestant("topk", SHORT, "k", (2, 3, 4, 8)),
    "TopK + more L1": Contestant("topk", SHORTER, "k", (3, 4, 8)),
    "BatchTopK": Contestant("batchtopk", REVIVED, "k", (3, 4, 8)),
    "BatchTopK + L1": Contestant("batchtopk", SHORT, "k", (3, 4, 8)),
    "Matryoshka": Contestant("matryoshka", REVIVED, "k", (3, 4, 8)),
}


class Run(NamedTuple):
    """One autoencoder of the sweep."""

    contestant: str
    level: float
    d_sae: int
    seed: int

    @property
    def config(self) -> SAEConfig:
        architecture, settings, knob, _ = CONTESTANTS[self.contestant]
        fields: dict[str, Any] = {"architecture": architecture, **settings, knob: self.level}
        return SAEConfig(**fields, d_sae=self.d_sae, seed=self.seed)


class Row(NamedTuple):
    """A run, all its scores, and what splicing its reconstruction into the model costs."""

    run: Run
    scores: metrics.Scores
    added_loss: float
    """Mean loss with the reconstruction in place, minus the mean loss without, in nats."""
    consistency: float
    """Mean of :func:`metrics.consistency` with the other seeds of the same settings; nan alone."""


class Setting(NamedTuple):
    """What the seeds of a sweep have in common."""

    contestant: str
    level: float
    d_sae: int


class Material(NamedTuple):
    """What every run is trained on and scored against."""

    model: TransformerBridge
    tokens: Int64[Tensor, "strings length"]
    x: Float[Tensor, "strings d_in"]
    reference: metrics.Reference
    clean_loss: float


def grid() -> list[Run]:
    """All runs, seed by seed, so that an interrupted sweep has every setting at least once."""
    return [
        Run(name, level, d_sae, seed)
        for seed, d_sae in product(SEEDS, WIDTHS)
        for name, contestant in CONTESTANTS.items()
        for level in contestant.levels
    ]


@cache
def material(hook: str = "blocks.0.hook_mlp_out") -> Material:
    """The trained model's activations at a hook, and the features that they are made of.

    Raises:
        ValueError: an unknown hook name.
    """
    task = Task()
    lens = palindrome_lens.training.trained(
        task, model.ModelConfig(), palindrome_lens.training.SOLVING
    ).model
    tokens = encode(task, task.strings())
    x = sae_training.flat_activations(lens, tokens, hook)
    clean = palindrome_lens.training.evaluate(lens, tokens).mean_loss
    return Material(lens, tokens, x, metrics.reference(task, x), clean)


def autoencoder(run: Run) -> Autoencoder:
    """The autoencoder of a run, from the store or trained on the spot."""
    return sae_training.trained(run.config, material().x).autoencoder


def scored(run: Run) -> tuple[metrics.Scores, float]:
    """Scores and added loss of a run, from the store or computed on the spot."""

    def make() -> artifacts.Tensors:
        sae, given = autoencoder(run), material()
        scores = metrics.score(sae, given.x, given.reference)
        loss = metrics.spliced_loss(given.model, given.tokens, run.config.hook, sae)
        values = [*map(float, scores), loss - given.clean_loss]
        return {"scores": torch.tensor(values, dtype=torch.float64)}

    made_from = {"sae": run.config.model_dump(), "data": artifacts.fingerprint(material().x)}
    code = [metrics, reference, splicing, anova, matching, *sae_training.code()]
    *values, added = artifacts.find_or_make("scores", made_from, code, make)["scores"].tolist()
    return _scores(values), added


def sweep(runs: Sequence[Run], workers: int = 1) -> list[Row]:
    """Train and score runs, side by side in so many processes, and compare their seeds."""
    material()
    if workers > 1:
        # A forked process would inherit the threads of this one in whatever state they are.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = list(tqdm(pool.map(_alone, runs), total=len(runs), disable=None))
    else:
        found = [scored(run) for run in runs]
    agreed = consistencies(runs)
    return [
        Row(run, scores, added, agreed[run])
        for run, (scores, added) in zip(runs, found, strict=True)
    ]


def consistencies(runs: Iterable[Run]) -> dict[Run, float]:
    """For each run the mean agreement of its live atoms with those of its settings' other seeds."""
    groups: dict[Setting, list[Run]] = {}
    for run in runs:
        groups.setdefault(Setting(*run[:3]), []).append(run)
    result = {}
    for group in groups.values():
        atoms = {run: live_atoms(run) for run in group}
        pairs = {
            frozenset(pair): metrics.consistency(*(atoms[run] for run in pair)).mcc
            for pair in combinations(group, 2)
        }
        for run in group:
            mine = [value for pair, value in pairs.items() if run in pair]
            result[run] = mean(mine) if mine else float("nan")
    return result


def live_atoms(run: Run) -> Float[Tensor, "live d_in"]:
    """The decoder directions of the latents that are not 0 on every string."""
    sae = autoencoder(run)
    with torch.no_grad():
        return sae.W_dec.detach()[(sae.encode(material().x) != 0).any(dim=0)]


def by_setting(rows: Iterable[Row]) -> dict[Setting, list[Row]]:
    """The rows of each setting, seed by seed."""
    groups: dict[Setting, list[Row]] = {}
    for row in rows:
        groups.setdefault(Setting(*row.run[:3]), []).append(row)
    return groups


def values(rows: Iterable[Row], name: str) -> Float[Tensor, "row"]:
    """One score of each row, by its name among the scores or the row's own fields.

    Raises:
        AttributeError: there is no score of this name.
    """
    found = [getattr(row if name in Row._fields else row.scores, name) for row in rows]
    return torch.tensor(found, dtype=torch.float64)


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    """A table with one line for each run; six significant digits."""
    header = [*Run._fields, *metrics.Scores._fields, "added_loss", "consistency"]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for run, scores, added, consistency in rows:
            table.writerow([*run, *(f"{value:.6g}" for value in (*scores, added, consistency))])


def read(path: Path = FILE) -> list[Row]:
    """The rows of a table.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    header = [*Run._fields, *metrics.Scores._fields, "added_loss", "consistency"]
    with path.open(encoding="utf-8", newline="") as file:
        first, *lines = csv.reader(file)
    if first != header:
        raise ValueError(f"{path} has the columns {first}; {header} were expected.")
    rows = []
    for name, level, d_sae, seed, *values in lines:
        *scores, added, consistency = map(float, values)
        rows.append(
            Row(
                _run(name, float(level), int(d_sae), int(seed)), _scores(scores), added, consistency
            )
        )
    return rows


def _run(contestant: str, level: float, d_sae: int, seed: int) -> Run:
    # A number of latents is whole, and the configuration takes it only as such.
    whole = CONTESTANTS[contestant].knob == "k"
    return Run(contestant, int(level) if whole else level, d_sae, seed)


def _scores(values: Sequence[float]) -> metrics.Scores:
    kinds = metrics.Scores.__annotations__
    named = zip(metrics.Scores._fields, values, strict=True)
    return metrics.Scores._make(int(v) if kinds[name] is int else v for name, v in named)


def _alone(run: Run) -> tuple[metrics.Scores, float]:
    torch.set_num_threads(1)
    return scored(run)


if __name__ == "__main__":
    write(sweep(grid(), workers=2))
    print(f"wrote {FILE.name}")
