"""Definitions where a term is met: those of the glossary, in one script that all pages share.

``book/_static/terms.js`` shows them. Links in a definition are not kept: what is shown for a moment
leads nowhere; the term itself leads to the glossary.
"""

import json
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

DATA = "definitions.js"
SCRIPT = "terms.js"
TERM = "#term-"
LAST = 950


def definitions(html: str) -> dict[str, str]:
    """The definitions on a page, as HTML, by the ids of their terms."""
    by_term = {}
    for term in BeautifulSoup(html, "html.parser").select("dl.glossary dt[id]"):
        definition = term.find_next_sibling("dd")
        if definition is not None:
            for link in definition.select("a"):
                link.unwrap()
            for marked in definition.select("[id]"):
                del marked["id"]
            by_term[str(term["id"])] = definition.decode_contents().strip()
    return by_term


def add_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load the definitions on the pages that refer to a term."""
    if TERM in context.get("body", ""):
        for name in (DATA, SCRIPT):
            app.add_js_file(name, priority=LAST, loading_method="defer")


def write_definitions(app: Sphinx, exception: Exception | None) -> None:
    """Gather the definitions from the pages as they were written."""
    if exception or app.builder.format != "html":
        return
    by_term: dict[str, str] = {}
    for name in sorted({name for name, *_ in _terms(app)}):
        by_term |= definitions((Path(app.outdir) / f"{name}.html").read_text(encoding="utf-8"))
    script = f"window.DEFINITIONS = {json.dumps(by_term, ensure_ascii=False, sort_keys=True)};\n"
    (Path(app.outdir) / "_static" / DATA).write_text(script, encoding="utf-8")


def _terms(app: Sphinx) -> list[tuple[str, str]]:
    """The page and the id of every term."""
    objects = app.env.get_domain("std").get_objects()
    return [(page, anchor) for _, _, kind, page, anchor, _ in objects if kind == "term"]


def setup(app: Sphinx) -> None:
    """Register what writes the definitions, and what loads them."""
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_definitions)
