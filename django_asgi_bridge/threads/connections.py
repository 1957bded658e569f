"""The database connections of one worker thread.

Django keeps one connection per alias and thread. These functions look only at the
calling thread's, and never open one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any, Final

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_asgi_bridge.threads.locals import view_of

__all__ = (
    "clean_until",
    "close_all",
    "drop_open_work",
    "forget_checks",
    "has_connections",
    "has_open_work",
    "leave_clean",
)

logger = logging.getLogger("django_asgi_bridge.threads")

_LOOK: Any = BaseDatabaseWrapper.close_if_unusable_or_obsolete

# A tool may have replaced it before this was imported.
_IS_LOOK_DJANGOS: Final = (
    _LOOK.__globals__["__name__"] == BaseDatabaseWrapper.__module__
)


def has_connections() -> bool:
    """Tell whether this thread may have a connection of its own."""
    return not view_of(connections._connections).is_empty()  # type: ignore[attr-defined]  # private


def has_open_work() -> bool:
    """Tell whether a connection of this thread is in the middle of something.

    That is an atomic block, or a transaction begun by hand (autocommit off).
    """
    return any(map(_is_in_the_middle, _own()))


def clean_until() -> tuple[float, bool]:
    """Tell how long ``leave_clean()`` would do no more than ``forget_checks()``.

    Returns:
        A time of ``time.monotonic()``; and whether the next call may be made by another
        thread for nothing: there CONN_HEALTH_CHECKS would look at a connection anew.
    """
    until, may_move = math.inf, True
    for connection in _own():
        if connection.connection is None:
            continue
        look = getattr(connection.close_if_unusable_or_obsolete, "__func__", None)
        if (
            look is not _LOOK
            or not _IS_LOOK_DJANGOS
            or connection.errors_occurred
            or connection.queries_log  # which reset_queries() would empty
            or _is_in_the_middle(connection)
        ):
            return 0.0, False
        if connection.health_check_enabled:  # type: ignore[attr-defined]
            may_move = False
        if connection.close_at is not None:
            until = min(until, connection.close_at)
    return until, may_move


def forget_checks() -> None:
    """Let CONN_HEALTH_CHECKS look again at each connection that is used from now on."""
    for connection in _own():
        connection.health_check_done = False  # type: ignore[attr-defined]


def drop_open_work() -> None:
    """Close the connections that a request left inside a transaction.

    The next request on this thread must not find itself in somebody else's.
    """
    for connection in connections.all(initialized_only=True):
        if not _is_in_the_middle(connection):
            continue
        logger.warning(
            "a request left the connection %r inside a transaction; it is "
            "closed and what was not committed is lost",
            connection.alias,
        )
        del connections[connection.alias]
        try:
            # close() would keep a SQLite database in memory open. A connection of a
            # pool (OPTIONS["pool"]) goes back to it, which rolls back.
            connection._close()  # type: ignore[attr-defined]
        except Exception:
            logger.exception("the connection %r could not be closed", connection.alias)


def leave_clean() -> None:
    """Do what a request does at its end: nothing of it stays on this thread."""
    if has_connections():
        drop_open_work()
        close_old_connections()


def close_all() -> None:
    """Close this thread's connections, before the thread ends."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if connection.connection is not None:
            # Django keeps a SQLite database in memory open.
            connection._close()  # type: ignore[attr-defined]
        del connections[connection.alias]


def _own() -> Iterable[BaseDatabaseWrapper]:
    """Return this thread's connections."""
    of_thread = view_of(connections._connections).of_thread()  # type: ignore[attr-defined]  # private
    if of_thread is None:
        return connections.all(initialized_only=True)
    # asgiref keeps something of its own there, once a loop has run in the thread.
    return [
        each for each in of_thread.values() if isinstance(each, BaseDatabaseWrapper)
    ]


def _is_in_the_middle(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return True
    return connection.connection is not None and not connection.autocommit
