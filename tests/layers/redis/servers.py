"""Redis servers of a test's own, which it may stop, freeze and kill."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis

__all__ = ("RedisServer", "Sentinel")


class RedisServer:
    """One server on a port that was free; nothing of it is kept on disk.

    Args:
        folder: where its files would go.
        options: of ``redis-server``, such as ``"--maxclients", "5"``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        """Return a client for the test itself, to be closed by it."""
        return redis.Redis(port=self.port)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.01)

    def _command(self) -> list[str]:
        return [
            "redis-server", "--port", str(self.port), "--save", "",
            "--appendonly", "no", "--dir", str(self._folder), *self._options,
        ]  # fmt: skip

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    def freeze(self) -> None:
        """Let it answer nobody; what it is sent waits in its sockets."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def connections(self) -> list[dict[str, str]]:
        """Return the connections that are open, without the one that asks."""
        client = self.client()
        try:
            own = client.client_id()
            return [each for each in client.client_list() if int(each["id"]) != own]
        finally:
            client.close()


class Sentinel(RedisServer):
    """Watches one master, under the name ``"site"``, and decides alone.

    Args:
        folder: where its configuration goes, which it rewrites.
        master: what it watches.
    """

    def __init__(self, folder: Path, master: RedisServer) -> None:
        self._master = master
        super().__init__(folder)

    def _command(self) -> list[str]:
        path = self._folder / f"sentinel-{self.port}.conf"
        path.write_text(
            f"port {self.port}\n"
            f"dir {self._folder}\n"
            f"sentinel monitor site 127.0.0.1 {self._master.port} 1\n"
            "sentinel down-after-milliseconds site 500\n"
            "sentinel failover-timeout site 5000\n"
        )
        return ["redis-server", str(path), "--sentinel"]

    def master(self) -> dict[str, Any]:
        """Return what it knows of the master."""
        with contextlib.closing(self.client()) as client:
            found: Any = client.sentinel_master("site")
            return dict(found)
