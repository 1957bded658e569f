"""The database connections of one worker thread.

Django keeps one connection per alias and thread. These functions look only at the
calling thread's, and never open one.
"""

import logging

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_asgi_bridge.threads.locals import view_of

__all__ = (
    "close_all",
    "drop_open_work",
    "has_connections",
    "has_open_work",
    "leave_clean",
)

logger = logging.getLogger("django_asgi_bridge.threads")


def has_connections() -> bool:
    """Tell whether this thread may have a connection of its own."""
    return not view_of(connections._connections).is_empty()  # type: ignore[attr-defined]  # private


def has_open_work() -> bool:
    """Tell whether a connection of this thread is in the middle of something.

    That is an atomic block, or a transaction begun by hand (autocommit off).
    """
    return has_connections() and any(
        _is_in_the_middle(connection)
        for connection in connections.all(initialized_only=True)
    )


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


def _is_in_the_middle(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return True
    return connection.connection is not None and not connection.autocommit
