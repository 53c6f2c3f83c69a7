"""The models that are proved, and how they are trained."""

import random
from typing import Literal

from torch import nn

from palindrome_lens import artifacts, training
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.task import Split, Task
from palindrome_lens.training import Recipe

Kind = Literal["uniform", "mixed"]
"""Trained on strings drawn uniformly, or on these and strings of one to three letters."""
TASK = Task(half_length=8)
SHAPE = {"d_model": 32, "d_head": 32, "d_mlp": 128}
DRAWN = 100_000
"""Strings that are drawn uniformly, a tenth of them for testing."""
FEW_LETTERS = 0.6
"""Strings of few letters in the kind "mixed", as a multiple of the uniform ones in training."""


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


def strings_of(task: Task, kind: Kind, seed: int) -> Split:
    """What a model is trained and tested on; the test strings are the same for both kinds."""
    drawn = training.make_split(task, recipe(seed))
    if kind == "uniform":
        return drawn
    few = few_letter_strings(task, int(FEW_LETTERS * len(drawn.train)), seed)
    return Split(drawn.train + few, drawn.test)


def trained(kind: Kind, seed: int, task: Task = TASK) -> nn.Module:
    """The model of a kind and seed, from the artifact store or trained on the spot."""
    config = ModelConfig(**SHAPE, seed=seed)

    def make() -> artifacts.Tensors:
        strings = strings_of(task, kind, seed)
        ((model, _),) = training.train_together(task, [config], [recipe(seed)], [strings])
        return dict(model.state_dict())

    made_from = {"task": task.model_dump(), "kind": kind, "seed": seed}
    model = init_model(config, task)
    model.load_state_dict(artifacts.find_or_make("proof", made_from, __name__, make))
    return model.eval()
