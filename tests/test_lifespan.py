"""Lifespan: hooks around the serving, by the protocol or by the first request."""

import asyncio
import gc
import logging
import sys
import types
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.lifespan import Lifespan, app_hooks, find_hooks

LOGGER = "django_asgi_bridge.lifespan"


class FakeServer:
    """The server's side of the lifespan protocol, for one application."""

    def __init__(self, app: Callable[..., Awaitable[Any]], *, state: bool = True):
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}}
        if state:
            self.scope["state"] = {}
        self.task = asyncio.ensure_future(
            app(self.scope, self.inbox.get, self.sent.put)
        )

    async def startup(self) -> dict[str, Any]:
        return await self._ask("lifespan.startup")

    async def shutdown(self) -> dict[str, Any]:
        message = await self._ask("lifespan.shutdown")
        await self.task
        return message

    async def _ask(self, signal: str) -> dict[str, Any]:
        """Give the answer; an application that ended without one fails the test."""
        self.inbox.put_nowait({"type": signal})
        answer = asyncio.ensure_future(self.sent.get())
        await asyncio.wait({answer, self.task}, return_when="FIRST_COMPLETED")
        if not answer.done() and self.sent.empty():
            answer.cancel()
            raise AssertionError(f"no answer to {signal}: {self.task!r}")
        return await answer


@pytest.fixture
def log() -> list[object]:
    return []


@pytest.fixture
def make_hook(log) -> Callable[..., Any]:
    """Give a maker of hooks that log their start and their end."""

    def make(name: str, **state: object) -> Any:
        @asynccontextmanager
        async def hook() -> AsyncIterator[dict[str, object]]:
            log.append(f"+{name}")
            try:
                yield state
            finally:
                log.append(f"-{name}")

        return hook

    return make


@asynccontextmanager
async def broken():
    raise OSError("no database\nsecond line")
    yield


# The protocol


@pytest.mark.asyncio
async def test_lifespan_runs_hooks_around_the_serving_when_the_server_asks(
    log, make_hook
):
    """Hooks start in order, stop in reverse order, and fill the server's state."""
    lifespan = Lifespan([make_hook("a", x=1), make_hook("b", y=2)])
    server = FakeServer(lifespan)

    assert await server.startup() == {"type": "lifespan.startup.complete"}
    assert log == ["+a", "+b"]
    assert server.scope["state"] == {"x": 1, "y": 2}
    assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
    assert log == ["+a", "+b", "-b", "-a"]


@pytest.mark.asyncio
async def test_lifespan_completes_when_there_are_no_hooks():
    server = FakeServer(Lifespan())
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"


@pytest.mark.asyncio
async def test_lifespan_refuses_the_scope_when_it_is_another_type():
    with pytest.raises(ValueError, match="not http"):
        await Lifespan()({"type": "http"}, None, None)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_lifespan_fails_in_one_line_when_a_hook_cannot_start(
    log, make_hook, caplog
):
    """The server gets the hook's name and error; the traceback is logged once."""
    server = FakeServer(Lifespan([make_hook("a"), broken, make_hook("c")]))

    message = await server.startup()
    await server.task

    assert message == {
        "type": "lifespan.startup.failed",
        "message": f"Lifespan hook '{__name__}.broken' failed to start: "
        "OSError: no database",
    }
    assert log == ["+a", "-a"]
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == message["message"]
    assert record.exc_info is not None


@pytest.mark.asyncio
async def test_plain_clean_up_runs_when_a_later_hook_cannot_start(log):
    """Clean-up after a plain yield needs no try: another's error is not shown to it."""

    @asynccontextmanager
    async def plain():
        yield
        log.append("cleaned")

    server = FakeServer(Lifespan([plain, broken]))
    await server.startup()
    await server.task
    assert log == ["cleaned"]


@pytest.mark.asyncio
async def test_other_hooks_are_left_when_one_fails_to_stop(log, make_hook, caplog):
    @asynccontextmanager
    async def sticky():
        yield
        raise OSError("stuck")

    server = FakeServer(Lifespan([make_hook("a"), sticky, make_hook("c")]))
    await server.startup()
    message = await server.shutdown()
    assert message["type"] == "lifespan.shutdown.failed"
    assert message["message"].endswith("sticky' failed to stop: OSError: stuck")
    assert log == ["+a", "+c", "-c", "-a"]
    assert len(caplog.records) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("step", ["start", "stop"])
