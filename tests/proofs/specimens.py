"""Models on which proofs are tested, and the true values that bounds are held against."""

import functools
import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from palindrome_lens.compiled import compile_reversal
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.proofs import checker
from palindrome_lens.proofs.files import exported
from palindrome_lens.task import Task, inputs, letters
from palindrome_lens.tokenizer import encode

SMALL = Task(alphabet="abcde", half_length=3)
SIZES: dict[str, Any] = {"d_model": 8, "d_head": 6, "d_mlp": 12}


class Truth(NamedTuple):
    """What a model does on every string of a small task."""

    letters: np.ndarray[Any, Any]  # (string, slot), counted from 0
    margins: np.ndarray[Any, Any]  # (string, position, target token, rival token): of one logit
    scales: np.ndarray[Any, Any]  # (string, position): both LayerNorms' divisors, multiplied


@functools.cache
def noisy(seed: int, noise: float = 0.5) -> nn.Module:
    """A model of the small task whose weights are nowhere 0 or 1."""
    native = init_model(ModelConfig(**SIZES), SMALL)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in native.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(drawn, alpha=noise)
    return native.eval()


def truth(model: nn.Module, task: Task = SMALL) -> Truth:
    """Logit differences and scales by PyTorch, which shares no line with the checker."""
    tokens = encode(task, task.strings())
    scales: list[torch.Tensor] = []

    def divisor(norm: Any, given: tuple[torch.Tensor, ...], _: Any) -> None:
        scales.append((given[0].var(-1, unbiased=False) + norm.eps).sqrt())

    native: Any = model
    hooks = [norm.register_forward_hook(divisor) for norm in (native.layers[0].ln2, native.ln_out)]
    with torch.no_grad():
        logits = native(inputs(tokens))
    for hook in hooks:
        hook.remove()
    assert len(scales) == 2
    margins = logits.unsqueeze(-1) - logits.unsqueeze(-2)
    return Truth(
        (letters(task, tokens) - 2).numpy(), margins.numpy(), (scales[0] * scales[1]).numpy()
    )


class Case(NamedTuple):
    """A box within a cell, and the strings that lie in it."""

    cell: checker.Cell
    box: list[int]
    inside: np.ndarray[Any, Any]


def boxes(found: Truth, seed: int, each: int, task: Task = SMALL) -> Iterator[Case]:
    """Of every cell the whole, a single string, and boxes drawn at random."""
    generator = random.Random(seed)
    for cell in checker.cells(task.half_length, task.alphabet):
        for kind in range(each):
            box = []
            for root in cell.root:
                every = checker.letters_of(root)
                n = [len(every), 1, generator.randint(1, len(every))][min(kind, 2)]
                box.append(sum(1 << letter for letter in generator.sample(every, n)))
            held = [
                np.isin(found.letters[:, slot], checker.letters_of(mask))
                for slot, mask in enumerate(box)
            ]
            yield Case(cell, box, np.all(held, axis=0))


def variant(*changes: tuple[str, str]) -> ModuleType:
    """The checker with some of its source text changed; each text must stand there once."""
    spec = importlib.util.find_spec(checker.__name__)
    assert spec and spec.origin
    source = Path(spec.origin).read_text(encoding="utf-8")
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in the checker"
        source = source.replace(old, new)
    module = ModuleType("variant")
    module.__dict__["__name__"] = "variant"
    exec(compile(source, "variant", "exec"), module.__dict__)
    return module


def model_of(module: Any, weights: bytes) -> Any:
    """The model of a file, as the checker or a variant of it reads it."""
    tensors, _, half_length, eps = module.read_weights(weights)
    return module.Model(tensors, half_length, eps)


@functools.cache
def planted() -> bytes:
    """A compiled model of half-length 8 that is wrong on ``hhhhhhhh`` alone, of all strings.

    At the bar's query attention is spread evenly over ``<`` and the eight letters. One neuron
    compares what arrives of the letter h with a threshold between seven and eight of them.
    """
    task = Task(half_length=8)
    built = compile_reversal(task)
    model: Any = built.model.original_model
    h, query = built.ids["h"], task.half_length
    threshold = (7.5 / 9) * 30.0
    layer = model.layers[0]
    with torch.no_grad():
        weight = layer.mlp.fc_in.weight
        weight[2, list(built.place)] = -100.0
        weight[2, built.place[query]] = -threshold
        weight[2, built.write[h]] = 1.0
        weight[2, built.place[-1]] = 0.0  # a position that is never read balances the row
        weight[2, built.place[-1]] = -weight[2].sum()
        layer.mlp.fc_out.weight[built.write[h], 2] = 1000.0
    return exported(built.model, task)
