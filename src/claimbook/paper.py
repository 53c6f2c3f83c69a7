"""The book as one PDF: a browser prints each page, in the order of the contents.

What is different on paper is said by ``static/print.css``. Solutions are unfolded; code that
only draws stays folded away, as on the screen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag

import yaml  # type: ignore[import-untyped]
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NullObject,
    TextStringObject,
)
from sphinx_external_toc.parsing import parse_toc_yaml

from claimbook import browser
from claimbook.errors import ClaimbookError

DRAWN_WITHIN_MS = 60_000

UNFOLD = (
    """for (const one of document.querySelectorAll("details:not(.above-input)")) one.open = true"""
)
# A figure is drawn when it comes near the screen.
ALL_DRAWN = """() => {
  const left = document.querySelector("[class$=-figure][role=group]:not([data-drawn])");
  left?.scrollIntoView();
  return !left;
}"""


NUMBERS = """<style>
  @page { size: A4; margin: 0 }
  body { margin: 0; font: 9pt sans-serif; text-align: center }
  div { position: relative; height: 297mm }
  p { position: absolute; bottom: 8mm; width: 100%; margin: 0 }
</style>"""


class PaperError(ClaimbookError):
    """The book could not be printed."""


class Chapter(NamedTuple):
    """One page of the book.

    Attributes:
        part: the heading it stands under in the contents; ``None`` for the first page.
        name: the page below the folder of the book, without ``.html``.
    """

    part: str | None
    name: str


class Printed(NamedTuple):
    """A chapter on paper: its heading and its pages."""

    chapter: Chapter
    title: str
    paper: PdfReader


def chapters(toc: Path) -> list[Chapter]:
    """The pages of the book in the order of ``_toc.yml``."""
    site = parse_toc_yaml(toc)
    pages = [Chapter(None, site.root.docname)]
    for part in site.root.subtrees:
        pages += [Chapter(part.caption, str(name)) for name in part.items]
    return pages


def print_book(root: Path, book: Path) -> Path:
    """Print the built book.

    Returns:
        The file below ``_build``, named for the title of the book.

    Raises:
        PaperError: there is no browser that starts, no built book, or damaged settings.
    """
    try:
        contents = chapters(root / "_toc.yml")
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PaperError(f"_toc.yml or _config.yml cannot be read: {reason}.") from error
    if missing := [
        chapter.name for chapter in contents if not (book / f"{chapter.name}.html").exists()
    ]:
        raise PaperError(f"{book} holds no page {missing[0]}; build the book first.")
    with _opened() as pages:
        printed = [_printed(pages, book, chapter) for chapter in contents]
        numbers = _numbers(pages, sum(len(sheets.paper.pages) for sheets in printed))
    writer = bound(printed, numbers, book.as_uri())
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    target = root / "_build" / f"{config['title'].lower().replace(' ', '-')}.pdf"
    writer.write(target)
    return target


@contextmanager
def _opened() -> Iterator[Any]:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise PaperError("Printing needs Playwright: `make pdf` installs it.") from None
    path = browser.find()
    if path is None:
        raise PaperError(browser.missing())
    with sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(executable_path=path, args=list(browser.FLAGS))
        except Error as error:
            raise PaperError(f"{path} did not start: {error.message.splitlines()[0]}") from error
        # As wide as the paper between its margins: what is wider would shrink the whole chapter.
        sheet: Any = {"width": 658, "height": 1000}
        yield launched.new_context(color_scheme="light", reduced_motion="reduce", viewport=sheet)
        launched.close()


def _printed(pages: Any, book: Path, chapter: Chapter) -> Printed:
    page = pages.new_page()
    page.goto((book / f"{chapter.name}.html").as_uri(), wait_until="load")
    page.evaluate(UNFOLD)
    page.wait_for_function(ALL_DRAWN, timeout=DRAWN_WITHIN_MS)
    title = page.evaluate("document.querySelector('article h1').firstChild.textContent.trim()")
    paper = PdfReader(BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    page.close()
    return Printed(chapter, title, paper)


def _numbers(pages: Any, count: int) -> PdfReader:
    """Sheets with nothing but their number, to lay over the printed ones."""
    page = pages.new_page()
    page.set_content(NUMBERS + "".join(f"<div><p>{n}</p></div>" for n in range(1, count + 1)))
    numbers = PdfReader(BytesIO(page.pdf(prefer_css_page_size=True)))
    page.close()
    return numbers


def bound(printed: list[Printed], numbers: PdfReader, address: str) -> PdfWriter:
    """One document of all chapters, with an outline, page numbers, and links that stay inside.

    Args:
        printed: the chapters, in order.
        numbers: as many sheets, each with its number.
        address: where the pages were printed from; links to it lead to the page in the document.
    """
    writer = PdfWriter()
    parts: dict[str, Any] = {}
    places: dict[str, Any] = {}
    for sheets in printed:
        first = len(writer.pages)
        added = [writer.add_page(page) for page in sheets.paper.pages]
        part = sheets.chapter.part
        if part is not None and part not in parts:
            parts[part] = writer.add_outline_item(title=part, page_number=first)
        writer.add_outline_item(title=sheets.title, page_number=first, parent=parts.get(part or ""))
        _enter_places(places, f"{address}/{sheets.chapter.name}.html", sheets.paper, added)
        _name_in_full(added, f"{address}/{sheets.chapter.name}.html")
    for page, number in zip(writer.pages, numbers.pages, strict=True):
        page.merge_page(number)
        page.compress_content_streams()
        _lead_inside(page, places)
    return writer


def _enter_places(
    places: dict[str, Any], url: str, paper: PdfReader, added: list[PageObject]
) -> None:
    """Where in the document the addresses of a chapter are: its start, and its anchors."""
    places[url] = _place(added[0], None)
    for name, anchor in paper.named_destinations.items():
        number = paper.get_destination_page_number(anchor)
        if number is not None:
            places[f"{url}#{name.removeprefix('/')}"] = _place(added[number], anchor.top)


def _place(page: PageObject, top: Any) -> ArrayObject:
    height = NullObject() if top is None else FloatObject(top)
    reference = page.indirect_reference or NullObject()
    return ArrayObject([reference, NameObject("/XYZ"), NullObject(), height, NullObject()])


def _links(page: PageObject) -> list[DictionaryObject]:
    annotations = [note.get_object() for note in page.get("/Annots", ArrayObject()).get_object()]
    return [note for note in annotations if note.get("/Subtype") == "/Link"]


def _name_in_full(pages: list[PageObject], url: str) -> None:
    """Turn links to an anchor of the same chapter, which others have too, into full addresses."""
    for link in (note for page in pages for note in _links(page) if "/Dest" in note):
        target = f"{url}#{str(link.pop('/Dest')).removeprefix('/')}"
        link[NameObject("/A")] = DictionaryObject({NameObject("/URI"): TextStringObject(target)})


def _lead_inside(page: PageObject, places: dict[str, Any]) -> None:
    """Let links to the book lead to their place in the document, none to what is not there."""
    for link in _links(page):
        url = unquote(str(link.get("/A", {}).get_object().get("/URI", "")))
        if not url.startswith("file:"):
            continue
        del link["/A"]
        place = places.get(url) or places.get(urldefrag(url).url)
        if place is not None:
            link[NameObject("/Dest")] = place
