"""What a user has set up for other work does not change what a notebook shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from claimbook.project import Project
from claimbook.stored_form import read
from claimbook.surroundings import changing, shielded

from .conftest import write_notebook

ROOT = Path(__file__).parents[2]
SHOWS = {
    "the package that is imported": "import tinylens\ntinylens.SIZE",
    "a file run at the start": "sorted({'by_python', 'by_ipython'} & {*globals()})",
    "how numbers are printed": "0.1 + 0.2",
    "how much of a cell is shown": "1\n2",
    "warnings": (
        "import warnings\nwith warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.warn('careful')\nlen(seen)"
    ),
    "assertions": "try:\n    assert False\nexcept AssertionError:\n    print('checked')",
    "the backend of matplotlib": "import os\nos.environ['MPLBACKEND']",
    "the renderer of plotly": "import plotly.io\nplotly.io.renderers.default",
    "progress bars": "from tqdm import tqdm\nlist(tqdm([1], bar_format='{desc}', desc='bar'))",
    "the width of the terminal": "import shutil\nshutil.get_terminal_size().columns",
    "the words of pydantic": (
        "import pydantic\ntry:\n    pydantic.TypeAdapter(int).validate_python('x')\n"
        "except pydantic.ValidationError as error:\n    print(error)"
    ),
    "where packages are looked for": "import sys\n['other' in place for place in sys.path]",
    "the order of sets": "import sys\nsys.flags.hash_randomization",
    "the encoding of files": "import os\nopen(os.devnull).encoding",
}
FILES = {
    "other/tinylens/__init__.py": "SIZE = 666\n",
    "started.py": "by_python = 1\n",
    "ipython/profile_default/startup/00.py": "by_ipython = 1\n",
    "ipython/profile_default/ipython_config.py": (
        "c.PlainTextFormatter.float_precision = '%.1f'\n"
        "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    ),
    "home/.ipython/profile_default/startup/00.py": "by_ipython = 1\n",
    "jupyter/jupyter_config.py": "raise SystemExit(3)\n",
    "otherenv/lib/python3.11/site-packages/here.py": "",
}


def variables(user: Path) -> dict[str, str]:
    """Each changes, or breaks, one of the cells; the PYTHONPATH of this run stays behind."""
    return {
        "PYTHONPATH": os.pathsep.join([str(user / "other"), os.environ.get("PYTHONPATH", "")]),
        "PYTHONSTARTUP": str(user / "started.py"),
        "PYTHONWARNINGS": "ignore",
        "PYTHONOPTIMIZE": "1",
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(user / "ipython"),
        "HOME": str(user / "home"),
        "JUPYTER_CONFIG_DIR": str(user / "jupyter"),
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "nonsense",
        "VIRTUAL_ENV": str(user / "otherenv"),
        "MPLBACKEND": "agg",
        "PLOTLY_RENDERER": "png",
        "TQDM_DISABLE": "1",
        "COLUMNS": "33",
        "PYDANTIC_ERRORS_INCLUDE_URL": "0",
        "LC_ALL": "C",
    }


def shown(root: Path, names: list[str], environment: dict[str, str]) -> dict[str, list[object]]:
    """What each cell of these notebooks shows when they are executed by the command line."""
    project = Project(root)
    (root / "src" / "tinylens").mkdir(parents=True)
    (root / "src" / "tinylens" / "__init__.py").write_text("SIZE = 3\n", encoding="utf-8")
    settings = "[tool.claimbook]\npackages = ['tinylens']\n"
    (root / "pyproject.toml").write_text(settings, encoding="utf-8")
    (root / "requirements.lock").touch()
    project.notebooks.mkdir()
    for name in names:
        write_notebook(project, name, *SHOWS.values())
    command = [sys.executable, "-m", "claimbook", "--root", str(root), "execute"]
    ran = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert ran.returncode == 0, ran.stderr
    cells = [cell for name in names for cell in read(project.executed_copy(name)).cells]
    outputs = [cell.outputs for cell in cells if cell.cell_type == "code"]
    return {what: outputs[number :: len(SHOWS)] for number, what in enumerate(SHOWS)}


Runs = tuple[dict[str, list[object]], dict[str, list[object]]]


@pytest.fixture(scope="module", params=[["01_alone"], ["01_beside", "02_another"]], ids=len)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One notebook, or two in warm kernels: in calm surroundings, and in those of a user."""
    user = tmp_path_factory.mktemp("user")
    for name, text in FILES.items():
        (user / name).parent.mkdir(parents=True, exist_ok=True)
        (user / name).write_text(text, encoding="utf-8")
    calm, loud = tmp_path_factory.mktemp("calm"), tmp_path_factory.mktemp("loud")
    return (
        shown(calm, request.param, dict(os.environ)),
        shown(loud, request.param, {**os.environ, **variables(user)}),
    )


@pytest.mark.parametrize("what", SHOWS)
def test_settings_of_the_user_do_not_change(runs: Runs, what: str) -> None:
    calm, loud = runs
    assert loud[what] == calm[what] and all(calm[what])


def test_the_tests_themselves_are_shielded() -> None:
    """nbval begins its kernels in this process's surroundings."""
    assert os.environ["IPYTHONDIR"] == str(ROOT / "_build" / "ipython")
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT / "src")
    assert {"COLUMNS", "LINES"}.isdisjoint(changing(os.environ))


def test_what_was_kept_away_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    monkeypatch.syspath_prepend(tmp_path / "other")
    before, path = dict(os.environ), list(sys.path)
    with shielded(tmp_path):
        assert "PYTHONWARNINGS" not in os.environ
        assert sys.path[0] == str(tmp_path / "src")
        assert str(tmp_path / "other") not in sys.path
    assert (dict(os.environ), sys.path) == (before, path)


def test_what_asks_for_speed_or_a_store_is_left_alone() -> None:
    names = [
        "OMP_NUM_THREADS",
        "ATEN_CPU_CAPABILITY",
        "PALINDROME_LENS_STORE",
        "WANDB_MODE",
        "PATH",
    ]
    assert changing(dict.fromkeys(names, "1")) == []
    assert changing({"PYTHONPATH": "", "PYTHONUTF8": "1"}) == ["PYTHONPATH"]
