"""The server's side of one HTTP exchange, in the hands of a test.

A ``Wire`` plays an ASGI server without sockets: it hands out request events, keeps
what the application sends, and does the harm that a test asks for at a given event.
``site()`` makes a handler for a few views; ``Ledger`` counts what must happen
exactly once; ``Base`` tells what a request left behind.
"""

import asyncio
import contextlib
import sys
import threading
import types
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from django.core.signals import request_finished, request_started
from django.test import override_settings
from django.urls import path as route

from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.threads import PoolStats, detached_here, get_pool

__all__ = (
    "Base",
    "Gate",
    "Ledger",
    "Wire",
    "lost_generators",
    "settle",
    "site",
    "stepped",
)

PATIENCE = 20.0
"""Seconds after which a test that waits for something is stuck."""

Message = dict[str, Any]


class Gate:
    """Opens once; threads and coroutines wait for it, or ask."""

    def __init__(self) -> None:
        self._future: Future[None] = Future()

    @property
    def is_open(self) -> bool:
        return self._future.done()

    def open(self) -> None:
        with contextlib.suppress(Exception):
            self._future.set_result(None)

    def wait(self) -> None:
        """Wait on a worker thread."""
        self._future.result(PATIENCE)

    async def opened(self) -> None:
        """Wait on the event loop."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.shield(asyncio.wrap_future(self._future))


class Wire:
    """One request and what is answered to it.

    Args:
        body: the chunks of the request body, taken from the iterable as the
            application asks. The last one has ``more_body`` false; of an async
            iterable, an empty event does.
        headers: pairs of str or bytes.
        on_receive: called with the number of each event before it is handed out; it
            may raise, or return an event to hand out in its place.
        leaves_at: number of the sent event at which the client leaves.
        on_send: called with the number of each sent event and the event itself,
            before it is kept; it may raise.
        scope: keys of the scope to replace; ``None`` values stay, ``...`` removes.
    """

    def __init__(
        self,
        path: str = "/",
        method: str = "GET",
        *,
        body: bytes | Iterable[bytes] | AsyncIterator[bytes] = b"",
        headers: Sequence[tuple[Any, Any]] = (),
        on_receive: Callable[[int], Message | None] | None = None,
        on_send: Callable[[int, Message], object] | None = None,
        leaves_at: int | None = None,
        **scope: Any,
    ) -> None:
        raw, _, query = path.partition("?")
        full = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw,
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(_bytes(name), _bytes(value)) for name, value in headers],
            "client": ("127.0.0.1", 40000),
            "server": ("testserver", 80),
            **scope,
        }
        self.scope = {key: value for key, value in full.items() if value is not ...}
        self.sent: list[Message] = []
        self.received = 0
        self.asked = 0
        self.log: list[Any] = []
        self.task: asyncio.Task[None] | None = None
        self._on_receive = on_receive
        self._on_send = on_send
        self._leaves_at = leaves_at
        given = [body] if isinstance(body, bytes) else body
        self._chunks: Any = aiter(given) if hasattr(given, "__aiter__") else iter(given)
        self._waiting: bytes | None = None
        self._is_over = False
        self._gone = asyncio.Event()
        self._stray: asyncio.Queue[Message] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._has_asked = asyncio.Event()

    # What a test does.

    async def serve(self, app: Any) -> "Wire":
        """Run the application to its end, in this task."""
        async with asyncio.timeout(PATIENCE):
            await app(self.scope, self.receive, self.send)
        return self

    def start(self, app: Any) -> "asyncio.Task[None]":
        """Run the application in a task of its own."""

        async def call() -> None:
            await app(self.scope, self.receive, self.send)

        self.task = asyncio.get_running_loop().create_task(call())
        return self.task

    async def ended(self) -> BaseException | None:
        """Wait for the started task and return what it raised."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.task])
        if self.task.cancelled():
            return asyncio.CancelledError()
        return self.task.exception()

    def leave(self) -> None:
        """Let the client go away."""
        self._gone.set()

    def leave_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the client go away, from a worker."""
        loop.call_soon_threadsafe(self.leave)

    def push(self, message: Message) -> None:
        """Hand out an event that has no place here."""
        self._stray.put_nowait(message)

    async def until_asked(self) -> None:
        """Wait until the application waits for an event."""
        async with asyncio.timeout(PATIENCE):
            await self._has_asked.wait()

    async def until_sent(self, count: int) -> None:
        """Wait until so many events were sent."""
        async with asyncio.timeout(PATIENCE):
            while len(self.sent) < count:
                self._changed.clear()
                await self._changed.wait()

    # What was answered.

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("http.response.") for message in self.sent]

    @property
    def start_event(self) -> Message:
        return next(each for each in self.sent if each["type"].endswith("start"))

    @property
    def status(self) -> int | None:
        """The status that was sent; None when none was."""
        for message in self.sent:
            if message["type"] == "http.response.start":
                return message["status"]
        return None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.start_event["headers"])

    def header(self, name: str) -> str | None:
        """The last value of a header of the answer."""
        found = [
            value.decode("latin-1")
            for key, value in self.headers
            if key.lower() == name.lower().encode()
        ]
        return found[-1] if found else None

    @property
    def chunks(self) -> list[bytes]:
        return [
            message.get("body", b"")
            for message in self.sent
            if message["type"] == "http.response.body"
        ]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def is_complete(self) -> bool:
        """Whether the last event of an answer was sent."""
        if not self.sent:
            return False
        last = self.sent[-1]
        return not last.get("more_body", False) and not last["type"].endswith("start")

    # What the application calls.

    async def receive(self) -> Message:
        number, self.asked = self.asked, self.asked + 1
        self._has_asked.set()
        if self._on_receive is not None:
            message = self._on_receive(number)
            if message is not None:
                return message
        if not self._is_over and not self._gone.is_set():
            message = await self._next_event()
            self._is_over = not message["more_body"]
            self.received += 1
            self.log.append(("received", self.received))
            return message
        return await self._after_body()

    async def send(self, message: Message) -> None:
        if self._on_send is not None:
            self._on_send(len(self.sent), message)
        if self._leaves_at == len(self.sent):
            self.leave()
        self.log.append(("sent", message["type"].removeprefix("http.response.")))
        self.sent.append(dict(message))
        self._changed.set()
        # A server gives way to others here, now and then.
        await asyncio.sleep(0)

    async def _next_event(self) -> Message:
        if hasattr(self._chunks, "__anext__"):
            # Nobody knows whether another chunk comes: an empty event is the end.
            chunk: bytes | None = await anext(self._chunks, None)
            return _request_event(chunk or b"", chunk is not None)
        if self._waiting is None:
            self._waiting = next(self._chunks, b"")
        body, self._waiting = self._waiting, next(self._chunks, None)
        return _request_event(body, self._waiting is not None)

    async def _after_body(self) -> Message:
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._gone.wait()),
            asyncio.ensure_future(self._stray.get()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[1].done():
                stray: Message = waits[1].result()
                return stray
            return {"type": "http.disconnect"}
        finally:
            for each in waits:
                each.cancel()


@types.coroutine
def stepped(work: Any, harms: Mapping[int, Callable[[], object]]) -> Any:
    """Await ``work`` and do harm when it waits for the n-th time, by number.

    The result tells how often it waited.
    """
    inner = work.__await__()
    step = 0
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            if error is None:
                awaited = inner.send(value)
            else:
                error, thrown = None, error
                awaited = inner.throw(thrown)
        except StopIteration:
            return step
        if step in harms:
            asyncio.get_running_loop().call_soon(harms[step])
        step += 1
        try:
            value = yield awaited
        except BaseException as raised:
            error = raised


class Ledger:
    """Counts signals, closed responses and what a test notes, by name."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.closed = 0
        self.made = 0
        self.senders: list[Any] = []
        self._lock = threading.Lock()

    def keep(self, response: Any) -> Any:
        """Count the ``close()`` of a response, by what it closes."""
        with self._lock:
            self.made += 1
        response._resource_closers.append(self._note_close)
        return response

    @contextlib.contextmanager
    def watching(self) -> Iterator["Ledger"]:
        """Listen to the two signals of a request."""
        request_started.connect(self._note_start)
        request_finished.connect(self._note_finish)
        try:
            yield self
        finally:
            request_started.disconnect(self._note_start)
            request_finished.disconnect(self._note_finish)

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.started, self.finished, self.closed

    def _note_start(self, sender: Any, **named: Any) -> None:
        with self._lock:
            self.started += 1

    def _note_finish(self, sender: Any, **named: Any) -> None:
        with self._lock:
            self.finished += 1
            self.senders.append(sender)

    def _note_close(self) -> None:
        with self._lock:
            self.closed += 1


