"""Kinds of autoencoders on the same activations: their settings, and a few numbers over seeds.

The chapter on architectures trains each kind once. The same with other seeds is in ``kinds.csv``,
which ``python -m palindrome_lens.dictionary.kinds`` writes in a few minutes.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import stored
from palindrome_lens.circuits.interventions import evaluate_replaced
from palindrome_lens.dictionary import tables
from palindrome_lens.sae import metrics
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import SAEConfig
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Log

FILE = Path(__file__).with_suffix(".csv")
SEEDS = (0, 1, 2)
COMMON = SAEConfig(
    architecture="topk", d_sae=128, k=3, normalise=True, steps=500, batch_size=256, lr=5e-3
)
KL: dict[str, Any] = {"sparsity_weight": 0.01, "sparsity_target": 3 / 128}
JUMP: dict[str, Any] = {"sparsity_weight": 0.03, "threshold": 2.0, "bandwidth": 2.0}
AUXK: dict[str, Any] = {"aux_weight": 1 / 32}
SPARSE: dict[str, dict[str, Any]] = {
    "ReLU + L1": {"architecture": "relu-l1", "sparsity_weight": 0.03},
    "Gated": {"architecture": "gated", "sparsity_weight": 0.05},
    "JumpReLU": {"architecture": "jumprelu", **JUMP},
    "TopK": {"architecture": "topk", **AUXK},
    "BatchTopK": {"architecture": "batchtopk", **AUXK},
    "Matryoshka": {"architecture": "matryoshka", **AUXK},
}
"""What each kind changes in ``COMMON``. Weights were chosen once, by hand, for about three active
latents per string."""
EIGHT: dict[str, dict[str, Any]] = {
    "GELU + KL": {"architecture": "gelu-kl", **KL},
    "sigmoid + KL": {"architecture": "sigmoid-kl", **KL},
    **SPARSE,
}
SIZES: dict[str, dict[str, Any]] = {
    "3 of 128": {},
    "8 of 512": {"d_sae": 512, "k": 8, "steps": 300},
}
"""Two sizes of the TopK kind, tried with several weights of AuxK."""
WEIGHTS: dict[str, float] = {"0": 0.0, "1/32": 1 / 32, "1": 1.0}
REVIVAL: dict[str, dict[str, Any]] = {
    f"{size}, AuxK {name}": {**change, "aux_weight": weight}
    for size, change in SIZES.items()
    for name, weight in WEIGHTS.items()
}


class Case(NamedTuple):
    """A kind, by its name in ``SPARSE`` or ``REVIVAL``, and the seed of the autoencoder."""

    kind: str
    seed: int


class Numbers(NamedTuple):
    """What was measured of one autoencoder, over all samples."""

    l0: float
    explained_variance: float
    dead: int
    """Latents that are above 0 on no sample."""
    solved: int
    """Strings that the model still solves with the reconstruction in place."""


class Subject(NamedTuple):
    """The transformer of seed 0, and what its MLP writes."""

    model: TransformerBridge
    tokens: Int64[Tensor, "strings length"]
    x: Float[Tensor, "strings d_in"]


def config(case: Case) -> SAEConfig:
    """The whole configuration of a case.

    Raises:
        KeyError: an unknown kind.
    """
    change = (EIGHT | REVIVAL)[case.kind]
    return SAEConfig(**{**COMMON.model_dump(), **change, "seed": case.seed})


@cache
def subject() -> Subject:
    """What all cases of the table are trained on and measured with."""
    task = Task()
    tokens = encode(task, task.strings())
    model = stored.solving(task, [0])[0]
    return Subject(model, tokens, sae_training.flat_activations(model, tokens, COMMON.hook))


class Learned(NamedTuple):
    """An autoencoder's training, and what it makes of all samples."""

    history: sae_training.SAEHistory
    latents: Float[Tensor, "samples d_sae"]
    rebuilt: Float[Tensor, "samples d_in"]
    numbers: Numbers


def learn(config: SAEConfig, material: Subject, log: Log | None = None) -> Learned:
    """Train an autoencoder on samples of a subject, or take it from the store, and measure it.

    Args:
        log: gets the rows of the training's history in either case.
    """
    autoencoder, history = sae_training.trained(config, material.x, log=log)
    with torch.no_grad():
        latents = autoencoder.encode(material.x)
        rebuilt = autoencoder.decode(latents)
    numbers = Numbers(
        metrics.l0(latents),
        metrics.explained_variance(material.x, rebuilt),
        int((metrics.firing_counts(latents) == 0).sum()),
        solved(material, rebuilt, config.hook),
    )
    return Learned(history, latents, rebuilt, numbers)


def solved(material: Subject, rebuilt: Float[Tensor, "samples d_in"], hook: str) -> int:
    """How many strings the transformer solves with these values in place of what it computes."""
    values = rebuilt.reshape(len(material.tokens), material.tokens.shape[1] - 1, -1)
    run = evaluate_replaced(material.model, material.tokens, hook, values)
    return int(run.solved(Task()).sum())


class Stretched(NamedTuple):
    """What one factor on all reconstructions can do, about their mean."""

    factor: float
    """The best one, by least squares."""
    explained_variance: float


def stretched(
    x: Float[Tensor, "samples d_in"], rebuilt: Float[Tensor, "samples d_in"]
) -> Stretched:
    """Stretch reconstructions by the factor that brings them closest to the samples."""
    mean, away = x.mean(dim=0), rebuilt - rebuilt.mean(dim=0)
    factor = float(((x - mean) * away).sum() / away.square().sum())
    return Stretched(factor, metrics.explained_variance(x, mean + factor * away))


def measure(case: Case) -> Numbers:
    """The numbers of a case, with an autoencoder from the store or trained on the spot."""
    return learn(config(case), subject()).numbers


def cases() -> list[Case]:
    """All cases of the table, seed by seed."""
    return [Case(kind, seed) for seed in SEEDS for kind in (*SPARSE, *REVIVAL)]


def read() -> dict[Case, Numbers]:
    """The table that the command wrote."""
    return tables.read(FILE, Case, Numbers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tables.write(FILE, {case: measure(case) for case in tqdm(cases(), disable=None)})
    print(f"wrote {FILE.name}")
