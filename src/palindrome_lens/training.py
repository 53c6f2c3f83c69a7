"""A typed recipe to a trained model and its history; exact evaluation.

Everything runs in float64 with its own random generators, so that the same recipe gives the same
model on every CPU. A device without float64 (Apple's GPU) gets float32, and only there may the
numbers differ.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from palindrome_lens.config import Config, ConfigError
from palindrome_lens.evaluation import evaluate, position_loss
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.stacked import Stack
from palindrome_lens.task import Split, Task, inputs, split, targets
from palindrome_lens.tokenizer import encode

SIDE_BY_SIDE = 4
"""How many models share one loop: with more, a step no longer fits the processor's cache."""
Log = Callable[[dict[str, float]], None]
Watch = Callable[[int, nn.Module], None]


class Recipe(Config):
    """How to train: AdamW with linear warm-up, on shuffled batches; a short last one is dropped.

    Attributes:
        schedule: "constant", or "cosine" from ``lr`` to 0 at the last step.
        max_grad_norm: gradients are scaled down to this norm; ``None`` leaves them alone.
        n_strings: how many strings to draw where the task is too large to enumerate.
        evaluate_every: steps between two evaluations on the test set.
        device: a torch device; "cpu" unless said.
    """

    steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=256, ge=1)
    lr: float = Field(default=1e-2, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: int = Field(default=50, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    split: Literal["random", "ordered"] = "random"
    test_fraction: float = Field(default=0.1, gt=0, lt=1)
    n_strings: int | None = Field(default=None, ge=2)
    evaluate_every: int = Field(default=10, ge=1)
    seed: int = 0
    device: str = "cpu"

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
        if self.schedule == "constant":
            return self.lr * warm
        return self.lr * warm * cosine(step, self.steps)


def cosine(step: int, steps: int) -> float:
    """The share of the learning rate that is left at a step: from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


ORIGINAL = Recipe(
    steps=5000,
    batch_size=4,
    lr=1e-4,
    weight_decay=0.1,
    warmup=100,
    schedule="constant",
    split="ordered",
    evaluate_every=500,
)
SOLVING = Recipe()


def check_device(name: str) -> None:
    """Raise ConfigError unless this machine has the device."""
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name not in there:
        raise ConfigError(f"device is {name!r}: this machine has {', '.join(there)}.")


class History(NamedTuple):
    """What happened during training. Losses in nats; ``evaluation`` counts the evaluations."""

    train_loss: Float[Tensor, "step"]
    evaluated_at: Int64[Tensor, "evaluation"]
    test_loss: Float[Tensor, "evaluation"]
    test_position_loss: Float[Tensor, "evaluation position"]


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Int64[Tensor, "batch"]]:
    """Indices of shuffled batches, epoch after epoch, the short last batch of each dropped.

    Raises:
        ValueError: a batch is larger than the set.
    """
    if size > n:
        raise ValueError(f"A batch of {size:,} was asked for; the training set has {n:,} strings.")
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: n - n % size].split(size)


def make_split(task: Task, recipe: Recipe) -> Split:
    """The train and test strings of a recipe."""
    return split(task, recipe.split, recipe.test_fraction, recipe.n_strings, recipe.seed)


def train(
    task: Task,
    config: ModelConfig,
    recipe: Recipe,
    log: Log | None = None,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
    watch: Watch | None = None,
) -> tuple[nn.Module, History]:
    """Train a fresh model.

    Args:
        log: called at every step with ``step``, ``train_loss`` and ``lr``, and at evaluations also
            with ``test_loss``.
        progress: wraps the iteration over steps, for instance ``tqdm.tqdm``.
        watch: called before each step, and after the last, with the number of finished steps and
            the model, which it must leave as it is.

    Raises:
        ValueError: the split is impossible, a batch larger than the training set, or the device
            one that this machine has not.
    """
    (result,) = train_together(task, [config], [recipe], None, log, progress, watch)
    return result


def train_together(
    task: Task,
    configs: Sequence[ModelConfig],
    recipes: Sequence[Recipe],
    splits: Sequence[Split] | None = None,
    log: Log | None = None,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
    watch: Watch | None = None,
) -> list[tuple[nn.Module, History]]:
    """Train fresh models of one shape side by side, each on its own strings.

    What a model becomes does not depend on which others train beside it, up to the order of sums.

    Args:
        configs: one for each model; they may differ in the seed alone.
        recipes: one for each model; they may differ in the seed and the split alone.
        splits: the strings of each model, if not those of its recipe.
        log: like that of :func:`train`, for the first model.
        watch: like that of :func:`train`, for the first model.

    Raises:
        ValueError: models or recipes that differ in more, a split that is impossible, a batch
            larger than a training set, or a device that this machine has not.
    """
    check_alike(configs, recipes)
    recipe = recipes[0]
    check_device(recipe.device)
    dtype = torch.float32 if torch.device(recipe.device).type == "mps" else torch.float64
    stack = Stack([init_model(config, task).to(recipe.device, dtype) for config in configs])
    splits = splits or [make_split(task, recipe) for recipe in recipes]
    optimizer = torch.optim.AdamW(
        [stack.flat],
        lr=recipe.lr,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    draw = _drawn_batches(task, splits, recipes)
    test_tokens = [encode(task, test).to(recipe.device) for _, test in splits]
    losses: list[Tensor] = []
    evaluations: list[tuple[int, list[Tensor]]] = []

    def tested(step: int) -> dict[str, float]:
        models = zip(stack.unstacked(), test_tokens, strict=True)
        by_position = [evaluate(model, tokens).loss.mean(dim=0).cpu() for model, tokens in models]
        evaluations.append((step, by_position))
        return {"test_loss": float(by_position[0].mean())}

    for step in progress(iter(range(recipe.steps))):
        if watch:
            watch(step, stack.unstacked()[0])
        row = tested(step) if step % recipe.evaluate_every == 0 else {}
        losses.append(_update(stack, optimizer, draw(), recipe, step))
        if log:
            loss = float(losses[-1][0])
            log({"step": step, "train_loss": loss, "lr": recipe.learning_rate(step), **row})
    last = tested(recipe.steps)
    if log:
        log({"step": recipe.steps, **last})
    if watch:
        watch(recipe.steps, stack.unstacked()[0])
    by_model = torch.stack(losses, dim=1).cpu()
    histories = [
        _history(by_model[k], [(step, by_position[k]) for step, by_position in evaluations])
        for k in range(len(configs))
    ]
    models = [model.cpu().eval() for model in stack.unstacked()]
    return list(zip(models, histories, strict=True))


def check_alike(configs: Sequence[ModelConfig], recipes: Sequence[Recipe]) -> None:
    shapes = {str(config.model_copy(update={"seed": 0})) for config in configs}
    same: dict[str, Any] = {"seed": 0, "split": "random", "test_fraction": 0.1, "n_strings": None}
    ways = {str(recipe.model_copy(update=same)) for recipe in recipes}
    if len(configs) != len(recipes) or len(shapes) != 1 or len(ways) != 1:
        raise ValueError(
            f"{len(configs)} models of {len(shapes)} shapes with {len(recipes)} recipes of "
            f"{len(ways)} kinds cannot train together: the seed and the split may differ, no more."
        )


def _drawn_batches(
    task: Task, splits: Sequence[Split], recipes: Sequence[Recipe]
) -> Callable[[], Int64[Tensor, "model batch length"]]:
    """What returns the next batch of every model, each drawn from its own strings."""
    encoded = [encode(task, split.train).to(recipes[0].device) for split in splits]
    tokens = torch.cat(encoded)
    starts = itertools.accumulate((len(own) for own in encoded[:-1]), initial=0)
    indices = [
        batches(len(own), recipe.batch_size, torch.Generator().manual_seed(recipe.seed))
        for own, recipe in zip(encoded, recipes, strict=True)
    ]
    offsets = torch.tensor(list(starts)).unsqueeze(1)
    return lambda: tokens[torch.stack([next(order) for order in indices]) + offsets]


def _update(
    stack: Stack, optimizer: torch.optim.Optimizer, tokens: Tensor, recipe: Recipe, step: int
) -> Float[Tensor, "model"]:
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate(step)
    logits = stack.logits(inputs(tokens.flatten(end_dim=1)).view(*tokens.shape[:2], -1))
    wanted = targets(tokens.flatten(end_dim=1))
    by_string = position_loss(logits.flatten(end_dim=1), wanted)
    # (model,): the gradient of the sum is each model's own.
    loss = by_string.view(len(tokens), -1).mean(dim=1)
    optimizer.zero_grad()
    loss.sum().backward()
    if recipe.max_grad_norm is not None:
        _clip(stack.flat, recipe.max_grad_norm)
    optimizer.step()
    return loss.detach()


def _clip(flat: Float[Tensor, "model parameter"], largest: float) -> None:
    """Scale the gradient of each model down to a norm, as ``clip_grad_norm_`` does for one."""
    assert flat.grad is not None
    norms = flat.grad.norm(dim=1, keepdim=True)
    flat.grad.mul_((largest / (norms + 1e-6)).clamp(max=1.0))


def _history(losses: Float[Tensor, "step"], evaluations: list[tuple[int, Tensor]]) -> History:
    by_position = torch.stack([loss for _, loss in evaluations])
    return History(
        train_loss=losses.double(),
        evaluated_at=torch.tensor([step for step, _ in evaluations]),
        test_loss=by_position.mean(dim=1),
        test_position_loss=by_position,
    )
