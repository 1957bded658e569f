"""The two signals around a request, in as few trips as their receivers need.

Django's own receivers look after the database connections and caches. When they
are the only ones live, their work is done where it is due: on the worker, as it
is taken and given back. Receivers of others get their trip: all sync ones
together, on the request's worker.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from django.core import signals
from django.core.cache import caches, close_caches
from django.core.cache.backends.base import BaseCache
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections
from django.dispatch import Signal, dispatcher
from django.http.response import HttpResponseBase

from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.receivers import (
    OWN,
    Audience,
    attach_hook,
    finished_audience,
    started_audience,
)
from django_asgi_bridge.threads import PINS_NOTHING, Lease, Postponed
from django_asgi_bridge.threads.connections import (
    drop_open_work,
    leave_clean,
)
from django_asgi_bridge.threads.locals import LocalView

__all__ = (
    "closes_inline",
    "finish_inline",
    "finishes_inline",
    "fire_finished",
    "fire_started",
    "is_clean",
    "start_inline",
)

logger = logging.getLogger("django_asgi_bridge.http")

_caches: Any = caches  # for its private parts
_caches_seen = _caches._connections
_caches_view = LocalView(_caches_seen)


def _receivers(signal: Signal, sender: Any) -> tuple[list[Any], list[Any]]:
    return signal._live_receivers(sender)


def _on_attach(receivers: list[Any]) -> Callable[[], None] | None:
    """Return what a worker does before a request's first call on it."""
    return attach_hook(
        tuple(each for each in map(inspect.unwrap, receivers) if each in OWN)
    )


def _leave_thread() -> None:
    """Do what Django's own receiver does at the end, where it is connected."""
    if close_old_connections in finished_audience().own:
        leave_clean()
    else:
        drop_open_work()


def start_inline(exchange: Exchange) -> bool:
    """Begin a request where Django's receivers alone listen; tell whether they do."""
    lease = exchange.lease
    audience = started_audience()
    if audience.has_others or audience.is_watched or not lease.is_direct:
        return False
    lease.on_detach = _leave_thread
    lease.on_attach = audience.on_attach
    exchange.is_started = True
    return True


async def fire_started(exchange: Exchange, sender: type) -> None:
    """Send ``request_started``, where ``start_inline`` did not do.

    No trip unless others' sync receivers are live.
    """
    lease = exchange.lease
    signal = signals.request_started
    if not lease.is_direct:
        exchange.is_started = True
        await signal.asend(sender=sender, scope=exchange.scope)
        return
    lease.on_detach = _leave_thread
    sync, asynchronous = _receivers(signal, sender)
    lease.on_attach = _on_attach(sync)
    named = {"signal": signal, "sender": sender, "scope": exchange.scope}
    if all(inspect.unwrap(each) in OWN for each in sync):
        # Seen by a tool that wrapped them; this thread has no connections.
        _call_started(exchange, sync, named)
    else:
        await lease.run(_call_started, exchange, sync, named)
    await _gather(asynchronous, named)


def closes_inline(exchange: Exchange, response: Response) -> bool:
    """Tell whether closing ``response`` runs nothing that may block or is unknown."""
    if exchange.after or _has_own_close(response):
        return False
    request = exchange.request
    responses = exchange.made
    if len(responses) != 1 or responses[0] is not response:
        responses += (response,)
    for each in responses:
        if each.streaming:
            return False
        for closer in each._resource_closers:
            if getattr(closer, "__self__", None) is not request:
                return False
    is_light = exchange.body is None or not exchange.body.is_on_disk()
    return is_light and not getattr(request, "_files", None)


def is_clean(lease: Lease, audience: Audience) -> bool:
    """Tell whether nothing of a request is left to do on a worker, if it had one.

    Args:
        audience: who listens to ``request_finished``: Django's receivers alone.
    """
    if lease.worker is None and not lease.gave_way:
        return True
    if audience.is_watched or not lease.is_clean():
        return False
    if _caches._connections is not _caches_seen:
        _see_caches()
    return _caches_view.is_empty() or all(
        # Those of memcached close sockets, where they were used.
        getattr(each.close, "__func__", None) is BaseCache.close
        for each in _caches.all(initialized_only=True)
    )


def finishes_inline(exchange: Exchange) -> bool:
    """Tell whether ``request_finished`` needs no trip of its own."""
    return not finished_audience().has_others


def finish_inline(exchange: Exchange, response: Response, audience: Audience) -> None:
    """Close a response on the event loop: see ``closes_inline``.

    Args:
        audience: who listens to ``request_finished``: Django's receivers alone.
    """
    for closer in response._resource_closers:
        closer()
    response._resource_closers.clear()
    response.closed = True
    if audience.is_watched:
        # The tool's wrappers of Django's own receivers; on_detach does their work.
        sync, _ = _receivers(signals.request_finished, response._handler_class)
        named = {"signal": signals.request_finished, "sender": response._handler_class}
        _call_all_robust(sync, named)
        return
    if _caches._connections is not _caches_seen:
        _see_caches()
    if not _caches_view.is_empty():
        close_caches()
    if not exchange.lease.is_direct:
        reset_urlconf(None)


