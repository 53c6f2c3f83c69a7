"""Where one is in the book: the mark above each chapter, what comes next, the table of chapters.

The chapters are the notebooks that the table of contents lists, in its order.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from claimbook.markup.openings import opening_of, page_link, running_time

NOTEBOOKS = "notebooks/"
NOTHING = "–"


class Chapter(NamedTuple):
    """One of the book's chapters."""

    page: str
    number: int
    of: int
    """How many chapters there are."""
    part: str
    """The part of the book that it stands in; empty, where it stands in none."""
    summary: str
    """What its opening says of it; empty, where it has none."""


def chapters(env: BuildEnvironment) -> dict[str, Chapter]:
    """The chapters of the book, by page, in order."""
    pages = [(page, part) for page, part in _listed(env) if page.startswith(NOTEBOOKS)]
    return {
        page: Chapter(page, number, len(pages), part, opening.summary if opening else "")
        for number, (page, part) in enumerate(pages, 1)
        for opening in [opening_of(env, page)]
    }


def _listed(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Every page that the first page lists, with the part that it is listed in."""
    for toctree in env.tocs[env.config.root_doc].findall(addnodes.toctree):
        for page in toctree["includefiles"]:
            yield page, toctree.get("caption") or ""


def place(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell the templates which chapter this is, and which stand before and after it."""
    listed = chapters(app.env)
    context["chapter"] = listed.get(pagename)
    _, before, after = getattr(app.builder, "relations", {}).get(pagename, [None, None, None])
    context["prev_chapter"], context["next_chapter"] = (
        listed.get(before),
        listed.get(after),
    )


class ChapterTable(nodes.General, nodes.Element):
    """Stands for the table until every chapter has been read."""


class ChaptersDirective(SphinxDirective):
    """``{chapters}``: the table of all chapters, with what each is about and how long it takes."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return [ChapterTable()]


class MakeChapterTable(SphinxPostTransform):
    """Puts the table in its place."""

    # Before Sphinx resolves the links in it (10).
    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for marker in list(self.document.findall(ChapterTable)):
            rows = [_row(self.env, self.env.docname, it) for it in chapters(self.env).values()]
            marker.replace_self(_table(["chapter", "you learn", "read", "run"], rows))


def _row(env: BuildEnvironment, page: str, chapter: Chapter) -> list[nodes.Node]:
    opening = opening_of(env, chapter.page)
    reading = f"{opening.minutes} min" if opening else NOTHING
    running = running_time(env, chapter.page) or NOTHING
    texts = [chapter.summary or NOTHING, reading, running]
    return [page_link(page, chapter.page), *map(nodes.Text, texts)]


def _table(head: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    columns = [nodes.colspec("", colwidth=1) for _ in head]
    header = nodes.thead("", _line([nodes.Text(name) for name in head]))
    body = nodes.tbody("", *map(_line, rows))
    group = nodes.tgroup("", *columns, header, body, cols=len(head))
    return nodes.table("", group, classes=["chapters"])


def _line(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app: Sphinx) -> None:
    """Register the directive, and what the templates need."""
    app.add_node(ChapterTable)
    app.add_directive("chapters", ChaptersDirective)
    app.add_post_transform(MakeChapterTable)
    app.connect("html-page-context", place)
