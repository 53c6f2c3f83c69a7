"""This project at its work: training transformers and autoencoders, and exhaustive analyses."""

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from worker import drawn, naive_update, serve

from palindrome_lens import training
from palindrome_lens.circuits import interventions, limits, patterns, scrubbing
from palindrome_lens.circuits.scrubbing import Group
from palindrome_lens.circuits.subject import subject
from palindrome_lens.dictionary import effects
from palindrome_lens.evaluation import evaluate, position_loss
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.sae import choosing, leaderboard, standings
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import SAEConfig
from palindrome_lens.sae.contestants import Run
from palindrome_lens.stored import trained
from palindrome_lens.task import Split, Task, inputs, targets
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe

D_IN = 128
PRICES = {"relu-l1": 0.01, "gated": 0.02, "jumprelu": 0.01}
SAMPLES = 17_576


def train(
    steps: Iterator[int], batch_size: int, models: int, half_length: int = 3, alphabet: int = 26
) -> None:
    """:func:`training.train_together`, as every chapter trains, in float64."""
    # Letters from the middle of Unicode: there are 500 of them in a row.
    letters = "".join(chr(0x4E00 + i) for i in range(alphabet))
    task = Task(alphabet=letters, half_length=half_length)
    strings = task.sample(min(5000, task.size), seed=0)
    recipe = Recipe(steps=10**9, evaluate_every=10**9, batch_size=batch_size)
    # Nothing is tested while the clock runs.
    split = Split(strings, strings[:10])
    training.train_together(
        task,
        [ModelConfig(seed=seed) for seed in range(models)],
        [recipe.model_copy(update={"seed": seed}) for seed in range(models)],
        [split] * models,
        progress=lambda _: steps,
    )


def bridge(steps: Iterator[int], batch_size: int, dtype: str) -> None:
    """TransformerBridge in a loop as its users write it."""
    task, config = Task(), ModelConfig()
    model = hooked(init_model(config, task).to(getattr(torch, dtype)), config, task).train()
    _naive(steps, model, model, batch_size, fused=False)


def bare(steps: Iterator[int], batch_size: int, dtype: str) -> None:
    """The same model without hooks, and with the fused optimiser."""
    model = init_model(ModelConfig(), Task()).to(getattr(torch, dtype))
    _naive(steps, model, model, batch_size, fused=True)


def _naive(
    steps: Iterator[int],
    model: torch.nn.Module,
    answer: Callable[[Tensor], Tensor],
    batch_size: int,
    fused: bool,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), fused=fused)
    task = Task()
    batches = encode(task, task.sample(64 * batch_size, seed=0)).split(batch_size)
    for step in steps:
        tokens = drawn(batches, step)
        loss = position_loss(answer(inputs(tokens)), targets(tokens)).mean()
        naive_update(model, loss, optimizer)


def autoencoder(
    steps: Iterator[int], architecture: str, d_sae: int, k: int, batch_size: int, dtype: str
) -> None:
    """:func:`palindrome_lens.sae.training.train`, as every chapter trains."""
    assert dtype == "float64"
    config = SAEConfig(
        architecture=architecture,  # type: ignore[arg-type]
        d_sae=d_sae,
        k=k,
        batch_size=batch_size,
        sparsity_weight=PRICES.get(architecture, 0.0),
        steps=10**9,
        lr=3e-3,
    )
    torch.manual_seed(0)
    data = torch.randn(8 * batch_size, D_IN, dtype=torch.float64)
    sae_training.train(config, data, progress=lambda _: steps)


def product(steps: Iterator[int], size: int) -> dict[str, float]:
    """A matrix product in float64: what the machine can do at most."""
    a = torch.randn(size, size, dtype=torch.float64)
    for _ in steps:
        a @ a
    return {"cases": 1, "flops": 2 * size**3}


def analysis(steps: Iterator[int], name: str) -> dict[str, float]:
    """An exhaustive analysis: its cases, and the operations of its matrix products."""
    counts = counted(name)
    for _ in steps:
        analyses()[name]()
    return counts


@cache
def counted(name: str) -> dict[str, float]:
    # What the analyses are made of is trained first, and not counted.
    analyse = analyses()[name]
    with FlopCounterMode(display=False) as counter:
        cases = analyse()
    return {"cases": cases, "flops": counter.get_total_flops()}


@cache
def analyses() -> dict[str, Callable[[], int]]:
    """Every analysis as a call that returns how many cases it went through.

    A case is one string, or one beginning of a string, under one intervention.
    """
    task = Task()
    model = trained(task, ModelConfig(), training.SOLVING).model
    tokens = encode(task, task.strings())
    solver = subject(task, model)
    query = task.mirrored_positions[1]
    mirror_alone = [
        Group(("mirror",), frozenset(range(task.half_length))),
        Group(("direct", "pattern", "others"), frozenset()),
    ]
    prefixes = limits.wrong_letters(task, query)
    run = Run(*choosing.without_labels(standings.read()), seed=0)
    sae = leaderboard.autoencoder(run)
    latents, atoms = sae.encode(leaderboard.material().x).detach(), sae.W_dec.detach()
    rest, mean = effects.rest_of(model, tokens, run.config.hook), effects.mean_firing(latents)
    zero = "blocks.0.hook_mlp_out"
    return {
        "evaluate the model": lambda: len(evaluate(model, tokens).loss),
        "read every attention pattern": lambda: len(patterns.patterns(model, tokens)),
        "ablate one component": lambda: len(interventions.zero_ablate(model, tokens, zero).loss),
        "scrub one query": lambda: scrubbing.scrub(solver, query, mirror_alone).cases,
        "ablate every latent": lambda: int(effects.ablate(rest, latents, atoms).strings.sum()),
        "clamp every latent": lambda: int(effects.clamp(rest, latents, atoms, mean).strings.sum()),
        "prefixes with wrong letters": lambda: len(limits.answers(solver, prefixes).answer),
    }


if __name__ == "__main__":
    serve(
        {
            "this book": train,
            "TransformerBridge": bridge,
            "bare modules": bare,
            "autoencoder of this book": autoencoder,
            "matrix product": product,
            "analysis": analysis,
        }
    )
