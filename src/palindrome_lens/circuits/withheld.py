"""Models trained without some strings, which they are then tested on.

A run withholds letters from one slot, or pairs of letters from two, or, for comparison, strings
drawn from all.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts, training
from palindrome_lens.circuits.unseen import Restricted
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.stored import side_by_side
from palindrome_lens.task import Split, Task
from palindrome_lens.training import Recipe

TASK = Task()
RECIPE = Recipe(steps=500, batch_size=64, lr=1e-2, warmup=50, evaluate_every=500)
"""Short. How reliably it solves the task the runs of kind "strings" say."""
AT_ONCE = side_by_side(RECIPE)
TESTED = 64
"""Strings on which a training reports its loss; what is stated is measured on all."""

Kind = Literal["letters", "strings", "pairs"]


class Run(NamedTuple):
    """One model; its seed is that of its weights, its batches, and what is withheld.

    The size counts what the model is allowed. Of kind "letters" it is the letters in the slot; of
    kind "strings" the strings, in units of 26², drawn from all; of kind "pairs" the partners that
    each letter has in two slots, where ``slot`` is the third one, which is left free.
    """

    kind: Kind
    slot: int
    size: int
    seed: int


def restricted(task: Task, run: Run) -> Restricted:
    """The letters that the slot of a run may hold: the first of an order that its seed draws."""
    order = torch.randperm(len(task.alphabet), generator=_generator(run))[: run.size].tolist()
    return Restricted(run.slot, "".join(task.alphabet[i] for i in sorted(order)))


def slots_of(task: Task, run: Run) -> list[int]:
    """The slots that a run is about.

    Raises:
        ValueError: pairs are withheld in a task that has other than three slots.
    """
    if run.kind == "letters":
        return [run.slot]
    if run.kind == "pairs" and task.half_length != 3:
        raise ValueError(f"Pairs are withheld from tasks of 3 slots, not {task.half_length}.")
    return [s for s in range(task.half_length) if run.kind == "strings" or s != run.slot]


def withheld(task: Task, run: Run) -> Bool[Tensor, "strings"]:
    """Which strings, in the order of ``Task.strings``, a run does not train on.

    Pairs are withheld so that every letter keeps equally many partners in either slot: what is new
    is then a pair, never a letter.

    Raises:
        ValueError: the size leaves nothing to train on, or nothing to withhold.
    """
    base, slots, generator = len(task.alphabet), slots_of(task, run), _generator(run)
    if not 0 < run.size < base:
        raise ValueError(f"The size is {run.size}; 1 to {base - 1} leave something on both sides.")
    if run.kind == "strings":
        order = torch.randperm(task.size, generator=generator)
        return order >= task.size * run.size // base
    # (letter, letter, …, slot): the place of each letter in the alphabet
    places = torch.cartesian_prod(*[torch.arange(base)] * task.half_length).view(task.size, -1)
    if run.kind == "letters":
        seen = [task.alphabet.index(letter) for letter in restricted(task, run).seen]
        return ~torch.isin(places[:, run.slot], torch.tensor(seen))
    first, second, offsets = (torch.randperm(base, generator=generator) for _ in range(3))
    apart = second[places[:, slots[1]]] - first[places[:, slots[0]]]
    return ~torch.isin(apart % base, offsets[: run.size])


def models(runs: Sequence[Run]) -> list[TransformerBridge]:
    """The models of runs, from the store; those that are not there train side by side."""
    bridges = []
    for start in range(0, len(runs), AT_ONCE):
        chunk = runs[start : start + AT_ONCE]
        made_from = [{"task": TASK.model_dump(), **run._asdict()} for run in chunk]
        stored = artifacts.find_or_make_all("withheld", made_from, __name__, _trainer(chunk))
        for run, tensors in zip(chunk, stored, strict=True):
            native = init_model(ModelConfig(seed=run.seed), TASK)
            native.load_state_dict(tensors)
            bridges.append(hooked(native, ModelConfig(seed=run.seed), TASK))
    return bridges


def _trainer(runs: Sequence[Run]) -> Callable[[list[int]], Iterator[artifacts.Tensors]]:
    """What trains the runs at the places it is given, side by side."""

    def make(missing: list[int]) -> Iterator[artifacts.Tensors]:
        strings, chosen = TASK.strings(), [runs[i] for i in missing]
        splits = [_split(strings, withheld(TASK, run)) for run in chosen]
        configs = [ModelConfig(seed=run.seed) for run in chosen]
        recipes = [RECIPE.model_copy(update={"seed": run.seed}) for run in chosen]
        for native, _ in training.train_together(TASK, configs, recipes, splits):
            yield dict(native.state_dict())

    return make


def untrained(seed: int) -> TransformerBridge:
    """The fresh model of a seed, with which its runs begin."""
    config = ModelConfig(seed=seed)
    return hooked(init_model(config, TASK), config, TASK)


def _generator(run: Run) -> torch.Generator:
    return torch.Generator().manual_seed(run.seed)


def _split(strings: Sequence[str], new: Bool[Tensor, "strings"]) -> Split:
    train, test = ([strings[i] for i in side.nonzero().flatten().tolist()] for side in (~new, new))
    return Split(train, test[:TESTED])
