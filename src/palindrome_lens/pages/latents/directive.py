"""The page that browses latents: the directive ``{latents}``, and what it writes.

The cards of the latents are stored in the output of a notebook (``schema.Latents``). Here they
become a plain table, which is all that a reader without scripts sees, and the JSON from which
``latents.js`` makes search, sorting and a detailed view of each latent.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from claimbook.markup import assets
from claimbook.markup.renderers import PRIORITY, contents, inert
from palindrome_lens.pages.latents.schema import MIME, Card, Stored, sentence

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer

FOLDER = Path(__file__).parent
SCRIPT, STYLE = "latents.js", "latents.css"
NONE = "–"

COLUMNS = {
    "latent": "latent",
    "rule": "rule",
    "fires on": "support",
    "precision": "precision",
    "recall": "recall",
    "exceptions": "exceptions",
    "largest activation": "largest",
    "answers lost when off": "effects.ablated.on_flips",
    "loss when off": "effects.ablated.on_mean",
    "lost off target when off": "effects.ablated.off_flips",
    "writes its letter at its mean": "effects.at its mean.wrote",
    "writes its letter at its largest": "effects.at its largest.wrote",
    "writes its letter swapped in": "effects.swapped in.wrote",
    "lost off target at its largest": "effects.at its largest.off_flips",
    "worst loss off target at its largest": "effects.at its largest.off_worst",
    "cosine with a reference feature": "reference_cosine",
    "cosine with another latent": "similar_cosine",
    "interaction with another latent": "partner.interaction",
}
"""The columns of the table, and with them what one can sort by: where a card holds the value."""

logger = logging.getLogger(__name__)


class LatentsNote:
    """In the notebook that stores them, the cards are a sentence; the page has the rest."""

    mime_priority_overrides: ClassVar = [("*", MIME, PRIORITY)]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        if data.mime_type != MIME:
            return None
        return [nodes.paragraph("", sentence(data.content))]


class LatentBrowser(nodes.General, nodes.Element):
    """The table of all latents with the data of each.

    Attributes:
        stored: what the notebook stored.
    """


class LatentsDirective(SphinxDirective):
    """``{latents}``: the browser of the latents that a notebook of the book has stored."""

    def run(self) -> list[nodes.Node]:
        stored = stored_in((Path(self.env.srcdir) / "notebooks").glob("*.ipynb"))
        if not stored["cards"]:
            logger.warning("no notebook holds any latents", location=self.get_location())
        return [LatentBrowser("", stored=stored)]


def stored_in(notebooks: Iterable[Path]) -> Stored:
    """The cards in the outputs of notebooks, of the last notebook that has some."""
    nothing: Stored = {"positions": 0, "cards": []}
    return [nothing, *contents(notebooks, MIME)][-1]


def value(card: Any, path: str) -> Any:
    """What a card holds under a dotted path; ``None`` where it has no such thing."""
    held: Any = card
    for step in path.split("."):
        held = (held or {}).get(step)
    return held


def browser_html(stored: Stored) -> str:
    """The table, each row with the address of its latent, and the JSON of the cards."""
    headings = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
    rows = "".join(_row(card) for card in stored["cards"])
    data = stored | {"cards": [_with_lists(card) for card in stored["cards"]]}
    spec = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return (
        f'<div class="latents"><script type="application/json">{inert(spec)}</script>'
        f'<div class="latents-list"><table class="table"><thead><tr>{headings}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div>\n"
    )


def _with_lists(card: Card) -> dict[str, Any]:
    """The card as the script takes it: where it has many numbers in one text, a list of them."""
    lists: dict[str, Any] = {"atom": _numbers(card["atom"])}
    if "histogram" in card:
        lists["histogram"] = _numbers(card["histogram"])
    if "strongest" in card:
        lists["strongest"] = [row | {"lost": _numbers(row["lost"])} for row in card["strongest"]]
    return card | lists


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def _row(card: Card) -> str:
    number = int(card["latent"])
    cells = [f'<td><a href="#latent-{number}">{number}</a></td>']
    for path in list(COLUMNS.values())[1:]:
        held = value(card, path)
        text = NONE if held is None else f"{held:,}" if isinstance(held, int) else str(held)
        cells.append(f"<td>{escape(text)}</td>")
    return f'<tr id="latent-{number}">{"".join(cells)}</tr>'


def visit_browser(writer: Any, node: LatentBrowser) -> None:
    """Write the table and its data."""
    writer.body.append(browser_html(node["stored"]))
    raise nodes.SkipNode


def skip_browser(writer: Any, node: LatentBrowser) -> None:
    """Builders that write no HTML leave the table out."""
    raise nodes.SkipNode


def add_files(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load script and style on the page that has the table, and only there."""
    if doctree is not None and next(iter(doctree.findall(LatentBrowser)), None) is not None:
        app.add_css_file(STYLE)
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Register the directive and its script."""
    app.add_node(
        LatentBrowser,
        html=(visit_browser, None),
        latex=(skip_browser, None),
        text=(skip_browser, None),
    )
    app.add_directive("latents", LatentsDirective)
    assets.add(app, FOLDER / SCRIPT, FOLDER / STYLE)
    app.connect("html-page-context", add_files)
