"""Code that knows only asgiref lands on the request's worker."""

import asyncio
import contextvars
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
import uvloop
from asgiref.local import Local
from asgiref.sync import (
    SyncToAsync,
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads import get_pool, jobs, run_apart, run_sync
from django_asgi_bridge.threads.waking import LoopBell
from django_asgi_bridge.threads.worker import PINS_CURSOR, PINS_NOTHING, PINS_STATE
from tests.threads.support import (
    WATCHDOG,
    Call,
    make_lease,
    make_pool,
    run,
    served,
    until,
    wait,
    wait_until_idle,
)

ident = sync_to_async(threading.get_ident)
variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
local = Local()
critical = Local(thread_critical=True)
of_thread = threading.local()


def loops():
    return pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, id="asyncio"),
            pytest.param({"debug": True}, id="asyncio-debug"),
            pytest.param({"loop_factory": uvloop.new_event_loop}, id="uvloop"),
        ],
    )


# Where code runs.


@loops()
def test_sync_to_async_lands_on_the_leased_worker(pool, options):
    """asgiref's calls and the lease's own share one thread, on any loop."""

    async def request(lease):
        return {
            await lease.run(threading.get_ident),
            await ident(),
            await run_sync(threading.get_ident),
        }

    assert len(run(served(pool, request), **options)) == 1


@loops()
def test_sync_to_async_lands_on_the_leased_worker_from_child_tasks(pool, options):
    """gather, wait_for, create_task and TaskGroup belong to the request."""

    async def request(lease):
        threads = {await lease.run(threading.get_ident)}
        threads.update(await asyncio.gather(ident(), ident()))
        threads.add(await asyncio.wait_for(ident(), WATCHDOG))
        threads.add(await asyncio.create_task(ident()))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ident())
        threads.add(task.result())
        return threads

    assert len(run(served(pool, request), **options)) == 1


def test_two_requests_at_once_use_two_threads(pool):
    """A request's sync code does not wait for another request's."""
    both = threading.Barrier(2, timeout=WATCHDOG)

    async def request(lease):
        await sync_to_async(both.wait)()
        return await ident()

    async def main():
        return await asyncio.gather(served(pool, request), served(pool, request))

    assert len(set(run(main()))) == 2


def test_task_that_outlives_its_request_gets_a_worker_for_its_call(pool):
    """A late call works, and leaves nothing leased."""

    async def main():
        over = asyncio.Event()

        async def late():
            await over.wait()
            return await ident()

        async def request(lease):
            await ident()
            return asyncio.create_task(late())

        task = await served(pool, request)
        over.set()
        return await task

    assert isinstance(run(main()), int)
    wait_until_idle(pool)
    assert pool.stats().idle == 1


def test_code_outside_a_request_runs_where_asgiref_runs_it():
    """Without a lease ``run_sync`` is ``sync_to_async``."""

    async def main():
        return await run_sync(threading.get_ident) == await ident()

    assert run(main())


def test_own_thread_sensitive_context_of_user_code_is_left_alone(pool):
    """Nested in a request, asgiref's own context is what asgiref makes of it."""

    async def request(lease):
        async with ThreadSensitiveContext():
            return await ident() == await lease.run(threading.get_ident)

    assert run(served(pool, request))


def test_lease_uses_the_thread_of_a_sync_caller_further_up(pool):
    """Under ``async_to_sync``, as in Django's test cases, that caller's thread runs."""

    async def request(lease):
        assert not lease.is_direct
        return {await lease.run(threading.get_ident), await ident()}

    threads = async_to_sync(served)(pool, request)

    assert threads == {threading.get_ident()}
    assert pool.stats().started_total == 0


def test_lease_goes_through_a_replaced_sync_to_async(pool, monkeypatch):
    """A tool that watches SyncToAsync sees every call of a request."""
    seen = []
    original = SyncToAsync.__call__

    async def watched(self, *args, **kwargs):
        seen.append(self.func)
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", watched)

    async def request(lease):
        return await lease.run(threading.get_ident) == await ident()

    assert run(served(pool, request))
    assert seen == [threading.get_ident] * 2


def test_run_apart_needs_no_request(settings):
    """Work that belongs to nobody runs on any worker."""

    async def main():
        return await run_apart(threading.get_ident)

    assert run(main()) != threading.get_ident()
    wait_until_idle(get_pool())


