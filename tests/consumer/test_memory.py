"""What an idle connection takes, in bytes: a count that does not flicker."""

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from tests.consumer.consumers import Echo
from tests.consumer.idle import Server

ROOT = Path(__file__).parent.parent.parent
BUDGETS = {"": (1950, 2304), "routes": (4600, 5700), "stack": (6800, 8900)}
"""Bytes of one, its scope not counted; to measure anew: ``python -m tests.consumer.idle``.

From Python 3.12 on, and before: there some calls have a coroutine more, see
``threads.tail_call()``. A signed-in one has what Django makes for it, too: session,
user, and their contents.
"""

HAS_TAIL_CALLS = sys.version_info >= (3, 12)


@pytest.mark.parametrize("kind", BUDGETS)
def test_idle_consumer_stays_in_its_budget_of_bytes(kind):
    """That is what it takes over a bare ASGI function."""
    # Not in development mode, in which asyncio keeps where each task was made.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.consumer.idle", *kind.split()],
        cwd=ROOT,
        env=environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr

    budget, before = BUDGETS[kind]
    assert float(ended.stdout) <= (budget if HAS_TAIL_CALLS else before)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_closed_connection_is_freed_without_the_collector(is_cancelled, layer):
    """What the server has of it is large, and full collections are rare."""
    application = Echo.as_asgi()
    waiting = asyncio.get_running_loop().create_future()
    server = Server(application, waiting)
    while not server.is_idle:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    kept = weakref.ref(server)
    gc.disable()
    try:
        task = server.task
        del server.task
        if is_cancelled:
            task.cancel()
        else:
            waiting.set_result({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait([task])
        del server, task, waiting, Echo.last

        assert kept() is None
    finally:
        gc.enable()
