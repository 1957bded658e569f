"""``{% load websockets %}``: the addresses of WebSocket routes in templates."""

from __future__ import annotations

from typing import Any

from django import template

from django_asgi_bridge.routing import reverse

__all__ = ("register", "websocket_url")

register = template.Library()


@register.simple_tag(takes_context=True)
def websocket_url(
    context: template.Context, viewname: str, *args: Any, **kwargs: Any
) -> str:
    """Return the address of a WebSocket route, such as ``wss://example.com/chat/1/``.

    Without ``request`` in the context it is the path alone, which
    ``new WebSocket()`` takes as well in browsers since 2023.

    Args:
        viewname: name of the route, with its namespaces.
    """
    path = reverse(viewname, args=args or None, kwargs=kwargs or None)
    request = context.get("request")
    if request is None:
        return path
    scheme = "wss" if request.is_secure() else "ws"
    return f"{scheme}://{request.get_host()}{path}"
