"""Transactions and database calls from async code."""

import asyncio
import contextvars
import threading
import types

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import path

from django_asgi_bridge import threads
from django_asgi_bridge.conf import forget_config
from django_asgi_bridge.db import (
    DatabaseSyncToAsync,
    aclose_old_connections,
    atomic,
    database_sync_to_async,
)
from django_asgi_bridge.http.handler import ASGIHandler
from tests.threads.databases import ALIAS, Client, add, postgres, rows, sqlite
from tests.threads.support import make_pool, run, served, wait, wait_until_idle


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request, tmp_path, django_db_blocker):
    """Give the scratch database, of either kind."""
    if request.param == "sqlite":
        manager = sqlite(tmp_path / "scratch.sqlite3")
    else:
        manager = postgres(request.getfixturevalue("postgres_url"))
    with django_db_blocker.unblock(), manager as scratch:
        yield scratch


@pytest.fixture
def pool(database):
    """Give a pool whose workers look after connections as the process's own do."""
    pool = make_pool(
        threads=4,
        max_threads=8,
        has_open_work=threads.connections.has_open_work,
        on_thread_end=threads.connections.close_all,
    )
    yield pool
    wait_until_idle(pool)
    pool.shutdown()


@pytest.fixture
def request_of(pool):
    """Give a function that runs a coroutine as a request on a worker."""

    def serve(request):
        return served(pool, request, on_detach=threads.connections.leave_clean)

    return serve


async def save(key):
    await add(key).asave(using=ALIAS, force_insert=True)


def test_block_commits_at_its_end(database, request_of):
    """Others see the block's rows when it has ended, not before."""

    async def request(lease):
        async with atomic(using=ALIAS):
            await save("a")
            await save("b")
            return await asyncio.to_thread(database.keys)

    assert run(request_of(request)) == set()
    assert database.keys() == {"a", "b"}


def test_block_keeps_its_connection_when_old_ones_are_looked_for(database, request_of):
    """Calls of ``database_sync_to_async`` inside are part of the transaction."""

    def keys_here():
        return set(rows().values_list("session_key", flat=True))

    async def request(lease):
        async with atomic(using=ALIAS):
            await save("a")
            await aclose_old_connections()
            keys = await database_sync_to_async(keys_here)()
            await save("b")
        return keys

    assert run(request_of(request)) == {"a"}
    assert database.keys() == {"a", "b"}


@pytest.mark.parametrize("at", range(5))
def test_block_rolls_back_when_an_exception_is_raised_at_any_await(
    database, request_of, at
):
    """A transfer is made wholly or not at all."""

    async def step(number):
        if number == at:
            raise ValueError(f"told to fail at {number}")
        await save(f"row {number}")

    async def request(lease):
        async with atomic(using=ALIAS):
            for number in range(4):
                await step(number)

    if at == 4:
        run(request_of(request))
        assert len(database.keys()) == 4
    else:
        with pytest.raises(ValueError, match=f"fail at {at}"):
            run(request_of(request))
        assert database.keys() == set()


def test_block_rolls_back_when_its_task_is_cancelled(database, request_of):
    """Cancellation is an exception like others, and the connection lives on."""

    async def main():
        is_saved = asyncio.Event()

        async def transfer():
            async with atomic(using=ALIAS):
                await save("lost")
                is_saved.set()
                await asyncio.Event().wait()

        async def request(lease):
            task = asyncio.create_task(transfer())
            await is_saved.wait()
            task.cancel()
            await asyncio.wait([task])
            await save("kept")

        await request_of(request)

    run(main())
    assert database.keys() == {"kept"}


@pytest.mark.parametrize("method", ["__enter__", "__exit__"])
def test_block_is_whole_when_its_task_is_cancelled_at_its_edge(
    database, request_of, monkeypatch, method
):
    """Cancelled while it begins or ends, no transaction stays open behind it."""
    entered, opened = threading.Event(), threading.Event()
    original = getattr(transaction.Atomic, method)

    def slow(self, *args):
        if not entered.is_set():
            entered.set()
            wait(opened)
        return original(self, *args)

    monkeypatch.setattr(transaction.Atomic, method, slow)

    async def transfer():
        async with atomic(using=ALIAS):
            await save("block")

    async def request(lease):
        task = asyncio.create_task(transfer())
        await asyncio.to_thread(wait, entered)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        opened.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not await sync_to_async(threads.connections.has_open_work)()
        await save("after")

    run(request_of(request))

    block = {"block"} if method == "__exit__" else set()
    assert database.keys() == {"after"} | block


