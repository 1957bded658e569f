"""The database connections of one worker thread.

Django keeps one connection per alias and thread. These functions look only at the
calling thread's, and never open one.
"""

import logging

from django.db import connections

__all__ = ("close_all", "drop_open_work", "has_open_work")

logger = logging.getLogger("django_asgi_bridge.threads")


def has_open_work() -> bool:
    """Tell whether a connection of this thread is in the middle of something.

    That is an atomic block, or a transaction begun by hand (autocommit off).
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            return True
        if connection.connection is not None and not connection.autocommit:
            return True
    return False


def drop_open_work() -> None:
    """Close the connections that a request left inside a transaction.

    The next request on this thread must not find itself in somebody else's.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (
            connection.connection is not None and not connection.autocommit
        ):
            logger.warning(
                "a request left the connection %r inside a transaction; it is "
                "closed and what was not committed is lost",
                connection.alias,
            )
            raw = connection.connection
            del connections[connection.alias]
            if raw is not None:
                raw.close()


def close_all() -> None:
    """Close this thread's connections, before the thread ends."""
    connections.close_all()
