"""Processes that a benchmark starts: they end with it, on whatever path it ends.

Each is the leader of a process group, and the group is ended as a whole: servers have
workers of their own. A benchmark that is killed takes them along where the system can
tell a child that its parent died (``setpriv``, of util-linux).
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from testproject.bench.machine import pinned

__all__ = (
    "Failed",
    "Process",
    "ends_on_signals",
    "free_port",
    "raise_file_limit",
    "running",
    "wait_until",
)

ROOT = Path(__file__).parent.parent.parent
MIB = 1024 * 1024
_PATIENCE = 2.0
"""Seconds that a process has to end by itself."""

# Settings of another site; and what would let each start compile all modules anew,
# which no installed site does.
_NOT_FOR_SERVERS = {"DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE"}


class Failed(Exception):
    """A server or a load generator did not do what it is there for."""


class Process:
    """A process that runs, with all of its children.

    Args:
        popen: the process.
        log: where its standard error goes.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self.popen = popen
        self._log = log
        self._root = psutil.Process(popen.pid)

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.popen.poll() is not None

    def cpu(self) -> float:
        """Return the seconds of CPU time that the tree used so far."""
        return self._sum(_cpu)

    def memory(self) -> float:
        """Return the bytes of the tree that are in memory."""
        return self._sum(lambda each: each.memory_info().rss)

    def reset_peak(self) -> None:
        """Let ``peak()`` begin anew. Linux."""
        for each in self._tree():
            with suppress(OSError):
                Path(f"/proc/{each.pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """Return the most bytes that were in memory since ``reset_peak()``. Linux."""
        return self._sum(lambda each: _peak(each.pid))

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 3000))
        return self._log.read().decode(errors="replace").strip()

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def _sum(self, measure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for each in self._tree():
            with suppress(psutil.NoSuchProcess, OSError):
                total += measure(each)
        return total


def _cpu(process: psutil.Process) -> float:
    """Return the seconds of CPU time of a process, of threads that ended too.

    On Linux by the process's own clock, in nanoseconds: what ``/proc`` tells is cut to
    hundredths of a second, twice, which is a tenth of what some cases use.
    """
    if psutil.LINUX:
        # clock_getcpuclockid(3), which Python does not have for other processes.
        return time.clock_gettime((~process.pid << 3) | _CPUCLOCK_SCHED)
    return sum(process.cpu_times()[:2])


_CPUCLOCK_SCHED = 2


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def running(
    command: Sequence[str],
    *,
    core: int | None,
    environment: Mapping[str, str] | None = None,
    talks: bool = False,
) -> Iterator[Process]:
    """Run a command while the block does; then it and its children end.

    Args:
        command: its words.
        core: that it is pinned to.
        environment: what is added to this process's own.
        talks: whether its standard input and output are pipes.
    """
    pipe = subprocess.PIPE if talks else subprocess.DEVNULL
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(
            [*_dies_with_parent(), *pinned(core), *command],
            cwd=ROOT,
            env=_environment(environment or {}),
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield Process(popen, log)
        finally:
            _end(popen)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, without what servers are not to see."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BENCH_") and name not in _NOT_FOR_SERVERS
    }
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(more)


def _dies_with_parent() -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _end(popen: "subprocess.Popen[bytes]") -> None:
    """End the process group, kindly first."""
    for pipe in (popen.stdin, popen.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(ProcessLookupError):
        popen.terminate()
    try:
        popen.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Workers that their master left, and whoever did not hear.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def free_port() -> int:
    """Ask the system for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> None:
    """Let this process and its children open as many files as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that every block is left."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, leave) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def wait_until(is_done: Callable[[], bool], seconds: float, interval: float) -> bool:
    """Ask again and again; return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
