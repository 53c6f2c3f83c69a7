"""Search from disk: the texts of all pages in one script, for the snippets below the results.

Sphinx's own search fetches each page that it found, which browsers forbid for files. The script is
loaded on the search page alone; ``book/_static/search.js`` says where the texts are taken instead.
"""

import json
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

TEXTS = "search_texts.js"
# What is no text to a reader, or says nothing: scripts, the ¶ of headings, what unfolds code.
NO_TEXT = "script, style, .headerlink, summary, .math"


def sections(html: str) -> dict[str, str]:
    """What a page says, by the ids of its sections, in order; each without those inside it."""
    article = BeautifulSoup(html, "html.parser").find("article")
    if article is None:
        return {}
    for unwanted in article.select(NO_TEXT):
        unwanted.decompose()
    texts: dict[str, str] = {}
    for string in article.strings:
        owner = string.find_parent(["section", "article"])
        name = str(owner.get("id", "")) if owner else ""
        texts[name] = texts.get(name, "") + string
    collapsed = {name: " ".join(text.split()) for name, text in texts.items()}
    return {name: text for name, text in collapsed.items() if text}


def add_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Load the texts on the search page."""
    if pagename == "search":
        app.add_js_file(TEXTS, loading_method="defer")
        app.add_js_file("search.js", loading_method="defer")


def write_texts(app: Sphinx, exception: Exception | None) -> None:
    """Gather the texts from the pages as they were written."""
    if exception or app.builder.format != "html":
        return
    pages = {name: Path(app.outdir) / f"{name}.html" for name in sorted(app.env.found_docs)}
    texts = {
        name: sections(path.read_text(encoding="utf-8"))
        for name, path in pages.items()
        if path.exists()
    }
    script = f"window.SEARCH_TEXTS = {json.dumps(texts, ensure_ascii=False)};\n"
    (Path(app.outdir) / "_static" / TEXTS).write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register what writes the texts, and what loads them."""
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_texts)
