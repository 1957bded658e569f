"""What cases need besides servers: databases with rows, a Redis server, a large file.

Each is made when the first case asks for it and is gone when the benchmark ends.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from testproject.bench.cases.case import Case
from testproject.bench.machine import load_core
from testproject.bench.peers import SITE
from testproject.bench.processes import (
    ROOT,
    Failed,
    free_port,
    running,
    wait_until,
)

__all__ = ("Resources", "Unavailable")

_POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
_FILE_SIZE = 100 * 1024 * 1024


class Unavailable(Exception):
    """A service that a case needs is not here; the case is left out."""


class Resources:
    """Holds them while the block runs."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._run = uuid.uuid4().hex[:8]
        self._made: dict[str, str] = {}
        self._cookies: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def environment_for(self, case: Case) -> dict[str, str]:
        """Return the variables that tell a server where everything is.

        Raises:
            Unavailable: something is not here.
        """
        environment = {
            "BENCH_RUN": self._run,
            "PYTHONPYCACHEPREFIX": str(self._folder / "bytecode"),
            **case.environment,
        }
        if case.database:
            environment["BENCH_DATABASE"] = self._get(case.database)
        if "redis" in case.needs:
            environment["BENCH_REDIS"] = self._get("redis")
        if "file" in case.needs:
            environment["BENCH_FILE"] = self._get("file")
        return environment

    def cookie_for(self, case: Case) -> str:
        """Return the header of a visitor who is signed in, where the case has one."""
        return self._cookies[case.database] if case.signed_in else ""

    def _get(self, name: str) -> str:
        if name not in self._made:
            make = {
                "sqlite": self._sqlite,
                "postgres": self._postgres,
                "redis": self._redis,
                "file": self._file,
            }[name]
            self._made[name] = make()
            if name in {"sqlite", "postgres"}:
                self._cookies[name] = f"sessionid={_fill(self._made[name])}"
        return self._made[name]

    def _sqlite(self) -> str:
        return str(self._folder / "bench.sqlite3")

    def _postgres(self) -> str:
        """Make a database of our own beside those of others."""
        try:
            import psycopg  # noqa: PLC0415
        except ImportError:
            raise Unavailable("psycopg is not installed") from None
        url = os.environ.get("BRIDGE_POSTGRES_URL", _POSTGRES)
        name = f"bench_{self._run}"
        try:
            connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            raise Unavailable(f"no PostgreSQL server: {error}") from None
        self._stack.enter_context(contextlib.closing(connection))
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        drop = f'DROP DATABASE "{name}" WITH (FORCE)'.encode()
        self._stack.callback(connection.execute, drop)
        return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    def _redis(self) -> str:
        """Start a server on the load generators' core, or use one that was named."""
        if url := os.environ.get("BRIDGE_REDIS_URL"):
            return url
        if not shutil.which("redis-server"):
            raise Unavailable("neither redis-server nor BRIDGE_REDIS_URL is here")
        port = free_port()
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        server = self._stack.enter_context(running(words, core=load_core()))

        def answers() -> bool:
            probe = subprocess.run(
                ["redis-cli", "-p", str(port), "ping"], capture_output=True, check=False
            )
            return probe.stdout.strip() == b"PONG"

        if not wait_until(answers, 10, 0.05):
            raise Failed(f"redis-server does not answer: {server.last_words()}")
        return f"redis://127.0.0.1:{port}/0"

    def _file(self) -> str:
        path = self._folder / "file.bin"
        with path.open("wb") as file:
            for _ in range(_FILE_SIZE // 2**20):
                file.write(os.urandom(2**20))
        return str(path)


def _fill(place: str) -> str:
    """Fill a database; return the key of a visitor's session."""
    kept = {name: value for name, value in os.environ.items() if name[:6] != "BENCH_"}
    finished = subprocess.run(
        [sys.executable, "-m", f"{SITE}.fill"],
        cwd=ROOT,
        env=kept
        | {"BENCH_DATABASE": place, "DJANGO_SETTINGS_MODULE": f"{SITE}.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise Failed(f"the database was not filled:\n{finished.stderr}")
    return finished.stdout.strip()
