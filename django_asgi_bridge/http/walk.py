"""Which walk over the plan a request takes: one trip, or that of the event loop."""

from collections.abc import Awaitable
from typing import Any

from django_asgi_bridge.http import answers
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.lifecycle import closes_inline, finishes_inline
from django_asgi_bridge.http.look import look_at
from django_asgi_bridge.http.plan import Plan

__all__ = ("walk",)


def walk(
    plan: Plan, request: Request, exchange: Exchange, urlconf: Any
) -> Awaitable[Response]:
    """Run the plan; in one trip where everything is sync.

    Args:
        urlconf: that of a request that names none.
    """
    urlconf = getattr(request, "urlconf", None) or urlconf
    look = exchange.look
    if look is None or not look.leads(request.path_info, urlconf):
        policy = exchange.config.on_disconnect
        exchange.see(look_at(request.path_info, urlconf, policy))
    lease = exchange.lease
    if lease.is_direct and plan.is_whole_trip(exchange.is_sync_view):
        return lease.run(_whole_trip, plan, request, exchange)
    return plan.on_loop(request, 0, exchange)


def _whole_trip(plan: Plan, request: Request, exchange: Exchange) -> Response:
    """Do everything on the worker, and end the lease where that is all."""
    response = exchange.response = plan.on_worker(request, 0, exchange)
    if response.status_code >= 400:
        answers.log(request, response)
    if closes_inline(exchange, response) and finishes_inline(exchange):
        exchange.is_settled = True
        exchange.lease.is_closed = True
    return response