# What is carried.


def test_context_variables_and_locals_are_carried_both_ways(pool):
    """ContextVar and Local cross in both directions, by trip and by asgiref."""

    def on_worker(number):
        seen = variable.get(), local.value
        variable.set(number)
        local.value = number
        return seen

    async def request(lease):
        seen = []
        variable.set(0)
        local.value = 0
        seen.append(await lease.run(on_worker, 1))
        seen.append(await sync_to_async(on_worker)(2))
        seen.append(await lease.run(on_worker, 3))
        seen.append((variable.get(), local.value))
        return seen

    assert run(served(pool, request)) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_locals_are_carried_through_a_parked_worker(pool):
    """Sync middleware, async middleware and the sync view inside see one Local."""

    async def request(lease):
        async def inner():
            seen = [local.value]
            local.value = "inner"
            seen.append(await lease.run(lambda: local.value))
            return seen

        def outer():
            local.value = "outer"
            return [*lease.call_async(inner), local.value]

        return [*await lease.run(outer), local.value]

    assert run(served(pool, request)) == ["outer", "inner", "inner", "inner"]


def test_thread_locals_stay_on_the_worker(pool):
    """threading.local and a thread-critical Local are the worker's own."""

    def set_them():
        of_thread.value = critical.value = "request"

    def get_them():
        return of_thread.value, critical.value

    async def request(lease):
        await lease.run(set_them)
        assert not hasattr(of_thread, "value")
        assert not hasattr(critical, "value")
        return await sync_to_async(get_them)()

    assert run(served(pool, request)) == ("request", "request")


def test_requests_see_nothing_of_each_other(pools):
    """200 interleaved requests keep their tenant in every kind of variable."""
    pool = pools(threads=4, max_threads=200, max_queue=1000)

    def check(tenant):
        assert (variable.get(), local.tenant, of_thread.tenant) == (tenant,) * 3

    def enter(tenant):
        local.tenant = of_thread.tenant = tenant
        variable.set(tenant)

    async def request(lease):
        tenant = object()
        await lease.run(enter, tenant)
        for _ in range(3):
            await asyncio.sleep(0)
            await sync_to_async(check)(tenant)
            await asyncio.gather(sync_to_async(check)(tenant))
            await lease.run(check, tenant)
            assert (variable.get(), local.tenant) == (tenant, tenant)

    async def main():
        await asyncio.gather(*(served(pool, request) for _ in range(200)))

    run(main())
    assert variable.get(None) is None
    assert not hasattr(local, "tenant")


# Nesting and deadlocks.


def nested(depth, chance):
    """Return a coroutine function that goes down through both kinds of code."""

    async def asynchronous():
        if depth == 0:
            return {await ident()}
        return await sync_to_async(synchronous)()

    def synchronous():
        step = nested(depth - 1, chance)
        if chance.random() < 0.5:
            return async_to_sync(step)()

        async def in_a_task():
            way = chance.randrange(3)
            if way == 0:
                return await asyncio.wait_for(step(), WATCHDOG)
            if way == 1:
                return set().union(*await asyncio.gather(step(), step()))
            return await asyncio.create_task(step())

        return async_to_sync(in_a_task)()

    return asynchronous


@given(depth=st.integers(1, 6), seed=st.integers(0, 1000), starts=st.booleans())
@settings(max_examples=40, deadline=None)
def test_nesting_of_any_depth_ends_on_one_thread(depth, seed, starts):
    """Sync in async in sync, with tasks in between, never waits for itself."""
    pool = make_pool(threads=1, max_threads=1)
    chance = random.Random(seed)

    async def request(lease):
        if starts:
            coroutine = nested(depth, chance)
            return await lease.run(lease.call_async, coroutine)
        return await nested(depth, chance)()

    try:
        assert len(run(served(pool, request))) == 1
        wait_until_idle(pool)
    finally:
        pool.shutdown()


async def deadlocked_by_wait_for():
    return await asyncio.wait_for(ident(), WATCHDOG)


async def deadlocked_by_gather():
    first, second = await asyncio.gather(ident(), ident())
    assert first == second
    return first


async def deadlocked_by_create_task():
    task = asyncio.create_task(ident())
    await asyncio.sleep(0)
    return await task


async def deadlocked_by_task_group():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(deadlocked_by_gather())
    return task.result()