async def test_lifespan_names_the_hook_when_it_takes_too_long(step, log, make_hook):
    @asynccontextmanager
    async def slow():
        if step == "start":
            await asyncio.Event().wait()
        yield
        await asyncio.Event().wait()

    # A limit that has passed before the hook's first wait: no time is measured.
    server = FakeServer(Lifespan([make_hook("a"), slow], timeout=0))
    message = await server.startup()
    if step == "stop":
        message = await server.shutdown()
    assert f"slow' failed to {step}: it took longer than 0 s" in message["message"]
    assert log == ["+a", "-a"]
    await server.task


@pytest.mark.asyncio
async def test_error_keeps_its_name_when_a_hook_raises_its_own_timeout():
    @asynccontextmanager
    async def hook():
        raise TimeoutError
        yield

    message = await FakeServer(Lifespan([hook])).startup()
    assert message["message"].endswith("failed to start: TimeoutError")


@pytest.mark.asyncio
async def test_hooks_are_left_when_the_server_cancels_the_lifespan(log):
    seen: list[type[BaseException]] = []

    @asynccontextmanager
    async def hook():
        try:
            yield
        except BaseException as error:
            seen.append(type(error))
            raise
        finally:
            log.append(asyncio.current_task())

    server = FakeServer(Lifespan([hook, hook]))
    await server.startup()
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert seen == [asyncio.CancelledError] * 2
    assert log == [server.task] * 2


@pytest.mark.asyncio
async def test_entered_hooks_are_left_when_the_start_is_cancelled(log, make_hook):
    waiting = asyncio.Event()

    @asynccontextmanager
    async def slow():
        waiting.set()
        await asyncio.Event().wait()
        yield

    server = FakeServer(Lifespan([make_hook("a"), slow]))
    server.inbox.put_nowait({"type": "lifespan.startup"})
    await waiting.wait()
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert log == ["+a", "-a"]


@pytest.mark.asyncio
async def test_remaining_hooks_are_left_when_the_stop_is_cancelled(log, make_hook):
    stopping = asyncio.Event()

    @asynccontextmanager
    async def slow():
        yield
        stopping.set()
        await asyncio.Event().wait()

    server = FakeServer(Lifespan([make_hook("a"), slow]))
    await server.startup()
    server.inbox.put_nowait({"type": "lifespan.shutdown"})
    await stopping.wait()
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert log == ["+a", "-a"]


@pytest.mark.asyncio
async def test_lifespan_raises_when_the_task_group_of_a_hook_fails(log, make_hook):
    """A background task that dies while serving ends the lifespan with its error."""
    crash = asyncio.Event()

    async def background():
        await crash.wait()
        raise OSError("lost")

    @asynccontextmanager
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(background())
            yield

    server = FakeServer(Lifespan([make_hook("a"), group]))
    await server.startup()
    crash.set()
    with pytest.raises(LifespanError, match="group' failed to stop: ExceptionGroup"):
        await server.task
    assert log == ["+a", "-a"]


@pytest.mark.asyncio
async def test_anyio_scope_is_entered_and_left_in_one_task_when_served():
    anyio = pytest.importorskip("anyio")

    @asynccontextmanager
    async def hook():
        async with anyio.create_task_group() as tasks:
            yield {"tasks": tasks}
            tasks.cancel_scope.cancel()

    server = FakeServer(Lifespan([hook]))
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"


@pytest.mark.asyncio
async def test_hooks_are_left_when_the_server_goes_after_the_start(log, make_hook):
    async def send(message):
        raise OSError("gone")

    async def receive():
        return {"type": "lifespan.startup"}

    with pytest.raises(OSError, match="gone"):
        await Lifespan([make_hook("a")])({"type": "lifespan"}, receive, send)
    assert log == ["+a", "-a"]


# Kinds of hooks


@pytest.mark.asyncio
async def test_hook_gets_the_state_when_it_has_a_parameter_for_it():
    """A required first parameter, or one named `state`, gets the state so far."""
    seen = []

    @asynccontextmanager
    async def first(anything):
        yield {"x": 1}

    @asynccontextmanager
    async def second(state=None):
        seen.append(dict(state))
        yield None

    @asynccontextmanager
    async def third(size=10, *, keyword=None):
        seen.append(size)
        yield

    server = FakeServer(Lifespan([first, second, third]))
    await server.startup()
    await server.shutdown()
    assert seen == [{"x": 1}, 10]


@pytest.mark.asyncio
async def test_sync_hook_runs_through_run_sync_when_given(log):
    calls = []

    async def run_sync(function, *args):
        calls.append(len(args))
        return function(*args)

    @contextmanager
    def hook():
        log.append("+")
        yield {"x": 1}
        log.append("-")

    server = FakeServer(Lifespan([hook], run_sync=run_sync))
    await server.startup()
    await server.shutdown()
    assert server.scope["state"] == {"x": 1}
    assert log == ["+", "-"]
    assert calls == [0, 3]