def test_block_is_not_begun_when_its_task_is_cancelled_in_the_queue(
    database, request_of
):
    """Before its first statement runs a block can be left at once."""
    gate = threading.Event()

    async def transfer():
        async with atomic(using=ALIAS):
            await save("block")

    async def request(lease):
        blocking = asyncio.create_task(sync_to_async(wait)(gate))
        await asyncio.sleep(0)
        task = asyncio.create_task(transfer())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        gate.set()
        await blocking
        await save("after")

    run(request_of(request))
    assert database.keys() == {"after"}


def test_nested_block_is_a_savepoint(database, request_of):
    """An inner block rolls back alone."""

    async def request(lease):
        async with atomic(using=ALIAS):
            await save("outer")
            with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
                async with atomic(using=ALIAS):
                    await save("inner")
                    raise KeyError
            async with atomic(using=ALIAS):
                await save("second")

    run(request_of(request))
    assert database.keys() == {"outer", "second"}


def test_durable_block_refuses_to_be_nested(database, request_of):
    """``durable=True`` means what it means in Django."""

    async def request(lease):
        async with atomic(using=ALIAS):
            with pytest.raises(RuntimeError, match="durable"):
                async with atomic(using=ALIAS, durable=True):
                    pass
            await save("outer")

    run(request_of(request))
    assert database.keys() == {"outer"}


def test_block_without_savepoint_spoils_the_outer_one(database, request_of):
    """``savepoint=False`` marks the whole transaction for rollback."""

    async def spoiled():
        async with atomic(using=ALIAS):
            with pytest.raises(KeyError):
                async with atomic(using=ALIAS, savepoint=False):
                    raise KeyError
            await save("lost")

    async def request(lease):
        with pytest.raises(transaction.TransactionManagementError):
            await spoiled()

    run(request_of(request))
    assert database.keys() == set()


def test_second_task_inside_a_block_is_refused(database, request_of):
    """A transaction belongs to one task; the message says what to do."""

    async def request(lease):
        with pytest.raises(RuntimeError, match="belongs to one task"):
            async with atomic(using=ALIAS):
                await asyncio.gather(save("a"), save("b"))

    run(request_of(request))
    assert database.keys() == set()


def test_second_block_in_another_task_is_refused(database, request_of):
    """Two blocks of one request cannot be open in two tasks."""

    async def transfer(key):
        async with atomic(using=ALIAS):
            await save(key)

    async def request(lease):
        return await asyncio.gather(
            transfer("a"), transfer("b"), return_exceptions=True
        )

    first, second = run(request_of(request))

    assert first is None
    assert isinstance(second, RuntimeError)
    assert database.keys() == {"a"}


def test_second_task_is_refused_while_the_block_is_left(database, request_of):
    """A query between the block's last line and its commit would be inside it."""

    async def request(lease):
        is_over = asyncio.Event()

        async def other():
            await is_over.wait()
            await save("b")

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        async with atomic(using=ALIAS):
            await save("a")
            is_over.set()
        return await asyncio.gather(task, return_exceptions=True)

    assert isinstance(run(request_of(request))[0], RuntimeError)
    assert database.keys() == {"a"}


def test_other_tasks_are_free_when_the_block_has_ended(database, request_of):
    """After the block any task of the request may use the database again."""

    async def request(lease):
        async with atomic(using=ALIAS):
            async with atomic(using=ALIAS):
                await save("a")
            await save("b")
        await asyncio.gather(save("c"), save("d"))

    run(request_of(request))
    assert database.keys() == set("abcd")


def test_blocks_of_two_requests_are_apart(database, request_of):
    """Each request has its own connection, hence its own transaction."""

    async def main():
        is_saved = asyncio.Event()

        async def fails(lease):
            async with atomic(using=ALIAS):
                await rows().acount()
                is_saved.set()
                raise KeyError

        async def works(lease):
            await is_saved.wait()
            async with atomic(using=ALIAS):
                await save("kept")

        return await asyncio.gather(
            request_of(fails), request_of(works), return_exceptions=True
        )

    failed, worked = run(main())
    assert isinstance(failed, KeyError)
    assert worked is None
    assert database.keys() == {"kept"}


def test_block_holds_its_worker(database, pool, request_of):
    """Inside the block the lease is pinned, even one that works call by call."""

    async def request(lease):
        lease.go_per_call()
        async with atomic(using=ALIAS):
            inside = lease.worker
            await save("a")
            assert lease.worker is inside is not None
        wait_until_idle(pool)
        return lease.worker

    assert run(request_of(request)) is None
    assert database.keys() == {"a"}


def test_on_commit_runs_after_the_block(database, request_of):
    """``transaction.on_commit`` inside the block waits for its end."""
    seen = []

    async def request(lease):
        async with atomic(using=ALIAS):
            await sync_to_async(transaction.on_commit)(
                lambda: seen.append("committed"), using=ALIAS
            )
            assert seen == []
        assert seen == ["committed"]

    run(request_of(request))


