"""Servers as fixtures: each column of the matrix starts once and serves many rows."""

import functools
import os
import shutil
import signal
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.limits import find_limit
from tests.servers.processes import Server, ServerStuck
from tests.servers.scenarios import scenario_of, server_of
from tests.servers.site import make_site
from tests.servers.specs import SPECS, Launch, ServerSpec
from tests.servers.wire import Connection, WireError

if TYPE_CHECKING:
    from tests.servers.http2 import Http2Connection

try:
    from websockets.exceptions import WebSocketException
except ImportError:  # the servers are not installed
    WebSocketException = OSError  # type: ignore[assignment,misc]  # nothing more

LIMITED_PATIENCE = 3.0
"""Seconds to wait for what a known limit says will not come."""

StartServer = Callable[..., Server]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of scenarios that make a server log an exception."""
    config.addinivalue_line("markers", "noisy: an exception may reach the server")


@pytest.fixture(scope="session", autouse=True)
def ended_by_sigterm() -> Iterator[None]:
    """A run that is told to end still ends its servers."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the matrix, and expect each known limit to show."""
    for item in items:
        server = server_of(item)
        if server is None:
            continue
        item.add_marker(pytest.mark.servers)
        limit = find_limit(scenario_of(item), server)
        if limit is not None:
            errors = (
                AssertionError,
                WireError,
                ServerStuck,
                OSError,
                WebSocketException,
            )
            xfail = pytest.mark.xfail(
                reason=limit.reason,
                raises=errors,
                run=limit.is_run,
                strict=limit.is_certain,
            )
            item.add_marker(xfail)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:
    """Add the logs of the servers in use to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for server, *starts in item.stash.get(SERVERS, []):
            log = server.describe(*starts)
            report.sections.append((f"log of {server.spec.name}", log))


def note_server(request: pytest.FixtureRequest, server: Server) -> None:
    """Remember where the logs of a server stand: a failure shows what follows."""
    noted = request.node.stash.setdefault(SERVERS, [])
    noted.append((server, len(server.log), len(server.django_log())))


SERVERS = pytest.StashKey[list[tuple[Server, int, int]]]()


@pytest.fixture(scope="session", params=SPECS, ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> ServerSpec:
    """One server of the matrix; skipped when it is not installed."""
    return installed(request.param)


def installed(server_spec: ServerSpec) -> ServerSpec:
    """Return a server that is installed; skip, or fail, without it."""
    if missing := server_spec.missing():
        reason = f"{server_spec.name} needs {', '.join(missing)}, not installed"
        if os.environ.get("BRIDGE_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return server_spec


@pytest.fixture(scope="session")
def template_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site directory with a migrated database and the file to download."""
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def make_any_server(
    template_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> StartServer:
    """Return a function that prepares a server of any kind in a directory."""

    def make(
        spec: ServerSpec, launch: Launch | None = None, **environment: str
    ) -> Server:
        directory = tmp_path_factory.mktemp(spec.name) / "site"
        shutil.copytree(template_site, directory)
        return Server(spec, directory, launch or Launch(), environment)

    return make


@pytest.fixture(scope="session")
def make_server(spec: ServerSpec, make_any_server: StartServer) -> StartServer:
    """Return a function that prepares a server of this column."""
    return functools.partial(make_any_server, spec)


@pytest.fixture(scope="session")
def running_site(make_server: StartServer) -> Iterator[Server]:
    """The server that serves most scenarios, started once."""
    with make_server() as server:
        yield server
        # How servers end is tested on others. hypercorn waits without a limit for
        # any connection that a test left.
        server.kill()


@pytest.fixture
def site(request: pytest.FixtureRequest, running_site: Server) -> Iterator[Server]:
    """The running server; no exception may reach it while the test runs."""
    running_site.revive()
    note_server(request, running_site)
    start = len(running_site.log)
    yield running_site
    is_quiet = request.node.get_closest_marker("noisy") is None
    if is_quiet and request.node.get_closest_marker("xfail") is None:
        assert not running_site.complaints(start), running_site.log[start:]


@pytest.fixture
def start(
    request: pytest.FixtureRequest, make_server: StartServer
) -> Iterator[StartServer]:
    """Return a function that starts a server for this test alone."""
    with ExitStack() as stack:

        def start_server(launch: Launch | None = None, **environment: str) -> Server:
            server = make_server(launch, **environment)
            note_server(request, server)
            return stack.enter_context(server)

        yield start_server


@pytest.fixture
def wire(
    request: pytest.FixtureRequest, site: Server
) -> Iterator[Callable[[], Connection]]:
    """Return a function that opens a connection, closed after the test."""
    is_limited = request.node.get_closest_marker("xfail") is not None
    with ExitStack() as stack:

        def connect() -> Connection:
            patience = {"patience": LIMITED_PATIENCE} if is_limited else {}
            return stack.enter_context(site.connect(**patience))

        yield connect


@pytest.fixture
def connection(wire: Callable[[], Connection]) -> Connection:
    """A fresh connection to the running server."""
    return wire()


@pytest.fixture
def key() -> str:
    """A name on the board that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    from tests.servers.certificates import write_certificate

    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def running_tls_site(
    make_server: StartServer, certificate: tuple[Path, Path]
) -> Iterator[Server]:
    """The server with TLS, and with HTTP/2 where it can, started once."""
    with make_server(Launch(tls=certificate)) as server:
        yield server


@pytest.fixture
def tls_site(request: pytest.FixtureRequest, running_tls_site: Server) -> Server:
    """The running TLS server."""
    running_tls_site.revive()
    note_server(request, running_tls_site)
    return running_tls_site


@pytest.fixture
def tls_connection(
    tls_site: Server, certificate: tuple[Path, Path]
) -> Iterator[Connection]:
    """A fresh HTTP/1.1 connection with TLS."""
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Connection(tls_site.address, tls=context) as connection:
        yield connection


@pytest.fixture
def http2(
    tls_site: Server, certificate: tuple[Path, Path]
) -> Iterator[Callable[[], "Http2Connection"]]:
    """Return a function that opens an HTTP/2 connection."""
    from tests.servers.http2 import Http2Connection

    with ExitStack() as stack:

        def connect() -> Http2Connection:
            opened = Http2Connection(tls_site.address, certificate[0])
            return stack.enter_context(opened)

        yield connect
