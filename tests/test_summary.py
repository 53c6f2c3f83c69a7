"""What an evaluation comes to, from losses that were made up."""

import math

import pytest
import torch

from palindrome_lens.evaluation import Evaluation
from palindrome_lens.summary import summary
from palindrome_lens.task import Task

TINY = Task(alphabet="abcd", half_length=2)
GUESS = math.log(4)


def test_a_summary_takes_a_loss_apart_by_position() -> None:
    # (strings, positions): the first string costs 0.6 more at position 0, 0.3 at 3 and 4.
    loss = torch.tensor([GUESS, GUESS, 0, 0, 0, 0]).double().repeat(2, 1)
    loss[0] += torch.tensor([0.6, 0, 0, 0.3, 0.3, 0]).double()
    correct = torch.ones(2, 6, dtype=torch.bool)
    correct[0, 3] = correct[1, 0] = False
    row = summary(TINY, {"made up": Evaluation(loss, correct)}).loc["made up"]
    assert row["loss"] == pytest.approx(TINY.floor() + 0.1)
    assert row["above the floor"] == pytest.approx(0.1)
    assert row["at 0"] == pytest.approx(GUESS + 0.3)
    assert row["mirrored"] == pytest.approx(0.15)
    assert row["from position 0"] == pytest.approx(0.5)
    assert (row["solved"], row["of"]) == (1, 2)