async def deadlocked_by_inner_async_to_sync():
    return await sync_to_async(async_to_sync(deadlocked_by_gather))()


async def deadlocked_by_wait_for_around_async_to_sync():
    inner = sync_to_async(async_to_sync(deadlocked_by_wait_for))
    return await asyncio.wait_for(inner(), WATCHDOG)


async def deadlocked_by_async_generator():
    async def items():
        yield await ident()
        yield await asyncio.create_task(ident())

    threads = {item async for item in items()}
    return threads.pop()


async def deadlocked_by_shielded_call():
    return await asyncio.shield(asyncio.ensure_future(ident()))


REPRODUCERS = [
    deadlocked_by_wait_for,
    deadlocked_by_gather,
    deadlocked_by_create_task,
    deadlocked_by_task_group,
    deadlocked_by_inner_async_to_sync,
    deadlocked_by_wait_for_around_async_to_sync,
    deadlocked_by_async_generator,
    deadlocked_by_shielded_call,
]


@pytest.mark.parametrize("view", REPRODUCERS, ids=lambda view: view.__name__)
@pytest.mark.parametrize("layers", [0, 1, 3], ids="{} sync middleware".format)
def test_async_view_under_sync_middleware_does_not_deadlock(pools, view, layers):
    """Async code below sync middleware may use tasks and sync code freely."""
    pool = pools(threads=1, max_threads=1)

    async def request(lease):
        chain = view
        for _ in range(layers):

            async def chain(inner=chain):
                return await lease.run(lease.call_async, inner)

        thread = await chain()
        return thread == await lease.run(threading.get_ident)

    async def main():
        return [await served(pool, request) for _ in range(20)]

    assert run(main()) == [True] * 20


@pytest.mark.parametrize("view", REPRODUCERS, ids=lambda view: view.__name__)
def test_async_view_under_a_users_own_bridges_does_not_deadlock(pools, view):
    """The same with a middleware that uses asgiref itself."""
    pool = pools(threads=1, max_threads=1)

    async def request(lease):
        thread = await sync_to_async(async_to_sync(view))()
        return thread == await lease.run(threading.get_ident)

    async def main():
        return [await served(pool, request) for _ in range(20)]

    assert run(main()) == [True] * 20


# The queue.


def occupied(pool):
    """Return the only worker's lease and the job that blocks it."""
    lease, call = make_lease(pool), Call(is_gated=True)
    pool.submit(lease, call)
    wait(call.started)
    return lease, call


def test_each_call_that_waits_too_long_raises_pool_busy(pools):
    """Two tasks of one request wait; both are told, not only the first."""
    pool = pools(threads=1, max_threads=1)
    holder, call = occupied(pool)

    async def request(lease):
        return await asyncio.gather(ident(), ident(), return_exceptions=True)

    errors = run(served(pool, request, queue_timeout=0.001))

    assert [type(error) for error in errors] == [PoolBusy, PoolBusy]
    call.gate.set()
    pool.close(holder)


def test_cancelled_call_leaves_the_queue(pools):
    """A call that nobody waits for does not take a worker later."""
    pool = pools(threads=1, max_threads=1)
    holder, call = occupied(pool)

    async def request(lease):
        task = asyncio.create_task(ident())
        await until(lambda: pool.stats().waiting)
        task.cancel()
        await asyncio.wait([task])
        return pool.stats().waiting

    assert run(served(pool, request)) == 0
    call.gate.set()
    pool.close(holder)


def test_full_queue_refuses_asgirefs_calls_too(pools):
    """PoolBusy comes out of ``sync_to_async``."""
    pool = pools(threads=1, max_threads=1, max_queue=0)
    holder, call = occupied(pool)

    async def request(lease):
        with pytest.raises(PoolBusy, match="MAX_QUEUE"):
            await ident()

    run(served(pool, request))
    call.gate.set()
    pool.close(holder)


# How the outcome comes back.


