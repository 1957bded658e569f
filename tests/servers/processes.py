"""Server processes: started on a port the system gave, watched, always ended."""

import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.servers.specs import Launch, ServerSpec
from tests.servers.wire import PATIENCE, Connection, Response, WireError

ROOT = Path(__file__).parents[2]
START_DEADLINE = 30.0
STOP_DEADLINE = 15.0
REVIVE_PATIENCE = 3.0
RETRY = 0.05
COMPLAINTS = (
    "Traceback (most recent call last)",
    "was never retrieved",
    "was never awaited",
    "was destroyed but it is pending",
)


class ServerFailed(Exception):
    """The server did not start; its log is in the message."""


class ServerStuck(Exception):
    """The server did not end; its log is in the message."""


class Server:
    """A running server with the site in its own directory."""

    def __init__(
        self,
        spec: ServerSpec,
        directory: Path,
        launch: Launch,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.spec = spec
        self.directory = directory
        self.launch = launch
        self.address = ("127.0.0.1", 0)
        self.log = ""
        self.skip_log = 0
        self._news = threading.Condition()
        self._is_ended = False
        paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            "SITE_DIR": str(directory),
            "DJANGO_SETTINGS_MODULE": "tests.servers.app.settings",
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        self.spawn()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            self.kill()

    @contextmanager
    def spawned(self) -> Iterator[Self]:
        """Start the process without waiting for an answer; kill it afterwards."""
        self.spawn()
        try:
            yield self
        finally:
            self.kill()

    # Starting

    def spawn(self) -> None:
        """Start the process and read what it says."""
        self.process = subprocess.Popen(
            self.spec.command(self.launch),
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.log += line.decode("utf-8", "replace")
                self._news.notify_all()
        with self._news:
            self._is_ended = True
            self._news.notify_all()

    def wait_for_log(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Return the match once a line of the log has one."""

        def match() -> re.Match[str] | None:
            return re.search(pattern, self.log[self.skip_log :])

        with self._news:
            self._news.wait_for(lambda: match() or self._is_ended, seconds)
            found = match()
        if found is None:
            raise ServerFailed(f"no {pattern!r} in the log of {self.describe()}")
        return found

    def wait_for_port(self) -> None:
        """Wait until the server has told its port, or shows it."""
        found = self.wait_for_log(self.spec.announces, START_DEADLINE)
        if found.groups():
            self.address = ("127.0.0.1", int(found[1]))
        elif not self.becomes(self.has_port):
            raise ServerFailed(f"no port is open: {self.describe()}")

    def wait_until_ready(self) -> None:
        """Wait for the port, then for a first answer."""
        self.wait_for_port()
        if not self.becomes(self.is_answering, START_DEADLINE):
            raise ServerFailed(f"no answer from {self.describe()}")

    def becomes(self, is_so: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Look again and again until something is so; false if it never is."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline or self.process.poll() is not None:
                return is_so()
            threading.Event().wait(RETRY)
        return True

    def revive(self) -> None:
        """Start anew when an earlier test left the server dead or deaf."""
        try:
            with self.connect(REVIVE_PATIENCE) as connection:
                connection.get("/async/")
        except (OSError, WireError):
            self.kill()
            self._is_ended = False
            self.log += "\n--- started anew ---\n"
            self.skip_log = len(self.log)
            self.spawn()
            self.wait_until_ready()

    def has_port(self) -> bool:
        """Look for the port of a server that does not tell it."""
        port = listening_port(self.process.pid)
        self.address = ("127.0.0.1", port or 0)
        return port is not None

    def is_answering(self) -> bool:
        """Ask once."""
        try:
            return self.get(self.launch.root_path + "/sync/").status < 500
        except (OSError, WireError):
            return False

    def is_accepting(self) -> bool:
        """Tell whether the port takes connections."""
        try:
            Connection(self.address).leave(abruptly=False)
        except OSError:
            return False
        return True

    # Talking

    def connect(self, patience: float = PATIENCE) -> Connection:
        """Open a connection; with TLS, whatever the certificate."""
        context = None
        if self.launch.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return Connection(self.address, tls=context, patience=patience)

    def get(self, target: str) -> Response:
        """Ask on a connection of its own."""
        with self.connect() as connection:
            return connection.get(target, [("Connection", "close")])

    def post(self, mark: str) -> None:
        """Post a mark on the site's board."""
        assert self.get(f"/post/{mark}/").status == 200

    def sees(self, mark: str) -> bool:
        """Wait until the site has posted a mark; false if it never does."""
        return self.get(f"/await/{mark}/").status == 200

    # Ending

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status once the process has ended."""
        try:
            status = self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired as exc:
            raise ServerStuck(f"still running: {self.describe()}") from exc
        self._reader.join(STOP_DEADLINE)
        return status

    def stop(self) -> int:
        """Ask the server to end, and return its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the whole process group, whatever is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_DEADLINE)
        self._reader.join(STOP_DEADLINE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def describe(self, start: int = 0, django_start: int = 0) -> str:
        """Return the name, the command and what was logged from some place on."""
        command = " ".join(self.spec.command(self.launch))
        logs = f"{self.log[start:]}\n{self.django_log()[django_start:]}"
        return f"{self.spec.name}\n$ {command}\n{logs}"

    def lifespan(self, word: str) -> list[int]:
        """Return the processes that wrote a word into the site's lifespan journal."""
        path = self.directory / "lifespan.txt"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == word]

    def complaints(self, start: int = 0) -> list[str]:
        """Return the traces of an exception that left the application."""
        return [words for words in COMPLAINTS if words in self.log[start:]]

    def django_log(self) -> str:
        """Return what Django logged on its own."""
        path = self.directory / "django.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""


def listening_port(pid: int) -> int | None:
    """Return the TCP port on which a process or its children listen."""
    import psutil  # type: ignore[import-untyped]  # it has no stubs

    main = psutil.Process(pid)
    for process in [main, *main.children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return None
