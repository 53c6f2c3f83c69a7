"""What around a checkout would change what notebooks show, and how it is kept away from them.

Only the standard library is imported: ``make doctor`` asks before anything is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CHANGING = (
    # which code runs, and how
    "PYTHON",
    "VIRTUAL_ENV",
    # how a kernel is set up, and what it shows
    "IPYTHON",
    "IPYKERNEL_",
    "JUPYTER_",
    "COLUMNS",
    "LINES",
    "PAGER",
    "NO_COLOR",
    "FORCE_COLOR",
    # libraries
    "MPL",
    "MATPLOTLIBRC",
    "PLOTLY_",
    "PANDAS_",
    "NPY_PROMOTION_STATE",
    "PYDANTIC_",
    "TQDM_",
    "TRANSFORMERS_",
    "TORCH_",
    "JAXTYPING_",
    # what prints on its own
    "OMP_DISPLAY",
    "KMP_SETTINGS",
    "KMP_VERSION",
    "MKL_VERBOSE",
)
"""Variables that can change an output, by how their names begin."""
HARMLESS = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONNOUSERSITE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
)
"""Those that begin so and cannot."""


def changing(environment: Mapping[str, str]) -> list[str]:
    """The variables that are set and could change an output."""
    return sorted(
        name for name in environment if name.startswith(CHANGING) and name not in HARMLESS
    )


def begin_without() -> None:
    """Begin this process once more without what its interpreter has taken from variables.

    Processes that it starts would be given the same options (``-O``, ``-W``). Packages are found
    as before: ``PYTHONPATH`` stays.
    """
    read = {name for name in changing(os.environ) if name.startswith("PYTHON")} - {"PYTHONPATH"}
    if read:
        left = {name: value for name, value in os.environ.items() if name not in read}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], left)


@contextmanager
def shielded(root: Path) -> Iterator[None]:
    """Keep such variables, and the user's IPython, from this process and those that it starts.

    The project's packages are found in the checkout, whatever ``PYTHONPATH`` says.

    Args:
        root: the checkout; a profile of IPython of its own lies in its ``_build``.
    """
    environment, path = dict(os.environ), list(sys.path)
    sources = list(dict.fromkeys([str(root / "src"), str(Path(__file__).parents[1])]))
    foreign = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    try:
        sys.path[:] = [*sources, *(place for place in path if place not in [*foreign, *sources])]
        for name in changing(environment):
            del os.environ[name]
        os.environ["PYTHONPATH"] = os.pathsep.join(sources)
        os.environ["PYTHONNOUSERSITE"] = "1"
        os.environ["PYTHONUTF8"] = "1"
        os.environ["IPYTHONDIR"] = str(root / "_build" / "ipython")
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