@contextmanager
def sync_hook():
    yield


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (sync_hook, "there is no `run_sync`"),
        (lambda: 3, "it returned 3, expected a context manager"),
        (
            asynccontextmanager(lambda: _one([1])),
            r"it yielded \[1\], expected a mapping",
        ),
    ],
)
async def test_lifespan_says_what_a_hook_must_be_when_it_is_not(hook, reason):
    server = FakeServer(Lifespan([hook]))
    message = await server.startup()
    assert message["type"] == "lifespan.startup.failed"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(message["message"])


async def _one(value):
    yield value


# Lazy start


@pytest.mark.asyncio
async def test_first_request_starts_the_hooks_when_no_server_did(log, make_hook):
    lifespan = Lifespan([make_hook("a", x=1)])
    assert lifespan.needs_start
    await lifespan.ensure_started()
    await lifespan.ensure_started()
    assert log == ["+a"]
    assert lifespan.request_state({"type": "http"}) == {"x": 1}
    await lifespan.stop()
    assert log == ["+a", "-a"]


@pytest.mark.asyncio
async def test_request_starts_the_hooks_again_when_they_were_stopped(log, make_hook):
    lifespan = Lifespan([make_hook("a")])
    await lifespan.ensure_started()
    await lifespan.stop()
    await lifespan.ensure_started()
    await lifespan.stop()
    assert log == ["+a", "-a"] * 2


@pytest.mark.asyncio
async def test_concurrent_requests_wait_for_one_start_when_it_is_slow(log):
    go, started = asyncio.Event(), []

    @asynccontextmanager
    async def slow():
        started.append(True)
        await go.wait()
        yield {"x": 1}

    lifespan = Lifespan([slow])
    requests = [asyncio.ensure_future(lifespan.ensure_started()) for _ in range(5)]
    await asyncio.sleep(0)
    requests[0].cancel()
    go.set()
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 4
    assert started == [True]
    await lifespan.stop()


@pytest.mark.asyncio
async def test_each_request_gets_the_error_when_the_start_fails(caplog):
    """A failed start is told to every request that waited, and tried again later."""
    attempts = []

    @asynccontextmanager
    async def flaky():
        attempts.append(True)
        if len(attempts) == 1:
            raise OSError("not yet")
        yield

    lifespan = Lifespan([flaky])
    results = await asyncio.gather(
        lifespan.ensure_started(), lifespan.ensure_started(), return_exceptions=True
    )
    assert [type(result) for result in results] == [LifespanError] * 2
    assert "flaky' failed to start: OSError: not yet" in str(results[0])
    assert results[0] is not results[1]
    assert len(caplog.records) == 1
    await lifespan.ensure_started()
    assert len(attempts) == 2
    await lifespan.stop()


@pytest.mark.asyncio
async def test_lazy_hooks_have_their_own_task_and_context_when_started():
    """Nothing of the first request stays in the hooks: neither task nor context."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[object] = []

    @asynccontextmanager
    async def hook():
        seen.extend([asyncio.current_task(), variable.get()])
        yield
        seen.append(asyncio.current_task())

    variable.set("request")
    lifespan = Lifespan([hook])
    await lifespan.ensure_started()
    await lifespan.stop()
    assert seen[0] is seen[2]
    assert seen[0] is not asyncio.current_task()
    assert seen[1] == "unset"


def test_lazy_hooks_are_left_when_asyncio_run_ends(log, make_hook):
    async def serve():
        await lifespan.ensure_started()

    lifespan = Lifespan([make_hook("a")])
    asyncio.run(serve())
    assert log == ["+a", "-a"]


def test_lazy_hooks_run_for_each_loop_when_there_are_two(log, make_hook):
    lifespan = Lifespan([make_hook("a", x=1)])
    states = []

    async def serve():
        await lifespan.ensure_started()
        states.append(lifespan.request_state({"type": "http"}))

    asyncio.run(serve())
    asyncio.run(serve())
    assert log == ["+a", "-a"] * 2
    assert states == [{"x": 1}] * 2


def test_closed_loops_are_forgotten_when_the_hooks_start_elsewhere(make_hook):
    lifespan = Lifespan([make_hook("a")])

    async def serve():
        await lifespan.ensure_started()
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(serve())
    asyncio.run(serve())
    gc.collect()
    assert loop() is None


def test_lazy_hooks_are_left_at_exit_when_the_loop_was_only_stopped(log, make_hook):
    """At the interpreter's exit a loop that can still run leaves the hooks."""
    exits: list[Callable[[], None]] = []
    lifespan = Lifespan([make_hook("a")])
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atexit.register", exits.append)
        loop.run_until_complete(lifespan.ensure_started())
    assert log == ["+a"]
    exits[0]()
    assert log == ["+a", "-a"]
    exits[0]()
    loop.close()


