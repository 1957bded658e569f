"""The HTTP cases."""

from collections.abc import Iterator, Mapping

from testproject.bench.cases.case import Case, Contender
from testproject.bench.loads.client import ClientLoad
from testproject.bench.loads.startup import StartUp
from testproject.bench.loads.wrk import Wrk
from testproject.bench.peers import (
    BARE,
    BOLT,
    DJANGO,
    GTHREAD,
    OURS,
    OURS_GRANIAN,
    STARLETTE,
    Peer,
)

__all__ = ("OWN_ROUTES", "http_cases")

MIB = 1024 * 1024
_HELLO = b"Hello, world!"
KINDS = ("async", "sync")
OWN_ROUTES = {"BENCH_URLCONF": "testproject.bench.site.urls_ours"}
_KEEPS = {"BENCH_CONN_MAX_AGE": "60"}
_POOL = {"BENCH_POOL": "1"}
_DEFAULT = {"BENCH_MIDDLEWARE": "default"}
_WAITING = 64


def http_cases() -> Iterator[Case]:
    """Give all of them."""
    for kind in KINDS:
        yield from _hellos(kind)
        yield _simple("json", "JSON", kind)
        yield _waiting(kind)
        yield _big(kind)
        yield _csv(kind)
        for database in ("sqlite", "postgres"):
            yield from _with_database(kind, database)
    yield _file()
    yield _upload()
    yield _events()
    yield _start()


def _all(*peers: Peer) -> tuple[Contender, ...]:
    return tuple(Contender(peer) for peer in peers)


def _every(kind: str) -> tuple[Contender, ...]:
    """Return the peers that have a view of a kind."""
    own = (BARE,) if kind == "async" else (GTHREAD,)
    return _all(OURS, OURS_GRANIAN, DJANGO, *own, STARLETTE, BOLT)


def _djangos(kind: str) -> tuple[Contender, ...]:
    """Return the peers that have Django's middleware."""
    own = () if kind == "async" else (GTHREAD,)
    return _all(OURS, OURS_GRANIAN, DJANGO, *own, BOLT)


def _simple(what: str, title: str, kind: str) -> Case:
    return Case(
        name=f"{what}.{kind}",
        title=f"{title}, {kind} view",
        load=Wrk(f"/{what}/{kind}", expects=_HELLO),
        contenders=_every(kind),
    )


def _hellos(kind: str) -> Iterator[Case]:
    yield _simple("hello", "Hello, world", kind)
    yield Case(
        name=f"hello.{kind}.default",
        title=f"Hello, world, {kind} view, default middleware",
        load=Wrk(f"/hello/{kind}", expects=_HELLO),
        contenders=_djangos(kind),
        environment=_DEFAULT,
    )


def _with_database(kind: str, database: str) -> Iterator[Case]:
    place = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[database]
    shapes = {
        "query": ("one query", Wrk(f"/queries/1/{kind}", expects=b'"numbers"')),
        "queries": ("twenty queries", Wrk(f"/queries/20/{kind}", expects=b'"numbers"')),
        "page": (
            "a template with twelve rows",
            Wrk(f"/page/{kind}", expects=b"line 11 of &lt;twelve&gt; &amp; more"),
        ),
    }
    variants: dict[str, tuple[str, Mapping[str, str], bool]] = {
        "": ("", {}, False),
        ".default": (", default middleware", _DEFAULT, False),
        ".signed-in": (", default middleware, signed in", _DEFAULT, True),
    }
    for shape, (title, load) in shapes.items():
        for suffix, (addition, environment, signed_in) in variants.items():
            extra = shape == "query" and kind == "async" and not suffix
            yield Case(
                name=f"{shape}.{kind}.{database}{suffix}",
                title=f"{title}, {kind} view, {place}{addition}",
                load=load,
                contenders=_with_connections(kind, database, starlette=extra),
                environment=environment,
                database=database,
                signed_in=signed_in,
            )
    for suffix in (".default", ".signed-in"):
        addition, environment, signed_in = variants[suffix]
        yield Case(
            name=f"user.{kind}.{database}{suffix}",
            title=f"who asks, {kind} view, {place}{addition}",
            load=Wrk(f"/user/{kind}", expects=b"visitor" if signed_in else b"nobody"),
            contenders=_with_connections(kind, database),
            environment=environment,
            database=database,
            signed_in=signed_in,
        )


