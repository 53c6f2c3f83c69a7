"""Strings with a small margin: what a proof's lower bounds are held against."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from palindrome_lens.proofs.models import few_letter_strings
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import decode, encode, vocabulary

CHUNK = 4096


def margins(
    model: nn.Module, task: Task, tokens: Int64[Tensor, "strings length"]
) -> Float[Tensor, "strings query"]:
    """How far each determined target's logit lies above the best other, in nats.

    The queries are those whose target is determined: bar, mirrored half, end.
    """
    pieces = []
    with torch.no_grad():
        for chunk in tokens.split(CHUNK):
            logits = model(inputs(chunk))[:, task.half_length :]
            own = targets(chunk)[:, task.half_length :].unsqueeze(-1)
            rivals = logits.scatter(-1, own, -torch.inf).amax(dim=-1)
            pieces.append(logits.gather(-1, own).squeeze(-1) - rivals)
    return torch.cat(pieces)


class Lowest(NamedTuple):
    """The string with the least margin that was found at a query."""

    query: int
    string: str
    margin: float
    """In nats; a bound from above on the least margin of all strings."""


def lowest(model: nn.Module, task: Task, starts: int = 16, seed: int = 0) -> list[Lowest]:
    """For each query the lowest margin that is reached by changing one letter at a time.

    Half of the starts are uniform strings, half strings of few letters. Every slot is tried with
    every letter, and the change that lowers the margin most is made, until none does.
    """
    chosen = task.sample(starts // 2, seed) + few_letter_strings(task, starts - starts // 2, seed)
    return [_descend(model, task, encode(task, chosen), query) for query in _queries(task)]


def _queries(task: Task) -> range:
    return range(task.half_length, task.n_positions)


def _descend(
    model: nn.Module, task: Task, tokens: Int64[Tensor, "strings length"], query: int
) -> Lowest:
    column = query - task.half_length
    best = margins(model, task, tokens)[:, column]
    while True:
        tried = changed(task, tokens)  # (strings, changes, length)
        margin = margins(model, task, tried.flatten(end_dim=1))[:, column].view(tried.shape[:2])
        least, change = margin.min(dim=1)
        lower = least < best - 1e-12
        if not lower.any():
            break
        tokens = torch.where(lower[:, None], tried[torch.arange(len(tokens)), change], tokens)
        best = torch.where(lower, least, best)
    row = int(best.argmin())
    return Lowest(query, decode(task, tokens[row]), float(best[row]))


def changed(
    task: Task, tokens: Int64[Tensor, "strings length"]
) -> Int64[Tensor, "strings change length"]:
    """Every string with each letter in each slot, its copy in the mirrored half included."""
    letters = torch.tensor([vocabulary(task)[letter] for letter in task.alphabet])
    tried = tokens[:, None, None].repeat(1, task.half_length, len(letters), 1)
    for slot in range(task.half_length):
        for position in (slot + 1, 2 * task.half_length + 1 - slot):
            tried[:, slot, :, position] = letters
    return tried.flatten(1, 2)
