"""What a server cannot do: one table, and each line of it is verified.

A scenario that is listed here must fail on that server. When a newer server passes
it, the run fails until the line is taken out.
"""

from dataclasses import dataclass

UVICORN = ("uvicorn-httptools", "uvicorn-h11", "gunicorn-uvicorn")
HTTPTOOLS = ("uvicorn-httptools", "gunicorn-uvicorn")


@dataclass(frozen=True)
class Limit:
    """One scenario that some servers cannot pass, and why."""

    scenario: str
    servers: tuple[str, ...]
    reason: str
    is_run: bool = True  # false where to run it would harm the machine


# Reasons that several scenarios share.
BUFFERS = "daphne calls the application when the whole body has come"
ENDS_AT_ONCE = "daphne cancels what runs when it is told to end"
NO_LIFESPAN = (
    "daphne has no lifespan: the hooks start with the first request, and while they "
    "fail every request is answered with 503"
)
NO_HTTP2 = "HTTP/2 needs `--http zttp --http2`, a parser of its own"
NO_HTTP2_IN_WORKER = "the worker of gunicorn has no option for uvicorn's HTTP/2"
NO_BACK_PRESSURE = (
    "daphne's `send()` does not wait for the client: a stream as fast as this one "
    "would fill the memory"
)
NO_ABORT = "daphne keeps the connection open when the application raises in mid-stream"
NO_PATHSEND = "the server has no `http.response.pathsend`"
TAKES_ABSOLUTE = "the server takes the path of an absolute target and drops its host"

LIMITS: tuple[Limit, ...] = (
    # Uploads.
    Limit("streamed_upload", ("daphne",), BUFFERS),
    Limit("too_large_by_length", ("daphne",), BUFFERS),
    Limit("too_large_with_expect", ("daphne",), BUFFERS),
    Limit("too_large_in_chunks", ("daphne",), BUFFERS),
    Limit(
        "too_large_with_expect",
        ("hypercorn",),
        "hypercorn gives leave to send the body before it calls the application",
    ),
    # Streams.
    Limit(
        "client_leaves_stream[endless-sync-False]", ("daphne",), NO_BACK_PRESSURE, False
    ),
    Limit(
        "client_leaves_stream[endless-sync-True]", ("daphne",), NO_BACK_PRESSURE, False
    ),
    Limit(
        "client_leaves_stream[endless-async-False]",
        ("daphne",),
        NO_BACK_PRESSURE,
        False,
    ),
    Limit(
        "client_leaves_stream[endless-async-True]", ("daphne",), NO_BACK_PRESSURE, False
    ),
    Limit("http2_stream_left", ("daphne",), NO_BACK_PRESSURE, False),
    Limit("broken_stream", ("daphne",), NO_ABORT),
    # Files.
    Limit(
        "pathsend",
        (*UVICORN, "hypercorn", "daphne", "gunicorn-asgi"),
        NO_PATHSEND,
    ),
    # Connections.
    Limit(
        "http_1_0",
        HTTPTOOLS,
        "uvicorn with httptools sends chunks to an HTTP/1.0 client",
    ),
    # Bad requests.
    Limit("target_not_a_path[absolute]", (*HTTPTOOLS, "granian"), TAKES_ABSOLUTE),
    Limit(
        "bad_content_length[5000-digits]",
        ("daphne", "gunicorn-asgi"),
        "the server closes the connection without an answer",
    ),
    # TLS and HTTP/2.
    *(
        Limit(scenario, servers, reason)
        for servers, reason in (
            (("uvicorn-httptools", "uvicorn-h11"), NO_HTTP2),
            (("gunicorn-uvicorn",), NO_HTTP2_IN_WORKER),
        )
        for scenario in (
            "http2_get",
            "http2_request",
            "http2_cookies",
            "http2_response_headers",
            "http2_upload",
            "http2_stream_left",
            "http2_parallel",
            "http2_early_hints",
            "http2_trailers",
            "http2_push",
        )
    ),
    Limit(
        "http2_trailers",
        ("daphne", "granian"),
        "the server has no `http.response.trailers`",
    ),
    Limit(
        "http2_push",
        ("daphne", "granian", "gunicorn-asgi"),
        "the server has no `http.response.push`",
    ),
    Limit(
        "http2_early_hints",
        ("daphne", "granian", "gunicorn-asgi"),
        "the server has no `http.response.early_hint`",
    ),
    # Start and end.
    Limit("failing_startup", ("daphne",), NO_LIFESPAN),
    Limit("failing_startup_status", ("daphne",), NO_LIFESPAN),
    Limit(
        "failing_startup_status",
        ("hypercorn",),
        "hypercorn ends with the message in its log, but with status 0",
    ),
    Limit("sigterm", ("daphne",), ENDS_AT_ONCE),
    Limit(
        "sigterm_with_stream",
        ("hypercorn",),
        "hypercorn waits for every open connection, without a limit (Python 3.12 on)",
    ),
    Limit(
        "sigterm_with_stream",
        ("granian", "gunicorn-uvicorn", "gunicorn-asgi"),
        "the server kills a worker whose grace time is over",
    ),
    Limit(
        "root_path",
        ("gunicorn-uvicorn",),
        "the worker takes no root path; a subclass whose `CONFIG_KWARGS` name one does",
    ),
    Limit(
        "preload",
        (*UVICORN[:2], "hypercorn", "daphne", "granian"),
        "only gunicorn loads the application in the parent of its workers",
    ),
)


def find_limit(scenario: str, server: str) -> Limit | None:
    """Return what a server cannot do of a scenario, None when it must pass.

    A limit for `name` holds for every set of its parameters, one for
    `name[parameters]` for those.
    """
    names = {scenario, scenario.partition("[")[0]}
    for limit in LIMITS:
        if limit.scenario in names and server in limit.servers:
            return limit
    return None
