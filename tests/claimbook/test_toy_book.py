"""The book tool alone: a book of two notebooks about a fair coin, made by the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from claimbook.claims import read

CONFIG = """
title: A fair coin
author: Somebody
only_build_toc_files: true
exclude_patterns: ["notebooks/*.md"]
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [dollarmath]}
sphinx:
  config:
    extensions: [sphinx_togglebutton, sphinx_copybutton, myst_nb, jupyter_book, sphinx_comments,
      sphinx_external_toc, sphinx_design, sphinx_exercise, sphinx_book_theme,
      sphinx_jupyterbook_latex, claimbook.markup.sphinx_ext]
    html_math_renderer: mathml
    nb_render_markdown_format: myst
    html_theme_options: {navbar_persistent: []}
"""
TOC = """
format: jb-book
root: book/index
chapters:
- file: notebooks/01_throws
- file: notebooks/02_bias
"""
INDEX = """# A fair coin

Heads came {claim}`coin.heads` times. {control}`coin.heads`

```{claims}
```
"""
THROWS = """
# Throws

```{opening}
:summary: how often heads come
:read: 1

- throw a coin
- count heads
```

```{code-cell} ipython3
:tags: [setup]

import sys

import plotly.graph_objects as go

from claimbook.claims import Cases, claim
from claimbook.show import Table, say, set_up

set_up()
throws = [(7 * i * i) % 10 < 3 for i in range(100)]
```

```{code-cell} ipython3
Table(["the science is here"], [["palindrome_lens" in sys.modules]])
```

```{code-cell} ipython3
say(n=len(throws))
claim(
    "coin.heads",
    "Heads came {value} times.",
    sum(throws),
    on=Cases(len(throws), "throws"),
    control="tails came the other times.",
)
```

```{code-cell} ipython3
:tags: [hide-input]

go.Figure(
    go.Bar(x=["heads", "tails"], y=[sum(throws), 100 - sum(throws)]),
    layout={"meta": {"alt": "Two bars: how often heads came, and how often tails."}},
)
```

There were {glue:text}`n` throws.

```{exercise-start} Apply
:label: ex-coin
```
How often did tails come?
```{exercise-end}
```

```{solution-start} ex-coin
:class: dropdown
```
As often as heads did not.

```{code-cell} ipython3
:tags: [solution]

len(throws) - sum(throws)
```

```{solution-end}
```
"""
BIAS = "\n# Bias\n\nIs it fair?\n\n```{code-cell} ipython3\nabs(0.5 - 0.5)\n```\n"
HEADER = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""


def run(root: Path, *words: str) -> str:
    """What ``python -m claimbook`` prints; it must succeed."""
    command = [sys.executable, "-m", "claimbook", "--root", str(root), *words]
    finished = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def coin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout, its references written and its book built."""
    root = tmp_path_factory.mktemp("coin")
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "requirements.lock": "plotly\n",
        "book/index.md": INDEX,
        "notebooks/01_throws.md": HEADER + THROWS,
        "notebooks/02_bias.md": HEADER + BIAS,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    run(root, "refresh")
    run(root, "build")
    return root


def page(root: Path, name: str) -> str:
    return (root / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")


def test_what_is_stored_passes_the_checks(coin: Path) -> None:
    assert run(coin, "pairs") == ""
    assert "01_throws: 4 cells" in run(coin, "outputs")
    (heads,) = read(coin / "notebooks" / "claims.json")
    assert (heads.id, heads.value) == ("coin.heads", 30)


def test_the_book_holds_claim_figure_exercise_and_numbers(coin: Path) -> None:
    index, throws = page(coin, "book/index"), page(coin, "notebooks/01_throws")
    assert ">30</strong>" in index and "Control: tails came the other times." in index
    assert 'href="../book/index.html#coin.heads"' in throws
    assert 'aria-label="Two bars: how often heads came' in throws
    assert re.search("There were .*100.* throws", throws)
    assert "<td><p>False</p></td>" in throws, "the science was imported"
    exercises = coin / "_build" / "html" / "downloads" / "01_throws-exercises.ipynb"
    cells = json.loads(exercises.read_text(encoding="utf-8"))["cells"]
    assert not any("len(throws) - sum" in "".join(cell["source"]) for cell in cells)


def test_the_book_brings_its_styles_and_scripts(coin: Path) -> None:
    static = coin / "_build" / "html" / "_static"
    for name in ("book.css", "chapters.css", "figures.js", "terms.js"):
        assert (static / name).exists(), name
    assert "book.css" in page(coin, "book/index")
    assert "Chapter 1 of 2" in page(coin, "notebooks/01_throws")
    assert not (static / "latents.js").exists()


def test_only_the_changed_notebook_runs_again(coin: Path) -> None:
    text = coin / "notebooks" / "02_bias.md"
    text.write_text(text.read_text(encoding="utf-8").replace("0.5 - 0.5", "0.5 - 0.4"))
    said = run(coin, "build")
    assert "02_bias runs: its text changed" in said
    assert "01_throws is up to date" in said
    assert "02_bias differs from its reference" in said
    assert "0.09999" in page(coin, "notebooks/02_bias")
