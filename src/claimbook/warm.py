"""Kernels that have imported, before they are asked for, what notebooks import.

Importing the libraries takes longer than many a notebook. One process imports them once and forks
a kernel for each notebook: it has a single thread, and has computed nothing.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

PROVISIONER = "claimbook-warm"
"""The entry point of :class:`Warm` in the group ``jupyter_client.kernel_provisioners``."""
CAN_FORK = sys.platform == "linux"
"""Elsewhere forking a process with these libraries is unsafe, or impossible."""


class Door(NamedTuple):
    """Where processes ask for a kernel, one at a time."""

    connection: Connection
    lock: Lock


@contextmanager
def kernels(modules: Iterable[str]) -> Iterator[Door | None]:
    """A process with these modules imported that forks kernels; ``None`` where none can be.

    Leaving ends the process, and so does the end of the one that began it; its kernels watch it,
    and end too.
    """
    if not CAN_FORK:
        yield None
        return
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, list(modules)))
    process.start()
    theirs.close()
    try:
        yield Door(ours, context.Lock())
    finally:
        process.terminate()
        process.join()


_door: Door | None = None


def use(door: Door | None) -> None:
    """From now on the kernels of this process come through this door, or through none."""
    global _door
    _door = door


def through_the_door(spec: KernelSpec | None) -> KernelSpec | None:
    """The kernel with what makes it come through the door, where one is open."""
    if spec and _door is not None:
        spec.metadata = {"kernel_provisioner": {"provisioner_name": PROVISIONER}}
    return spec


class Warm(LocalProvisioner):
    """How a kernel manager starts, watches and ends a forked kernel."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        assert _door is not None
        self.cwd = kwargs.get("cwd") or Path.cwd()
        with _door.lock:
            _door.connection.send((cmd, str(self.cwd), dict(kwargs["env"])))
            self.pid = self.pgid = _door.connection.recv()
        self.process = Forked(self.pid)
        return self.connection_info


class Forked:
    """A process that is not our child, with those methods of ``Popen`` that a kernel needs."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """``None`` while it lives."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1
        return None

    def wait(self) -> int:
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _serve(asked: Connection, modules: list[str]) -> None:
    # Ctrl-C is for the process that was started at the terminal; kernels that ended are forgotten.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for module in modules:
        # What cannot be imported fails again in the notebook, where the error is shown.
        with suppress(Exception):
            import_module(module)
    parent = os.getppid()
    while os.getppid() == parent:
        if not asked.poll(1):
            continue
        command, folder, environment = asked.recv()
        pid = os.fork()
        if not pid:
            asked.close()
            _become_kernel(command, folder, environment)
        asked.send(pid)


def _become_kernel(command: list[str], folder: str, environment: dict[str, str]) -> None:
    """What ``python -m ipykernel_launcher …`` does; does not return."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    sys.path[:] = [place for place in sys.path if place and Path(place) != Path.cwd()]
    os.chdir(folder)
    os.environ.clear()
    # With this a kernel watches its parent, and ends with it.
    os.environ.update(environment | {"JPY_PARENT_PID": str(os.getppid())})
    sys.argv = command[command.index("ipykernel_launcher") :]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
    sys.exit()
