"""Many autoencoders trained and scored: architectures, sparsity levels, widths, seeds.

``make leaderboard`` trains them all on the activations of one transformer and writes
``leaderboard.csv`` beside this file. Then it trains the setting that is chosen without labels, and
once each of three others, on several transformers, and on each of these as it was before training,
and writes ``transformers.csv``; the module run with the argument ``transformers`` does this alone.
Each run is kept in the store as soon as it ends, so that an interrupted sweep goes on where it
stopped.
"""

import csv
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
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

from palindrome_lens import artifacts, evaluation, model, stored
from palindrome_lens.sae import metrics
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import Autoencoder, SAEConfig
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

MADE_BY = "palindrome_lens.sae.leaderboard"
"""This module, also where it runs as ``__main__``."""
FILE = Path(__file__).with_suffix(".csv")
TRANSFORMERS_FILE = Path(__file__).with_name("transformers.csv")
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


class Transformer(NamedTuple):
    """Whose activations an autoencoder is trained on."""

    seed: int = 0
    """Of the weights, the split and the batches."""
    trained: bool = True
    """Otherwise with the weights that training starts from."""


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
    code_consistency: float
    """The same for :func:`metrics.code_consistency`."""


class Setting(NamedTuple):
    """What the seeds of a sweep have in common."""

    contestant: str
    level: float
    d_sae: int

    def __str__(self) -> str:
        """For a table, where a heading says what the numbers are."""
        return f"{self.contestant}, {self.level:g}, {self.d_sae}"

    @property
    def in_words(self) -> str:
        """For a sentence."""
        knob = CONTESTANTS[self.contestant].knob.replace("_", " ")
        return f"{self.contestant} with a {knob} of {self.level:g} and {self.d_sae} latents"


PROBED = Setting("TopK + more L1", 3, 128)
"""What is trained on other transformers too: the setting that is chosen without labels."""
PROBED_SEEDS = (0, 1, 2)
BESIDE = (
    Setting("TopK", 3, 256),
    Setting("TopK + L1", 3, 256),
    Setting("BatchTopK + L1", 4, 256),
)
"""Trained there with one seed: whether what is said of the chosen setting holds for others."""
FIRST = Transformer()
TRANSFORMERS = tuple(Transformer(seed, trained) for seed in range(10) for trained in (True, False))


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


def probes() -> list[Run]:
    """What is trained on each of the transformers."""
    return [*(Run(*PROBED, seed) for seed in PROBED_SEEDS), *(Run(*other, 0) for other in BESIDE)]


@cache
def material(transformer: Transformer = FIRST, hook: str = "blocks.0.hook_mlp_out") -> Material:
    """A transformer's activations at a hook, and the features that they are made of.

    Raises:
        ValueError: an unknown hook name.
    """
    task = Task()
    if transformer.trained:
        (lens,) = stored.solving(task, [transformer.seed])
    else:
        shape = model.ModelConfig(seed=transformer.seed)
        lens = model.hooked(model.init_model(shape, task), shape, task)
    tokens = encode(task, task.strings())
    x = sae_training.flat_activations(lens, tokens, hook)
    clean = evaluation.evaluate(lens, tokens).mean_loss
    return Material(lens, tokens, x, metrics.reference(task, x), clean)


def autoencoder(run: Run, transformer: Transformer = FIRST) -> Autoencoder:
    """The autoencoder of a run, from the store or trained on the spot."""
    return sae_training.trained(run.config, material(transformer).x).autoencoder


def scored(run: Run, transformer: Transformer = FIRST) -> tuple[metrics.Scores, float]:
    """Scores and added loss of a run, from the store or computed on the spot."""
    data = material(transformer)

    def make() -> artifacts.Tensors:
        sae = autoencoder(run, transformer)
        scores = metrics.score(sae, data.x, data.reference)
        loss = metrics.spliced_loss(data.model, data.tokens, run.config.hook, sae)
        numbers = [*map(float, scores), loss - data.clean_loss]
        return {"scores": torch.tensor(numbers, dtype=torch.float64)}

    made_from = {"sae": run.config.model_dump(), "data": artifacts.fingerprint(data.x)}
    tensors = artifacts.find_or_make("scores", made_from, MADE_BY, make)
    *numbers, added = tensors["scores"].tolist()
    return _scores(numbers), added


def sweep(runs: Sequence[Run], workers: int = 1, transformer: Transformer = FIRST) -> list[Row]:
    """Train and score runs, side by side in so many processes, and compare their seeds."""
    material(transformer)
    score_one = partial(_alone, transformer=transformer)
    if workers > 1:
        # A forked process would inherit the threads of this one in whatever state they are.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            results = list(tqdm(pool.map(score_one, runs), total=len(runs), disable=None))
    else:
        results = [scored(run, transformer) for run in runs]
    agreed = consistencies(runs, transformer)
    return [
        Row(run, scores, added, *agreed[run])
        for run, (scores, added) in zip(runs, results, strict=True)
    ]


class Agreed(NamedTuple):
    """How far a run agrees with the other seeds of its setting, on the mean; nan alone."""

    consistency: float
    code_consistency: float


