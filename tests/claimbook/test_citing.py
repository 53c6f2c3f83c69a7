"""How to cite the book, and the files that hold all claims."""

import csv
import json
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from nbformat.v4 import new_code_cell, new_notebook, new_output, writes
from pybtex.database import parse_string  # type: ignore[import-untyped]
from tiny_sphinx import Built, build_in, links, words

from claimbook.claims import claim
from claimbook.markup import citing

ROOT = Path(__file__).parents[2]
CITED: dict[str, object] = {
    "type": "software",
    "title": "a-lens",
    "authors": [
        {"family-names": "Noether", "given-names": "Emmy"},
        {"name": "The maintainers and friends"},
    ],
    "version": "1.2.3",
    "date-released": "2026-11-23",
    "license": "MIT",
}
BIBTEX = """@software{a-lens,
  title = {{a-lens}},
  author = {Noether, Emmy and {The maintainers and friends}},
  year = {2026},
  version = {1.2.3},
  license = {MIT},
}"""
SHARE = claim("data.share", "It is {value:%}.", 0.25, on=4, control="none")
INDEX = "# Start\n\n```{citation}\n```\n\n```{claims-files}\n```\n\n```{claims}\n```\n"


def build(folder: Path, cited: dict[str, object] | None) -> Built:
    shown = new_output("execute_result", data=SHARE._repr_mimebundle_(), execution_count=1)
    cells = [new_code_cell("show()", outputs=[shown], execution_count=1)]
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_data.ipynb").write_text(writes(notebook), encoding="utf-8")
    if cited is not None:
        (folder / citing.CITATION).write_text(yaml.safe_dump(cited), encoding="utf-8")
    index = f"---\norphan: true\n---\n{INDEX}\n```{{toctree}}\n../notebooks/01_data\n```\n"
    return build_in(folder, {"book/index.md": index})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("citing"), CITED)


def test_works_are_labelled_as_they_are_cited() -> None:
    works = {
        "one": "author = {Ng, Andrew}, year = {2011}",
        "two": 'author = {Aapo Hyv{\\"a}rinen and Oja, Erkki}, year = {2000}',
        "three": "author = {Gao, Leo and {la Tour}, Tom and Goh, Gabriel}, year = {2024a}",
    }
    read = parse_string("\n".join(f"@misc{{{k}, {v}}}" for k, v in works.items()), "bibtex")
    labels = citing.AuthorYearLabels().format_labels(read.entries.values())
    assert list(labels) == ["Ng, 2011", "Hyvärinen and Oja, 2000", "Gao et al., 2024a"]


def test_bibtex_says_what_the_citation_file_says() -> None:
    assert citing.bibtex(CITED) == BIBTEX
    assert "url = {https://example.org/a}" in citing.bibtex(
        CITED | {"repository-code": "https://example.org/a"}
    )


def test_the_book_s_own_citation_is_of_the_version_that_is_installed() -> None:
    text = citing.bibtex(citing.citation(ROOT))
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = pyproject.partition('version = "')[2].partition('"')[0]
    assert f"version = {{{version}}}" in text
    assert "{{The palindrome-lens maintainers}}" in text


def test_the_entry_stands_in_the_page(built: Built) -> None:
    said = words(built.page("book/index"))
    assert "".join(BIBTEX.split()) in said.replace(" ", "")


def test_without_a_citation_file_the_directive_is_warned_of(tmp_path: Path) -> None:
    assert "there is no CITATION.cff" in build(tmp_path, None).warned


def test_the_claims_can_be_had_as_files_that_know_their_version(built: Built) -> None:
    offered = [one for one in links(built.page("book/index")) if "downloads" in one]
    assert offered == ["../downloads/claims.csv", "../downloads/claims.json"]
    whole = json.loads((built.out / "downloads" / "claims.json").read_text(encoding="utf-8"))
    (stated,) = whole.pop("claims")
    assert whole == {"book": "a-lens", "version": "1.2.3"}
    assert stated["id"] == "data.share"
    assert stated["statement"] == "It is 25 %."
    assert (stated["value"], stated["checked_on"], stated["control"]) == (0.25, 4, "none")
    with (built.out / "downloads" / "claims.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {key: str(value) for key, value in (whole | stated).items()}
