"""Models that should fail where a trained one passes."""

from palindrome_lens import stored, training
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task

HALF_TRAINED, FRESH = "original recipe", "fresh weights"


def controls(task: Task, seed: int) -> dict[str, Subject]:
    """The model of the original recipe, which is half trained, and one before any training."""
    config = ModelConfig(seed=seed)
    recipe = training.ORIGINAL.model_copy(update={"seed": seed})
    return {
        HALF_TRAINED: subject(task, stored.trained(task, config, recipe).model),
        FRESH: subject(task, hooked(init_model(config, task), config, task)),
    }