@pytest.mark.asyncio
async def test_lazy_hooks_start_again_when_a_background_task_of_theirs_failed(log):
    crash = asyncio.Event()

    async def background():
        await crash.wait()
        raise OSError("lost")

    @asynccontextmanager
    async def group():
        log.append("+")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(background())
            yield

    lifespan = Lifespan([group])
    await lifespan.ensure_started()
    crash.set()
    await asyncio.wait({lifespan_task()})
    crash.clear()
    await lifespan.ensure_started()
    assert log == ["+", "+"]
    lifespan_task().cancel()
    await asyncio.wait({lifespan_task()})


def lifespan_task() -> asyncio.Task[Any]:
    """The task of our own that runs the hooks of this loop."""
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == LOGGER]
    return task


@pytest.mark.asyncio
async def test_requests_start_nothing_when_a_server_did(log, make_hook):
    lifespan = Lifespan([make_hook("a")])
    server = FakeServer(lifespan)
    await server.startup()
    assert not lifespan.needs_start
    await lifespan.ensure_started()
    assert log == ["+a"]
    await server.shutdown()
    await lifespan.ensure_started()
    assert log == ["+a", "-a"]


def test_lifespan_needs_no_start_when_it_has_no_hooks():
    assert not Lifespan().needs_start


# State


@pytest.mark.asyncio
async def test_request_state_is_a_copy_when_a_request_changes_it(make_hook):
    """What one request writes into its state, no other request sees."""
    lifespan = Lifespan([make_hook("a", x=1)])
    server = FakeServer(lifespan, state=False)
    await server.startup()
    lifespan.request_state({"type": "http"})["x"] = 2
    assert lifespan.request_state({"type": "http"}) == {"x": 1}
    assert lifespan.request_state({"state": {"x": 3, "y": 4}}) == {"x": 3, "y": 4}
    await server.shutdown()


# Guests


