"""Claims of runs with other parameters, and how a page shows them beside the book's."""

import json
from pathlib import Path

import nbformat
import pytest
from tiny_sphinx import Built, build_in, words

from claimbook import claims
from claimbook.again import FILE, again
from claimbook.project import Project

TEXT = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A coin

```{code-cell} ipython3
:tags: [parameters]

seeds = [0, 1]
```

```{code-cell} ipython3
from claimbook.claims import claim

claim("coin.sum", "The seeds add up to {value}.", sum(seeds), on=2, control="of 1")
```
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks" / "01_coin.md").write_text(TEXT, encoding="utf-8")
    return Project(tmp_path)


def test_a_notebook_claims_what_its_parameters_say(project: Project) -> None:
    again(project, ["01_coin"], {"seeds": [5, 6, 7]})
    (stated,) = claims.read(project.root / FILE)
    assert (stated.id, stated.value) == ("coin.sum", 18)
    assert not project.executed.exists()
    assert [path.name for path in project.notebooks.iterdir()] == ["01_coin.md"]


def stored(value: int) -> str:
    stated = claims.claim("coin.sum", "They add up to {value}.", value, on=2, control="1")
    output = nbformat.v4.new_output("display_data", data=stated._repr_mimebundle_())
    cell = nbformat.v4.new_code_cell("1", outputs=[output], execution_count=1)
    return json.dumps(nbformat.v4.new_notebook(cells=[cell]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("again")
    other = [
        claims.claim("coin.sum", "They add up to {value}.", 18, on=2, control="1"),
        claims.claim("coin.gone", "Gone are {value}.", 3, on=2, control="1"),
    ]
    (folder / "book").mkdir()
    claims.write(other, folder / FILE)
    index = "# Start\n\n```{toctree}\n../notebooks/01_coin\n```\n\n```{claims-again}\n```\n\n"
    index += "Twin: {control}`coin.sum`. Again {again}`coin.sum`, {again}`coin.none`.\n\n"
    index += "```{claims}\n```\n"
    return build_in(folder, {"book/index.md": index, "notebooks/01_coin.ipynb": stored(1)})


def test_the_page_has_both_numbers(built: Built) -> None:
    table = words(built.page("book/index").partition("<table")[2].partition("</table>")[0])
    assert table.endswith("They add up to …. 1 18 1")
    assert "gone" not in table


def test_a_control_is_quoted(built: Built) -> None:
    assert "Twin: Control: 1 ." in words(built.page("book/index"))


def test_a_page_can_name_the_other_number(built: Built) -> None:
    assert "Again 18 , coin.none" in words(built.page("book/index"))
    assert "no claim 'coin.none' in book/claims_again.json" in built.warned
