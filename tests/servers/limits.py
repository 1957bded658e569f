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
    is_certain: bool = True  # false where it passes by chance


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
NO_REFUSAL = "the server has no `websocket.http.response`, and answers 403"
DROPS_ACCEPT_HEADERS = "the server drops the headers of an accepted handshake"
NO_RESPONSE = ("daphne", "gunicorn-asgi")
ONLY_1006 = "hypercorn gives 1006, whatever the client sent"
WAITS_FOR_SOCKETS = "hypercorn waits for open connections, without a limit"
TELLS_NOBODY = "gunicorn's worker neither tells consumers nor cancels them"
NO_CLIENT_REASON = "the server does not hand on the reason"
TAKES_ABSOLUTE = "the server takes the path of an absolute target and drops its host"

# What servers do of WebSockets otherwise.
SOCKET_LIMITS: tuple[Limit, ...] = (
    # The handshake.
    Limit("ws_accept_headers", ("daphne", "granian"), DROPS_ACCEPT_HEADERS),
    Limit("ws_accept_cookies", ("daphne", "granian"), DROPS_ACCEPT_HEADERS),
    Limit("ws_scope", ("granian",), "granian gives the client's port as text"),
    Limit(
        "ws_root_path",
        ("gunicorn-uvicorn",),
        "the worker takes no root path; a subclass whose `CONFIG_KWARGS` name one does",
    ),
    Limit(
        "ws_tls_scheme",
        ("daphne",),
        "daphne does not tell the scheme of a WebSocket; pages of the site are let in",
    ),
    # Refusing it.
    Limit("ws_refusal_response", NO_RESPONSE, NO_REFUSAL),
    Limit("ws_refusal_exceptions[not-found-404]", NO_RESPONSE, NO_REFUSAL),
    Limit("ws_refusal_exceptions[redirect-302]", NO_RESPONSE, NO_REFUSAL),
    Limit("ws_unknown_path_status", NO_RESPONSE, NO_REFUSAL),
    # Frames.
    Limit("ws_empty_frames", ("daphne",), "daphne sends no empty frame"),
    Limit(
        "ws_too_large_message",
        ("daphne",),
        "daphne drops the connection without a close frame",
    ),
    Limit("ws_too_large_message", ("granian",), "granian's close frame has no code"),
    Limit(
        "ws_fragments[deflate]",
        ("uvicorn-wsproto", "hypercorn"),
        "wsproto drops the connection at a ping between compressed fragments",
    ),
    # The end.
    Limit("ws_close_reason", ("daphne",), "daphne drops the application's reason"),
    Limit("ws_client_closes", ("hypercorn",), ONLY_1006),
    Limit("ws_client_closes_without_code", ("hypercorn",), ONLY_1006),
    Limit(
        "ws_client_closes_with_reason",
        ("hypercorn", "daphne", "granian", "gunicorn-asgi"),
        NO_CLIENT_REASON,
    ),
    Limit(
        "ws_client_vanishes",
        ("uvicorn-websockets-sansio", "uvicorn-wsproto", "gunicorn-uvicorn", "granian"),
        "the server gives 1005, as if the client had closed without a code",
    ),
    Limit(
        "ws_client_vanishes_in_handshake",
        ("granian",),
        "granian does not tell that a client left before the answer",
    ),
    Limit(
        "ws_unanswered_ping",
        ("hypercorn",),
        "hypercorn sends pings and waits for no answer",
    ),
    Limit("ws_unanswered_ping", ("granian", "gunicorn-asgi"), "it sends no pings"),
    Limit(
        "ws_unanswered_ping",
        ("gunicorn-uvicorn",),
        "the worker has no options for pings: uvicorn's own values hold, 20 s each",
    ),
    Limit("ws_server_ends", ("hypercorn",), WAITS_FOR_SOCKETS),
    Limit("ws_server_ends_with_code", ("hypercorn",), WAITS_FOR_SOCKETS),
    Limit("ws_server_ends", ("gunicorn-asgi",), TELLS_NOBODY),
    Limit("ws_server_ends_with_code", ("gunicorn-asgi",), TELLS_NOBODY),
    Limit(
        "ws_server_ends",
        ("granian",),
        "granian may stop its event loop before consumers have seen the end",
        is_certain=False,
    ),
    Limit(
        "ws_server_ends_with_code",
        ("daphne", "granian"),
        "the server drops the connections without a close frame",
    ),
)

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
    *SOCKET_LIMITS,
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