def make_guest(log: list[object], **options: Any) -> Callable[..., Awaitable[None]]:
    async def guest(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        if options.get("failed"):
            await send({"type": "lifespan.startup.failed", "message": "no key"})
            raise OSError("after the answer")
        log.append("+guest")
        scope["state"]["guest"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        log.append("-guest")
        await send({"type": "lifespan.shutdown.complete"})
        await asyncio.sleep(0)
        log.append("end of guest")

    return guest


@pytest.mark.asyncio
async def test_guest_lifespan_runs_inside_the_hooks_when_mounted(log, make_hook):
    guest = make_guest(log)
    lifespan = Lifespan([make_hook("a", ours=1)], guests=[guest, guest])
    server = FakeServer(lifespan)
    await server.startup()
    assert log == ["+a", "+guest"]
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert log == ["+a", "+guest", "-guest", "end of guest", "-a"]


@pytest.mark.asyncio
async def test_guest_state_is_kept_apart_when_both_have_state(log, make_hook):
    guest = make_guest(log)
    lifespan = Lifespan([make_hook("a", ours=1)], guests=[guest])
    server = FakeServer(lifespan)
    await server.startup()
    scope = {"type": "http", "state": {**server.scope["state"], "from_middleware": 2}}
    assert server.scope["state"] == {"ours": 1}
    assert lifespan.guest_state(guest, scope) == {"guest": True, "from_middleware": 2}
    assert lifespan.request_state(scope) == {"ours": 1, "from_middleware": 2}
    await server.shutdown()


@pytest.mark.asyncio
async def test_startup_fails_with_the_message_when_a_guest_fails(log, make_hook):
    lifespan = Lifespan([make_hook("a")], guests=[make_guest(log, failed=True)])
    server = FakeServer(lifespan)
    message = await server.startup()
    await server.task
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("Lifespan of guest ")
    assert message["message"].endswith("failed to start: no key")
    assert log == ["+a", "-a"]


@pytest.mark.asyncio
@pytest.mark.parametrize("ending", ["raises", "returns"])
async def test_guest_is_taken_as_without_lifespan_when_it_does_not_answer(
    ending, caplog
):
    async def guest(scope, receive, send):
        if ending == "raises":
            raise ValueError("only http")

    server = FakeServer(Lifespan(guests=[guest]))
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.asyncio
async def test_guest_error_is_logged_once_when_it_ends_while_serving(caplog):
    crash = asyncio.Event()

    async def guest(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await crash.wait()
        raise OSError("lost")

    server = FakeServer(Lifespan(guests=[guest]))
    await server.startup()
    crash.set()
    await asyncio.sleep(0)
    await server.shutdown()
    (record,) = caplog.records
    assert "ended early" in record.getMessage()


@pytest.mark.asyncio
async def test_guest_task_ends_when_it_does_not_stop_in_time():
    tasks: list[Any] = []

    async def guest(scope, receive, send):
        tasks.append(asyncio.current_task())
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.Event().wait()

    lifespan = Lifespan(guests=[guest])
    await lifespan.ensure_started()
    lifespan_task().cancel()
    # The guest has a task of its own: what cancels ours is not what ends it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not tasks[0].done()
    lifespan_task().cancel()
    await asyncio.wait({lifespan_task()})
    assert tasks[0].cancelled()


@pytest.mark.asyncio
async def test_guest_lifespan_starts_lazily_when_no_server_starts_it(log):
    guest = make_guest(log)
    lifespan = Lifespan(guests=[guest])
    assert lifespan.needs_start
    await lifespan.ensure_started()
    assert lifespan.guest_state(guest, {}) == {"guest": True}
    await lifespan.stop()
    assert log == ["+guest", "-guest", "end of guest"]


@pytest.mark.asyncio
async def test_lifespan_refuses_a_guest_when_it_has_started(log):
    lifespan = Lifespan(guests=[make_guest(log)])
    await lifespan.ensure_started()
    with pytest.raises(LifespanError, match="came after the start"):
        lifespan.add_guest(make_guest(log))
    await lifespan.stop()


# Where hooks are declared


def test_find_hooks_imports_in_order_when_paths_are_given():
    paths = [f"{__name__}.broken", f"{__name__}.sync_hook"]
    assert find_hooks(paths) == [broken, sync_hook]


def test_find_hooks_names_the_setting_when_it_is_a_string():
    with pytest.raises(ImproperlyConfigured, match=r'"LIFESPAN"\] is the string'):
        find_hooks("a.b")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.to.be.found", "No module named 'nowhere'"),
        ("asyncio.nothing_such", "nothing_such"),
        ("hook", "doesn't look like a module path"),
        (f"{__name__}.LOGGER", "expected a function that returns a context"),
        (f"{__name__}._one", "decorate it with @contextlib.asynccontextmanager"),
        (f"{__name__}._generator", r"decorate it with @contextlib\.contextmanager"),
    ],
)
def test_find_hooks_names_setting_and_reason_when_a_path_is_wrong(path, reason):
    with pytest.raises(ImproperlyConfigured, match=reason) as caught:
        find_hooks([path])
    assert f'ASGI_BRIDGE["LIFESPAN"] names \'{path}' in str(caught.value)


def _generator():
    yield


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["method", "list", "path"])
async def test_app_hooks_come_from_the_app_config_when_it_declares_them(
    kind, log, make_hook, monkeypatch
):
    """An AppConfig declares its hooks by `asgi_lifespan`."""
    module = types.ModuleType("app_with_hooks")
    module.hook = make_hook("app")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app_with_hooks", module)
    config = next(iter(apps.get_app_configs()))

    @asynccontextmanager
    async def method(self):
        assert self is config
        log.append("+app")
        yield
        log.append("-app")

    declared: Any = {
        "method": types.MethodType(method, config),
        "list": [module.hook],
        "path": ["app_with_hooks.hook"],
    }[kind]
    monkeypatch.setattr(config, "asgi_lifespan", declared, raising=False)

    server = FakeServer(Lifespan(app_hooks()))
    await server.startup()
    await server.shutdown()
    assert log == ["+app", "-app"]


def test_app_hooks_name_the_app_when_a_path_is_wrong(monkeypatch):
    config = next(iter(apps.get_app_configs()))
    monkeypatch.setattr(config, "asgi_lifespan", ["no.where"], raising=False)
    with pytest.raises(ImproperlyConfigured) as caught:
        app_hooks()
    name = type(config).__qualname__
    assert f"{name}.asgi_lifespan names 'no.where'" in str(caught.value)


def test_app_hooks_are_none_when_no_app_declares_any():
    hooks = [hook for hook in app_hooks() if "testproject" not in hook.__module__]
    assert hooks == []
