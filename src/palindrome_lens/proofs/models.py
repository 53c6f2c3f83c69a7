"""The models that are proved, and how they are trained."""

import random
from typing import Any, Literal

import torch
from torch import nn

from palindrome_lens import artifacts, training
from palindrome_lens.evaluation import position_loss
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe

Kind = Literal["uniform", "repaired"]
"""Trained on strings drawn uniformly; the same, trained further with strings of few letters too."""
TASK = Task(half_length=8)
SHAPE: dict[str, Any] = {"d_model": 32, "d_head": 32, "d_mlp": 128}
DRAWN = 100_000
"""Strings that are drawn uniformly, a tenth of them for testing."""
REPAIR = Recipe(steps=150, lr=2e-3, warmup=1)
"""The further steps of a repair."""
FEW_LETTERS = 96
"""How many strings of each batch of a repair have few letters."""


def few_letter_strings(task: Task, n: int, seed: int) -> list[str]:
    """Strings of one, two or three letters, each number as often: letters, then slots, uniformly.

    Strings can be drawn more than once: there are only as many of one letter as letters.
    """
    generator = random.Random(seed)
    strings = []
    for _ in range(n):
        letters = generator.sample(task.alphabet, generator.randint(1, min(3, len(task.alphabet))))
        strings.append(task.string("".join(generator.choices(letters, k=task.half_length))))
    return strings


def recipe(seed: int) -> Recipe:
    """How models are trained: as in the other chapters, on as many strings as are drawn."""
    return Recipe(n_strings=DRAWN, seed=seed, evaluate_every=200)


def trained(kind: Kind, seed: int, task: Task = TASK) -> nn.Module:
    """The model of a kind and seed, from the artifact store or trained on the spot."""
    config = ModelConfig(**SHAPE, seed=seed)

    def make() -> artifacts.Tensors:
        if kind == "repaired":
            return dict(repair(trained("uniform", seed, task), task, seed).state_dict())
        ((model, _),) = training.train_together(task, [config], [recipe(seed)])
        return dict(model.state_dict())

    made_from = {"task": task.model_dump(), "kind": kind, "seed": seed}
    model = init_model(config, task)
    model.load_state_dict(artifacts.find_or_make("proof", made_from, __name__, make))
    return model.eval()


def repair(model: nn.Module, task: Task, seed: int) -> nn.Module:
    """Train a model further, on batches of which a part are strings of few letters."""
    uniform = encode(task, training.make_split(task, recipe(seed)).train)
    few = encode(task, few_letter_strings(task, REPAIR.steps * FEW_LETTERS, seed))
    drawn = training.batches(
        len(uniform), REPAIR.batch_size - FEW_LETTERS, torch.Generator().manual_seed(seed)
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=REPAIR.betas, weight_decay=REPAIR.weight_decay
    )
    for step, of_few_letters in enumerate(few.split(FEW_LETTERS)):
        for group in optimizer.param_groups:
            group["lr"] = REPAIR.learning_rate(step)
        tokens = torch.cat([uniform[next(drawn)], of_few_letters])
        loss = position_loss(model(inputs(tokens)), targets(tokens)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), REPAIR.max_grad_norm or float("inf"))
        optimizer.step()
    return model
