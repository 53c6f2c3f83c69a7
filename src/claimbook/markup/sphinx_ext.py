"""The Sphinx extension of the book: MathML, claims, figures, and no address outside the book."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from claimbook.markup import (
    assets,
    chapters,
    citing,
    claim_markup,
    definitions,
    mathml,
    openings,
    reproduce,
    search,
    typography,
)
from claimbook.markup.renderers import (
    InteractiveFigure,
    figure_html,
    figure_kinds,
    replace_figures_by_text,
)

# What has directives, roles or pages of its own.
SUBJECTS = (
    assets,
    chapters,
    citing,
    claim_markup,
    definitions,
    openings,
    reproduce,
    search,
    typography,
)
# What draws each kind of figure: the package whose wheel holds the script, and where. Large as they
# are, no page names them: ``figures.js`` loads what a page needs once the page can be read.
SCRIPTS = {
    "plotly": ("plotly", "package_data/plotly.min.js"),
    "circuitsvis": ("circuitsvis", "dist/cdn/iife.js"),
}
# Later than the page's own scripts.
FIRST_SCRIPT = 900


class FiguresAsText(SphinxPostTransform):
    """Builders other than HTML get the alternative text of a figure."""

    # After myst-nb has chosen one output of each cell (4).
    default_priority = 10

    def run(self, **kwargs: Any) -> None:
        if self.app.builder.format != "html":
            replace_figures_by_text(self.document)


def visit_figure(writer: Any, node: InteractiveFigure) -> None:
    """Write the element that a figure is drawn into."""
    writer.body.append(figure_html(node["kind"], node["spec"], node["alt"]))
    raise nodes.SkipNode


def copy_scripts(app: Sphinx) -> None:
    """Put the scripts that draw figures beside the book's own, once."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    for kind in SCRIPTS:
        shutil.copyfile(_installed(kind), static / _script_name(kind))


def _script_name(kind: str) -> str:
    return f"{kind}.min.js"


def _installed(kind: str) -> Path:
    package, inside = SCRIPTS[kind]
    with as_file(files(package).joinpath(inside)) as path:
        return path


def add_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load the scripts that draw and save on the pages that have a figure, and only those."""
    if figure_kinds(doctree):
        app.add_js_file("figures.js", priority=FIRST_SCRIPT, loading_method="defer")
        app.add_js_file("figure_data.js", priority=FIRST_SCRIPT + 1, loading_method="defer")


def drop_old_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop the roles that docutils gives to a bibliography.

    WAI-ARIA 1.2 has deprecated ``doc-biblioentry``, and without it there is no list of items.
    """
    body = context.get("body", "").replace(' role="doc-biblioentry"', "")
    context["body"] = body.replace('<div role="list" class="citation-list">', "<div>")


def name_folds(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let folded code be called by the words on it; myst-nb hides them behind others."""
    context["body"] = context.get("body", "").replace(' aria-label="Toggle hidden content"', "")


def keep_local(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop every script and style sheet that would be fetched from elsewhere.

    Themes and extensions add such addresses unasked; the book opens without a network.
    """
    for key in ("script_files", "css_files"):
        context[key] = [asset for asset in context.get(key, []) if is_local(asset)]


def is_local(asset: Any) -> bool:
    """Whether a script or style sheet, as Sphinx lists it, is part of the book."""
    address = urlsplit(str(getattr(asset, "filename", asset) or ""))
    return not address.scheme and not address.netloc


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    app.add_html_math_renderer("mathml", (mathml.visit_inline, None), (mathml.visit_block, None))
    app.add_node(InteractiveFigure, html=(visit_figure, None))
    app.add_post_transform(FiguresAsText)
    for subject in SUBJECTS:
        subject.setup(app)
    app.connect("builder-inited", copy_scripts)
    app.connect("html-page-context", add_scripts)
    app.connect("html-page-context", name_folds)
    app.connect("html-page-context", drop_old_roles)
    # Last, so that nothing is added behind it.
    app.connect("html-page-context", keep_local, priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
