import json
import os
from pathlib import Path

import pytest

from claimbook import stale
from claimbook.project import Project, replace_with
from claimbook.provenance import Library

ALL = {"01_data", "02_training", "03_dictionary"}


def why(project: Project, name: str) -> list[str]:
    library = Library.of(project.packages)
    return stale.reasons(project, name, stale.parts(project, library, name))


def stale_names(project: Project) -> set[str]:
    return {name for name in project.names() if why(project, name)}


@pytest.fixture
def executed(project: Project) -> Project:
    """The checkout as if every notebook had just been executed."""
    library = Library.of(project.packages)
    for name in project.names():
        replace_with(project.executed_copy(name), b"{}")
        stale.record(project, name, stale.parts(project, library, name), 1.5)
    return project


def test_what_was_never_executed_is_stale(project: Project) -> None:
    assert stale_names(project) == ALL
    assert why(project, "01_data") == ["never executed"]


def test_what_was_executed_is_not(executed: Project) -> None:
    assert stale_names(executed) == set()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("src/tinylens/__init__.py", ALL),
        ("src/tinylens/task.py", {"01_data", "03_dictionary"}),
        ("src/tinylens/model.py", {"03_dictionary"}),
        ("src/tinylens/sae/__init__.py", {"03_dictionary"}),
        ("src/tinylens/sae/training.py", {"03_dictionary"}),
        ("src/tinylens/figures.py", {"02_training"}),
        ("notebooks/01_data.md", {"01_data"}),
        ("requirements.lock", ALL),
        ("README.md", set()),
    ],
)
def test_a_change_makes_exactly_what_depends_on_it_stale(
    executed: Project, changed: str, expected: set[str]
) -> None:
    with (executed.root / changed).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert stale_names(executed) == expected


def test_a_data_file_that_bears_a_module_s_name_belongs_to_it(executed: Project) -> None:
    data = executed.root / "src" / "tinylens" / "sae" / "training.csv"
    data.write_text("1\n", encoding="utf-8")
    assert stale_names(executed) == {"03_dictionary"}
    library = Library.of(executed.packages)
    for name in executed.names():
        stale.record(executed, name, stale.parts(executed, library, name), 1.5)
    data.write_text("2\n", encoding="utf-8")
    assert stale_names(executed) == {"03_dictionary"}


def test_time_stamps_do_not_matter(executed: Project) -> None:
    for path in executed.root.rglob("*"):
        os.utime(path, (1, 1))
    assert stale_names(executed) == set()


def test_undoing_a_change_leaves_nothing_to_do(executed: Project) -> None:
    path = executed.source("01_data")
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "\nMore.\n", encoding="utf-8")
    assert stale_names(executed) == {"01_data"}
    path.write_text(before, encoding="utf-8")
    assert stale_names(executed) == set()


def test_the_reason_is_named(executed: Project) -> None:
    (executed.root / "src/tinylens/task.py").write_text("SIZE = 4\n", encoding="utf-8")
    executed.lock.write_text("torch==2.14.0\n", encoding="utf-8")
    assert why(executed, "01_data") == ["the lock file changed", "tinylens.task changed"]


def test_a_new_import_is_named(executed: Project) -> None:
    path = executed.root / "src/tinylens/model.py"
    path.write_text("import tinylens.figures\n", encoding="utf-8")
    assert why(executed, "03_dictionary") == [
        "tinylens.model changed",
        "tinylens.figures is now imported",
        "tinylens.task is no longer imported",
    ]


def test_another_python_version_makes_stale(executed: Project) -> None:
    record = executed.record("01_data")
    parts = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**parts, stale.PYTHON: "3.0"}), encoding="utf-8")
    assert why(executed, "01_data") == ["the Python version changed"]


def test_a_copy_without_its_own_record_is_stale(executed: Project) -> None:
    """A run killed between the two leaves a new copy beside an old record."""
    executed.executed_copy("01_data").write_bytes(b'{"newer": true}')
    assert stale_names(executed) == {"01_data"}


@pytest.mark.parametrize("content", [b"", b'{"its text": ', b"\xff"])
def test_a_damaged_record_is_stale(executed: Project, content: bytes) -> None:
    executed.record("01_data").write_bytes(content)
    assert stale_names(executed) == {"01_data"}


def test_a_cell_that_is_not_python_may_import_anything(executed: Project) -> None:
    path = executed.source("01_data")
    path.write_text(path.read_text(encoding="utf-8").replace("SIZE\n", "SIZE\n%time\n"))
    library = Library.of(executed.packages)
    assert stale.parts(executed, library, "01_data").keys() >= library.files.keys()


def test_files_are_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    replace_with(path, b"old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_with(path, b"new")
    assert path.read_bytes() == b"old"
    replace_with(path, b"newer")
    assert [one.name for one in path.parent.iterdir()] == ["file"]
