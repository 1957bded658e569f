"""Senders without an event loop of their own: few connections, closed at the end."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from asgiref.sync import async_to_sync

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.layers.redis.support import WATCHDOG, joined, until

THREADS = 16


def names():
    return sorted(thread.name for thread in threading.enumerate())


class Watch:
    """Notes the most connections that a server had at once, until it is left."""

    def __init__(self, server):
        self._server = server
        self._is_over = threading.Event()
        self.most = self.looks = 0

    def __enter__(self):
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        with contextlib.closing(self._server.client()) as client:
            own = client.client_id()
            while not self._is_over.is_set():
                count = sum(int(c["id"]) != own for c in client.client_list())
                self.most = max(self.most, count)
                self.looks += 1

    def __exit__(self, *error):
        self._is_over.set()
        self._thread.join()


@pytest.mark.asyncio
async def test_threads_share_few_connections_that_are_closed_at_the_end(server, prefix):
    layer = RedisChannelLayer([server.url], prefix, connections=2)
    receiver = RedisChannelLayer([server.url], prefix)
    (box,) = await joined(receiver, 1)
    before = names()
    others = len(server.connections())

    def send(by):
        for number in range(50):
            message = {"type": "n", "n": number, "by": by}
            async_to_sync(layer.group_send)("room", message)

    def send_all():
        threads = [threading.Thread(target=send, args=[by]) for by in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with Watch(server) as watch:
        await asyncio.to_thread(send_all)
    await until(lambda: len(box.events) == THREADS * 50)

    assert watch.looks > 1
    assert watch.most - others <= 2
    for by in range(THREADS):
        own = [event["n"] for event in box.events if event["by"] == by]
        assert own == list(range(50))
    assert box.gaps == []
    await layer.close()
    await until(lambda: len(server.connections()) == others)
    assert [n for n in names() if n not in before and "asyncio" not in n] == []
    await receiver.close()


def test_process_closes_its_connections_when_it_ends(server, prefix):
    """Sixteen threads of a program that has no loop."""
    code = f"""
        import threading
        from asgiref.sync import async_to_sync
        from django.conf import settings
        settings.configure()
        from django_asgi_bridge.layers.redis import RedisChannelLayer
        layer = RedisChannelLayer([{server.url!r}], {prefix!r}, connections=2)

        def send():
            for number in range(20):
                async_to_sync(layer.send)("jobs", {{"type": "job"}})

        layer.capacity = 1000
        threads = [threading.Thread(target=send) for _ in range({THREADS})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    """
    with Watch(server) as watch:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stderr == ""
    assert done.returncode == 0
    assert 1 <= watch.most <= 2
    assert server.connections() == []
    with contextlib.closing(server.client()) as client:
        assert client.llen(f"{prefix}:list:jobs") == THREADS * 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_leaves_its_parents_connections_alone(server, prefix):
    """As in a task queue that forks its workers after the parent has sent."""
    code = f"""
        import gc, os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from asgiref.sync import async_to_sync
        from django.conf import settings
        settings.configure()
        from django_asgi_bridge.layers.redis import RedisChannelLayer
        layer = RedisChannelLayer([{server.url!r}], {prefix!r}, connections=2)
        send = async_to_sync(layer.send)

        for number in range(3):
            send("jobs", {{"type": "job", "by": "parent"}})
            child = os.fork()
            if not child:
                send("jobs", {{"type": "job", "by": "child"}})
                gc.collect()
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
            send("jobs", {{"type": "job", "by": "parent"}})
    """
    # Python's development mode complains of the parent's connections in the child,
    # which must not close them.
    mode = "PYTHONDEVMODE"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={name: value for name, value in os.environ.items() if name != mode},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert server.connections() == []
    with contextlib.closing(server.client()) as client:
        assert client.llen(f"{prefix}:list:jobs") == 9


def test_no_sender_hangs_when_the_layer_is_closed_meanwhile(server, prefix):
    layer = RedisChannelLayer([server.url], prefix, connections=1, timeout=WATCHDOG)
    async_to_sync(layer.send)("jobs", {"type": "job"})
    errors = []

    def send():
        try:
            async_to_sync(layer.send)("jobs", {"type": "job"})
        except LayerUnavailable as error:
            errors.append(error)

    async def is_waited_for():
        turn = layer._background._session._turns[0]
        return turn.locked() and len(turn._waiters or ()) == 3

    server.freeze()
    threads = [threading.Thread(target=send, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not asyncio.run(layer._background._thread.run(is_waited_for())):
        pass
    asyncio.run(layer.close())
    for thread in threads:
        thread.join(WATCHDOG / 3)
    server.thaw()

    assert not any(thread.is_alive() for thread in threads)
    assert len(errors) == 4
