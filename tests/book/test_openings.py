"""How a chapter opens: what a page shows of it, and what is wrong with one that is not as it must be."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sphinx.testing.util import SphinxTestApp

from palindrome_lens.book import openings

CONF = """
extensions = ["myst_nb", "palindrome_lens.book.sphinx_ext"]
nb_execution_mode = "off"
html_math_renderer = "mathml"
root_doc = "book/index"
exclude_patterns = ["_build"]
"""
INDEX = "# Start\n\n```{toctree}\n:glob:\n../notebooks/*\n```\n\n```{glossary}\nloss\n  What is paid.\n```\n"
GOOD = """```{opening}
:builds: 01_data, 02_training
:needs: what a softmax is; {term}`loss`: what it measures
:read: 15
:summary: where the model looks, on its worst string too

- say where `<abc|cba>` is looked at
- tell a weight from a cause
```
"""

Build = Callable[..., tuple[str, str]]


class _Text(HTMLParser):
    """The words of a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]


def words(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    return " ".join(parser.words)


def links(html: str) -> list[str]:
    parser = _Text()
    parser.feed(html)
    return parser.links


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """``build(opening)``: a book of three chapters, of which the third opens so.

    It returns the third page from its opening on, and what Sphinx warned of.
    """

    def _build(opening: str, times: dict[str, float] | None = None) -> tuple[str, str]:
        for folder in ("book", "notebooks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
        (tmp_path / "book" / "index.md").write_text(INDEX, encoding="utf-8")
        for name, text in (("01_data", ""), ("02_training", ""), ("03_attention", opening)):
            chapter = tmp_path / "notebooks" / f"{name}.md"
            chapter.write_text(f"# The {name}\n\n{text}\n", encoding="utf-8")
        if times is not None:
            (tmp_path / openings.TIMES).write_text(json.dumps(times), encoding="utf-8")
        app = SphinxTestApp("html", srcdir=tmp_path, freshenv=True)
        app.build()
        warned = app.warning.getvalue()
        app.cleanup()
        html = Path(app.outdir, "notebooks", "03_attention.html").read_text(encoding="utf-8")
        return html[html.find('<div class="opening') :], warned

    return _build


def test_an_opening_says_what_is_learned_and_links_to_what_it_builds_on(build: Build) -> None:
    html, warned = build(GOOD, {"03_attention": 12.4, "01_data": 99.0})
    assert warned == ""
    said = words(html)
    assert "At the end of this chapter you can say where <abc|cba> is looked at" in said
    assert "Builds on The 01_data , The 02_training" in said
    assert "You should know what a softmax is; loss : what it measures" in said
    assert "Reading 15 min, running 12 s (measured when this page was built)" in said
    leads = links(html)
    assert {"01_data.html", "02_training.html"} <= set(leads)
    assert any(one.endswith("#term-loss") for one in leads)


@pytest.mark.parametrize("times", [None, {}, {"01_data": 12.0}])
def test_no_time_is_told_that_was_not_measured(
    build: Build, times: dict[str, float] | None
) -> None:
    html, warned = build(GOOD, times)
    assert warned == ""
    assert "Reading 15 min" in words(html)
    assert "running" not in words(html)


def test_a_chapter_may_build_on_nothing(build: Build) -> None:
    bare = "\n".join(one for one in GOOD.splitlines() if one[:3] not in (":bu", ":ne"))
    html, warned = build(bare)
    assert warned == ""
    assert "Builds on" not in words(html)
    assert "You should know" not in words(html)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (":read: 15\n", "", ":read: is to be a whole number of minutes, and is ''"),
        ("15", "15 min", ":read: is to be a whole number of minutes, and is '15 min'"),
        ("15", "0", ":read: is to be a whole number of minutes, and is '0'"),
        ("02_training", "02_trainin", ":builds: names no chapter: 02_trainin"),
        ("worst string too", "worst string.", ":summary: is to be one line without a full stop"),
        (":summary: where the model looks, on its worst string too\n", "", ":summary: is to be"),
        ("- tell a weight from a cause\n", "", "a list of 2 to 4 learning goals"),
        ("- ", "", "a list of 2 to 4 learning goals"),
        (":read: 15", ":read: 15\n:runs: 3 min", "runs"),
    ],
)
def test_an_opening_that_is_not_as_it_must_be_is_warned_of(
    build: Build, old: str, new: str, problem: str
) -> None:
    assert old in GOOD
    _, warned = build(GOOD.replace(old, new))
    assert problem in warned
    assert "03_attention" in warned


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.2, "1 s"), (12.4, "12 s"), (119.4, "119 s"), (120, "2 min"), (170, "3 min")],
)
def test_times_are_written_in_seconds_or_minutes(seconds: float, written: str) -> None:
    assert openings.duration(seconds) == written
