"""Exact evaluation of a model on a set of strings."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from palindrome_lens.task import Task, inputs, targets

CHUNK = 1024
"""Strings at a time: what they need in between stays in the processor's cache."""


class Evaluation(NamedTuple):
    """Exact results over a set of strings; nothing is averaged yet."""

    loss: Float[Tensor, "strings position"]
    """Cross-entropy of each target, in nats."""
    correct: Bool[Tensor, "strings position"]
    """Whether the most probable token is the target."""

    @property
    def mean_loss(self) -> float:
        return float(self.loss.mean())

    def solved(self, task: Task) -> Bool[Tensor, "strings"]:
        """Strings whose every determined character is predicted: bar, mirrored half, end."""
        return self.correct[:, task.half_length :].all(dim=1)


def evaluate(model: nn.Module, tokens: Int64[Tensor, "strings length"]) -> Evaluation:
    """Cross-entropy and correctness at every position of every string, in eval mode."""
    was_training = model.training
    model.eval()
    losses, correct = [], []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            logits = model(inputs(chunk))
            losses.append(position_loss(logits, targets(chunk)))
            correct.append(logits.argmax(dim=-1) == targets(chunk))
    model.train(was_training)
    return Evaluation(torch.cat(losses), torch.cat(correct))


def position_loss(
    logits: Float[Tensor, "strings position vocab"], wanted: Int64[Tensor, "strings position"]
) -> Float[Tensor, "strings position"]:
    """Cross-entropy of each target, in nats."""
    return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
