"""The end of a request: what follows its last byte, on every path, once.

A request that needs nobody to wait ends on the event loop at once. Any other ends
on its worker, in one trip, which is made even if the request was cancelled.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.lifecycle import (
    closes_inline,
    finish_inline,
    fire_finished,
    is_clean,
)
from django_asgi_bridge.http.receivers import finished_audience
from django_asgi_bridge.threads import PINS_NOTHING, Postponed

__all__ = ("finish", "finish_now")

logger = logging.getLogger("django_asgi_bridge.http")


def finish_now(exchange: Exchange) -> bool:
    """End a request without a trip if that is all it needs; tell whether it was."""
    if exchange.is_finished:
        return True
    response = exchange.response
    if response is None or exchange.after:
        return False
    audience = finished_audience()
    lease = exchange.lease
    # Asked here as well: most requests never have a worker.
    had_worker = lease.worker is not None or lease.gave_way
    if not exchange.is_settled and not (
        exchange.is_started
        and lease.is_direct
        and not audience.has_others
        and (not had_worker or is_clean(lease, audience))
        and closes_inline(exchange, response)
    ):
        return False
    exchange.is_finished = True
    try:
        finish_inline(exchange, response, audience)
    except Exception:
        logger.exception("closing a response failed at the end of a request")
    finally:
        exchange.let_go()
    return True


async def finish(exchange: Exchange, handler_class: type) -> None:
    """Run ``request.after`` functions, close everything, fire ``request_finished``.

    Args:
        handler_class: the signal's sender where there is no response.
    """
    if exchange.is_finished:
        return
    exchange.is_finished = True
    lease = exchange.lease
    postponed = Postponed()
    try:
        if lease.is_left():
            with postponed:
                await lease.run(_wait_for_turn, pins=PINS_NOTHING, is_cleanup=True)
        for function in exchange.after:
            with postponed:
                await _run_after(exchange, function)
        if exchange.is_started:
            with postponed:
                await fire_finished(exchange, handler_class)
    finally:
        exchange.let_go()
    postponed.pass_on()


def _wait_for_turn() -> None:
    """Do nothing: when this runs, the calls before it on the worker have ended."""


async def _run_after(exchange: Exchange, function: Callable[[], Any]) -> None:
    try:
        if inspect.iscoroutinefunction(function):
            await function()
        else:
            await exchange.lease.run(function, is_cleanup=True)
    except Exception:
        logger.exception("a function given to request.after failed")
