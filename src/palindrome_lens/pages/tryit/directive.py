"""The panel in which the trained model runs: the directive ``{tryit}``, and the data it needs.

Notebooks store the weights in their outputs (``weights.Weights``). Here they are gathered in one
script, ``_static/weights.js``, with the rules of the latents; ``palindrome.js`` computes with them
what the model says, and ``tryit.js`` shows it.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from claimbook.markup import assets
from claimbook.markup.renderers import LAST, contents
from palindrome_lens.pages.latents.directive import stored_in
from palindrome_lens.pages.tryit.weights import MIME, Part, as_lists

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer

FOLDER = Path(__file__).parent
DATA = "weights.js"
PROGRAM = "palindrome.js"
SCRIPTS = (DATA, PROGRAM, "tryit.js")
STYLE = "tryit.css"
FIRST_SCRIPT = 910
LATENTS_PAGE = "book/latents"
WITHOUT_SCRIPTS = (
    "Here the trained model runs in the page, and for that the browser must run scripts. What the "
    "model says to one string, and what is left when a part is switched off, stands in "
    "{doc}`/notebooks/03_attention`; every latent is described in {doc}`/book/latents`."
)

logger = logging.getLogger(__name__)


class WeightsNote:
    """In the notebook that stores them, weights are left to the sentence that comes with them."""

    mime_priority_overrides: ClassVar = [("*", MIME, LAST)]

    @staticmethod
    def handle_mime(
        renderer: "NbElementRenderer", data: "MimeData", inline: bool
    ) -> list[nodes.Element] | None:
        return [] if data.mime_type == MIME else None


class TryItPanel(nodes.General, nodes.Element):
    """Where the panel is built; what it holds is for readers without scripts.

    Attributes:
        start: the string that is there before the reader types one.
    """


class TryItDirective(SphinxDirective):
    """``{tryit}``: the panel. ``:start:`` is the string it begins with."""

    option_spec: ClassVar = {"start": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        there = exported(_notebooks(self.env.srcdir))
        if missing := [part for part in get_args(Part) if part not in there]:
            logger.warning(
                f"no notebook holds the weights of: {', '.join(missing)}",
                location=self.get_location(),
            )
        panel = TryItPanel("", start=self.options.get("start", ""))
        self.state.nested_parse(StringList([WITHOUT_SCRIPTS]), self.content_offset, panel)
        return [panel]


class ProgramDirective(SphinxDirective):
    """``{tryit-program}``: the script that computes what the model says."""

    def run(self) -> list[nodes.Node]:
        path = FOLDER / PROGRAM
        self.env.note_dependency(str(path))
        text = path.read_text(encoding="utf-8")
        return [nodes.literal_block(text, text, language="javascript")]


def _notebooks(source: Any) -> list[Path]:
    return sorted((Path(source) / "notebooks").glob("*.ipynb"))


def exported(notebooks: Iterable[Path]) -> dict[str, Any]:
    """What notebooks have stored for the panel, by name; of equal names the last."""
    return {stored["name"]: as_lists(stored) for stored in contents(notebooks, MIME)}


def data_script(notebooks: list[Path]) -> str:
    """The script that holds all weights, and the rule of each latent that fires."""
    cards = stored_in(notebooks)["cards"]
    rules = {card["latent"]: card["rule"] for card in cards if "rule" in card}
    data = json.dumps(
        exported(notebooks) | {"rules": rules},
        allow_nan=False,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return f"window.palindromeWeights = {data};\n"


def write_data(app: Sphinx) -> None:
    """Put the weights beside the book's own scripts, once for all pages."""
    if app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        static.mkdir(parents=True, exist_ok=True)
        (static / DATA).write_text(data_script(_notebooks(app.srcdir)), encoding="utf-8")


def visit_panel(writer: Any, node: TryItPanel) -> None:
    """Open the element that the panel is built in."""
    start = escape(node["start"], quote=True)
    link = escape(writer.builder.get_relative_uri(writer.builder.current_docname, LATENTS_PAGE))
    writer.body.append(f'<div class="tryit" data-start="{start}" data-latents="{link}">')


def depart_panel(writer: Any, node: TryItPanel) -> None:
    """Close it."""
    writer.body.append("</div>\n")


def only_words(writer: Any, node: TryItPanel) -> None:
    """Builders that write no HTML show what readers without scripts see."""


def add_files(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load scripts and style on the pages that have the panel, and only there."""
    if doctree is not None and next(iter(doctree.findall(TryItPanel)), None) is not None:
        app.add_css_file(STYLE)
        for i, script in enumerate(SCRIPTS):
            app.add_js_file(script, priority=FIRST_SCRIPT + i, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Register the directive, its data and its scripts."""
    words = (only_words, only_words)
    app.add_node(TryItPanel, html=(visit_panel, depart_panel), latex=words, text=words)
    app.add_directive("tryit", TryItDirective)
    app.add_directive("tryit-program", ProgramDirective)
    assets.add(app, *(FOLDER / name for name in (*SCRIPTS[1:], STYLE)))
    app.connect("builder-inited", write_data)
    app.connect("html-page-context", add_files)
