"""How a chapter opens: what its page shows, and what is said of an opening with a mistake."""

import json
from pathlib import Path

import pytest
from tiny_sphinx import build_in, links, words

from claimbook.markup import openings

INDEX = """# Start

```{toctree}
:glob:
../notebooks/*
```

```{glossary}
loss
  What is paid.
```
"""
GOOD = """```{opening}
:builds: 01_data, 02_training
:needs: what a softmax is; {term}`loss`: what it measures
:read: 15
:summary: where the model looks, on its worst string too

- say where `<abc|cba>` is looked at
- tell a weight from a cause
```
"""


def opened(folder: Path, opening: str, times: dict[str, float] | None = None) -> tuple[str, str]:
    """The third chapter of three, from its opening on; and what Sphinx warned of."""
    pages = {
        "book/index.md": INDEX,
        "notebooks/01_data.md": "# The data\n",
        "notebooks/02_training.md": "# The training\n",
        "notebooks/03_attention.md": f"# Attention\n\n{opening}\n",
    }
    if times is not None:
        pages[openings.TIMES] = json.dumps(times)
    built = build_in(folder, pages)
    html = built.page("notebooks/03_attention")
    return html[html.find('<div class="opening') :], built.warned


def test_an_opening_says_what_is_learned_and_links_to_what_it_builds_on(tmp_path: Path) -> None:
    html, warned = opened(tmp_path, GOOD, {"03_attention": 12.4, "01_data": 99.0})
    assert warned == ""
    said = words(html)
    assert "At the end of this chapter you can say where <abc|cba> is looked at" in said
    assert "Builds on The data , The training" in said
    assert "You should know what a softmax is; loss : what it measures" in said
    assert "Reading 15 min, running 12 s (measured when this page was built)" in said
    assert {"01_data.html", "02_training.html"} <= set(links(html))
    assert any(one.endswith("#term-loss") for one in links(html))


@pytest.mark.parametrize("times", [None, {}, {"01_data": 12.0}])
def test_no_time_is_told_that_was_not_measured(
    tmp_path: Path, times: dict[str, float] | None
) -> None:
    html, warned = opened(tmp_path, GOOD, times)
    assert warned == ""
    assert "Reading 15 min" in words(html)
    assert "running" not in words(html)


def test_a_chapter_may_build_on_nothing(tmp_path: Path) -> None:
    bare = "\n".join(one for one in GOOD.splitlines() if one[:3] not in (":bu", ":ne"))
    html, warned = opened(tmp_path, bare)
    assert warned == ""
    assert "Builds on" not in words(html)
    assert "You should know" not in words(html)


MISTAKES = {
    "no-time": (":read: 15\n", "", ":read: is to be a whole number of minutes, and is ''"),
    "unit": ("15", "15 min", ":read: is to be a whole number of minutes, and is '15 min'"),
    "zero": ("15", "0", ":read: is to be a whole number of minutes, and is '0'"),
    "misspelt": ("02_training", "02_trainin", ":builds: names no chapter: 02_trainin"),
    "full-stop": ("worst string too", "worst.", ":summary: is to be one line without a full stop"),
    "no-summary": (
        ":summary: where the model looks, on its worst string too\n",
        "",
        ":summary: is",
    ),
    "one-goal": ("- tell a weight from a cause\n", "", "a list of 2 to 4 learning goals"),
    "no-list": ("- ", "", "a list of 2 to 4 learning goals"),
    "unknown": (":read: 15", ":read: 15\n:runs: 3 min", "runs"),
}


@pytest.fixture(scope="module")
def warned(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is warned of when each chapter of a book opens with another mistake."""
    pages = {"book/index.md": INDEX, "notebooks/01_data.md": "# A\n"}
    pages["notebooks/02_training.md"] = f"# B\n\n{GOOD}"
    for name, (old, new, _) in MISTAKES.items():
        assert old in GOOD
        pages[f"notebooks/{name}.md"] = f"# C\n\n{GOOD.replace(old, new)}"
    return build_in(tmp_path_factory.mktemp("mistakes"), pages).warned.splitlines()


@pytest.mark.parametrize("name", MISTAKES)
def test_an_opening_that_is_not_as_it_must_be_is_warned_of(warned: list[str], name: str) -> None:
    said = [line for line in warned if f"{name}.md" in line]
    assert len(said) == 1
    assert MISTAKES[name][2] in said[0]


def test_an_opening_that_is_as_it_must_be_is_not(warned: list[str]) -> None:
    assert not [line for line in warned if "02_training.md" in line]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.2, "1 s"), (12.4, "12 s"), (119.4, "119 s"), (120, "2 min"), (170, "3 min")],
)
def test_times_are_written_in_seconds_or_minutes(seconds: float, written: str) -> None:
    assert openings.duration(seconds) == written
