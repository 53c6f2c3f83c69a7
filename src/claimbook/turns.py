"""One process at a time works in the ``_build`` of a checkout; the others wait.

The operating system ends a turn with its process, however that ended.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from claimbook.progress import say

LOCK = "build.lock"
HOLDER = "build.holder"
"""Who has the turn, or had it last."""


@contextmanager
def turn(root: Path, command: str) -> Iterator[None]:
    """Wait until no other process works in ``_build``, saying for whom.

    Raises:
        OSError: ``_build`` cannot be written.
    """
    work = root / "_build"
    work.mkdir(exist_ok=True)
    lock = FileLock(work / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"Waiting for {_holder(work)} to finish in this checkout ...")
        lock.acquire()
    try:
        since = time.strftime("%H:%M:%S")
        (work / HOLDER).write_text(f"`claimbook {command}` (process {os.getpid()}, since {since})")
        yield
    finally:
        lock.release()


def _holder(work: Path) -> str:
    try:
        return (work / HOLDER).read_text() or "another process"
    except OSError:
        return "another process"
