"""A process that does work when it is asked to, and answers what it cost.

Each environment has a worker of its own, so that packages that cannot be installed together can
take turns within one run. Only what every environment has is imported here.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 2
"""Steps before the clock starts: caches fill, and optimisers make their state."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Clock:
    """CPU seconds of the steps that are taken through it, without the first few.

    CPU seconds are what the process computed, which other work on the machine changes little.
    """

    def __init__(self) -> None:
        self.started = self.ended = 0.0
        self.counted = 0

    def __call__(self, steps: Iterator[int]) -> Iterator[int]:
        for taken, step in enumerate(steps):
            if taken == WARM_UP:
                self.started = time.process_time()
            yield step
            self.counted = taken + 1 - WARM_UP
        self.ended = time.process_time()

    @property
    def seconds_per_step(self) -> float:
        return (self.ended - self.started) / self.counted


Contestant = Callable[..., dict[str, float] | None]
"""Does its steps through the clock; may return more numbers about them."""


def serve(contestants: Mapping[str, Contestant]) -> None:
    """Answer requests, one line of JSON each, until there are no more.

    A request holds the name of a contestant, the number of steps, and the arguments. What
    contestants print goes to standard error, so that answers stand alone.
    """
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        clock = Clock()
        steps = clock(iter(range(request["steps"] + WARM_UP)))
        more = contestants[request["name"]](steps, **request["arguments"])
        print(json.dumps({"seconds": clock.seconds_per_step, **(more or {})}), file=answers)
        answers.flush()


def palindrome_tokens(n: int, half_length: int = 3) -> Tensor:
    """Random strings as ids, for models of packages that know nothing of the task."""
    generator = torch.Generator().manual_seed(0)
    letters = torch.randint(3, 3 + len(LETTERS), (n, half_length), generator=generator)
    start, bar, end = (torch.full((n, 1), i) for i in range(3))
    return torch.cat([start, letters, bar, letters.flip(1), end], dim=1)


def drawn(batches: Sequence[Tensor], step: int) -> Tensor:
    """The batch of a step, where a few batches are taken in turn."""
    return batches[step % len(batches)]


def naive_update(
    model: Any, loss: Tensor, optimizer: torch.optim.Optimizer, largest: float = 1.0
) -> None:
    """What a training loop does after the loss, as it is usually written."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), largest)
    optimizer.step()
