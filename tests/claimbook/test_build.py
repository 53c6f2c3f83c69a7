"""Building a small book: what is staged, when it is built again, and what stops it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from claimbook import build as building
from claimbook.claims import claim, read
from claimbook.markup.openings import TIMES

ROOT = Path(__file__).parents[2]
PLOTLY = {
    "data": [{"type": "scatter", "y": [1, 2]}],
    "layout": {"meta": {"alt": "A line that rises."}},
}
FLOOR = claim("data.floor", "At least {value} nats.", 1.22179, on=17576, control="counted")

CONFIG = """
title: A small book
author: Somebody
only_build_toc_files: true
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [dollarmath]}
sphinx:
  config:
    extensions: [sphinx_togglebutton, sphinx_copybutton, myst_nb, jupyter_book, sphinx_comments,
      sphinx_external_toc, sphinx_design, sphinx_book_theme, sphinx_jupyterbook_latex,
      claimbook.markup.sphinx_ext]
    html_math_renderer: mathml
    html_theme_options: {navbar_persistent: []}
    html_js_files: [https://example.invalid/script.js]
    html_css_files: [https://example.invalid/style.css]
"""
TOC = "format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/01_data\n"
INDEX = "# Start\n\nThe floor is {claim}`data.floor`; $x^2$.\n\n```{claims}\n```\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one page and one executed notebook, and its book."""
    root = tmp_path_factory.mktemp("small")
    (root / "book").mkdir()
    (root / "_config.yml").write_text(CONFIG, encoding="utf-8")
    (root / "_toc.yml").write_text(TOC, encoding="utf-8")
    (root / "book" / "index.md").write_text(INDEX, encoding="utf-8")
    notebook(root)
    building.build(root, executed(root))
    return root


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """A copy of the small repository and its book, to be changed."""
    return Path(shutil.copytree(small, tmp_path / "copied"))


def executed(root: Path) -> list[Path]:
    return [root / "executed" / "01_data.ipynb"]


def notebook(root: Path) -> None:
    outputs = [
        {"application/vnd.plotly.v1+json": PLOTLY},
        FLOOR._repr_mimebundle_(),
    ]
    cells = [nbformat.v4.new_markdown_cell("# Data\n\n```{claims} data\n```")]
    for count, data in enumerate(outputs, 1):
        shown = nbformat.v4.new_output("execute_result", data=data, execution_count=count)
        cells.append(nbformat.v4.new_code_cell("show()", outputs=[shown], execution_count=count))
    path = executed(root)[0]
    path.parent.mkdir(exist_ok=True)
    language = {"language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=language), path)


def page(root: Path, name: str) -> str:
    return (root / "_build" / "html" / name).read_text(encoding="utf-8")


def test_figures_and_claims_arrive_in_the_page(small: Path) -> None:
    data = page(small, "notebooks/01_data.html")
    assert (
        data.count('<div class="plotly-figure" role="group" aria-label="A line that rises."') == 1
    )
    assert data.count("claim-card") == 2
    assert 'href="../book/index.html#data.floor"' in data


def test_a_claim_has_one_address_and_its_number_is_inserted(small: Path) -> None:
    index = page(small, "book/index.html")
    assert index.count('id="data.floor"') == 1
    assert '<a class="reference internal" href="#data.floor"' in index
    assert re.search(r'href="#data.floor"><strong[^>]*>1\.222</strong></a>', index)
    assert "<math alttext=" in index


def test_only_pages_with_figures_load_what_draws_them(small: Path) -> None:
    assert "figures.js" in page(small, "notebooks/01_data.html")
    assert "plotly.min.js" not in page(small, "notebooks/01_data.html"), "figures.js loads it"
    assert "figures.js" not in page(small, "book/index.html")
    static = small / "_build" / "html" / "_static"
    assert (static / "plotly.min.js").stat().st_size > 1_000_000
    assert (static / "circuitsvis.min.js").stat().st_size > 1_000_000


def test_scripts_and_styles_of_other_hosts_are_dropped(small: Path) -> None:
    for name in ("book/index.html", "notebooks/01_data.html", "search.html"):
        assert "example.invalid" not in page(small, name)


def test_a_builder_without_scripts_writes_what_a_figure_shows(copied: Path) -> None:
    source, out = copied / "_build" / "source", copied / "text"
    arguments = ["build", str(source), "--path-output", str(out)]
    custom = ["--builder", "custom", "--custom-builder", "text"]
    subprocess.run(
        [sys.executable, "-c", building.JUPYTER_BOOK, *arguments, *custom],
        check=True,
        capture_output=True,
    )
    text = (out / "_build" / "text" / "notebooks" / "01_data.txt").read_text(encoding="utf-8")
    assert "[Figure: A line that rises.]" in text
    assert "1.222" in text


def test_the_claims_are_staged_beside_the_executed_notebooks(small: Path) -> None:
    source = small / "_build" / "source"
    assert [one.id for one in read(source / "claims.json")] == ["data.floor"]
    assert (source / "notebooks" / "01_data.ipynb").read_bytes() == executed(small)[0].read_bytes()


def test_the_times_that_were_measured_are_staged(copied: Path) -> None:
    def times() -> dict[str, float]:
        building.stage(copied, executed(copied), copied / "staged")
        told: dict[str, float] = json.loads((copied / "staged" / TIMES).read_text(encoding="utf-8"))
        return told

    assert times() == {}
    executed(copied)[0].with_suffix(".json").write_text('{"seconds": 3.5}', encoding="utf-8")
    assert times() == {"01_data": 3.5}


def _never(*_: object) -> None:
    raise AssertionError("Jupyter Book was called")


def test_nothing_is_built_when_nothing_changed(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_run_jupyter_book", _never)
    assert building.build(copied, executed(copied)) == copied / "_build" / "html"


@pytest.mark.parametrize("changed", ["book/index.md", "_toc.yml", "executed/01_data.ipynb"])
def test_any_change_is_built(copied: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    with (copied / changed).open("a", encoding="utf-8") as file:
        file.write("\n")
    monkeypatch.setattr(building, "_run_jupyter_book", _never)
    with pytest.raises(AssertionError, match="Jupyter Book was called"):
        building.build(copied, executed(copied))


def test_what_makes_the_pages_counts_as_content(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied / "src" / "tinypages"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "page.js").touch()
    settings = '[tool.claimbook]\npages = ["tinypages"]\n'
    (copied / "pyproject.toml").write_text(settings, encoding="utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    book = building.build(copied, executed(copied))
    monkeypatch.setattr(building, "_run_jupyter_book", _never)
    assert building.build(copied, executed(copied)) == book
    (folder / "page.js").write_text("// another one", encoding="utf-8")
    with pytest.raises(AssertionError, match="Jupyter Book was called"):
        building.build(copied, executed(copied))


TWICE = """
import sys
from pathlib import Path
from claimbook.build import build
from claimbook.turns import turn
root = Path(sys.argv[1])
with turn(root, "build"):
    build(root, [root / "executed" / "01_data.ipynb"])
"""


def test_two_builds_at_once_leave_one_book(copied: Path) -> None:
    shutil.rmtree(copied / "_build")
    started = [
        subprocess.Popen([sys.executable, "-c", TWICE, str(copied)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "claim-card" in page(copied, "notebooks/01_data.html")
    assert not list((copied / "_build").glob("scratch*"))


def test_what_a_killed_build_left_is_no_part_of_the_next(copied: Path) -> None:
    """Its Sphinx may still run, and write where it wrote."""
    left = copied / "_build" / "scratch-left" / "_build" / "html"
    left.mkdir(parents=True)
    (copied / "book" / "index.md").write_text(INDEX + "\nnew\n", encoding="utf-8")
    building.build(copied, executed(copied))
    assert "new" in page(copied, "book/index.html")
    assert not left.exists()


def test_a_change_of_the_installed_packages_is_built(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_run_jupyter_book", _never)
    monkeypatch.setattr(building, "_installed", lambda: ["sphinx==0"])
    with pytest.raises(AssertionError, match="Jupyter Book was called"):
        building.build(copied, executed(copied))


def test_a_build_that_stops_leaves_the_old_book(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, scratch: Path, log: Path, *options: str) -> None:
        half = scratch / "_build" / "html"
        half.mkdir(parents=True)
        (half / "index.html").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    before = page(copied, "book/index.html")
    (copied / "book" / "index.md").write_text(INDEX + "\nmore\n", encoding="utf-8")
    monkeypatch.setattr(building, "_run_jupyter_book", killed)
    with pytest.raises(KeyboardInterrupt):
        building.build(copied, executed(copied))
    assert page(copied, "book/index.html") == before
    monkeypatch.undo()
    building.build(copied, executed(copied))
    assert "more" in page(copied, "book/index.html")


def test_every_mistake_of_a_page_stops_the_build_and_is_named(copied: Path) -> None:
    mistakes = [
        "{claim}`data.flor`",
        "```{claims} dat\n```",
        "{ref}`nowhere`",
        r"$\nosuchcommand$",
    ]
    (copied / "book" / "index.md").write_text(
        INDEX + "\n\n".join(["", *mistakes]), encoding="utf-8"
    )
    without_words = json.loads(executed(copied)[0].read_text(encoding="utf-8"))
    figure = without_words["cells"][1]["outputs"][0]["data"]["application/vnd.plotly.v1+json"]
    figure["layout"] = {}
    executed(copied)[0].write_text(json.dumps(without_words), encoding="utf-8")
    with pytest.raises(building.BookError) as raised:
        building.build(copied, executed(copied))
    message = str(raised.value)
    assert "no claim 'data.flor'; did you mean data.floor?" in message
    assert "no claim of a chapter 'dat'; chapters with claims: data" in message
    assert "nowhere" in message
    assert "nosuchcommand" in message
    assert "no text for who cannot see it" in message
    assert "\x1b" not in message


def test_the_book_itself_lists_every_extension_that_it_needs() -> None:
    """The list in ``_config.yml`` replaces Jupyter Book's own."""
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert "claimbook.markup.sphinx_ext" in config
    assert "- sphinx_thebe" not in config
