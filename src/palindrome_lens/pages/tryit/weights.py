"""The numbers that the panel computes with, as a notebook stores them."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import torch

MIME = "application/vnd.palindrome-lens.weights.v1+json"
Part = Literal["model", "means", "dictionary"]


class StoredTensor(TypedDict):
    """A tensor in whole multiples of a power of ten.

    The multiples are one text with spaces between: a notebook gives each entry of a list a line.
    """

    shape: list[int]
    values: str


class Weights:
    """Numbers for the panel, stored as JSON beside a sentence.

    They are rounded to so many decimals, which is the same on every machine where the last digits
    of a double are not, and written as whole numbers of that unit.

    Args:
        name: what the numbers are.
        settings: what else it takes to compute with them.
    """

    def __init__(
        self, name: Part, tensors: Mapping[str, torch.Tensor], decimals: int, **settings: Any
    ) -> None:
        self.name, self.decimals, self.settings = name, decimals, settings
        self.units = {
            key: (tensor.detach() * 10**decimals).round().long() for key, tensor in tensors.items()
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        tensors: dict[str, StoredTensor] = {
            key: {
                "shape": list(units.shape),
                "values": " ".join(map(str, units.flatten().tolist())),
            }
            for key, units in self.units.items()
        }
        stored = {"name": self.name, "decimals": self.decimals, **self.settings}
        number = sum(units.numel() for units in self.units.values())
        text = f"{number:,} numbers, to {self.decimals} decimals, for the page that runs the model."
        return {MIME: {**stored, "tensors": tensors}, "text/markdown": text, "text/plain": text}


def as_lists(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What was stored, the values of each tensor as a list of numbers: as the script takes it."""
    tensors = {
        name: {"shape": tensor["shape"], "values": [int(n) for n in tensor["values"].split()]}
        for name, tensor in stored["tensors"].items()
    }
    return {**stored, "tensors": tensors}
