"""What the mechanism looked like during training: one record over a series of checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from pandas import DataFrame, Index, MultiIndex, Series
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts
from palindrome_lens.circuits import tables
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import Tables, finish, handed_over, tabulate
from palindrome_lens.circuits.weights import copying, share_copied
from palindrome_lens.evaluation import evaluate, position_loss
from palindrome_lens.model import ModelConfig, hooked
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import Recipe, train


class Record(NamedTuple):
    """Models along training, over a set of strings; ``mirrored`` are the mirrored positions."""

    steps: list[int]
    loss: Float[Tensor, "checkpoint position"]
    """Mean cross-entropy in nats."""
    solved: Int64[Tensor, "checkpoint"]
    """Strings whose every determined character is predicted."""
    pattern: Float[Tensor, "checkpoint query key"]
    """The mean attention pattern of the first head."""
    attention: Float[Tensor, "checkpoint mirrored"]
    """Mean weight on the mirror position."""
    copied: Float[Tensor, "checkpoint mirrored"]
    """Share of letters that would be copied if attention were all on the mirror position."""

    def curves(self, task: Task) -> DataFrame:
        """By step (row), curve and position (columns); ``loss`` where the target is determined."""
        mirrored, determined = task.mirrored_positions, range(task.half_length, task.n_positions)
        by_position = {
            "loss": (determined, self.loss[:, list(determined)]),
            "mirror attention": (mirrored, self.attention),
            "letters copied": (mirrored, self.copied),
            "strings solved": (["all"], self.solved.unsqueeze(1)),
        }
        names = [(name, p) for name, (positions, _) in by_position.items() for p in positions]
        values = torch.cat([columns.double() for _, columns in by_position.values()], dim=1)
        return _by_step(self.steps, names, values)


def _by_step(
    steps: Sequence[int], names: Sequence[tuple[str, object]], values: Float[Tensor, "step curve"]
) -> DataFrame:
    columns = MultiIndex.from_tuples(names, names=["curve", "position"])
    return DataFrame(values.numpy(), Index(steps, name="step"), columns)


def record(
    task: Task, models: Mapping[int, TransformerBridge], tokens: Int64[Tensor, "strings length"]
) -> Record:
    """Measure the model of each step."""
    rows = [_measure(task, model, tokens) for model in models.values()]
    return Record(list(models), *(torch.stack(column) for column in zip(*rows, strict=True)))


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


def course(task: Task, config: ModelConfig, recipe: Recipe, steps: Sequence[int]) -> DataFrame:
    """The curves of looking and copying at these ascending steps of a training, which then stops.

    They are found in the store, or trained on the spot, and come as in :meth:`Record.curves`.
    """
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
    by_step = artifacts.find_or_make("course", made_from, __name__, make)["halves"]
    halves_named = ("mirror attention", "letters copied")
    names = [(name, q) for name in halves_named for q in task.mirrored_positions]
    return _by_step(steps, names, by_step.flatten(1))


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


def transplants(
    task: Task,
    models: Mapping[int, TransformerBridge],
    finished: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
) -> DataFrame:
    """:func:`transplanted_loss` by step and query, with a finished model.

    Of the step's model is the attention (``looking``), or all but the attention (``rest``).
    """
    rows = MultiIndex.from_product([models, task.mirrored_positions], names=["step", "query"])
    looking = [transplanted_loss(task, model, finished, tokens) for model in models.values()]
    rest = [transplanted_loss(task, finished, model, tokens) for model in models.values()]
    losses = torch.stack([torch.cat(looking), torch.cat(rest)], dim=1)
    return DataFrame(losses.numpy(), rows, ["looking", "rest"])


def reached(curve: Series, share: float) -> int:
    """The first of its steps at which a curve has made a share of its way from start to end.

    The curve may rise or fall. The answer is a checkpoint, so it is late by up to one interval.

    Raises:
        ValueError: the curve ends where it began.
    """
    start, end = curve.iloc[0], curve.iloc[-1]
    if start == end:
        raise ValueError("A curve needs an end unlike its start.")
    return int(curve.index[(curve - start) / (end - start) >= share][0])


def rises(curves: DataFrame) -> DataFrame:
    """When each curve has made 10, 50 and 90 % of its way, and the steps from 10 to 90 %."""
    shares = {"tenth": 0.1, "half": 0.5, "nine_tenths": 0.9}
    steps = {name: curves.apply(reached, share=share) for name, share in shares.items()}
    return DataFrame(steps | {"width": steps["nine_tenths"] - steps["tenth"]})
