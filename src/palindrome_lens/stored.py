"""Trained models: found in the artifact store, or trained on the spot."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts, training
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task
from palindrome_lens.training import SIDE_BY_SIDE, SOLVING, History, Log, Recipe


class Trained(NamedTuple):
    """A trained model with its hooks, and how it came about."""

    model: TransformerBridge
    history: History


def trained(
    task: Task, config: ModelConfig, recipe: Recipe, log: Log | None = None, **kwargs: Any
) -> Trained:
    """The model of a recipe, found in the artifact store or trained on the spot.

    ``log`` gets the same rows in either case: those of a found model come from its history. Other
    keyword arguments go to :func:`training.train`; a found model is not trained, and nobody
    watches it.
    """
    is_stored = True

    def make() -> artifacts.Tensors:
        nonlocal is_stored
        is_stored = False
        return _to_store(*training.train(task, config, recipe, log, **kwargs))

    tensors = artifacts.find_or_make(
        "model", _settings(task, config, recipe), training.__name__, make
    )
    result = _from_store(task, config, tensors)
    if log and is_stored:
        for row in _rows(result.history, recipe):
            log(row)
    return result


def trained_together(
    task: Task, configs: Sequence[ModelConfig], recipes: Sequence[Recipe]
) -> list[Trained]:
    """Like :func:`trained`, for models of one shape: those not in the store train side by side.

    No models take no training.

    Raises:
        ValueError: models or recipes that :func:`training.train_together` does not put together.
    """
    if not configs and not recipes:
        return []
    training.check_alike(configs, recipes)

    def make(missing: list[int]) -> Iterator[artifacts.Tensors]:
        at_once = side_by_side(recipes[0])
        for start in range(0, len(missing), at_once):
            places = missing[start : start + at_once]
            chosen = [configs[i] for i in places], [recipes[i] for i in places]
            for model, history in training.train_together(task, *chosen):
                yield _to_store(model, history)

    made_from = [_settings(task, *pair) for pair in zip(configs, recipes, strict=True)]
    stored = artifacts.find_or_make_all("model", made_from, training.__name__, make)
    return [
        _from_store(task, config, tensors) for config, tensors in zip(configs, stored, strict=True)
    ]


def side_by_side(recipe: Recipe) -> int:
    """How many models to train in one loop: with small batches more of them fit the cache."""
    return max(1, SIDE_BY_SIDE * SOLVING.batch_size // recipe.batch_size)


def solving(task: Task, seeds: Iterable[int], **shape: Any) -> list[TransformerBridge]:
    """Models of the recipe ``SOLVING``, one for each seed, from the store or trained on the spot.

    A seed is that of the weights, of the split and of the batches.

    Args:
        shape: fields of :class:`ModelConfig` other than the seed, the same for all models.
    """
    chosen = list(seeds)
    configs = [ModelConfig(**shape, seed=seed) for seed in chosen]
    recipes = [SOLVING.model_copy(update={"seed": seed}) for seed in chosen]
    return [result.model for result in trained_together(task, configs, recipes)]


def checkpoints(
    task: Task, config: ModelConfig, recipe: Recipe, steps: Sequence[int]
) -> dict[int, TransformerBridge]:
    """The model of a recipe as it was after so many steps, from the artifact store or trained.

    Step 0 is the fresh model, step ``recipe.steps`` the one that :func:`trained` returns.

    Raises:
        ValueError: the steps do not ascend from 0 or later to ``recipe.steps`` or earlier.
    """
    wanted = sorted(set(steps))
    if not wanted or list(steps) != wanted or wanted[0] < 0 or wanted[-1] > recipe.steps:
        raise ValueError(
            f"Checkpoints must ascend, within 0 and {recipe.steps}, not {list(steps)}."
        )

    def make() -> artifacts.Tensors:
        kept: list[artifacts.Tensors] = []

        def keep(step: int, model: nn.Module) -> None:
            if step in wanted:
                weights = model.state_dict().items()
                kept.append({name: weight.detach().cpu().clone() for name, weight in weights})

        training.train(task, config, recipe, watch=keep)
        return {name: torch.stack([weights[name] for weights in kept]) for name in kept[0]}

    made_from = {**_settings(task, config, recipe), "steps": wanted}
    tensors = artifacts.find_or_make("checkpoints", made_from, training.__name__, make)
    bridges = {}
    for i, step in enumerate(wanted):
        native = init_model(config, task).to(tensors["head.weight"].dtype)
        native.load_state_dict({name: weights[i] for name, weights in tensors.items()})
        bridges[step] = hooked(native, config, task)
    return bridges


def _to_store(model: nn.Module, history: History) -> artifacts.Tensors:
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    return weights | {f"history.{name}": value for name, value in history._asdict().items()}


def _from_store(task: Task, config: ModelConfig, tensors: artifacts.Tensors) -> Trained:
    native = init_model(config, task).to(tensors["model.head.weight"].dtype)
    native.load_state_dict(
        {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    )
    history = History(**{name: tensors[f"history.{name}"] for name in History._fields})
    return Trained(hooked(native, config, task), history)


def _settings(task: Task, config: ModelConfig, recipe: Recipe) -> dict[str, Any]:
    return {
        "task": task.model_dump(),
        "model": config.model_dump(),
        "recipe": recipe.model_dump(mode="json"),
    }


def _rows(history: History, recipe: Recipe) -> Iterator[dict[str, float]]:
    tested = dict(zip(history.evaluated_at.tolist(), history.test_loss.tolist(), strict=True))
    for step, loss in enumerate(history.train_loss.tolist()):
        row = {"step": step, "train_loss": loss, "lr": recipe.learning_rate(step)}
        yield row | ({"test_loss": tested[step]} if step in tested else {})
    yield {"step": recipe.steps, "test_loss": tested[recipe.steps]}
