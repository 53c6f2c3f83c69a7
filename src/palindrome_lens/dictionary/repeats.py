"""One autoencoder again and again: other seeds, other transformers, and data with nothing to find.

The autoencoder is the TopK one of the chapter on the dictionary. It is trained on what the MLP
writes in trained transformers; in the same transformers before their first step; and on the trained
ones' activations with each of the 128 numbers shuffled among the strings by itself, which keeps
how each number is distributed and destroys all that any two of them have to do with each other.

``python -m palindrome_lens.dictionary.repeats`` measures all of them, in about fifteen minutes, and
writes ``repeats.csv`` beside this file.
"""

from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import evaluation, stored, training
from palindrome_lens.dictionary import reading, tables
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.sae import metrics
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import TOPK_SAE, Autoencoder, SAEConfig
from palindrome_lens.task import Task, letters
from palindrome_lens.tokenizer import encode

FILE = Path(__file__).with_suffix(".csv")
TRANSFORMERS = (0, 1, 2, 3, 4)
SEEDS = (0, 1, 2)
SOURCES = ("trained", "untrained", "shuffled")


class Case(NamedTuple):
    """What an autoencoder was trained on, and with which seed of its own."""

    source: str
    transformer: int
    """The seed of its weights, of its split into training and test strings, and of its batches."""
    seed: int


class Numbers(NamedTuple):
    """What was measured of one autoencoder, over all strings."""

    explained_variance: float
    l0: float
    dead: int
    """Latents that are above 0 on no string."""
    named: int
    """Live latents with an exact rule, at half their maximum, for more than one string."""
    pairs: int
    """Different pairs of a letter and a slot among these rules."""
    added_loss: float
    """Mean loss with the reconstruction of the transformer's activations in place of them, minus
    the mean loss without, in nats."""


class Material(NamedTuple):
    """A transformer, and the samples that an autoencoder gets."""

    model: TransformerBridge
    tokens: Int64[Tensor, "strings length"]
    x: Float[Tensor, "strings d_in"]
    seen: Int64[Tensor, "seen"]
    """Which strings the transformer itself trains on, in the order of its split; an autoencoder
    trains on these alone."""


def cases() -> list[Case]:
    """All cases of the table: trained transformers with every seed of the autoencoder, the two
    others with one."""
    others = product(("untrained", "shuffled"), TRANSFORMERS, SEEDS[:1])
    return [Case(*case) for case in (*product(("trained",), TRANSFORMERS, SEEDS), *others)]


@cache
def material(source: str, transformer: int, hook: str = TOPK_SAE.hook) -> Material:
    """What an autoencoder of this source is trained on and measured with.

    Raises:
        ValueError: an unknown source or hook.
    """
    task = Task()
    strings = task.strings()
    tokens = encode(task, strings)
    model = _transformer(task, source, transformer)
    x = sae_training.flat_activations(model, tokens, hook)
    if source == "shuffled":
        x = shuffled(x, seed=transformer)
    recipe = training.SOLVING.model_copy(update={"seed": transformer})
    row = {string: i for i, string in enumerate(strings)}
    seen = torch.tensor([row[string] for string in training.make_split(task, recipe).train])
    return Material(model, tokens, x, seen)


def _transformer(task: Task, source: str, seed: int) -> TransformerBridge:
    if source not in SOURCES:
        raise ValueError(f"The source is {source!r}; it can be {', '.join(map(repr, SOURCES))}.")
    if source == "untrained":
        config = ModelConfig(seed=seed)
        return hooked(init_model(config, task), config, task)
    return stored.solving(task, [seed])[0]


def shuffled(x: Float[Tensor, "sample d_in"], seed: int = 0) -> Float[Tensor, "sample d_in"]:
    """Each column in a random order of its own."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(x.shape, dtype=torch.float64, generator=generator).argsort(dim=0)
    return x.gather(0, order)


def autoencoder(case: Case, config: SAEConfig = TOPK_SAE) -> Autoencoder:
    """The autoencoder of a case, from the store or trained on the spot (some twenty seconds)."""
    samples = material(case.source, case.transformer, config.hook)
    own = config.model_copy(update={"seed": case.seed})
    return sae_training.trained(own, samples.x[samples.seen]).autoencoder


def measure(case: Case) -> Numbers:
    """All numbers of a case, from the autoencoder in the store or one trained on the spot."""
    samples = material(case.source, case.transformer)
    sae = autoencoder(case)
    with torch.no_grad():
        latents = sae.encode(samples.x)
        rebuilt = sae.decode(latents)
    clean = evaluation.evaluate(samples.model, samples.tokens).mean_loss
    spliced = metrics.spliced_loss(samples.model, samples.tokens, sae.config.hook, sae)
    read_off = named_pairs(Task(), samples.tokens, latents)
    return Numbers(
        explained_variance=metrics.explained_variance(samples.x, rebuilt),
        l0=metrics.l0(latents),
        dead=int((metrics.firing_counts(latents) == 0).sum()),
        named=read_off.named,
        pairs=len(read_off.pairs),
        added_loss=spliced - clean,
    )


class Named(NamedTuple):
    """What the latents of a dictionary can be called, read at half of each one's maximum."""

    rules: dict[int, reading.Rule]
    """Of every live latent."""
    named: int
    """Latents with an exact rule for more than one string."""
    pairs: set[str]
    """The pairs of a letter and a slot that are the exact rule of some latent, as ``··m``."""


def named_pairs(
    task: Task, tokens: Int64[Tensor, "strings length"], latents: Float[Tensor, "strings d_sae"]
) -> Named:
    """Read a rule off every live latent (:func:`reading.read_rule`), and count the exact ones."""
    ids = letters(task, tokens)
    live = (metrics.firing_counts(latents) > 0).nonzero()[:, 0].tolist()
    rules = {latent: reading.read_rule(task, ids, latents[:, latent]) for latent in live}
    exact = [rule for rule in rules.values() if rule.exact]
    one_letter = task.size // len(task.alphabet)
    return Named(
        rules,
        sum(rule.n_strings > 1 for rule in exact),
        {rule.text for rule in exact if rule.n_strings == one_letter},
    )


def read() -> dict[Case, Numbers]:
    """The table that the command wrote."""
    return tables.read(FILE, Case, Numbers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tables.write(FILE, {case: measure(case) for case in tqdm(cases(), disable=None)})
    print(f"wrote {FILE.name}")
