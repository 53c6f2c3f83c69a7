"""Many autoencoders trained, scored, and compared with the other seeds of their setting.

Each run is kept in the store as soon as it ends, so that an interrupted sweep goes on where it
stopped.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import combinations
from multiprocessing import get_context
from statistics import mean
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts, evaluation, model, stored
from palindrome_lens.sae import metrics
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import Autoencoder
from palindrome_lens.sae.contestants import Run, Setting
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode


class Transformer(NamedTuple):
    """Whose activations an autoencoder is trained on."""

    seed: int = 0
    """Of the weights, the split and the batches."""
    trained: bool = True
    """Otherwise with the weights that training starts from."""


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


FIRST = Transformer()
TRANSFORMERS = tuple(Transformer(seed, trained) for seed in range(10) for trained in (True, False))


class Material(NamedTuple):
    """What every run is trained on and scored against."""

    model: TransformerBridge
    tokens: Int64[Tensor, "strings length"]
    x: Float[Tensor, "strings d_in"]
    reference: metrics.Reference
    clean_loss: float


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
    tensors = artifacts.find_or_make("scores", made_from, __name__, make)
    *numbers, added = tensors["scores"].tolist()
    return as_scores(numbers), added


def as_scores(values: Sequence[float]) -> metrics.Scores:
    """Scores from plain numbers, in the order of their fields."""
    kinds = metrics.Scores.__annotations__
    named = zip(metrics.Scores._fields, values, strict=True)
    return metrics.Scores._make(int(v) if kinds[name] is int else v for name, v in named)


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


def _alone(run: Run, transformer: Transformer) -> tuple[metrics.Scores, float]:
    torch.set_num_threads(1)
    return scored(run, transformer)
