"""How results show in a notebook: offline, the same from run to run, and light in the file."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.io
import torch
from circuitsvis.utils.render import RenderedHTML
from IPython.core.getipython import get_ipython
from myst_nb import glue

from palindrome_lens.claims import rounded, written

WIDGET_MIME = "application/vnd.circuitsvis.v1+json"
LATENTS_MIME = "application/vnd.palindrome-lens.latents.v1+json"
WEIGHTS_MIME = "application/vnd.palindrome-lens.weights.v1+json"
WIDGET_CALL = re.compile(r"render\(\s*\"[^\"]*\",\s*(\w+),\s*(\{.*\})\s*\)", re.DOTALL)
"""In the page that CircuitsVis writes: the call that draws, with a random id, component, data."""


def set_up() -> None:
    """Prepare a notebook: Plotly and CircuitsVis as plain JSON, one thread.

    CircuitsVis would otherwise ask the network whether it is online and write either an address
    or 1.3 MB of script into the page, under a random name. One thread is as fast as two for
    models of this size; ``PALINDROME_LENS_THREADS`` asks for another number.
    """
    torch.set_num_threads(int(os.environ.get("PALINDROME_LENS_THREADS", "1")))
    plotly.io.renderers.default = "plotly_mimetype"
    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        formatter = shell.display_formatter.mimebundle_formatter
        formatter.for_type(RenderedHTML, lambda widget, **_: widget_bundle(widget))


def widget_bundle(widget: RenderedHTML, alt: str | None = None) -> dict[str, Any]:
    """What a CircuitsVis widget stores in a notebook: which component, with which data.

    Raises:
        ValueError: the widget holds no call that can be read back.
    """
    found = WIDGET_CALL.search(widget.cdn_src)
    if found is None:
        raise ValueError("This CircuitsVis widget holds no component and data that can be stored.")
    component, props = found[1], _shortened(json.loads(found[2]))
    alt = alt or f"CircuitsVis widget {component}"
    payload = {"component": component, "props": props, "alt": alt}
    return {WIDGET_MIME: payload, "text/plain": alt}


class Described:
    """A CircuitsVis widget with alternative text, for readers who cannot see it."""

    def __init__(self, widget: RenderedHTML, alt: str) -> None:
        self.bundle = widget_bundle(widget, alt)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.bundle


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _shortened(entry) for name, entry in value.items()}
    return rounded(value) if isinstance(value, float) else value


NUMERIC = re.compile(r"[-+±]?\d[\d.,+\- ±%×e]*")
"""What a cell holds whose column is set flush right."""


class Table:
    """Rows under headings, as Markdown in the page and as text in a terminal.

    A float has 4 significant digits, also where the last of them are zeros, and columns of numbers
    are set flush right.
    """

    def __init__(self, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.headings = list(headings)
        self.rows = [[_cell(value) for value in row] for row in rows]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        rule = [_rule(column) for _, *column in zip(self.headings, *self.rows, strict=True)]
        markdown = "\n".join(map(_markdown, [self.headings, rule, *self.rows]))
        plain = "\n".join("\t".join(line) for line in [self.headings, *self.rows])
        return {"text/markdown": markdown, "text/plain": plain}


class Latents:
    """The cards of all latents: stored as JSON for the page that browses them.

    The notebook itself shows only how many there are, and the page reads the rest.
    """

    def __init__(self, cards: Sequence[dict[str, Any]]) -> None:
        self.cards = list(cards)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        text = f"{len(self.cards)} latents, each with a card of its own."
        return {LATENTS_MIME: {"cards": self.cards}, "text/plain": text}


class Weights:
    """Numbers that a page of the book computes with, stored as JSON beside a sentence.

    They are rounded to so many decimals, which is the same on every machine where the last digits
    of a double are not, and written as whole numbers of that unit.

    Args:
        name: what the numbers are: "model", "means" or "dictionary".
        settings: what else it takes to compute with them.
    """

    def __init__(
        self, name: str, tensors: Mapping[str, torch.Tensor], decimals: int, **settings: Any
    ) -> None:
        self.name, self.decimals, self.settings = name, decimals, settings
        self.units = {
            key: (tensor.detach() * 10**decimals).round().long() for key, tensor in tensors.items()
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        tensors = {
            key: {
                "shape": " ".join(map(str, units.shape)),
                "values": " ".join(map(str, units.flatten().tolist())),
            }
            for key, units in self.units.items()
        }
        stored = {"name": self.name, "decimals": self.decimals, **self.settings}
        number = sum(units.numel() for units in self.units.values())
        text = f"{number:,} numbers, to {self.decimals} decimals, for the page that runs the model."
        return {
            WEIGHTS_MIME: {**stored, "tensors": tensors},
            "text/markdown": text,
            "text/plain": text,
        }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:#.4g}".rstrip(".") if value else "0"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _rule(column: Sequence[str]) -> str:
    filled = [cell for cell in column if cell not in {"", "–", "—"}]
    return "---:" if filled and all(map(NUMERIC.fullmatch, filled)) else "---"


def _markdown(row: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in row]
    return f"| {' | '.join(escaped)} |"


def say(**values: Any) -> None:
    """Make numbers available to the prose of a page, as ``{glue:text}`name```.

    Numbers are written as the claims are: 4 significant digits, whole numbers with separators.
    """
    for name, value in values.items():
        glue(
            name.replace("_", "-"),
            value if isinstance(value, str) else written(value),
            display=False,
        )
