"""Database connections: how many are opened, who has them, when they close.

On SQLite and on PostgreSQL, where the server itself counts them.
"""

import asyncio
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.signals import request_started
from django.db import close_old_connections, connections
from django.db.backends.signals import connection_created
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from django_asgi_bridge import threads
from django_asgi_bridge.conf import forget_config
from django_asgi_bridge.http import EventStreamResponse
from django_asgi_bridge.http.handler import ASGIHandler
from tests.threads.databases import ALIAS, Client, add, postgres, rows, sqlite
from tests.threads.support import run, wait_until_idle

REQUESTS = 200
THREADS = 8


def sync_view(request):
    return HttpResponse(f"{rows().count()}")


async def async_view(request):
    return HttpResponse(f"{await rows().acount()}")


def meeting_view(request):
    """All threads are inside this view before the first one leaves it."""
    number = rows().count()
    meeting_view.barrier.wait()
    return HttpResponse(f"{number}")


def open_transaction(request):
    connections[ALIAS].set_autocommit(False)
    add("lost").save(using=ALIAS)
    return HttpResponse("left open")


def open_atomic(request):
    from django.db import transaction

    transaction.atomic(using=ALIAS).__enter__()
    add("lost").save(using=ALIAS)
    return HttpResponse("left open")


async def event_stream(request):
    number = await rows().acount()
    release = event_stream.release

    async def events():
        yield f"{number}"
        await release.wait()
        yield f"{await rows().acount()}"

    return EventStreamResponse(events())


async def cursor_stream(request):
    async def lines():
        async for row in rows().order_by("session_key").aiterator(chunk_size=2):
            yield f"{row.session_key} "
            yield f"{threads.current_lease.get().worker is not None} "
        yield "end"
        yield f" {threads.current_lease.get().worker is None}"

    return StreamingHttpResponse(lines())


urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("meeting", meeting_view),
    path("open-transaction", open_transaction),
    path("open-atomic", open_atomic),
    path("events", event_stream),
    path("cursor", cursor_stream),
]


