"""How each server is started, and what it is able to do."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

PYTHON = [sys.executable, "-m"]
APPLICATION = "tests.servers.app.asgi:application"
GRACE = "5"
"""Seconds each server may take to finish what runs when it is told to end."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a test may ask of a server at its start."""

    workers: int = 1
    root_path: str = ""
    tls: tuple[Path, Path] | None = None  # certificate, key
    preload: bool = False
    pings: bool = False  # ask WebSocket clients, every second, whether they are there


@dataclass(frozen=True)
class ServerSpec:
    """One column of the matrix."""

    name: str
    requires: tuple[str, ...]
    command: Callable[[Launch], list[str]]
    announces: str = r"on https?://127\.0\.0\.1:(\d+)"
    has_workers: bool = True
    has_preload: bool = False
    adds_root_path: bool = False

    def missing(self) -> list[str]:
        """Return the modules that this server needs and that are not installed."""
        return [name for name in self.requires if not _is_installed(name)]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


def _uvicorn(http: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        words = [*PYTHON, "uvicorn", "--host", "127.0.0.1", "--port", "0"]
        words += [
            "--http",
            http,
            "--no-use-colors",
            "--timeout-graceful-shutdown",
            GRACE,
        ]
        words += ["--workers", str(launch.workers)]
        if launch.root_path:
            words += ["--root-path", launch.root_path]
        if launch.tls:
            certificate, key = launch.tls
            words += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
        if launch.pings:
            words += ["--ws-ping-interval", "1", "--ws-ping-timeout", "1"]
        return [*words, APPLICATION]

    return command


def _hypercorn(launch: Launch) -> list[str]:
    words = [*PYTHON, "hypercorn", "--bind", "127.0.0.1:0", "--graceful-timeout", GRACE]
    words += ["--workers", str(launch.workers)]
    if launch.root_path:
        words += ["--root-path", launch.root_path]
    if launch.tls:
        certificate, key = launch.tls
        words += ["--certfile", str(certificate), "--keyfile", str(key)]
    if launch.pings:
        words += ["--websocket-ping-interval", "1"]
    return [*words, APPLICATION]


def _daphne(launch: Launch) -> list[str]:
    endpoint = "tcp:port=0:interface=127.0.0.1"
    if launch.tls:
        certificate, key = launch.tls
        endpoint = (
            f"ssl:port=0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        )
    words = [*PYTHON, "daphne", "--endpoint", endpoint]
    words += ["--application-close-timeout", GRACE]
    if launch.root_path:
        words += ["--root-path", launch.root_path]
    if launch.pings:
        words += ["--ping-interval", "1", "--ping-timeout", "1"]
    return [*words, APPLICATION]


def _granian(launch: Launch) -> list[str]:
    words = [*PYTHON, "granian", "--interface", "asgi", "--no-ws"]
    words += ["--host", "127.0.0.1", "--port", "0", "--workers-kill-timeout", GRACE]
    words += ["--workers", str(launch.workers)]
    if launch.root_path:
        words += ["--url-path-prefix", launch.root_path]
    if launch.tls:
        certificate, key = launch.tls
        words += ["--ssl-certificate", str(certificate), "--ssl-keyfile", str(key)]
    return [*words, APPLICATION]


def _gunicorn(worker: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        words = [*PYTHON, "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"]
        words += ["--worker-class", worker, "--graceful-timeout", GRACE]
        words += ["--workers", str(launch.workers)]
        if launch.preload:
            words += ["--preload"]
        if launch.root_path and worker == "asgi":
            words += ["--root-path", launch.root_path]
        if launch.tls:
            certificate, key = launch.tls
            words += ["--certfile", str(certificate), "--keyfile", str(key)]
            if worker == "asgi":
                words += ["--http-protocols", "h2,h1"]
        return [*words, APPLICATION]

    return command


def uvicorn_worker() -> str:
    """Return the name of the worker class: uvicorn's own, or its successor's."""
    if importlib.util.find_spec("uvicorn_worker") is not None:
        return "uvicorn_worker.UvicornWorker"
    return "uvicorn.workers.UvicornWorker"


GUNICORN_ANNOUNCES = r"Listening at: https?://127\.0\.0\.1:(\d+)"


def gunicorn_with(worker: str) -> ServerSpec:
    """Return gunicorn with a worker class of uvicorn's."""
    module = worker.rpartition(".")[0]
    return ServerSpec(
        "gunicorn-uvicorn",
        ("gunicorn", "uvicorn", module),
        _gunicorn(worker),
        GUNICORN_ANNOUNCES,
        has_preload=True,
    )


SPECS = (
    ServerSpec(
        "uvicorn-httptools",
        ("uvicorn", "httptools"),
        _uvicorn("httptools"),
        adds_root_path=True,
    ),
    ServerSpec("uvicorn-h11", ("uvicorn", "h11"), _uvicorn("h11"), adds_root_path=True),
    ServerSpec("hypercorn", ("hypercorn",), _hypercorn),
    ServerSpec(
        "daphne",
        ("daphne",),
        _daphne,
        r"Listening on TCP address 127\.0\.0\.1:(\d+)",
        has_workers=False,
    ),
    # It says port 0: the port is looked up in the process.
    ServerSpec("granian", ("granian",), _granian, r"Started worker-1\b"),
    gunicorn_with(uvicorn_worker()),
    ServerSpec(
        "gunicorn-asgi",
        ("gunicorn", "gunicorn.asgi"),
        _gunicorn("asgi"),
        GUNICORN_ANNOUNCES,
        has_preload=True,
    ),
)


def _with_sockets(spec: ServerSpec, name: str, *words: str) -> ServerSpec:
    """Return a server that serves WebSockets, by the named implementation if any."""
    command = spec.command

    def changed(launch: Launch) -> list[str]:
        kept = [word for word in command(launch) if word != "--no-ws"]
        return [*kept[:-1], *words, kept[-1]]

    return replace(spec, name=name, command=changed)


_BY_NAME = {spec.name: spec for spec in SPECS}

SOCKET_SPECS = (
    *(
        replace(
            _with_sockets(
                _BY_NAME["uvicorn-httptools"], f"uvicorn-{kind}", "--ws", kind
            ),
            requires=("uvicorn", "httptools", kind.partition("-")[0]),
        )
        for kind in ("websockets", "websockets-sansio", "wsproto")
    ),
    _BY_NAME["hypercorn"],
    _BY_NAME["daphne"],
    _with_sockets(_BY_NAME["granian"], "granian"),
    _BY_NAME["gunicorn-uvicorn"],
    _BY_NAME["gunicorn-asgi"],
)
"""The columns of the WebSocket matrix."""
