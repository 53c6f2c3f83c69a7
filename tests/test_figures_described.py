"""Every figure of the committed notebooks says what is to be seen, in words of its own."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from claimbook import mime

ROOT = Path(__file__).parents[1]
LEAST_LENGTH = 60
EMPTY_WORDS = re.compile(r"\b(figure|plot|chart|graph|image|picture) (of|showing)\b", re.IGNORECASE)
NUMBER = re.compile(r"\d")


class Figure(NamedTuple):
    """A figure by its place in the book, the text for who cannot see it, and the code of both."""

    place: str
    alt: str
    code: str


def figures_in(notebook: dict[str, Any], chapter: str) -> Iterator[Figure]:
    for cell in notebook["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", "a nameless figure")
        code = "".join(cell["source"])
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if mime.PLOTLY in data:
                meta = data[mime.PLOTLY]["layout"].get("meta") or {}
                yield Figure(f"{chapter}: {name}", meta.get("alt", ""), code)
            if mime.CIRCUITSVIS in data:
                yield Figure(f"{chapter}: {name}", data[mime.CIRCUITSVIS].get("alt", ""), code)


def computed(code: str) -> bool:
    """Whether the text has a part that is filled in by the run: in an f-string, or by a name."""
    return any(
        isinstance(part, ast.FormattedValue | ast.Name)
        for node in ast.walk(ast.parse(code))
        for text in texts_of(node)
        for part in ast.walk(text)
    )


def texts_of(node: ast.AST) -> list[ast.expr]:
    """What a call is given as the text of a figure: ``alt=``, and the second of a widget."""
    if not isinstance(node, ast.Call):
        return []
    widget = isinstance(node.func, ast.Name) and node.func.id == "Described"
    return [word.value for word in node.keywords if word.arg == "alt"] + widget * node.args[1:2]


def faults(figures: list[Figure]) -> list[str]:
    """One sentence for everything that is wrong with the texts."""
    often = Counter(figure.alt for figure in figures)
    found = []
    for place, alt, code in figures:
        if len(alt) < LEAST_LENGTH:
            found.append(f"{place}: {len(alt)} characters, too few to say what is seen")
        if EMPTY_WORDS.search(alt):
            found.append(f"{place}: says that it is a figure, not what is in it")
        if often[alt] > 1:
            found.append(f"{place}: another figure has the same text")
        if not NUMBER.search(alt) or not computed(code):
            found.append(f"{place}: holds no number that comes from the data")
    return found


def in_the_book() -> list[Figure]:
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    books = [(json.loads(path.read_text(encoding="utf-8")), path.stem) for path in paths]
    return [figure for notebook, chapter in books for figure in figures_in(notebook, chapter)]


def test_every_figure_of_the_book_is_described() -> None:
    figures = in_the_book()
    assert len(figures) > 20
    assert faults(figures) == []


GOOD = "Two lines over 300 steps: one falls from 3.26 to 0.02 nats, the other stays at 3.26 nats."
CODE = 'figures.lines(series, x_title="step", alt=f"Two lines over {n} steps: …" + rest)'


def test_a_good_description_has_no_fault() -> None:
    pair = [Figure("here", GOOD, CODE), Figure("there", GOOD.replace("300", "500"), CODE)]
    assert faults(pair) == []


@pytest.mark.parametrize(
    ("alt", "fault"),
    [
        ("", "too few"),
        ("A line that falls to 0.", "too few"),
        (f"Plot of the loss. {GOOD}", "not what is in it"),
        (f"A figure showing much: {GOOD}", "not what is in it"),
        (re.sub(r"[\d.]+", "some", GOOD), "no number"),
    ],
)
def test_the_check_sees(alt: str, fault: str) -> None:
    assert any(fault in found for found in faults([Figure("here", alt, CODE)]))


def test_the_check_sees_a_text_used_twice() -> None:
    twice = [Figure("here", GOOD, CODE), Figure("there", GOOD, CODE)]
    assert len(faults(twice)) == 2


def test_the_check_sees_a_text_that_was_typed() -> None:
    typed = 'name = f"{one}"\nfigures.bars(series, labels=[f"{two}"], alt="Two lines, 3 steps")'
    assert len(faults([Figure("here", GOOD, typed)])) == 1
    assert not computed('Described(widget, "Tokens of <abc|cba>")')
    assert computed('Described(widget, f"Tokens of {example}")')
