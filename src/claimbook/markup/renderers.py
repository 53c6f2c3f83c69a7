"""What the book makes of the outputs that Jupyter Book does not know: figures, widgets, claims.

A notebook stores plain JSON. Here that JSON becomes a node of the document; ``sphinx_ext`` says how
the node is written, and ``static/figures.js`` draws it in the reader's browser.
"""

import json
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes

from claimbook import claims, mime
from claimbook.markup.claim_markup import claim_card, mark_origin

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer

PRIORITY = 1
"""Before text/markdown and text/plain, which the same outputs carry for other readers."""
LAST = 1000
"""After them."""


class InteractiveFigure(nodes.General, nodes.Element):
    """A figure that a script draws.

    Attributes:
        kind: "plotly" or "circuitsvis", the class prefix of the element that is drawn into.
        spec: what the script is given, as JSON text.
        alt: what the figure shows, for readers who cannot see it.
    """


class Plotly:
    """Plotly figures; ``layout.meta["alt"]`` says in words what the figure shows."""

    mime_priority_overrides: ClassVar = [("*", mime.PLOTLY, PRIORITY)]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        if data.mime_type != mime.PLOTLY:
            return None
        meta = data.content.get("layout", {}).get("meta") or {}
        alt = meta.get("alt", "") if isinstance(meta, dict) else ""
        return _figure(renderer, data, "plotly", alt, hint='layout.meta["alt"]')


class CircuitsVis:
    """CircuitsVis widgets, stored as ``{"component": ..., "props": ..., "alt": ...}``."""

    mime_priority_overrides: ClassVar = [("*", mime.CIRCUITSVIS, PRIORITY)]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        if data.mime_type != mime.CIRCUITSVIS:
            return None
        return _figure(renderer, data, "circuitsvis", data.content.get("alt", ""), hint='"alt"')


class ClaimCard:
    """Claims, as the card that the results page shows too, with a link to it."""

    mime_priority_overrides: ClassVar = [("*", mime.CLAIM, PRIORITY)]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        if data.mime_type != mime.CLAIM:
            return None

        def parse(text: str) -> list[nodes.Node]:
            parent = nodes.Element()
            with renderer.renderer.current_node_context(parent):
                renderer.renderer.nested_render_text(text, data.line or 0)
            return list(parent.children)

        stated = claims.Claim(**data.content)
        return [mark_origin(stated, renderer.renderer.sphinx_env), claim_card(stated, parse)]


def _figure(
    renderer: "NbElementRenderer", data: "MimeData", kind: str, alt: str, hint: str
) -> list[nodes.Element]:
    if not alt:
        renderer.logger.warning(
            f"this {kind} figure has no text for who cannot see it: set {hint}",
            subtype="figure_alt",
            line=data.line,
        )
    try:
        spec = json.dumps(data.content, allow_nan=False, separators=(",", ":"))
    except ValueError:
        renderer.logger.warning(
            f"this {kind} figure holds NaN or infinity, which JSON does not know",
            subtype="figure_nan",
            line=data.line,
        )
        return []
    return [InteractiveFigure("", kind=kind, spec=spec, alt=alt)]


def contents(notebooks: Iterable[Path], mime_type: str) -> Iterator[Any]:
    """What notebooks have stored under a type, in the order of the book."""
    for path in sorted(notebooks):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if mime_type in output.get("data", {}):
                    yield output["data"][mime_type]


def figure_html(kind: str, spec: str, alt: str) -> str:
    """The element that ``figures.js`` draws into, with the JSON that it draws."""
    # Every figure has controls (buttons, a slider), and the role "img" would hide them.
    label = escape(alt, quote=True)
    return (
        f'<div class="{kind}-figure" role="group" aria-label="{label}">'
        f'<script type="application/json">{inert(spec)}</script></div>\n'
    )


def inert(json_text: str) -> str:
    """JSON that cannot close, or open, the script element it stands in.

    ``<`` occurs in JSON only inside strings, where the escape means the same.
    """
    return json_text.replace("<", "\\u003c")


def replace_figures_by_text(document: nodes.document) -> None:
    """For builders that run no scripts: what the figure shows, in words."""
    for figure in list(document.findall(InteractiveFigure)):
        figure.replace_self(nodes.paragraph("", f"[Figure: {figure['alt']}]"))


def figure_kinds(document: nodes.Node | None) -> set[str]:
    """Which kinds of figure a page holds."""
    figures: Any = document.findall(InteractiveFigure) if document else []
    return {figure["kind"] for figure in figures}
