"""Models that should fail where a trained one passes."""

from typing import Any

from palindrome_lens import stored, training
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task

HALF_TRAINED, FRESH = "original recipe", "fresh weights"


def controls(task: Task, seed: int, **shape: Any) -> dict[str, Subject]:
    """The model of the original recipe, which is half trained, and one before any training.

    Args:
        shape: fields of :class:`ModelConfig` other than the seed.
    """
    config = ModelConfig(**shape, seed=seed)
    recipe = training.ORIGINAL.model_copy(update={"seed": seed})
    half_trained = subject(task, stored.trained(task, config, recipe).model)
    return {HALF_TRAINED: half_trained, FRESH: untrained(task, seed, **shape)}


def untrained(task: Task, seed: int, **shape: Any) -> Subject:
    """A model before its first step."""
    config = ModelConfig(**shape, seed=seed)
    return subject(task, hooked(init_model(config, task), config, task))