@pytest.fixture
def site(settings, django_db_blocker):
    """Give the handler of a site without middleware, and its pool of 8 threads."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    settings.ASGI_BRIDGE = {"THREADS": THREADS, "MAX_THREADS": 4 * THREADS}
    forget_config()
    before, threads._pool = threads._pool, None
    with django_db_blocker.unblock():
        yield types.SimpleNamespace(app=ASGIHandler(), pool=threads.get_pool())
        wait_until_idle(threads.get_pool())
        threads.get_pool().shutdown()
    assert threads.get_pool().stats().threads == 0
    threads._pool = before


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
)
def database(request, tmp_path, site):
    """Give a function that opens the scratch database of either kind."""
    opened = []

    def open_database(**options):
        if request.param == "sqlite":
            manager = sqlite(tmp_path / "scratch.sqlite3", **options)
        else:
            url = request.getfixturevalue("postgres_url")
            manager = postgres(url, **options)
        opened.append(manager)
        return manager.__enter__()

    yield open_database
    site.pool.shutdown()
    for manager in opened:
        manager.__exit__(None, None, None)


@pytest.fixture
def postgres_database(site, postgres_url):
    """Give a function that opens a PostgreSQL scratch database."""
    opened = []

    def open_database(**options):
        opened.append(postgres(postgres_url, **options))
        return opened[-1].__enter__()

    yield open_database
    site.pool.shutdown()
    for manager in opened:
        manager.__exit__(None, None, None)


@pytest.fixture
def created():
    """Give a list that names the thread of each connection as it is opened."""
    seen = []

    def note(*, connection, **kwargs):
        if connection.alias == ALIAS:
            seen.append(threading.current_thread().name)

    connection_created.connect(note)
    yield seen
    connection_created.disconnect(note)


async def in_turn(app, url, count=REQUESTS):
    return [await Client.get(app, url) for _ in range(count)]


async def at_once(app, url, count=REQUESTS):
    return await asyncio.gather(*(Client.get(app, url) for _ in range(count)))


@pytest.mark.parametrize("url", ["/sync", "/async"])
def test_requests_in_turn_share_two_connections(site, database, created, url):
    """200 requests one after the other open at most 2 connections."""
    scratch = database(CONN_MAX_AGE=600)
    created.clear()

    answers = run(in_turn(site.app, url))

    assert answers == [(200, "0")] * REQUESTS
    assert 1 <= len(created) <= 2
    if scratch.is_postgres():
        assert scratch.backends() == len(created)
    site.pool.shutdown()
    if scratch.is_postgres():
        assert scratch.has_backends(0)


@pytest.mark.parametrize(("max_age", "trips"), [(None, 1), (600, 1), (0, 2)])
def test_request_ends_without_a_trip_when_its_connection_stays(
    site, database, max_age, trips
):
    """After one awaited query only a connection that is to be closed needs another."""
    database(CONN_MAX_AGE=max_age)

    async def main():
        await Client.get(site.app, "/async")
        before = site.pool.stats().trips_total
        await Client.get(site.app, "/async")
        return site.pool.stats().trips_total - before

    assert run(main()) == trips


@pytest.mark.parametrize(
    "harm",
    [
        lambda each: setattr(each, "errors_occurred", True),
        lambda each: setattr(each, "close_at", 0.0),
        lambda each: setattr(each, "close_if_unusable_or_obsolete", lambda: None),
        lambda each: each.queries_log.append({}),
        lambda each: each.set_autocommit(False),
    ],
    ids=["error", "age", "patched", "log", "transaction"],
)
def test_connection_is_looked_at_when_something_is_due(site, database, harm):
    """A connection that Django would look at when a request ends is not passed on."""
    database(CONN_MAX_AGE=600)

    def look():
        rows().count()
        clean, _ = threads.connections.clean_until()
        harm(connections[ALIAS])
        return clean > 0, threads.connections.clean_until()[0] > 0

    try:
        assert look() == (True, False)
    finally:
        threads.connections.close_all()


def test_connection_is_looked_at_when_its_class_has_a_way_of_its_own(
    site, database, monkeypatch
):
    """A backend or a tool that looks after connections itself is asked each time."""
    database(CONN_MAX_AGE=600)
    rows().count()
    looked = []
    monkeypatch.setattr(
        type(connections[ALIAS]),
        "close_if_unusable_or_obsolete",
        lambda self: looked.append(self),
    )

    assert threads.connections.clean_until() == (0, False)

    run(in_turn(site.app, "/async", 1))
    assert looked


def test_call_moves_to_another_thread_only_where_no_check_is_due(site, database):
    """CONN_HEALTH_CHECKS would look at the connection of each thread."""
    database(CONN_MAX_AGE=600)
    rows().count()
    moves = [threads.connections.clean_until()]

    connections[ALIAS].health_check_enabled = True
    moves.append(threads.connections.clean_until())

    assert [may_move for _, may_move in moves] == [True, False]


def test_connections_are_told_from_what_asgiref_keeps_beside_them(site, database):
    """It does so in a thread where a loop has run, as in a view's asyncio.run()."""
    database(CONN_MAX_AGE=600)

    async def look():
        connections[ALIAS]

    def in_thread():
        asyncio.run(look())
        rows().count()
        found = [threads.connections.has_open_work()]
        connections[ALIAS].set_autocommit(False)
        found.append(threads.connections.has_open_work())
        threads.connections.close_all()
        return found

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_thread).result() == [False, True]


def test_leases_without_receivers_have_connections_checked_anew(site, database):
    """Such as those of `run_apart()`: the request before left that to them."""
    database(CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)

    def look():
        return connections[ALIAS].health_check_done

    async def request_and_look():
        await in_turn(site.app, "/async", 1)
        return await threads.run_apart(look)

    assert run(request_and_look()) is False


def count_checks(monkeypatch):
    """Return a list that grows with each look at a connection's health."""
    checks = []

    def is_usable(self):
        checks.append(self)
        return True

    monkeypatch.setattr(type(connections[ALIAS]), "is_usable", is_usable)
    return checks


@pytest.mark.parametrize("is_watched", [True, False])
def test_each_request_checks_the_health_of_its_connection(
    site, database, monkeypatch, is_watched
):
    """``CONN_HEALTH_CHECKS`` looks once a request, whoever ended the one before."""
    database(CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)
    checks = count_checks(monkeypatch)
    if not is_watched:
        request_started.disconnect(close_old_connections)

    try:
        run(in_turn(site.app, "/async", 4))
    finally:
        request_started.connect(close_old_connections)

    assert len(checks) == 3


def test_handlers_check_the_health_of_their_connections(site, database, monkeypatch):
    """A consumer's handler does so too: its worker comes as another left it."""
    database(CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)
    checks = count_checks(monkeypatch)

    async def handler():
        lease = threads.new_handler_lease()
        lease.enter()
        await rows().acount()
        trips = site.pool.stats().trips_total
        site.pool.close(lease)
        return site.pool.stats().trips_total - trips

    async def main():
        return [await asyncio.create_task(handler()) for _ in range(4)]

    assert run(main()) == [0] * 4
    assert len(checks) == 3