def test_block_left_open_is_rolled_back_with_its_request(database, request_of, caplog):
    """A block that nobody left does not leak into the next request."""

    async def forgets(lease):
        await atomic(using=ALIAS).__aenter__()
        await save("lost")

    async def follows(lease):
        await save("kept")

    run(request_of(forgets))
    run(request_of(follows))

    assert database.keys() == {"kept"}
    assert "inside a transaction" in caplog.text


def test_block_works_outside_a_request(database):
    """Without a lease the block runs where ``sync_to_async`` runs."""

    def forget():
        connections[ALIAS].close()
        del connections[ALIAS]

    async def main():
        with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
            async with atomic(using=ALIAS):
                await save("lost")
                raise KeyError
        async with atomic(using=ALIAS):
            await save("kept")
        await sync_to_async(forget)()

    contextvars.Context().run(run, main())
    assert database.keys() == {"kept"}


# ATOMIC_REQUESTS.


def sync_view(request):
    add("row").save(using=ALIAS)
    is_atomic = connections[ALIAS].in_atomic_block
    if "fail" in request.path:
        raise ValueError("told to fail")
    return HttpResponse(f"{is_atomic}")


async def async_view(request):
    await save("row")
    is_atomic = await sync_to_async(lambda: connections[ALIAS].in_atomic_block)()
    if "fail" in request.path:
        raise ValueError("told to fail")
    return HttpResponse(f"{is_atomic}")


@transaction.non_atomic_requests(using=ALIAS)
async def exempt_view(request):
    return await async_view(request)


urlpatterns = [
    path("sync", sync_view),
    path("sync/fail", sync_view),
    path("async", async_view),
    path("async/fail", async_view),
    path("exempt", exempt_view),
    path("exempt/fail", exempt_view),
]


@pytest.fixture
def atomic_site(settings, database):
    """Give a function that makes a site with ``ATOMIC_REQUESTS``."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    connections.settings[ALIAS]["ATOMIC_REQUESTS"] = True
    before, threads._pool = threads._pool, None

    def make(**options):
        settings.ASGI_BRIDGE = options
        forget_config()
        return types.SimpleNamespace(app=ASGIHandler())

    yield make
    wait_until_idle(threads.get_pool())
    threads.get_pool().shutdown()
    threads._pool = before


@pytest.mark.parametrize(
    ("url", "answer", "keys"),
    [("/sync", (200, "True"), {"row"}), ("/sync/fail", 500, set())],
)
def test_atomic_requests_covers_sync_views(atomic_site, database, url, answer, keys):
    """A sync view is one transaction, rolled back when it fails."""
    status, body = run(Client.get(atomic_site().app, url))

    assert answer in (status, (status, body))
    assert database.keys() == keys


def test_atomic_requests_refuses_async_views_as_django_does(
    atomic_site, database, settings
):
    """By default an async view under ``ATOMIC_REQUESTS`` is Django's RuntimeError."""
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True

    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS with async views"):
        run(Client.get(atomic_site().app, "/async"))

    assert database.keys() == set()


@pytest.mark.parametrize(
    ("url", "answer", "keys"),
    [
        ("/async", (200, "True"), {"row"}),
        ("/async/fail", 500, set()),
        ("/exempt", (200, "False"), {"row"}),
        ("/exempt/fail", 500, {"row"}),
        ("/sync", (200, "True"), {"row"}),
        ("/sync/fail", 500, set()),
    ],
)
def test_atomic_async_views_covers_async_views_too(
    atomic_site, database, url, answer, keys
):
    """With the option, both kinds of view are one transaction."""
    status, body = run(Client.get(atomic_site(ATOMIC_ASYNC_VIEWS=True).app, url))

    assert answer in (status, (status, body))
    assert database.keys() == keys


# Calls, as Channels' users know them.


@pytest.fixture
def closings(monkeypatch):
    """Give the threads in which old connections were looked for."""
    seen = []

    def look():
        seen.append(threading.current_thread())

    monkeypatch.setattr("django_asgi_bridge.db.close_old_connections", look)
    return seen


def test_call_looks_for_old_connections_before_and_after(closings, request_of):
    """On the request's own worker, whether the call fails or not."""
    steps = []

    @database_sync_to_async
    def work(number):
        steps.append((threading.current_thread(), len(closings)))
        if number:
            raise ValueError(number)
        return "done"

    async def request(lease):
        assert await work(0) == "done"
        with pytest.raises(ValueError, match="1"):
            await database_sync_to_async(work.func)(1)
        await aclose_old_connections()
        return await sync_to_async(threading.current_thread)()

    worker = run(request_of(request))

    assert steps == [(worker, 1), (worker, 3)]
    assert closings == [worker] * 5
    assert issubclass(DatabaseSyncToAsync, type(sync_to_async(len)))
    assert database_sync_to_async is DatabaseSyncToAsync
