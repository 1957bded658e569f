"""The machine that is measured on: its cores, and its description in a report."""

import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ("describe", "load_core", "pin_this_process", "pinned", "server_core")

_PACKAGES = (
    "django", "asgiref", "uvicorn", "uvloop", "httptools", "websockets", "granian",
    "gunicorn", "starlette", "django-bolt", "channels", "channels-redis", "redis",
    "psycopg",
)  # fmt: skip


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return _INITIAL or sorted(os.sched_getaffinity(0))
    return []


_INITIAL: list[int] = []
"""The cores there were before this process was pinned."""


def server_core() -> int | None:
    """Return the core of the servers; None where processes cannot be pinned."""
    cores = _cores()
    return cores[0] if len(cores) > 1 and shutil.which("taskset") else None


def load_core() -> int | None:
    """Return the core of the load generators; None as above."""
    return None if server_core() is None else _cores()[1]


def pin_this_process() -> None:
    """Move this process to the load generators' core: it waits while they work."""
    core = load_core()
    if core is not None:
        _INITIAL[:] = _cores()
        os.sched_setaffinity(0, {core})


def pinned(core: int | None) -> list[str]:
    """Return the words that pin a command to a core, where that is possible."""
    return [] if core is None else ["taskset", "-c", str(core)]


def describe() -> dict[str, object]:
    """Return the date, the machine and the versions of what is measured."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}",
        "cores": {"server": server_core(), "load": load_core()},
        "load average": [round(each, 1) for each in os.getloadavg()],
        "versions": versions,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