@loops()
def test_outcome_comes_back_with_one_ring_of_the_bell(pool, monkeypatch, options):
    """No ``concurrent.futures.Future`` is chained to the loop's own."""
    rung = []
    call = LoopBell.call

    def counted(self, function):
        rung.append(function)
        call(self, function)

    monkeypatch.setattr(LoopBell, "call", counted)
    monkeypatch.setattr(jobs.FutureJob, "_begin", None)

    async def request(lease):
        return [await ident() for _ in range(3)]

    assert len(run(served(pool, request), **options)) == 3
    assert len(rung) == 3


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (StopIteration(1), RuntimeError),
        (futures.CancelledError("why"), asyncio.CancelledError),
        (futures.InvalidStateError(), asyncio.InvalidStateError),
        (KeyError("key"), KeyError),
        (SystemExit(3), SystemExit),
    ],
    ids=lambda each: getattr(type(each), "__name__", ""),
)
def test_error_comes_back_as_from_any_executor(pool, raised, seen):
    """As ``asyncio.wrap_future`` gives it; StopIteration does not end the caller."""

    def fail():
        raise raised

    async def request(lease):
        try:
            await sync_to_async(fail)()
        except BaseException as error:
            return error

    error = run(served(pool, request))

    assert type(error) is seen
    assert error is raised or error.__cause__ is raised or error.args == raised.args


def test_call_that_runs_is_not_heard_of_when_it_was_cancelled(pool):
    """Its outcome comes to a future that is done; the next call is as any."""
    begun, gate = threading.Event(), threading.Event()

    def slow():
        begun.set()
        wait(gate)

    async def request(lease):
        complaints = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        task = asyncio.create_task(sync_to_async(slow)())
        await until(begun.is_set)
        task.cancel()
        await asyncio.wait([task])
        gate.set()
        thread = await ident()
        return task.cancelled(), thread == await ident(), complaints

    assert run(served(pool, request)) == (True, True, [])


# What ties a lease to its thread.


@pytest.mark.parametrize(
    ("pins", "is_pinned"),
    [(PINS_NOTHING, False), (PINS_STATE, True), (PINS_CURSOR, True)],
)
def test_trip_pins_what_it_says(pool, pins, is_pinned):
    """A trip tells what it may leave on its thread."""

    async def request(lease):
        await lease.run(lambda: None, pins=pins)
        return lease.is_held()

    assert run(served(pool, request)) is is_pinned


def test_unknown_sync_code_pins_its_lease(pool):
    """Third-party code may keep thread-locals: the request keeps its thread."""

    async def request(lease):
        await ident()
        return lease.is_held()

    assert run(served(pool, request))


def test_lease_per_call_holds_nothing_between_calls(pool):
    """After ``go_per_call`` a request has a worker only while a call runs."""

    async def request(lease):
        await ident()
        await lease.run(lease.go_per_call, pins=PINS_NOTHING)
        before = lease.worker
        await ident()
        await sync_to_async(lambda: None)()
        wait_until_idle(pool)
        return before, lease.worker

    assert run(served(pool, request)) == (None, None)


# Other processes.


def in_child(function):
    """Run ``function`` in a forked child; return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(int(WATCHDOG))
            function()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_forked_child_has_a_pool_of_its_own():
    """A pool used before the fork does not stand in the child's way."""

    async def request(lease):
        return await lease.run(os.getpid)

    def serve():
        assert run(served(get_pool(), request)) == os.getpid()

    serve()
    parents = get_pool()

    def child():
        assert get_pool() is not parents
        assert get_pool().stats().threads == 0
        for _ in range(10):
            serve()

    assert in_child(child) == 0
    wait_until_idle(parents)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_forked_child_serves_after_asgirefs_thread_ran_in_the_parent():
    """``sync_to_async`` in a preloading parent leaves the child's requests alone."""

    async def outside():
        return await ident()

    async def request(lease):
        return await ident()

    run(outside())

    def child():
        run(served(get_pool(), request))

    assert in_child(child) == 0


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_child_forked_inside_a_request_gets_a_clear_error(pool):
    """The request's thread is not in the child: a call there fails, not hangs."""

    def fork():
        def child():
            with pytest.raises(RuntimeError, match="forked child"):
                asyncio.run(ident())
            assert async_to_sync(ident)() == threading.get_ident()

        return in_child(child)

    async def request(lease):
        return await lease.run(fork)

    assert run(served(pool, request)) == 0


def test_process_ends_at_once_and_ends_its_idle_workers():
    """At exit idle workers close their connections; nothing keeps the process."""
    code = """
        import asyncio, threading
        from django.conf import settings
        settings.configure()
        from tests.threads.support import make_pool, served

        pool = make_pool(on_thread_end=lambda: print("ended"))

        async def request(lease):
            await lease.run(int)

        asyncio.run(served(pool, request))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