def test_requests_at_once_open_one_connection_per_running_thread(
    site, database, created
):
    """200 requests at the same moment open at most ``threads`` connections."""
    scratch = database(CONN_MAX_AGE=600)
    created.clear()
    meeting_view.barrier = threading.Barrier(THREADS)

    answers = run(at_once(site.app, "/meeting"))

    assert answers == [(200, "0")] * REQUESTS
    assert len(created) == THREADS
    assert site.pool.stats().threads == THREADS
    if scratch.is_postgres():
        assert scratch.backends() == THREADS
    site.pool.shutdown()
    if scratch.is_postgres():
        assert scratch.has_backends(0)


@pytest.mark.parametrize("url", ["/sync", "/async"])
def test_connections_are_closed_with_the_request_when_max_age_is_zero(
    site, database, created, url
):
    """``CONN_MAX_AGE=0`` means one connection a request, as under WSGI."""
    scratch = database(CONN_MAX_AGE=0)
    created.clear()

    run(in_turn(site.app, url, 5))

    assert len(created) == 5
    if scratch.is_postgres():
        assert scratch.has_backends(0)


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["/sync", "/async"])
def test_request_works_after_its_connections_were_killed(site, postgres_database, url):
    """With ``CONN_HEALTH_CHECKS`` the request after a database restart succeeds."""
    scratch = postgres_database(CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)

    async def main():
        before = await Client.get(site.app, url)
        await asyncio.to_thread(scratch.kill_backends)
        return before, await Client.get(site.app, url)

    assert run(main()) == ((200, "0"), (200, "0"))


@pytest.mark.parametrize("max_age", [0, 600])
def test_open_event_streams_hold_neither_worker_nor_connection(site, database, max_age):
    """200 streams whose view made a query: no worker, no connection in use."""
    scratch = database(CONN_MAX_AGE=max_age)

    async def main():
        event_stream.release = asyncio.Event()
        clients = [Client(site.app, "/events") for _ in range(REQUESTS)]
        await asyncio.gather(*(client.first_chunk.wait() for client in clients))
        assert site.pool.stats().leased == 0
        if scratch.is_postgres():
            assert scratch.backends("active") == 0
            assert scratch.backends("idle in transaction") == 0
            if max_age == 0:
                assert scratch.has_backends(0)
            assert scratch.backends() <= site.pool.max_threads
        event_stream.release.set()
        await asyncio.gather(*(client.task for client in clients))
        return {client.body for client in clients}

    assert run(main()) == {"data: 0\n\ndata: 0\n\n"}


def test_stream_keeps_its_worker_while_its_cursor_is_open(site, database):
    """``aiterator()`` in a stream has one connection to its last row, then none."""
    database(CONN_MAX_AGE=600)
    for key in "abc":
        add(key).save(using=ALIAS)
    connections[ALIAS].close()

    status, body = run(Client.get(site.app, "/cursor"))

    assert status == 200
    # The last chunk was short, so the query is over before its row is sent.
    assert body == "a True b True c False end True"


@pytest.mark.parametrize("url", ["/open-transaction", "/open-atomic"])
def test_transaction_that_a_request_leaves_open_is_not_the_next_ones(
    site, database, caplog, url
):
    """What a request did not commit is lost, and the next one starts clean."""
    scratch = database(CONN_MAX_AGE=600)

    async def main():
        left = await Client.get(site.app, url)
        return left, await Client.get(site.app, "/sync")

    assert run(main()) == ((200, "left open"), (200, "0"))
    assert scratch.keys() == set()
    assert "inside a transaction" in caplog.text
    if scratch.is_postgres():
        assert scratch.backends("idle in transaction%") == 0


@pytest.mark.postgres
def test_transaction_that_is_left_open_goes_back_to_djangos_pool(
    site, postgres_database
):
    """A connection of ``OPTIONS["pool"]`` is returned, not lost to its pool."""
    pytest.importorskip("psycopg_pool")
    postgres_database(
        OPTIONS={"pool": {"min_size": 1, "max_size": 1, "timeout": 5}},
    )

    async def main():
        return [
            await Client.get(site.app, url)
            for url in ("/open-atomic", "/sync", "/open-atomic", "/async")
        ]

    try:
        assert [status for status, _ in run(main())] == [200] * 4
    finally:
        connections[ALIAS].close_pool()


def test_work_that_belongs_to_no_request_leaves_no_connection(site, database, created):
    """A lifespan hook's query does not hold a connection for ever."""
    scratch = database(CONN_MAX_AGE=0)
    created.clear()

    assert run(threads.run_apart(rows().count)) == 0

    wait_until_idle(site.pool)
    assert len(created) == 1
    if scratch.is_postgres():
        assert scratch.has_backends(0)
