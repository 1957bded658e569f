"""What comes before an application gets a connection: session, user, route.

Each layer of middleware that waits for the one inside it takes memory for as long as
the connection lives: a coroutine, a copy of the scope. Those of this package are asked
one after the other instead, before the application begins, by the one coroutine that
serves it; a consumer's own, if a consumer is next. What is anybody else's is called as
any application is.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from django_asgi_bridge.threads import Lease, LeaseOfCaller, ensure_lease
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = ("BEGIN", "Admission", "Both", "begin_behind", "enter", "serve_behind")

BEGIN = "_bridge_begin_behind"
"""The attribute by which an application takes part, of its class or a function's own.

It is called with the application, an ``Admission``, and what an application gets; it
returns the coroutine that serves.
"""


class Admission(Protocol):
    """What a connection passes before its application begins.

    Attributes:
        is_refusable: see ``new_handler_lease()``.
    """

    @property
    def is_refusable(self) -> bool:
        """Whether its sync code gets ``PoolBusy`` when no worker comes free."""

    async def admit(
        self, scope: dict[str, Any], receive: Receive, send: Send, lease: Lease | None
    ) -> tuple[dict[str, Any], Send] | None:
        """Return what the application gets; None if there is nothing left to serve.

        Args:
            scope: a copy that belongs to this connection; it may be written to.
            lease: one that was made for this connection, if one was.
        """


class Both:
    """One admission after the other."""

    __slots__ = ("_first", "_second", "is_refusable")

    def __init__(self, first: Admission, second: Admission) -> None:
        self._first = first
        self._second = second
        self.is_refusable = first.is_refusable

    async def admit(
        self, scope: dict[str, Any], receive: Receive, send: Send, lease: Lease | None
    ) -> tuple[dict[str, Any], Send] | None:
        """See ``Admission``."""
        admitted = await self._first.admit(scope, receive, send, lease)
        if admitted is None:
            return None
        scope, send = admitted
        return await self._second.admit(scope, receive, send, lease)


def begin_behind(
    application: App, admission: Admission, scope: Scope, receive: Receive, send: Send
) -> Coroutine[Any, Any, Any]:
    """Return the coroutine that serves ``application`` to those that are admitted."""
    begin = getattr(type(application), BEGIN, None)
    if begin is None:
        # Not by getattr(): a mock has every attribute.
        begin = getattr(application, "__dict__", {}).get(BEGIN, serve_behind)
    serving: Coroutine[Any, Any, Any] = begin(
        application, admission, scope, receive, send
    )
    return serving


async def serve_behind(
    application: App, admission: Admission, scope: Scope, receive: Receive, send: Send
) -> Any:
    """Serve an application, which may be anybody's, to those that are admitted."""
    scope, send, caller = await enter(admission, scope, receive, send)
    if not scope:
        return None
    # What stands here is kept as long as the connection lives.
    del admission
    try:
        return await application(scope, receive, send)
    finally:
        if caller is not None:
            caller.restore()


async def enter(
    admission: Admission,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    owner: object = None,
) -> tuple[Scope, Send, LeaseOfCaller | None]:
    """Pass an admission: return what is served, and who gets the context back.

    Sync code of the connection runs on leased workers from here on. Whoever serves it
    gives the context back to its caller at the end, if it is to be restored.

    Args:
        owner: what the lease is marked with, if one was made.

    Returns:
        The scope, empty if there is nothing left to serve; what is sent with; and what
        is to be restored, if anything is.
    """
    caller, lease = ensure_lease(is_refusable=admission.is_refusable)
    is_admitted = False
    try:
        admitted = await admission.admit(dict(scope), receive, send, lease)
        if admitted is None:
            return {}, send, None
        if lease is not None and owner is not None:
            lease.owner = owner
        is_admitted = True
        return (*admitted, caller)
    finally:
        if caller is not None and not is_admitted:
            caller.restore()
