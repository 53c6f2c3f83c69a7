"""Where one is in the book, what comes next, and the table of chapters."""

import json

import pytest
from tiny_sphinx import CONF, Built, build_in, links, words

from claimbook.markup import openings

INDEX = """# Start

```{toctree}
:caption: First part
../notebooks/01_data
```

```{toctree}
:caption: Second part
../notebooks/03_attention
../notebooks/02_training
about
```
"""
OPENING = """
```{{opening}}
:read: {read}
:summary: {summary}

- one
- two
```
"""
PAGES = {
    "book/index.md": INDEX,
    "book/about.md": "# About\n\n```{chapters}\n```\n",
    "notebooks/01_data.md": "# The data\n" + OPENING.format(read=10, summary="the floor"),
    "notebooks/02_training.md": "# The training\n" + OPENING.format(read=15, summary="the loss"),
    "notebooks/03_attention.md": "# Attention\n",
    openings.TIMES: json.dumps({"01_data": 7.0, "02_training": 180.0}),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    conf = f"{CONF}html_theme = 'sphinx_book_theme'\n"
    return build_in(tmp_path_factory.mktemp("chapters"), PAGES, conf)


def part(html: str, start: str, end: str) -> str:
    """The text of a page between two marks."""
    return words(html.partition(start)[2].partition(end)[0])


@pytest.mark.parametrize(
    ("page", "mark"),
    [
        ("notebooks/01_data", "Chapter 1 of 3 · First part"),
        ("notebooks/03_attention", "Chapter 2 of 3 · Second part"),
        ("notebooks/02_training", "Chapter 3 of 3 · Second part"),
    ],
)
def test_each_chapter_says_where_it_stands(built: Built, page: str, mark: str) -> None:
    assert built.warned == ""
    assert part(built.page(page), '<div class="chapter-mark">', "</p>") == mark


def test_other_pages_are_no_chapters(built: Built) -> None:
    for page in ("book/index", "book/about", "search", "genindex"):
        assert "chapter-mark" not in built.page(page)


def test_the_foot_says_what_comes(built: Built) -> None:
    foot = built.page("notebooks/03_attention").partition('<div class="prev-next-area">')[2]
    before, after = foot.split('class="right-next"')
    assert words(before).startswith("Previous: chapter 1 The data the floor")
    assert "Next: chapter 3 The training the loss" in words(after)
    assert links(before) == ["01_data.html"]


def test_a_page_without_an_opening_is_named_by_its_title_alone(built: Built) -> None:
    foot = built.page("notebooks/02_training").partition('<div class="prev-next-area">')[2]
    before, after = foot.split('class="right-next"')
    assert words(before.partition("</a>")[0]) == "Previous: chapter 2 Attention"
    assert "Next About" in words(after)


def test_the_table_lists_the_chapters_in_the_order_of_the_book(built: Built) -> None:
    table = built.page("book/about").partition("<table")[2].partition("</table>")[0]
    rows = [words(f"<tr{row}") for row in table.split("<tr")[2:]]
    assert rows == [
        "The data the floor 10 min 7 s",
        "Attention – – –",
        "The training the loss 15 min 3 min",
    ]
    assert links(table) == [
        f"../notebooks/{name}.html" for name in ("01_data", "03_attention", "02_training")
    ]
