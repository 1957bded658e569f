"""What a view says about itself: decorators that the handler reads.

They set an attribute and return the view as it is; ``functools.wraps`` and
``View.as_view()`` carry it along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, TypeVar

from django_asgi_bridge.http.djangos import iscoroutinefunction

__all__ = (
    "Marks",
    "marks_of",
    "on_disconnect",
    "resolves_user",
    "streams_body",
)

View = TypeVar("View", bound=Callable[..., Any])
Policy = Literal["cancel", "finish", "shield"]

_POLICIES = ("cancel", "finish", "shield")


def streams_body(view: View) -> View:
    """Let a view have the request body before it has arrived.

    An async view reads it with ``await request.abody()``, ``await request.aform()``
    or ``async for chunk in request.stream()``; ``request.body`` and ``request.POST``
    then raise an error that says so. Until the body is read, the view is not told
    that the client left, except by an error of the read itself.
    """
    view._bridge_streams_body = True  # type: ignore[attr-defined]
    return view


def resolves_user(view: View) -> View:
    """Load session and user before an async view runs, so that it may use them.

    Without it the first touch of ``request.user`` or ``request.session`` in an async
    view raises ``SynchronousOnlyOperation`` for a visitor who is signed in; the
    other way is ``await request.auser()``. One trip to a worker and Django's own
    queries, only when the visitor has a session cookie.
    """
    view._bridge_resolves_user = True  # type: ignore[attr-defined]
    return view


def on_disconnect(policy: Policy) -> Callable[[View], View]:
    """Say what becomes of a view when its client leaves.

    Args:
        policy: ``"cancel"``: an async view gets ``asyncio.CancelledError`` (the
            default; ``ASGI_BRIDGE["ON_DISCONNECT"]`` changes it for the project).
            ``"finish"``: the view runs to its end and its response is dropped.
            ``"shield"``: as ``finish``, and a server that cancels the request,
            as on shutdown, does not stop it either.

    Raises:
        ValueError: the policy is none of these.
    """
    if policy not in _POLICIES:
        raise ValueError(
            f"on_disconnect got {policy!r}; it must be one of {', '.join(_POLICIES)}."
        )

    def mark(view: View) -> View:
        view._bridge_on_disconnect = policy  # type: ignore[attr-defined]
        return view

    return mark


class Marks:
    """What is known of a view before it runs.

    Attributes:
        is_async: it is a coroutine function.
        streams_body: it was marked by ``@streams_body``.
        resolves_user: it was marked by ``@resolves_user``.
        policy: the one of ``@on_disconnect``, if it was marked by it.
    """

    __slots__ = ("is_async", "policy", "resolves_user", "streams_body")

    def __init__(
        self,
        is_async: bool = False,
        streams_body: bool = False,
        resolves_user: bool = False,
        policy: str | None = None,
    ) -> None:
        self.is_async = is_async
        self.streams_body = streams_body
        self.resolves_user = resolves_user
        self.policy = policy


def marks_of(view: Callable[..., Any]) -> Marks:
    """Return what is known of ``view``; looked up once, since views do not change."""
    try:
        return _known_marks(view)
    except TypeError:  # not hashable
        return _read_marks(view)


def _read_marks(view: Callable[..., Any]) -> Marks:
    return Marks(
        iscoroutinefunction(view),
        getattr(view, "_bridge_streams_body", False),
        getattr(view, "_bridge_resolves_user", False),
        getattr(view, "_bridge_on_disconnect", None),
    )


_known_marks = lru_cache(maxsize=1024)(_read_marks)