def consistencies(runs: Iterable[Run], transformer: Transformer = FIRST) -> dict[Run, Agreed]:
    """For each run the mean agreement of its live latents with those of its setting's other
    seeds: of their atoms, and of their codes."""
    groups: dict[Setting, list[Run]] = {}
    for run in runs:
        groups.setdefault(Setting(*run[:3]), []).append(run)
    result = {}
    for group in groups.values():
        parts = {run: live(run, transformer) for run in group} if len(group) > 1 else {}
        pairs = {
            frozenset(pair): Agreed(
                metrics.consistency(*(parts[run].atoms for run in pair)).mcc,
                metrics.code_consistency(*(parts[run].codes for run in pair)).mcc,
            )
            for pair in combinations(group, 2)
        }
        for run in group:
            own = [agreed for pair, agreed in pairs.items() if run in pair]
            result[run] = (
                Agreed(*map(mean, zip(*own, strict=True))) if own else Agreed(math.nan, math.nan)
            )
    return result


class Live(NamedTuple):
    """The latents that are not 0 on every string."""

    atoms: Float[Tensor, "live d_in"]
    codes: Float[Tensor, "strings live"]


def live(run: Run, transformer: Transformer = FIRST) -> Live:
    """The live latents of a run."""
    sae = autoencoder(run, transformer)
    with torch.no_grad():
        latents = sae.encode(material(transformer).x)
    used = (latents != 0).any(dim=0)
    return Live(sae.W_dec.detach()[used], latents[:, used])


def by_setting(rows: Iterable[Row]) -> dict[Setting, list[Row]]:
    """The rows of each setting, seed by seed."""
    groups: dict[Setting, list[Row]] = {}
    for row in rows:
        groups.setdefault(Setting(*row.run[:3]), []).append(row)
    return groups


def of_setting(
    tables: Mapping[Transformer, Iterable[Row]], setting: Setting
) -> dict[Transformer, list[Row]]:
    """On each transformer the rows of one setting."""
    return {
        transformer: [row for row in rows if Setting(*row.run[:3]) == setting]
        for transformer, rows in tables.items()
    }


def values(rows: Iterable[Row], name: str) -> Float[Tensor, "row"]:
    """One score of each row, by its name among the scores or the row's own fields.

    Raises:
        AttributeError: there is no score of this name.
    """
    numbers = [getattr(row if name in Row._fields else row.scores, name) for row in rows]
    return torch.tensor(numbers, dtype=torch.float64)


COLUMNS = [*Run._fields, *metrics.Scores._fields, *Row._fields[2:]]
TRANSFORMER_COLUMNS = ["transformer", "trained", *COLUMNS]


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    """A table with one line for each run; six significant digits."""
    _write(path, COLUMNS, map(_line, rows))


def read(path: Path = FILE) -> list[Row]:
    """The rows of a table.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    return [_row(line) for line in _lines(path, COLUMNS)]


def write_transformers(
    tables: Mapping[Transformer, Iterable[Row]], path: Path = TRANSFORMERS_FILE
) -> None:
    """The rows of several transformers, one after the other."""
    lines = [
        [transformer.seed, int(transformer.trained), *_line(row)]
        for transformer, rows in tables.items()
        for row in rows
    ]
    _write(path, TRANSFORMER_COLUMNS, lines)


def read_transformers(path: Path = TRANSFORMERS_FILE) -> dict[Transformer, list[Row]]:
    """What :func:`write_transformers` wrote.

    Raises:
        ValueError: the file has other columns than this code writes.
    """
    tables: dict[Transformer, list[Row]] = {}
    for seed, trained, *line in _lines(path, TRANSFORMER_COLUMNS):
        transformer = Transformer(int(seed), bool(int(trained)))
        tables.setdefault(transformer, []).append(_row(line))
    return tables


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines])


def _lines(path: Path, header: Sequence[str]) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        first, *lines = csv.reader(file)
    if first != header:
        raise ValueError(f"{path} has the columns {first}; {header} were expected.")
    return lines


def _line(row: Row) -> list[Any]:
    return [*row.run, *(f"{value:.6g}" for value in (*row.scores, *row[2:]))]


def _row(line: Sequence[str]) -> Row:
    name, level, d_sae, seed, *numbers = line
    *scores, added, consistency, code_consistency = map(float, numbers)
    run = _run(name, float(level), int(d_sae), int(seed))
    return Row(run, _scores(scores), added, consistency, code_consistency)


def _run(contestant: str, level: float, d_sae: int, seed: int) -> Run:
    # A number of latents is whole, and the configuration takes it only as such.
    whole = CONTESTANTS[contestant].knob == "k"
    return Run(contestant, int(level) if whole else level, d_sae, seed)


def _scores(values: Sequence[float]) -> metrics.Scores:
    kinds = metrics.Scores.__annotations__
    named = zip(metrics.Scores._fields, values, strict=True)
    return metrics.Scores._make(int(v) if kinds[name] is int else v for name, v in named)


def _alone(run: Run, transformer: Transformer) -> tuple[metrics.Scores, float]:
    torch.set_num_threads(1)
    return scored(run, transformer)


if __name__ == "__main__":
    if sys.argv[1:] != ["transformers"]:
        write(sweep(grid(), workers=2))
        print(f"wrote {FILE.name}")
    probed = {transformer: sweep(probes(), 2, transformer) for transformer in TRANSFORMERS}
    write_transformers(probed)
    print(f"wrote {TRANSFORMERS_FILE.name}")
