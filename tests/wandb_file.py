"""What an offline run of Weights & Biases holds, read back from its file.

The file is a log in LevelDB's format after a header of 7 bytes: blocks of 32 KiB, each a sequence
of (checksum, length, type) and that many bytes; a record is one such piece, or several.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER, FULL, LAST = 32 * 1024, 7, 1, 4


def records(path: Path) -> Iterator[Record]:
    """Every record of a ``.wandb`` file."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, record = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if place > len(data):
            return  # still being written
        if kind in (FULL, LAST):
            yield Record.FromString(record)
            record = b""


def config(path: Path) -> dict[str, Any]:
    """The configuration of the run."""
    updates = [one.run.config.update for one in records(path) if one.HasField("run")]
    return {item.key: json.loads(item.value_json) for update in updates for item in update}


def rows(path: Path) -> list[dict[str, Any]]:
    """Each logged row."""
    return [
        {
            ".".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in one.history.item
        }
        for one in records(path)
        if one.HasField("history")
    ]


def exit_code(path: Path) -> int | None:
    """With what the run ended; ``None`` if it did not."""
    codes = [one.exit.exit_code for one in records(path) if one.HasField("exit")]
    return codes[-1] if codes else None


def finished(folder: Path, patience: float = 60) -> Path:
    """The one run below a folder, once its end is on disk.

    W&B's own process writes the file, and may still be at it when ``finish`` has returned.
    """
    (path,) = folder.rglob("*.wandb")
    until = time.monotonic() + patience
    while exit_code(path) is None:
        assert time.monotonic() < until, f"{path} has no end after {patience} s"
        time.sleep(0.05)
    return path
