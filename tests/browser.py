"""Headless Chromium for tests, over the DevTools protocol."""

import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1000,700",
)  # fmt: skip
_PATIENCE = 30.0


class Browser:
    """One browser with a profile of its own.

    Args:
        profile: a new folder.
    """

    def __init__(self, profile: Path) -> None:
        names = ("chromium", "chromium-browser", "google-chrome")
        program = next(filter(None, map(shutil.which, names)), None)
        if program is None:
            pytest.skip("no Chromium on this machine")
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self._process.stderr or ():
            found = re.search(r"ws://([^/]+)/", line)
            if found:
                self._address = found[1]
                return
        pytest.fail("Chromium did not start")

    def open(self, url: str) -> "Page":
        """Open a page in a new tab."""
        from urllib.request import Request

        request = Request(f"http://{self._address}/json/new?{url}", method="PUT")
        with urlopen(request) as response:
            return Page(json.load(response)["webSocketDebuggerUrl"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stderr:
            self._process.stderr.close()


class Page:
    """One tab."""

    def __init__(self, url: str) -> None:
        from websockets.sync.client import connect

        # What connect() returns may be a connection, or only open one.
        self._socket = connect(url, max_size=None).__enter__()
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE))
            if answer.get("id") == number:
                return answer.get("result") or answer

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        # A tab that has just been opened has nothing to run scripts in.
        if "error" in result:
            return None
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; return its value."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            value = self.run(script)
            if value:
                return value
            assert time.monotonic() < deadline, (script, self.text())
            time.sleep(0.02)

    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def screenshot(self) -> bytes:
        import base64

        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        self._socket.close()
