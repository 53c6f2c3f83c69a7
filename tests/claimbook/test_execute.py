import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import papermill
import pytest

from claimbook import claims, execute, stale, stored_form
from claimbook.__main__ import INTERRUPTED, main
from claimbook.outputs import departures
from claimbook.project import NotebookError, Project
from claimbook.provenance import Library

Write = Callable[..., None]
ALL = ["01_data", "02_training", "03_dictionary"]
CLAIM = (
    "from claimbook.claims import claim\n"
    'claim("{id}", "There are {{value}}.", {value}, on=1, control="none")'
)


def ran(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The notebooks that were executed since the last call."""
    lines = capsys.readouterr().out.splitlines()
    return [line.split()[0] for line in lines if " runs: " in line]


def outputs(project: Project, name: str) -> list[str]:
    """The plain text that the cells of the executed copy show."""
    cells = stored_form.read(project.executed_copy(name)).cells
    shown = [one for cell in cells for one in cell.get("outputs", [])]
    return [one.data["text/plain"] if "data" in one else one.text for one in shown]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_only_what_is_stale_runs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    copies = execute.execute(project)
    assert copies == [project.executed_copy(name) for name in ALL]
    assert ran(capsys) == ALL
    execute.execute(project)
    assert ran(capsys) == []
    (project.root / "src/tinylens/task.py").write_text("SIZE = 4\n", encoding="utf-8")
    assert execute.execute(project) == copies
    assert ran(capsys) == ["01_data", "03_dictionary"]
    assert outputs(project, "01_data") == ["4"]
    execute.execute(project, ["02_training"], everything=True)
    assert ran(capsys) == ["02_training"]


def test_a_clone_takes_what_is_committed(
    project: Project, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless its text, its code or the lock file is another than what the outputs are of."""
    execute.refresh(project)
    shutil.rmtree(project.executed)
    write("02_training", "3 + 3")
    (project.root / "src/tinylens/sae/training.py").write_text("RATE = 1\n", encoding="utf-8")
    capsys.readouterr()
    execute.execute(project)
    assert ran(capsys) == ["02_training", "03_dictionary"]
    taken, reference = project.executed_copy("01_data"), project.reference("01_data")
    assert taken.read_bytes() == reference.read_bytes()
    # What was taken stays, until somebody asks for runs.
    execute.execute(project)
    assert ran(capsys) == []
    execute.execute(project, committed=False)
    assert ran(capsys) == ["01_data"]


def test_stored_outputs_without_a_record_are_not_taken(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    execute.refresh(project)
    shutil.rmtree(project.executed)
    records = json.loads(project.made_from.read_text(encoding="utf-8"))
    del records["02_training"]
    project.made_from.write_text(json.dumps(records), encoding="utf-8")
    project.reference("03_dictionary").unlink()
    capsys.readouterr()
    execute.execute(project)
    assert ran(capsys) == ["02_training", "03_dictionary"]


def test_one_notebook_refreshed_leaves_the_records_of_the_others(
    project: Project, write: Write
) -> None:
    execute.refresh(project)
    before = stale.committed(project)
    write("01_data", "5 + 5")
    write("02_training", "6 + 6")
    execute.refresh(project, ["01_data"])
    after = stale.committed(project)
    assert [name for name in ALL if before[name] != after[name]] == ["01_data"]


def test_what_was_taken_does_not_pass_for_a_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output that was changed by hand, under its old record, is found out."""
    execute.refresh(project)
    shutil.rmtree(project.executed)
    reference = project.reference("01_data")
    reference.write_bytes(reference.read_bytes().replace(b'"3"', b'"7"'))
    assert main(["--root", str(project.root), "execute"]) == 0
    assert outputs(project, "01_data") == ["7"]
    assert main(["--root", str(project.root), "same"]) == 1
    assert "The last run of 01_data" in capsys.readouterr().err


def test_a_run_is_held_against_what_is_committed_byte_for_byte(project: Project) -> None:
    execute.refresh(project)
    assert departures(project) == []
    copy = project.executed_copy("02_training")
    copy.write_bytes(copy.read_bytes().replace(b'"execution_count": 2', b'"execution_count": 3'))
    project.executed_copy("03_dictionary").unlink()
    assert [sentence.split()[4] for sentence in departures(project)] == [
        "02_training",
        "03_dictionary",
    ]


def test_how_long_a_notebook_took_is_kept_with_its_copy(project: Project) -> None:
    started = time.monotonic()
    (copy,) = execute.execute(project, ["01_data"])
    took = stale.seconds(copy)
    assert took is not None
    # The record rounds to a tenth of a second.
    assert 0 < took <= time.monotonic() - started + 0.05
    assert stale.seconds(project.reference("01_data")) is None
    made_from = stale.parts(project, Library.of(project.packages), "01_data")
    assert stale.reasons(project, "01_data", made_from) == []
    project.record("01_data").write_text("{", encoding="utf-8")
    assert stale.seconds(copy) is None


def test_notebooks_run_side_by_side(
    project: Project, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other to begin."""
    monkeypatch.setattr(execute, "WORKERS", 2)
    meet = (
        "from pathlib import Path\nimport time\nPath('{me}').touch()\nwaited = 0\n"
        "while not Path('{other}').exists() and waited < 1200:\n"
        "    time.sleep(0.1)\n    waited += 1\nPath('{other}').exists()"
    )
    write("01_data", meet.format(me="first", other="second"))
    write("02_training", meet.format(me="second", other="first"))
    execute.execute(project, ALL[:2])
    assert [outputs(project, name) for name in ALL[:2]] == [["True"], ["True"]]


def test_progress_is_shown(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    execute.execute(project, ["02_training"])
    shown = capsys.readouterr().out
    assert "02_training runs: never executed" in shown
    assert "02_training  cell 1 of 2" in shown
    assert "02_training  cell 2 of 2" in shown
    assert "02_training  done" in shown


def test_how_many_notebooks_are_done_is_shown(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    execute.execute(project)
    done = [
        line for line in capsys.readouterr().out.splitlines() if " of 3" in line and "(" in line
    ]
    assert [line.split("(")[1][:6] for line in done] == ["1 of 3", "2 of 3", "3 of 3"]
    assert ["left" in line for line in done] == [True, True, False]


def test_what_took_longest_begins_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute.execute(project)
    took = {"01_data": 5.0, "02_training": 1.0, "03_dictionary": 9.0}
    monkeypatch.setattr(stale, "expected_seconds", lambda _, name: took[name])
    monkeypatch.setattr(execute, "WORKERS", 1)
    capsys.readouterr()
    execute.execute(project, everything=True)
    began = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "cell 1" in line]
    assert began == ["03_dictionary", "01_data", "02_training"]


def test_a_notebook_that_does_not_exist(project: Project) -> None:
    with pytest.raises(NotebookError, match="no notebook '05_x'; there are 01_data, 02_training"):
        execute.execute(project, ["05_x"])


def test_the_kernel_is_this_python_in_the_folder_of_the_notebooks(
    project: Project, only: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where another kernel is installed under the same name."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = {"argv": ["false"], "display_name": "Other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(other), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    only("01_where", "import os, sys\n[sys.executable, os.getcwd()]")
    execute.execute(project)
    shown = json.loads(outputs(project, "01_where")[0].replace("'", '"'))
    assert shown == [sys.executable, str(project.notebooks)]


def test_the_same_run_gives_the_same_bytes(project: Project, write: Write) -> None:
    slow = "import time\nfor i in range(4):\n    print(i, flush=True)\n    time.sleep(0.05)"
    write("02_training", slow, "import warnings\n{'b': 1, 'a': 2}")
    execute.refresh(project)
    first = contents(project.notebooks)
    execute.refresh(project, everything=True)
    assert contents(project.notebooks) == first
    text = first["02_training.ipynb"].decode()
    stored = json.loads(text)
    assert [output["text"] for output in stored["cells"][1]["outputs"]] == [
        ["0\n", "1\n", "2\n", "3\n"]
    ]
    assert [cell["id"] for cell in stored["cells"]] == ["cell-001", "cell-002", "cell-003"]
    assert "papermill" not in text
    assert str(project.root) not in text
    assert '"tags": []' not in text


def test_outputs_that_differ_from_the_reference_are_pointed_out(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    execute.refresh(project)
    (project.root / "src/tinylens/figures.py").write_text("STYLE = 'bold'\n", encoding="utf-8")
    capsys.readouterr()
    execute.execute(project)
    assert (
        "02_training differs from its reference (notebooks/02_training.ipynb), first in cell [1]; "
        "`make refresh` rewrites it"
    ) in capsys.readouterr().out


FAILING = "first = 1\nfirst / 0"


def test_a_failing_cell_stops_the_run_and_keeps_what_was_there(
    project: Project, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    execute.refresh(project)
    references = {name: project.reference(name).read_bytes() for name in ALL}
    copy = project.executed_copy("02_training").read_bytes()
    write("02_training", "1 + 1", FAILING)
    write("03_dictionary", "'fine'")
    capsys.readouterr()
    with pytest.raises(NotebookError) as failure:
        execute.execute(project)
    message = str(failure.value).splitlines()
    assert message[0] == ("notebooks/02_training.md, cell [2]: ZeroDivisionError: division by zero")
    assert message[1] == "The cell begins: first = 1"
    assert "----> 2 first / 0" in message
    assert ran(capsys) == ["02_training", "03_dictionary"]
    assert project.executed_copy("02_training").read_bytes() == copy
    assert {name: project.reference(name).read_bytes() for name in ALL} == references
    assert outputs(project, "03_dictionary") in (["'fine'"], ["4"])


def test_a_failing_cell_keeps_every_reference(project: Project, write: Write) -> None:
    """Not even the notebooks that succeeded are rewritten."""
    execute.refresh(project)
    references = {name: project.reference(name).read_bytes() for name in ALL}
    write("01_data", "'changed'")
    write("03_dictionary", FAILING)
    with pytest.raises(NotebookError):
        execute.refresh(project)
    assert {name: project.reference(name).read_bytes() for name in ALL} == references
    write("03_dictionary", "'repaired'")
    execute.refresh(project)
    assert "changed" in project.reference("01_data").read_text(encoding="utf-8")


def test_a_kernel_that_dies_is_reported(project: Project, only: Write) -> None:
    only("01_dies", "1", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match=r"01_dies\.md, cell \[2\]: the kernel stopped"):
        execute.execute(project)


def test_killed_before_the_record_is_written(
    project: Project,
    only: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only("01_one", "1")
    execute.execute(project)
    only("01_one", "2")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stale, "record", killed)
        execute.execute(project)
    only("01_one", "1")
    capsys.readouterr()
    execute.execute(project)
    assert ran(capsys) == ["01_one"]
    assert outputs(project, "01_one") == ["1"]


WAITS = (
    "from pathlib import Path\nimport time\n"
    "if not Path('started').exists():\n    Path('started').touch()\n    time.sleep(60)\n'ready'"
)


@pytest.fixture
def waiting(project: Project, only: Write) -> Iterator["subprocess.Popen[str]"]:
    """A run of the command line that is in the middle of a notebook."""
    only("01_waits", WAITS)
    command = [sys.executable, "-m", "claimbook", "--root", str(project.root), "execute"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        # A job in the background inherits that Ctrl-C is ignored; a terminal's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started = project.notebooks / "started"
    deadline = time.monotonic() + 300
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.exists()
    yield process
    process.kill()
    process.communicate()


def test_killed_in_the_middle_of_a_notebook(
    project: Project, waiting: "subprocess.Popen[str]"
) -> None:
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.wait()
    assert not project.executed_copy("01_waits").exists()
    execute.execute(project)
    assert outputs(project, "01_waits") == ["'ready'"]


def test_interrupted_at_the_terminal(project: Project, waiting: "subprocess.Popen[str]") -> None:
    os.kill(waiting.pid, signal.SIGINT)
    _, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == INTERRUPTED
    assert errors.endswith("Interrupted; what was finished is kept.\n")
    execute.execute(project)
    assert outputs(project, "01_waits") == ["'ready'"]


def test_a_refreshed_notebook_takes_parameters(
    project: Project, only: Write, tmp_path: Path
) -> None:
    only("01_steps", ":tags: [parameters]\n\nsteps = 3", "steps * 2")
    execute.refresh(project)
    ran = papermill.execute_notebook(
        str(project.reference("01_steps")),
        str(tmp_path / "out.ipynb"),
        parameters={"steps": 100},
        progress_bar=False,
    )
    assert ran.cells[-1].outputs[0].data["text/plain"] == "200"


def test_refresh_collects_the_claims(project: Project, write: Write) -> None:
    write("01_data", CLAIM.format(id="data.size", value=3))
    write("02_training", CLAIM.format(id="training.steps", value=300))
    execute.refresh(project)
    assert [(one.id, one.value) for one in claims.read(project.claims)] == [
        ("data.size", 3),
        ("training.steps", 300),
    ]


def test_a_claim_stated_twice_rewrites_nothing(project: Project, write: Write) -> None:
    for name in ("01_data", "02_training"):
        write(name, CLAIM.format(id="data.size", value=3))
    with pytest.raises(claims.ClaimsError, match=r"'data\.size' is stated twice"):
        execute.refresh(project)
    assert not list(project.notebooks.glob("*.ipynb"))


def test_the_command_line_ends_with_a_status(
    project: Project, only: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(project.root)]
    only("01_one", "1 + 1")
    assert main([*root, "pairs"]) == 1
    assert main([*root, "refresh"]) == 0
    assert main([*root, "pairs"]) == 0
    assert main([*root, "outputs"]) == 0
    assert "01_one: 1 cells have an output" in capsys.readouterr().out
    only("01_one", FAILING)
    assert main([*root, "execute"]) == 1
    assert "notebooks/01_one.md, cell [1]: ZeroDivisionError" in capsys.readouterr().err
