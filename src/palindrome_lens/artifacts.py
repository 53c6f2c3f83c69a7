"""Models on disk: safetensors and JSON, found by what made them, checked when read.

An artifact is a pair of files, ``NAME-KEY.safetensors`` (the tensors) and ``NAME-KEY.json`` (what
made them, and the checksum of the tensors). ``KEY`` is a hash of the configuration and of the code
that were used, so an artifact of other settings or of older code is never found, only replaced.
The code is that of the module that makes it and of all that this one imports in turn.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from claimbook.provenance import code_behind

logger = logging.getLogger(__name__)
Tensors = dict[str, Tensor]


class ArtifactError(ValueError):
    """An artifact that is missing, damaged, or made by something else."""


def store() -> Path:
    """Where artifacts lie: ``$PALINDROME_LENS_STORE``, else ``_build/artifacts`` of the checkout.

    Outside a checkout (the package installed elsewhere) it is below the working directory.
    """
    if named := os.environ.get("PALINDROME_LENS_STORE"):
        return Path(named)
    checkout = Path(__file__).parents[2]
    base = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
    return base / "_build" / "artifacts"


def key(made_from: Mapping[str, Any], made_by: str) -> str:
    """A short hash of a configuration (anything JSON can hold) and of the code behind a module."""
    text = f"{_canonical(made_from)} {code_behind(made_by)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(tensor: Tensor) -> str:
    """A short hash of the shape, type and values of a tensor."""
    return hashlib.sha256(save_tensors({"tensor": tensor.contiguous()})).hexdigest()[:16]


def find_or_make(
    name: str,
    made_from: Mapping[str, Any],
    made_by: str,
    make: Callable[[], Tensors],
) -> Tensors:
    """The tensors that ``make`` returns, from disk where the same code made them before.

    ``made_by`` is the name of the module whose code decides what they are.

    A damaged artifact is reported through ``logging`` and made again. Of several processes that
    want an artifact at the same time one makes it, and the others wait.
    """
    return find_or_make_all(name, [made_from], made_by, lambda missing: [make()])[0]


def find_or_make_all(
    name: str,
    made_from: Sequence[Mapping[str, Any]],
    made_by: str,
    make: Callable[[list[int]], Iterable[Tensors]],
) -> list[Tensors]:
    """Several artifacts, like :func:`find_or_make`; those that are missing are made at once.

    Args:
        make: is given the places of the missing ones in ``made_from``, and returns their tensors.
    """
    paths = [store() / f"{name}-{key(settings, made_by)}" for settings in made_from]
    tensors = [_find(path, settings) for path, settings in zip(paths, made_from, strict=True)]
    absent = sorted({path for path, content in zip(paths, tensors, strict=True) if content is None})
    if not absent:
        return [content for content in tensors if content is not None]
    # Beside the store: a lock leaves its file behind.
    folder = store().with_name("locks")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        # In one order for all processes, so that no two wait for each other.
        for path in absent:
            locks.enter_context(FileLock(folder / path.name))
        missing = [i for i, path in enumerate(paths) if path in absent and not _present(path)]
        for i, content in zip(missing, make(missing) if missing else [], strict=True):
            kept = {field: tensor.detach().contiguous() for field, tensor in content.items()}
            write(paths[i], kept, made_from[i])
    return [read(path, settings) for path, settings in zip(paths, made_from, strict=True)]


def _find(path: Path, made_from: Mapping[str, Any]) -> Tensors | None:
    try:
        return read(path, made_from)
    except ArtifactError as error:
        if _present(path):
            logger.warning("%s It is made again.", error)
            path.with_suffix(".json").unlink(missing_ok=True)
        return None


def _present(path: Path) -> bool:
    return path.with_suffix(".json").exists()


def write(path: Path, tensors: Tensors, made_from: Mapping[str, Any]) -> None:
    """Write an artifact; a reader sees all of it or nothing, whenever the writer is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = save_tensors(tensors)
    record = {"made_from": made_from, "sha256": hashlib.sha256(data).hexdigest()}
    _replace(path.with_suffix(".safetensors"), data)
    # Last, because an artifact counts as present once its record exists.
    _replace(path.with_suffix(".json"), json.dumps(record, indent=1).encode())


def read(path: Path, made_from: Mapping[str, Any] | None = None) -> Tensors:
    """Read an artifact (``path`` without suffix).

    Raises:
        ArtifactError: a file is missing, the checksum does not agree, or it was made from
            something other than ``made_from``.
    """
    weights, record_file = path.with_suffix(".safetensors"), path.with_suffix(".json")
    for file in (record_file, weights):
        if not file.is_file():
            raise ArtifactError(f"The artifact {path.name} is missing: there is no {file}.")
    data = weights.read_bytes()
    try:
        record = json.loads(record_file.read_bytes())
        recorded = record["sha256"], record["made_from"]
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(
            f"The record {record_file} is damaged: it is no artifact record."
        ) from None
    if hashlib.sha256(data).hexdigest() != recorded[0]:
        raise ArtifactError(
            f"The artifact {weights} is damaged: its {len(data):,} bytes do not have "
            "the recorded checksum."
        )
    if made_from is not None and _canonical(recorded[1]) != _canonical(made_from):
        raise ArtifactError(
            f"The artifact {path.name} was made from {_canonical(recorded[1])}, "
            f"not from {_canonical(made_from)}."
        )
    return load_tensors(data)


def _canonical(made_from: Any) -> str:
    return json.dumps(made_from, sort_keys=True)


def _replace(path: Path, data: bytes) -> None:
    # One temporary name per process: two runs may make the same artifact at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
