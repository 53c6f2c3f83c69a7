"""Who takes part in the leaderboard: architectures, sparsity levels, widths, seeds."""

from itertools import product
from typing import Any, NamedTuple

from palindrome_lens.sae.autoencoders import SAEConfig

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
