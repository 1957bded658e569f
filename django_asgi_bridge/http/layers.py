"""The layers of the dispatch plan: how each middleware is called.

Django's own ``load_middleware`` builds the chain, so that tools which patch it see
what they expect. ``LayerRecorder`` sits where Django adapts one middleware to the
next and takes the instances down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge import http
from django_asgi_bridge.http.hooks import (
    Blocks,
    always,
    blocks_of,
    is_from,
    never,
    postponable,
    stores_messages,
)

__all__ = ("Kind", "Layer", "LayerRecorder", "make_layer")


Kind: TypeAlias = Literal["hooks", "sync", "async"]
"""How a middleware is called.

By its ``process_request`` and ``process_response``, in either walk; by its
``__call__``, on a worker; by its coroutine, on the event loop.
"""


class Layer:
    """One middleware of the plan.

    Attributes:
        name: the dotted path of the settings.
        instance: what the middleware's factory returned.
        kind: how it is called.
        request_hook: its ``process_request``, for kind ``hooks``.
        request_blocks: may that block?
        response_hook: its ``process_response``, for kind ``hooks``.
        response_blocks: may that block?
    """

    __slots__ = (
        "instance",
        "kind",
        "name",
        "request_blocks",
        "request_hook",
        "response_blocks",
        "response_hook",
    )

    def __init__(
        self,
        name: str,
        instance: Any,
        kind: Kind,
        request_hook: Callable[..., Any] | None = None,
        request_blocks: Blocks = never,
        response_hook: Callable[..., Any] | None = None,
        response_blocks: Blocks = never,
    ) -> None:
        self.name = name
        self.instance = instance
        self.kind = kind
        self.request_hook = request_hook
        self.request_blocks = request_blocks
        self.response_hook = response_hook
        self.response_blocks = response_blocks

    def keeps_thread(self) -> bool:
        """Tell whether it may have left state on the worker that it needs again."""
        return self.kind == "sync" or always in (
            self.request_blocks,
            self.response_blocks,
        )


def make_layer(name: str, instance: Any, get_response: Any, is_async: bool) -> Layer:
    """Look at a middleware instance and tell how to call it.

    Args:
        get_response: what the factory was given; a middleware that kept
            something else is called as it is.
        is_async: the mode it was built in.
    """
    inner = _peel(instance)
    is_plain = _is_plain_mixin(inner) or _is_plain_remote_user(inner)
    if not is_async or not is_plain or inner.get_response is not get_response:
        return Layer(name, instance, "async" if is_async else "sync")
    request_hook = getattr(instance, "process_request", None)
    response_hook = getattr(instance, "process_response", None)
    request_blocks = blocks_of(request_hook) if request_hook else never
    response_blocks = blocks_of(response_hook) if response_hook else never
    if request_blocks is postponable and response_blocks is stores_messages:
        # Both are there: what is missing never blocks.
        hooks: Any = (request_hook, response_hook)
        request_hook, response_hook = http.messages.postponed(*hooks)
        request_blocks = never
    return Layer(
        name,
        instance,
        "hooks",
        request_hook,
        request_blocks,
        response_hook,
        response_blocks,
    )


def _is_plain_mixin(instance: Any) -> bool:
    cls = type(instance)
    return (
        isinstance(instance, MiddlewareMixin)
        and cls.__call__ is MiddlewareMixin.__call__
        and cls.__acall__ is MiddlewareMixin.__acall__
    )


def _is_plain_remote_user(instance: Any) -> bool:
    """Tell whether it is Django's RemoteUserMiddleware, with other settings at most.

    Its sync and its async half do the same; the sync one is a single trip.
    """
    for cls in type(instance).__mro__:
        if cls.__module__ == "django.contrib.auth.middleware":
            return cls.__name__ in ("RemoteUserMiddleware", _PERSISTENT)
        if any(callable(value) for value in vars(cls).values()):
            return False
    return False


_PERSISTENT = "PersistentRemoteUserMiddleware"


def _peel(instance: Any) -> Any:
    """Return the middleware inside Sentry's wrapper, whose hooks have spans too."""
    call = type(instance).__call__
    if is_from(call, "sentry_sdk.integrations.django.middleware"):
        return getattr(instance, "_inner", instance)
    return instance


class LayerRecorder:
    """Takes down the middleware that Django loads, from the view outwards.

    Args:
        make_link: returns what the next middleware is given as ``get_response``:
            called with the number of layers inside it and the mode it is built in.
    """

    def __init__(self, make_link: Callable[[int, bool], Any]) -> None:
        self._make_link = make_link
        self._layers: list[Layer] = []
        self._building: tuple[str, Any, bool] | None = None
        self._inner: Any = None

    def adapted(self, is_async: bool, inner: Any, name: str | None) -> Any:
        """Note one step of Django's loop and return the link for the next.

        Args:
            is_async: the mode that the next middleware is built in.
            inner: what stands inside it, wrapped by Django. The same object as in
                the step before means that a middleware asked not to be used.
            name: ``"middleware "`` and its path; ``None`` at the end of the chain.
        """
        if self._building is not None and inner is not self._inner:
            path, link, was_async = self._building
            self._layers.append(make_layer(path, inner.__wrapped__, link, was_async))
        self._inner = inner
        self._building = None
        if name is None:
            return inner
        link = self._make_link(len(self._layers), is_async)
        self._building = (name.removeprefix("middleware "), link, is_async)
        return link

    def layers(self) -> list[Layer]:
        """Return the layers from the outermost inwards."""
        return self._layers[::-1]
