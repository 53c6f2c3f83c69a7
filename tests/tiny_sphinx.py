"""A book of a few pages, built by Sphinx in this process, without Jupyter Book and its theme."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from sphinx.testing.util import SphinxTestApp

CONF = """
extensions = ["myst_nb", "claimbook.markup.sphinx_ext"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"
root_doc = "book/index"
exclude_patterns = ["_build"]
"""

Build = Callable[..., "Built"]


class Built(NamedTuple):
    """What a build wrote, and what it warned of."""

    out: Path
    warned: str

    def page(self, name: str) -> str:
        return (self.out / f"{name}.html").read_text(encoding="utf-8")


def build_in(folder: Path, pages: dict[str, str], conf: str = CONF) -> Built:
    """Write these files, and build the HTML of those that are pages."""
    for name, text in {"conf.py": conf, **pages}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    app = SphinxTestApp("html", srcdir=folder, freshenv=True)
    try:
        app.build()
        return Built(Path(app.outdir), app.warning.getvalue())
    finally:
        app.cleanup()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]


def words(html: str) -> str:
    """The text of a page, with single spaces."""
    parser = _Text()
    parser.feed(html)
    return " ".join(parser.words)


def links(html: str) -> list[str]:
    """Where the links of a page lead."""
    parser = _Text()
    parser.feed(html)
    return parser.links
