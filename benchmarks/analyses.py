"""What an exhaustive pass costs: cases per CPU second of each analysis, median of five runs.

A case is one string (or prefix) under one intervention. Everything runs on one thread, and CPU
seconds are counted, which another load on the machine changes little. Prints a table.
"""

import statistics
import time
from collections.abc import Callable

import torch

from palindrome_lens.circuits.interventions import zero_ablate
from palindrome_lens.circuits.limits import answers, count, wrong_letters
from palindrome_lens.circuits.patterns import patterns
from palindrome_lens.circuits.scrubbing import Group, scrub
from palindrome_lens.circuits.subject import subject
from palindrome_lens.dictionary import effects
from palindrome_lens.evaluation import evaluate
from palindrome_lens.model import ModelConfig
from palindrome_lens.sae import choosing, leaderboard, standings
from palindrome_lens.sae.contestants import Run
from palindrome_lens.stored import trained
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import SOLVING

RUNS = 5


def main() -> None:
    torch.set_num_threads(1)
    task = Task()
    model = trained(task, ModelConfig(), SOLVING).model
    tokens = encode(task, task.strings())
    solver = subject(task, model)
    query = task.mirrored_positions[1]
    every = frozenset(range(task.half_length))
    mirror_alone = [
        Group(("mirror",), every),
        Group(("direct", "pattern", "others"), frozenset()),
    ]
    prefixes = wrong_letters(task, query)
    n = len(tokens)
    run = Run(*choosing.without_labels(standings.read()), seed=0)
    sae = leaderboard.autoencoder(run)
    latents, atoms = sae.encode(leaderboard.material().x).detach(), sae.W_dec.detach()
    rest = effects.rest_of(model, tokens, run.config.hook)
    mean = effects.mean_firing(latents)
    analyses: dict[str, Callable[[], int]] = {
        "evaluate the model": lambda: len(evaluate(model, tokens).loss),
        "read every attention pattern": lambda: len(patterns(model, tokens)),
        "ablate one component (zero)": lambda: len(
            zero_ablate(model, tokens, "blocks.0.hook_mlp_out").loss
        ),
        "scrub one query": lambda: scrub(solver, query, mirror_alone).cases,
        "ablate every latent": lambda: int(effects.ablate(rest, latents, atoms).strings.sum()),
        "clamp every latent": lambda: int(effects.clamp(rest, latents, atoms, mean).strings.sum()),
        "prefixes with wrong letters": lambda: len(
            answers(model, solver.tables, prefixes, task.mirror_position(query)).answer
        ),
    }
    print(f"{n:,} strings, {count(prefixes):,} prefixes")
    for name, analysis in analyses.items():
        rates = []
        for _ in range(RUNS):
            start = time.process_time()
            cases = analysis()
            rates.append(cases / (time.process_time() - start))
        print(
            f"{name:32s} {cases:>10,} cases  {statistics.median(rates):>12,.0f} per CPU second",
            flush=True,
        )


if __name__ == "__main__":
    main()
