"""Which code made something: a package whose imports are known."""

from pathlib import Path

import pytest

from claimbook import provenance
from claimbook.project import Project
from claimbook.provenance import Library, ProvenanceError, code_behind


def reached(*modules: str) -> set[str]:
    return Library.of(["tinylens"]).reached(modules)


def test_imports_are_followed_to_the_end_with_the_packages_around(project: Project) -> None:
    assert reached("tinylens.sae.training") == {
        "tinylens",
        "tinylens.model",
        "tinylens.sae",
        "tinylens.sae.training",
        "tinylens.task",
    }
    assert reached("tinylens.figures") == {"tinylens", "tinylens.figures"}


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ("sae/training.py", True),
        ("model.py", True),
        ("task.py", True),
        ("__init__.py", True),
        ("figures.py", False),
        ("sae/training.csv", False),
    ],
)
def test_the_code_behind_a_module_is_all_that_it_reaches(
    project: Project, changed: str, other: bool
) -> None:
    before = code_behind("tinylens.sae.training")
    with (project.root / "src" / "tinylens" / changed).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert code_behind("tinylens.sae.training") == before, "what was asked once stays"
    provenance.code_behind.cache_clear()
    assert (code_behind("tinylens.sae.training") != before) is other


def test_what_cannot_be_read_is_named(project: Project) -> None:
    with pytest.raises(ProvenanceError, match="no_such_package is not installed"):
        Library.of(["no_such_package"])
    (project.root / "src/tinylens/model.py").write_text("def (\n", encoding="utf-8")
    with pytest.raises(ProvenanceError, match=r"tinylens cannot be read.*model\.py"):
        Library.of(["tinylens"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    provenance.code_behind.cache_clear()


def test_a_folder_is_that_of_the_package(project: Project) -> None:
    assert provenance.folder_of("tinylens") == Path(project.root / "src" / "tinylens")
