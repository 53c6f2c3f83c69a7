"""The book on paper: put together from what a browser printed."""

import json
import re
import shutil
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, RectangleObject, TextStringObject

from claimbook import browser, mime, paper

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
    reader: Any = PdfReader(stream)
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
    assert paper.Chapter("Learning to write backwards", "notebooks/01_data") in found
    notebooks = [one.name for one in found if one.name.startswith("notebooks/")]
    assert notebooks == sorted(set(notebooks)) and len(notebooks) > 10


def test_without_a_built_book_one_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(paper.PaperError, match="build the book first"):
        paper.print_book(ROOT, tmp_path)


def test_a_chapter_is_printed_with_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two chapters by a real browser: titles, numbers, and figures as drawings, not as blanks."""
    if browser.find() is None or not (BOOK / "index.html").exists():
        pytest.skip("THE BOOK WAS NOT PRINTED: there is no browser, or no built book.")
    contents = paper.chapters(ROOT / "_toc.yml")
    chosen = [one for one in contents if one.name in ("book/index", "notebooks/10_emergence")]
    monkeypatch.setattr(paper, "chapters", lambda _: chosen)
    (tmp_path / "_build").mkdir()
    shutil.copyfile(ROOT / "_config.yml", tmp_path / "_config.yml")
    reader: Any = PdfReader(paper.print_book(tmp_path, BOOK))
    texts = [page.extract_text() for page in reader.pages]
    assert len(texts) > len(chosen)
    assert reader.metadata.title == "Palindrome Lens"
    titles = [one["/Title"] for one in reader.outline if not isinstance(one, list)]
    assert titles[0] == "Palindrome Lens" and titles[0] in texts[0]
    assert all(text.rstrip().endswith(str(n)) for n, text in enumerate(texts, start=1))
    assert 8 < commonest_size(reader.pages) < 9, "something wide has shrunk the chapter"
    # The first figure has a dashed line at ln 26: in its legend as text, and drawn in its colour.
    named = [n for n, text in enumerate(texts) if "loss (nats)" in text and "ln 26" in text]
    dashed = next(trace for trace in first_figure()["data"] if trace["name"] == "ln 26")
    wanted = tuple(round(int(dashed["line"]["color"][i : i + 2], 16) / 255, 2) for i in (1, 3, 5))
    assert len(named) == 1
    assert [n for n, page in enumerate(reader.pages) if wanted in stroked(page)] == named


def commonest_size(pages: Any) -> float:
    """The size of most of the letters on these pages, in points; 11 px are 8.25."""
    letters: Counter[float] = Counter()

    def count(text: str, page: Any, line: Any, font: Any, size: float) -> None:
        letters[round(abs(line[0] * page[0]) * size, 2)] += len(text.strip())

    for page in pages:
        page.extract_text(visitor_text=count)
    return letters.most_common(1)[0][0]


def first_figure() -> Any:
    """The first figure of the printed chapter, as its notebook stores it."""
    notebook = json.loads((ROOT / "notebooks" / "10_emergence.ipynb").read_text(encoding="utf-8"))
    outputs = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return next(data[mime.PLOTLY] for data in outputs if mime.PLOTLY in data)


def stroked(page: Any) -> set[tuple[float, ...]]:
    """The colours of the lines on a page, as red, green, blue from 0 to 1."""
    drawing = page.get_contents().get_data().decode("latin1")
    found = re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) RG", drawing)
    return {tuple(round(float(part), 2) for part in colour) for colour in found}
