"""What exact evaluations come to, in a few numbers each."""

import math
from collections.abc import Mapping
from typing import Any

from pandas import DataFrame

from palindrome_lens.evaluation import Evaluation
from palindrome_lens.task import Task


def summary(task: Task, results: Mapping[Any, Evaluation]) -> DataFrame:
    """One row for each evaluation.

    The columns are the mean ``loss`` over strings and positions; what of it is ``above the floor``;
    the mean loss ``at 0``, the first position, and over the ``mirrored`` letters, all in nats; the
    share of what is above the floor that comes ``from position 0``; and how many strings are
    ``solved``, ``of`` how many.
    """
    rows = {}
    for name, result in results.items():
        by_position = result.loss.mean(dim=0)
        above, first = result.mean_loss - task.floor(), float(by_position[0])
        rows[name] = {
            "loss": result.mean_loss,
            "above the floor": above,
            "at 0": first,
            "mirrored": float(by_position[list(task.mirrored_positions)].mean()),
            "from position 0": (first - math.log(len(task.alphabet))) / task.n_positions / above,
            "solved": int(result.solved(task).sum()),
            "of": len(result.loss),
        }
    return DataFrame.from_dict(rows, orient="index")