def _with_connections(
    kind: str, database: str, *, starlette: bool = False
) -> tuple[Contender, ...]:
    """Return the peers, each with the settings for connections that suit it.

    Django's ASGI handler has no use for CONN_MAX_AGE: each request has a thread of its
    own, so nobody finds the connection again, and PostgreSQL soon has no more.
    """
    keeps = "CONN_MAX_AGE=60"
    has_pool = database == "postgres"
    best = ("pool", _POOL) if has_pool else ("CONN_MAX_AGE=0", {})
    found = [
        Contender(OURS, keeps, _KEEPS),
        Contender(OURS_GRANIAN, keeps, _KEEPS),
        Contender(DJANGO, *best),
    ]
    if has_pool:
        found.insert(2, Contender(OURS, "pool", _POOL))
    if kind == "sync":
        found.append(Contender(GTHREAD, keeps, _KEEPS))
    found.append(Contender(BOLT, keeps, _KEEPS))
    if starlette and has_pool:
        found.append(Contender(STARLETTE, "psycopg pool, no ORM"))
    return tuple(found)


def _waiting(kind: str) -> Case:
    note = f"{_WAITING} threads" if kind == "sync" else ""
    threads = str(_WAITING)
    return Case(
        name=f"wait.{kind}",
        title=f"{_WAITING} at once wait 100 ms, {kind} view",
        load=Wrk(f"/wait/{kind}", connections=_WAITING, expects=_HELLO),
        contenders=tuple(
            Contender(each.peer, "" if each.peer is DJANGO else note)
            for each in _every(kind)
        ),
        environment={"BENCH_THREADS": threads, "DJANGO_BOLT_EXECUTOR_THREADS": threads},
    )


def _big(kind: str) -> Case:
    return Case(
        name=f"big.{kind}",
        title=f"1 MB from memory, {kind} view",
        load=Wrk(f"/big/{kind}", connections=8, expects=b"x" * MIB),
        contenders=_every(kind),
    )


def _csv(kind: str) -> Case:
    peers: tuple[Peer, ...] = (OURS, OURS_GRANIAN, DJANGO, STARLETTE, BOLT)
    if kind == "sync":
        peers = (*peers, GTHREAD)
    return Case(
        name=f"csv.{kind}",
        title=f"100,000 rows of CSV streamed, 4 at once, {kind} iterator",
        load=_fetch(f"/csv/{kind}", expected=3_000_000),
        contenders=_all(*peers),
        unit="responses",
    )


def _file() -> Case:
    return Case(
        name="file",
        title="a file of 100 MB, 4 at once",
        load=_fetch("/file/sync", expected=100 * MIB),
        contenders=_all(OURS, OURS_GRANIAN, DJANGO, GTHREAD, STARLETTE, BOLT),
        unit="files",
        needs=("file",),
    )


def _upload() -> Case:
    return Case(
        name="upload",
        title="a form with a file of 10 MB, 4 at once",
        load=_fetch("/upload/sync", expected=8, upload=10 * MIB),
        contenders=_all(OURS, OURS_GRANIAN, DJANGO, GTHREAD, STARLETTE, BOLT),
        unit="uploads",
    )


def _fetch(path: str, *, expected: int, upload: int = 0) -> ClientLoad:
    return ClientLoad(
        client="fetch",
        job={
            "path": path,
            "connections": 4,
            "expected": expected,
            "upload": upload,
        },
        keep=("rate", "cpu", "busy", "load", "growth"),
    )


def _events() -> Case:
    streams = 1000
    many = {"BENCH_THREADS": str(streams)}
    sync = _streams("/events/sync", streams)
    return Case(
        name="events",
        title=f"{streams:,} event streams, one message a second each",
        load=_streams("/events/async", streams),
        contenders=(
            Contender(OURS, "", OWN_ROUTES, _streams("/events/own", streams)),
            Contender(OURS_GRANIAN, "", OWN_ROUTES, _streams("/events/own", streams)),
            Contender(DJANGO),
            Contender(GTHREAD, f"{streams:,} threads", many, sync),
            Contender(BARE),
            Contender(STARLETTE),
            Contender(BOLT),
        ),
        primary="cpu",
        unit="messages",
    )


def _streams(path: str, streams: int) -> ClientLoad:
    return ClientLoad(
        client="streams",
        job={"path": path, "streams": streams},
        keep=("rate", "cpu", "busy", "load", "late", "open", "each"),
        warm_job={"streams": 0},
        least=3.0,
    )


def _start() -> Case:
    return Case(
        name="start",
        title="start, and memory of an idle process",
        load=StartUp(),
        contenders=_all(OURS, DJANGO, BARE, STARLETTE, BOLT),
        primary="start",
        unit="starts",
        is_rehearsed=True,
    )