class Base:
    """What there was before a request; ``left()`` tells what is more now."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._descriptors = _descriptors()
        self._tasks = asyncio.all_tasks()
        self._files = self._named_files()

    async def left(self) -> dict[str, Any]:
        """Wait for what goes on in the background and name what stays."""
        await settle()
        with contextlib.suppress(TimeoutError):
            # A worker tells of its last call before it is idle.
            async with asyncio.timeout(1):
                while self._left():  # noqa: ASYNC110 - threads tell no event
                    await asyncio.sleep(0)
        return self._left()

    def _left(self) -> dict[str, Any]:
        stats: PoolStats = get_pool().stats()
        left = {
            "descriptors": sorted(_descriptors() - self._descriptors),
            "files": sorted(self._named_files() - self._files),
            "tasks": [
                repr(task) for task in asyncio.all_tasks() - self._tasks if _runs(task)
            ],
            "workers": stats.leased,
            "running": stats.running,
            "waiting": stats.waiting,
        }
        return {name: value for name, value in left.items() if value}

    def _named_files(self) -> set[str]:
        return {str(each) for folder in self._folders for each in folder.iterdir()}


async def settle() -> None:
    """Let cancelled tasks end and wait for what requests left in the background."""
    async with asyncio.timeout(PATIENCE):
        while left := detached_here():
            await asyncio.wait(left)
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.contextmanager
def lost_generators() -> Iterator[list[str]]:
    """Collect the names of async generators that the garbage collector found open."""
    lost: list[str] = []
    kept = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(
        firstiter=kept.firstiter,
        finalizer=lambda generator: lost.append(generator.__qualname__),
    )
    try:
        yield lost
    finally:
        sys.set_asyncgen_hooks(*kept)


@contextlib.contextmanager
def site(
    *views: Any,
    middleware: Sequence[str] = (),
    bridge: Mapping[str, Any] | None = None,
    handler_class: type[ASGIHandler] = ASGIHandler,
    **settings: Any,
) -> Iterator[ASGIHandler]:
    """Give a handler that serves the first view at ``/``, others by their name."""
    patterns = [route("", views[0])] if views else []
    patterns += [route(view.__name__, view) for view in views[1:]]
    given = {
        "ROOT_URLCONF": tuple(patterns),
        "MIDDLEWARE": list(middleware),
        "ASGI_BRIDGE": {"LIFESPAN": [], **(bridge or {})},
        **settings,
    }
    with override_settings(**given):
        yield handler_class()


def _descriptors() -> set[str]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(f"{each.name}:{each.readlink()}")
    return found


def _runs(task: "asyncio.Task[Any]") -> bool:
    return not task.done() and task is not asyncio.current_task()


def _request_event(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def _bytes(value: Any) -> Any:
    return value.encode("latin-1") if isinstance(value, str) else value
