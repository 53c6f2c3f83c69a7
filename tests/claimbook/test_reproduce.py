"""The box that says how to run a page again, and the files that it offers."""

import json
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tiny_sphinx import CONF, Built, build_in, links, words

from claimbook.markup import reproduce
from claimbook.markup.exercises import BLANK
from claimbook.markup.openings import TIMES

EXERCISE = """# The data

```{exercise-start} Recall
:label: ex-1
```
How many?
```{exercise-end}
```

```{solution-start} ex-1
:class: dropdown
```
"""
INDEX = "# Start\n\n```{toctree}\n:glob:\n../notebooks/*\n```\n"


def as_text(*cells: nbformat.NotebookNode) -> str:
    metadata = {"language_info": {"name": "python"}}
    return nbformat.writes(new_notebook(cells=list(cells), metadata=metadata))


DATA = [
    new_code_cell(
        "half_length = 3\nname = 'a b'\nsizes = (1, 2)", metadata={"tags": ["parameters"]}
    ),
    new_markdown_cell(EXERCISE),
    new_code_cell("26**3", metadata={"tags": ["solution"]}),
    new_markdown_cell("```{solution-end}\n```\n"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    conf = (
        CONF.replace('["myst_nb"', '["myst_nb", "sphinx_exercise"')
        + "claimbook_versions = ['nbformat', 'sphinx']\nhtml_theme = 'sphinx_book_theme'\n"
        'exclude_patterns = ["notebooks/01_data.md"]\n'
    )
    pages = {
        "book/index.md": INDEX,
        "notebooks/01_data.ipynb": as_text(*DATA),
        "notebooks/01_data.md": "the text half",
        "notebooks/02_bad.ipynb": as_text(
            new_markdown_cell("# Bad\n\n```{solution} ex-1\nIt is.\n```\n")
        ),
        "notebooks/03_text.md": "# Text\n",
        "_config.yml": "repository: {url: https://github.com/owner/name}\n",
        TIMES: json.dumps({"01_data": 7.0}),
    }
    return build_in(tmp_path_factory.mktemp("reproduce"), pages, conf)


def box(built: Built, page: str) -> str:
    return built.page(page).partition('<section class="reproduce"')[2].partition("</section>")[0]


def test_the_box_says_how_to_run_the_page_again(built: Built) -> None:
    said = words(box(built, "notebooks/01_data"))
    assert ".venv/bin/python -m claimbook execute --all 01_data" in said
    other = ".venv/bin/papermill notebooks/01_data.ipynb mine.ipynb -p half_length 3 -p name 'a b'"
    assert other in said
    assert "sizes" not in said
    for package in ("nbformat", "sphinx"):
        assert f"{package} {version(package)}" in said
    assert "7 s on a machine with" in said


def test_a_page_without_parameters_and_time_tells_none(built: Built) -> None:
    said = words(box(built, "notebooks/02_bad"))
    assert "execute --all 02_bad" in said
    assert "papermill" not in said
    assert "Took" not in said


def test_pages_that_are_no_notebooks_have_no_box(built: Built) -> None:
    for page in ("book/index", "notebooks/03_text", "search"):
        assert "Reproduce" not in built.page(page)


def test_the_notebook_its_text_and_its_exercises_are_offered(built: Built) -> None:
    html = box(built, "notebooks/01_data")
    offered = [one for one in links(html) if "downloads" in one]
    assert html.count(" download>") == len(offered) == 3
    folder = built.out / "downloads"
    assert offered == [
        f"../downloads/{name}"
        for name in ("01_data.ipynb", "01_data.md", "01_data-exercises.ipynb")
    ]
    assert json.loads((folder / "01_data.ipynb").read_text())["cells"][2]["source"]
    assert (folder / "01_data.md").read_text() == "the text half"
    exercises = nbformat.read(folder / "01_data-exercises.ipynb", as_version=4)
    assert "26**3" not in str(exercises)
    assert exercises.cells[2].source == BLANK
    assert "How many?" in exercises.cells[1].source


def test_a_notebook_whose_solutions_do_not_match_is_warned_of(built: Built) -> None:
    assert "exercises: ```{solution} ex-1 is to be a pair" in built.warned
    assert "02_bad.ipynb" in built.warned
    assert not (built.out / "downloads" / "02_bad-exercises.ipynb").exists()


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ("title: A\n", None),
        ("repository:\n", None),
        ("repository: {url: https://github.com/o/n/}", "gh/o/n"),
        ("repository: {url: https://gitlab.com/g/o/n}", "gl/g%2Fo%2Fn"),
        ("repository: {url: https://example.org/n.git}", "git/https%3A%2F%2Fexample.org%2Fn.git"),
    ],
)
def test_a_notebook_can_be_launched_where_the_repository_is_known(
    tmp_path: Path, config: str, address: str | None
) -> None:
    (tmp_path / "_config.yml").write_text(config, encoding="utf-8")
    found = reproduce.launch_address(tmp_path, "notebooks/01_data")
    whole = f"https://mybinder.org/v2/{address}/HEAD?urlpath=lab/tree/notebooks/01_data.ipynb"
    assert found == (whole if address else None)


def test_the_launch_link_stands_in_the_box(built: Built) -> None:
    (launch,) = [one for one in links(box(built, "notebooks/01_data")) if "mybinder" in one]
    assert launch.startswith("https://mybinder.org/v2/gh/owner/name/HEAD")
