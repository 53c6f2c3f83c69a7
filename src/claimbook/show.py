"""How results show in a notebook: offline, the same from run to run, and light in the file."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.io
from circuitsvis.utils.render import RenderedHTML
from IPython.core.getipython import get_ipython
from myst_nb import glue
from pandas import DataFrame

from claimbook import mime
from claimbook.numbers import SIGNIFICANT, rounded, written

WIDGET_CALL = re.compile(r"render\(\s*\"[^\"]*\",\s*(\w+),\s*(\{.*\})\s*\)", re.DOTALL)
"""In the page that CircuitsVis writes: the call that draws, with a random id, component, data."""


def set_up() -> None:
    """Prepare a notebook: Plotly and CircuitsVis as plain JSON.

    CircuitsVis would otherwise ask the network whether it is online and write either an address
    or 1.3 MB of script into the page, under a random name.
    """
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
    call = WIDGET_CALL.search(widget.cdn_src)
    if call is None:
        raise ValueError("This CircuitsVis widget holds no component and data that can be stored.")
    component, props = call[1], _shortened(json.loads(call[2]))
    alt = alt or f"CircuitsVis widget {component}"
    payload = {"component": component, "props": props, "alt": alt}
    return {mime.CIRCUITSVIS: payload, "text/plain": alt}


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

    Columns of numbers are set flush right.

    Args:
        headings: one for each column; or a pandas frame, whose named index levels become the
            first columns.
        rows: the cells, by row; none with a frame.
        form: how floats are written (:func:`~claimbook.numbers.written`); or the form by heading.
            Without one a float has 4 significant digits, also where the last of them are zeros.
    """

    def __init__(
        self,
        headings: Sequence[str] | DataFrame,
        rows: Iterable[Sequence[Any]] | None = None,
        form: str | Mapping[str, str] = "",
    ) -> None:
        if isinstance(headings, DataFrame):
            frame = headings.reset_index() if any(headings.index.names) else headings
            headings, rows = [*map(str, frame.columns)], frame.astype(object).to_numpy().tolist()
        self.headings = list(headings)
        forms = [form if isinstance(form, str) else form.get(name, "") for name in self.headings]
        self.rows = [
            [_cell(value, form) for value, form in zip(row, forms, strict=True)]
            for row in rows or []
        ]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        rule = [_rule(column) for _, *column in zip(self.headings, *self.rows, strict=True)]
        markdown = "\n".join(map(_markdown, [self.headings, rule, *self.rows]))
        plain = "\n".join("\t".join(line) for line in [self.headings, *self.rows])
        return {"text/markdown": markdown, "text/plain": plain}


def _cell(value: Any, form: str = "") -> str:
    if isinstance(value, float) and not form:
        return f"{value:#.{SIGNIFICANT}g}".rstrip(".") if value else "0"
    if isinstance(value, float):
        return written(value, form)
    if isinstance(value, int) and not isinstance(value, bool):
        return written(value)
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
