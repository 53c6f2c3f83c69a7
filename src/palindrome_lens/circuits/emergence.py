"""What the mechanism looked like during training: one record over a series of checkpoints."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts
from palindrome_lens.circuits import tables
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import Tables, finish, handed_over, tabulate
from palindrome_lens.circuits.weights import advantage, copying, share_copied
from palindrome_lens.evaluation import evaluate, position_loss
from palindrome_lens.model import ModelConfig, hooked
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe, train


class Record(NamedTuple):
    """Models along training, over a set of strings; ``mirrored`` are the mirrored positions."""

    loss: Float[Tensor, "checkpoint position"]
    """Mean cross-entropy in nats."""
    solved: Int64[Tensor, "checkpoint"]
    """Strings whose every determined character is predicted."""
    pattern: Float[Tensor, "checkpoint query key"]
    """The mean attention pattern of the first head."""
    attention: Float[Tensor, "checkpoint mirrored"]
    """Mean weight on the mirror position."""
    advantage: Float[Tensor, "checkpoint mirrored"]
    """Mean lead of the mirror position's score over the best other score."""
    copied: Float[Tensor, "checkpoint mirrored"]
    """Share of letters that would be copied if attention were all on the mirror position."""


def record(
    task: Task, models: Sequence[TransformerBridge], tokens: Int64[Tensor, "strings length"]
) -> Record:
    """Measure each model in turn."""
    rows = [_measure(task, model, tokens) for model in models]
    return Record(*(torch.stack(column) for column in zip(*rows, strict=True)))


def halves(
    task: Task, model: TransformerBridge, tokens: Int64[Tensor, "strings length"]
) -> Float[Tensor, "half mirrored"]:
    """Looking and copying of one model: ``attention`` and ``copied`` of :class:`Record`."""
    subject = Subject(task, model, tabulate(model), tokens)
    looking = [
        tables.pattern(subject.tables, subject.read, q)[:, 0, task.mirror_position(q)].mean()
        for q in subject.queries
    ]
    copied = [share_copied(copying(subject, q)) for q in subject.queries]
    return torch.stack([torch.stack(looking), torch.tensor(copied, dtype=torch.float64)])


def course(
    task: Task, config: ModelConfig, recipe: Recipe, steps: Sequence[int]
) -> Float[Tensor, "step half mirrored"]:
    """:func:`halves` at these ascending steps of a training, which then stops; from the store, or
    trained on the spot."""
    tokens = encode(task, task.strings())

    def make() -> artifacts.Tensors:
        at_steps = []

        def look(step: int, network: nn.Module) -> None:
            if step in steps:
                at_steps.append(halves(task, hooked(deepcopy(network), config, task), tokens))

        def early(every_step: Iterator[int]) -> Iterator[int]:
            return islice(every_step, steps[-1] + 1)

        unevaluated = recipe.model_copy(update={"evaluate_every": recipe.steps})
        train(task, config, unevaluated, progress=early, watch=look)
        return {"halves": torch.stack(at_steps)}

    made_from = {
        "task": task.model_dump(),
        "model": config.model_dump(),
        "recipe": recipe.model_dump(mode="json"),
        "steps": list(steps),
    }
    return artifacts.find_or_make("course", made_from, __name__, make)["halves"]


def _measure(
    task: Task, model: TransformerBridge, tokens: Int64[Tensor, "strings length"]
) -> list[Tensor]:
    result, subject = evaluate(model, tokens), Subject(task, model, tabulate(model), tokens)
    pattern = _patterns(subject.tables, subject.read)
    looking, copied = halves(task, model, tokens)
    return [
        result.loss.mean(dim=0),
        result.solved(task).sum(),
        pattern.mean(dim=0),
        looking,
        torch.stack([advantage(subject, query).mean() for query in subject.queries]),
        copied,
    ]


def _patterns(
    table: Tables, tokens: Int64[Tensor, "strings position"]
) -> Float[Tensor, "strings query key"]:
    length = tokens.shape[1]
    weights = torch.zeros(len(tokens), length, length, dtype=table.scores.dtype)
    for query in range(length):
        weights[:, query, : query + 1] = tables.pattern(table, tokens, query)[:, 0]
    return weights


def transplanted_loss(
    task: Task,
    looking: TransformerBridge,
    rest: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
) -> Float[Tensor, "mirrored"]:
    """Mean loss in nats where one model gives the attention weights and another all the rest.

    The rest is the values, the query's own embedding, the MLP and the unembedding. Between two
    checkpoints of one training this says which half of the mechanism was ready first.
    """
    mixed = tabulate(rest)._replace(scores=tabulate(looking).scores)
    losses = []
    for query in task.mirrored_positions:
        fetched = handed_over(mixed, inputs(tokens), query).sum(dim=(1, 2)) + mixed.bias
        logits = finish(rest, mixed.embedded[query, tokens[:, query]] + fetched)
        losses.append(position_loss(logits.unsqueeze(1), tokens[:, [query + 1]]).mean())
    return torch.stack(losses)


def reached(steps: Sequence[int], values: Float[Tensor, "checkpoint"], share: float) -> int:
    """The first of the steps at which a curve has made a share of its way from start to end.

    The curve may rise or fall. The answer is a checkpoint, so it is late by up to one interval.

    Raises:
        ValueError: the curve ends where it began, or its length differs from that of the steps.
    """
    if len(steps) != len(values) or values[0] == values[-1]:
        raise ValueError("A curve needs one value for each step and an end unlike its start.")
    way = (values - values[0]) / (values[-1] - values[0])
    return steps[int((way >= share).nonzero()[0, 0])]


def width(steps: Sequence[int], values: Float[Tensor, "checkpoint"]) -> int:
    """Steps between 10 % and 90 % of a curve's way from start to end."""
    return reached(steps, values, 0.9) - reached(steps, values, 0.1)