def _see_caches() -> None:
    """Look at the caches of a context; changed settings put new ones in place."""
    global _caches_seen, _caches_view
    _caches_seen = _caches._connections
    _caches_view = LocalView(_caches_seen)


async def fire_finished(exchange: Exchange, handler_class: type) -> None:
    """Close the response, if there is one, and send ``request_finished``.

    On the request's worker, in one trip, and made even if the request is
    cancelled. Errors of closers and receivers are logged and stop nothing.
    """
    lease = exchange.lease
    response = exchange.response
    sender: Any = handler_class
    if exchange.request is None and response is not None:
        sender = response._handler_class
    if not lease.is_direct:
        await _finish_as_django(exchange, sender)
        return
    sync, asynchronous = _receivers(signals.request_finished, sender)
    is_own = all(inspect.unwrap(each) in OWN for each in sync)
    named = {"signal": signals.request_finished, "sender": sender}
    audience = finished_audience()
    is_sent = False
    postponed = Postponed()
    if (
        is_own
        and lease.worker is None
        and is_clean(lease, audience)
        and (response is None or closes_inline(exchange, response))
    ):
        if response is not None:
            finish_inline(exchange, response, audience)
        elif exchange.request is not None:
            exchange.request.close()
        if response is None or not audience.is_watched:
            _call_all_robust(sync if audience.is_watched else [reset_urlconf], named)
    else:
        # Where it is cancelled, the trip is made all the same.
        is_sent = response is not None and _has_own_close(response)
        with postponed:
            is_sent = await lease.run(
                _finish_on_worker,
                exchange,
                sync,
                named,
                pins=PINS_NOTHING,
                is_cleanup=True,
            )
    if not is_sent:
        await _gather(asynchronous, named, is_robust=True)
    postponed.pass_on()


def _finish_on_worker(exchange: Exchange, sync: list[Any], named: Any) -> bool:
    """Close everything and call the receivers; tell whether all were called."""
    response = exchange.response
    # The last call of the lease: what comes later gets a worker for itself.
    exchange.lease.is_closed = True
    for replaced in exchange.made:
        if replaced is not response:
            _close_parts(replaced)
    is_sent = False
    if response is not None and _has_own_close(response):
        # It sends the signal, to async receivers too.
        _logged(response.close)
        is_sent = True
    elif response is not None:
        _close_parts(response)
        response.closed = True
    if exchange.request is not None:
        # Again where it is among the closers; where a cancellation came before
        # it was put there, for the first time.
        _logged(exchange.request.close)
    if not is_sent:
        _call_all_robust(sync, named)
    return is_sent


def _has_own_close(response: Response) -> bool:
    is_djangos = type(response).close is HttpResponseBase.close
    return not is_djangos or "close" in response.__dict__


def _close_parts(response: Response) -> None:
    _close_iterator(response)
    for closer in response._resource_closers:
        _logged(closer)
    response._resource_closers.clear()


def _close_iterator(response: Any) -> None:
    # Django registers close() of what the view handed over, not of the iterator
    # that was made of it.
    if response.streaming and not response.is_async:
        close = getattr(response._iterator, "close", None)
        if close is not None and close not in response._resource_closers:
            _logged(close)


async def _finish_as_django(exchange: Exchange, sender: Any) -> None:
    response = exchange.response
    for replaced in exchange.made:
        if replaced is not response:
            await exchange.lease.run(_close_parts, replaced)
    if response is not None:
        await exchange.lease.run(response.close)
        return
    if exchange.request is not None:
        await exchange.lease.run(exchange.request.close)
    await signals.request_finished.asend(sender=sender)


def _call_started(
    exchange: Exchange, receivers: list[Any], named: dict[str, Any]
) -> None:
    # From here on the request owes a request_finished.
    exchange.is_started = True
    for receiver in receivers:
        receiver(**named)


def _call_all_robust(receivers: list[Any], named: dict[str, Any]) -> None:
    for receiver in receivers:
        _logged(receiver, **named)


def _logged(function: Callable[..., Any], **named: Any) -> None:
    try:
        function(**named)
    except Exception:
        logger.exception("%r failed at the end of a request", function)


async def _gather(
    receivers: list[Any], named: dict[str, Any], is_robust: bool = False
) -> None:
    """Await async receivers at the same time, as this Django does it."""
    if not receivers:
        return
    try:
        await _in_parallel(*(receiver(**named) for receiver in receivers))
    except Exception:
        if not is_robust:
            raise
        logger.exception("an async receiver failed at the end of a request")


# Django 6 shares one context among them; Django 5.2 gathers them.
_in_parallel: Callable[..., Any] = getattr(dispatcher, "_run_parallel", asyncio.gather)
