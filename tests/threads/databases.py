"""A database beside the test's own, a site that uses it, and a plain client."""

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.contrib.sessions.models import Session
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

from testproject.database import database_from_url
from tests.threads.support import WATCHDOG

ALIAS = "scratch"

__all__ = ("ALIAS", "Client", "add", "postgres", "rows", "sqlite")


def rows() -> Any:
    """Return the rows of the scratch table, as a queryset."""
    return Session.objects.using(ALIAS)


def add(key: str) -> Session:
    """Return a row that is not saved yet."""
    return Session(session_key=key, session_data="", expire_date=timezone.now())


class Scratch:
    """The scratch database.

    Args:
        execute: runs one statement on a connection of the test's own.
    """

    def __init__(self, name: str, execute: Callable[..., list[tuple[Any, ...]]]):
        self.name = name
        self.execute = execute

    def keys(self) -> set[str]:
        """Return what other connections see: committed rows alone."""
        found = self.execute("SELECT session_key FROM django_session")
        return {key for (key,) in found}

    def is_postgres(self) -> bool:
        return self.name.startswith("bridge_")

    def backends(self, state: str = "%") -> int:
        """Count the site's connections as PostgreSQL itself does."""
        [(count,)] = self.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = %s AND state LIKE %s",
            (self.name, state),
        )
        return int(count)

    def has_backends(self, count: int) -> bool:
        """Tell whether the site's connections come to be ``count`` soon.

        A backend takes a moment to end after its client has closed.
        """
        deadline = time.monotonic() + WATCHDOG
        while (found := self.backends()) != count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{found} connections, {count} expected")
        return True

    def kill_backends(self) -> None:
        """Do what a restart of the database does to its clients."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = %s",
            (self.name,),
        )


@contextmanager
def _connected(options: dict[str, Any]) -> Iterator[None]:
    full = connections.configure_settings({DEFAULT_DB_ALIAS: options})
    connections.settings[ALIAS] = full[DEFAULT_DB_ALIAS]
    try:
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Session)
        connections[ALIAS].close()
        del connections[ALIAS]
        yield
    finally:
        if hasattr(connections._connections, ALIAS):
            connections[ALIAS].close()
            del connections[ALIAS]
        del connections.settings[ALIAS]


@contextmanager
def sqlite(path: Any, **options: Any) -> Iterator[Scratch]:
    """Give a SQLite file."""

    def execute(statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(path)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;",
        },
        **options,
    }
    with _connected(settings):
        yield Scratch("sqlite", execute)


@contextmanager
def postgres(url: str, **options: Any) -> Iterator[Scratch]:
    """Give a new PostgreSQL database on the server at ``url``."""
    import psycopg

    name = f"bridge_{os.getpid()}_{secrets.token_hex(4)}"
    server = psycopg.connect(url, autocommit=True)
    server.execute(f'CREATE DATABASE "{name}"')
    target = urlsplit(url)._replace(path=f"/{name}").geturl()
    watcher = psycopg.connect(target, autocommit=True)

    def execute(statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        cursor = watcher.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    settings = {**database_from_url(target), **options}
    settings["OPTIONS"] = {
        **settings.get("OPTIONS", {}),
        "application_name": name,
    }
    try:
        with _connected(settings):
            yield Scratch(name, execute)
    finally:
        watcher.close()
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        server.close()


class Client:
    """Sends GET requests to an ASGI application and keeps what it answers.

    Args:
        path: of the request.
        is_staying: the client does not leave before ``leave()``.
    """

    def __init__(self, app: Any, path: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.first_chunk = asyncio.Event()
        self._left = asyncio.Event()
        self._is_body_sent = False
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver")],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(app(scope, self.receive, self.send))

    async def receive(self) -> dict[str, Any]:
        if not self._is_body_sent:
            self._is_body_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.first_chunk.set()

    def leave(self) -> None:
        """Close the connection, as a client that goes away."""
        self._left.set()

    @classmethod
    async def get(cls, app: Any, path: str) -> tuple[int, str]:
        """Return status and body."""
        client = cls(app, path)
        await client.task
        return client.status, client.body

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()
