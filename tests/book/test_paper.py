"""The book on paper: put together from what a browser printed."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pypdf")

from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, RectangleObject, TextStringObject

from palindrome_lens.book import paper

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "_build" / "html"


def printed(name: str, pages: int, links: list[str]) -> paper.Printed:
    """A chapter of blank pages, with links on its first."""
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=595, height=842)
    writer.add_named_destination("here", pages - 1)
    for url in links:
        action = DictionaryObject({NameObject("/URI"): TextStringObject(url)})
        link = {
            "/Subtype": NameObject("/Link"),
            "/Rect": RectangleObject((0, 0, 9, 9)),
            "/A": action,
        }
        writer.add_annotation(0, DictionaryObject({NameObject(k): v for k, v in link.items()}))
    stream = BytesIO()
    writer.write(stream)
    part = None if name == "first" else "Part"
    return paper.Printed(paper.Chapter(part, name), name.title(), PdfReader(stream))


def test_chapters_are_bound_in_order_with_an_outline_and_links_that_stay_inside() -> None:
    links = [
        "file:///b/second.html",
        "file:///b/second.html#here",
        "file:///b/none.html",
        "https://x.y",
    ]
    chapters = [printed("first", 1, links), printed("second", 2, [])]
    written = paper.bound(chapters, printed("numbers", 3, []).paper, "file:///b")
    stream = BytesIO()
    written.write(stream)
    reader = PdfReader(stream)
    assert len(reader.pages) == 3
    first, part, (second,) = reader.outline
    starts = [reader.get_destination_page_number(one) for one in (first, part, second)]
    assert [one["/Title"] for one in (first, part, second)] == ["First", "Part", "Second"]
    assert starts == [0, 1, 1]
    annotations = [one.get_object() for one in reader.pages[0]["/Annots"]]
    targets = [page_of(reader, one["/Dest"]) if "/Dest" in one else None for one in annotations]
    assert targets == [1, 2, None, None]
    assert ["/A" in one for one in annotations] == [False, False, False, True]


def page_of(reader: PdfReader, destination: Any) -> int | None:
    return reader.get_page_number(destination[0].get_object())


def test_the_pages_come_in_the_order_of_the_contents() -> None:
    found = paper.chapters(ROOT / "_toc.yml")
    assert found[0] == paper.Chapter(None, "book/index")
    assert found[1] == paper.Chapter("Learning to write backwards", "notebooks/01_data")
    assert len({one.name for one in found}) == len(found) > 15


def test_without_a_built_book_one_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(paper.PaperError, match="build the book first"):
        paper.print_book(ROOT, tmp_path)


def test_a_chapter_is_printed_with_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two chapters by a real browser: titles, numbers, and figures as drawings, not as blanks."""
    if paper.browser_path() is None or not (BOOK / "index.html").exists():
        pytest.skip("THE BOOK WAS NOT PRINTED: there is no browser, or no built book.")
    contents = paper.chapters(ROOT / "_toc.yml")
    chosen = [one for one in contents if one.name in ("book/index", "notebooks/09_emergence")]
    monkeypatch.setattr(paper, "chapters", lambda _: chosen)
    (tmp_path / "_build").mkdir()
    reader = PdfReader(paper.print_book(tmp_path, BOOK))
    texts = [page.extract_text() for page in reader.pages]
    assert len(texts) > len(chosen)
    assert reader.metadata is not None and reader.metadata.title == paper.TITLE
    titles = [one["/Title"] for one in reader.outline if not isinstance(one, list)]
    assert titles[0] == "Palindrome Lens" and titles[0] in texts[0]
    assert all(text.rstrip().endswith(str(n)) for n, text in enumerate(texts, start=1))
    # The axes of a figure are text of the page; its curves are operators of the drawing.
    (lines,) = [n for n, text in enumerate(texts) if "loss (nats)" in text and "ln 26" in text][:1]
    strokes = reader.pages[lines].get_contents().get_data().count(b" c\n")
    assert strokes > 100, "the curves are drawn"
    wide = [page for page in reader.pages if page.mediabox.width > 600]
    assert not wide
