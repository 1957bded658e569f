"""One run of Django's runtests.py: one label, one handler, one process.

run.py starts this file; by hand:
``DJANGO_SUITE_REPORT=out.jsonl python child.py bridge DIRECTORY_OF_RUNTESTS LABEL``.

Four handlers can be put to the test:

``django``
    Django's own, nothing replaced: what the others are compared with.
``exchange``
    Django's own ``ASGIHandler``, but the test clients go through it by a real ASGI
    exchange (handlers.py). What fails here is due to the exchange, not to us.
``bridge``
    The exchange over this package's ``ASGIHandler`` and ``ASGIRequest``; sync code
    runs in the test's own thread.
``workers``
    The same, but sync code runs on leased worker threads, as under a server. All
    threads share the test's database connections.
"""

from __future__ import annotations

import faulthandler
import functools
import os
import runpy
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
#: Seconds until a run that hangs prints the stack of every thread and dies.
TIME_LIMIT = 240.0

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def main(handler: str, tests: str, *labels: str) -> None:
    """Replace what ``handler`` says, then run the labels and report the count."""
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True)
    _arrange_import_path(Path(tests))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_suite.suite_settings"
    if handler == "workers":
        _share_connections()
    if handler in ("bridge", "workers"):
        _replace_handler()
    answered = _Count()
    if handler != "django":
        _replace_test_clients("OnWorkers" if handler == "workers" else "")
    _count_answers(answered)
    from tests.django_suite import recorder

    os.chdir(tests)
    runtests = str(Path(tests) / "runtests.py")
    sys.argv = [runtests, "--parallel=1", "--noinput", *labels]
    try:
        runpy.run_path(runtests, run_name="__main__")
    finally:
        recorder.write(event="answered", count=answered.value, trips=_count_trips())


def _count_trips() -> int:
    """Return how many calls leased workers have made, where they are in use."""
    threads = sys.modules.get("django_asgi_bridge.threads")
    return 0 if threads is None else threads.get_pool().stats().trips_total


class _Count:
    """A number that closures can add to."""

    value = 0


def _arrange_import_path(tests: Path) -> None:
    # This directory must not be on the path itself: its handlers.py would hide
    # Django's test package "handlers".
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    sys.path[:0] = [str(tests), str(PROJECT)]


def _replace_handler() -> None:
    """Put our classes where Django's are looked up, before anything imports them."""
    import django.core.handlers.asgi

    import django_asgi_bridge.asgi
    import django_asgi_bridge.http.handler as bridge

    for name in ("ASGIHandler", "ASGIRequest"):
        setattr(django.core.handlers.asgi, name, getattr(bridge, name))

    import django.core.asgi

    vars(django.core.asgi).update(
        ASGIHandler=bridge.ASGIHandler,
        get_asgi_application=django_asgi_bridge.asgi.get_asgi_application,
    )

    import django.contrib.staticfiles.handlers

    # Had something imported it before us, its base class would still be Django's.
    base = django.contrib.staticfiles.handlers.ASGIStaticFilesHandler.__mro__
    if bridge.ASGIHandler not in base:
        raise RuntimeError("staticfiles' ASGI handler was imported before the swap")


def _replace_test_clients(variant: str) -> None:
    """Send the requests of ``Client`` and ``AsyncClient`` through the handler."""
    import django.core.handlers.asgi
    import django.test.client

    from tests.django_suite import handlers

    request_class = django.core.handlers.asgi.ASGIRequest
    django.test.client.ASGIRequest = request_class  # type: ignore[attr-defined] # a module global
    for name in ("ClientHandler", "AsyncClientHandler"):
        setattr(django.test.client, name, getattr(handlers, name + variant))


def _share_connections() -> None:
    """Let every thread use the test's database connections.

    Only one thread at a time does: the test waits while its request is served.
    """
    import types

    from django.db import connections
    from django.db.backends.base.base import BaseDatabaseWrapper

    import django_asgi_bridge.threads.connections as of_threads

    vars(connections)["_connections"] = types.SimpleNamespace()
    BaseDatabaseWrapper.validate_thread_sharing = lambda self: None  # type: ignore[method-assign] # shared on purpose
    # A request ends in the middle of its test's transaction.
    of_threads.drop_open_work = lambda: None


def _count_answers(count: _Count) -> None:
    """Count the responses that the handler class starts, in any subclass."""
    from django.core.handlers.asgi import ASGIHandler

    original = ASGIHandler.__call__

    @functools.wraps(original)
    async def counted(
        self: ASGIHandler, scope: _Message, receive: _Receive, send: _Send
    ) -> None:
        async def counting_send(message: _Message) -> None:
            if message["type"] == "http.response.start":
                count.value += 1
            await send(message)

        await original(self, scope, receive, counting_send)  # type: ignore[arg-type] # plain dicts

    ASGIHandler.__call__ = counted  # type: ignore[method-assign, assignment] # counts only


if __name__ == "__main__":
    main(*sys.argv[1:])
