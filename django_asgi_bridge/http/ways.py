"""The ways through the middleware: the hooks between two things called as a whole.

Compiled when the middleware is loaded, so that a request only walks over the hooks
that there are. The two walks here never wait: they end where something may block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from django_asgi_bridge.http.djangos import Request
from django_asgi_bridge.http.hooks import Blocks, never
from django_asgi_bridge.http.layers import Layer

__all__ = ("Step", "Way", "come_out", "go_in", "way_from")

Step: TypeAlias = tuple[int, Callable[..., Any], Blocks | None]
"""The number of a layer, its hook, and what tells whether that may block now;
``None`` for a hook that only computes."""


class Way:
    """The hooks from one layer to the next thing that is called as a whole.

    Attributes:
        start: the number of its first layer.
        end: the number of the layer that it leads to.
        inward: the request hooks, from the outermost.
        outward: the response hooks, from the innermost.
        inside: the layer that it leads to, ``None`` for the view.
    """

    __slots__ = ("end", "inside", "inward", "outward", "start")

    def __init__(
        self,
        start: int,
        end: int,
        inward: tuple[Step, ...],
        outward: tuple[Step, ...],
        inside: Layer | None,
    ) -> None:
        self.start = start
        self.end = end
        self.inward = inward
        self.outward = outward
        self.inside = inside

    def outward_from(self, top: int) -> tuple[Step, ...]:
        """Return the response hooks of the layers before number ``top``."""
        return tuple(step for step in self.outward if step[0] < top)


def way_from(layers: Sequence[Layer], start: int) -> Way:
    """Compile the way from one layer inwards.

    Args:
        layers: all of them, from the outermost.
        start: the number of the first one; that of the last and one for the view.
    """
    end = start
    while end < len(layers) and layers[end].kind == "hooks":
        end += 1
    inward: list[Step] = []
    outward: list[Step] = []
    for i, layer in enumerate(layers[start:end], start):
        if layer.request_hook is not None:
            inward.append(_step(i, layer.request_hook, layer.request_blocks))
        if layer.response_hook is not None:
            outward.append(_step(i, layer.response_hook, layer.response_blocks))
    inside = layers[end] if end < len(layers) else None
    return Way(start, end, tuple(inward), tuple(outward[::-1]), inside)


def _step(i: int, hook: Callable[..., Any], blocks: Blocks) -> Step:
    return i, hook, None if blocks is never else blocks


def go_in(request: Request, way: Way) -> tuple[int, Any]:
    """Call request hooks until one answers, breaks or may block.

    Returns:
        The number of layers entered, and the answer: a response, the exception
        that a hook raised, or ``None`` where the next step is not for this walk.
    """
    for i, hook, blocks in way.inward:
        if blocks is not None and blocks(request, None):
            return i, None
        try:
            response = hook(request)
        except Exception as error:
            return i, error
        if response:
            return i + 1, response
    return way.end, None


def come_out(request: Request, response: Any, way: Way, top: int) -> tuple[int, Any]:
    """Call response hooks until one breaks or may block.

    Args:
        top: the number of layers that were entered.

    Returns:
        The number of layers that are still to be left, ``way.start`` for none, and
        the response, or the exception that a hook raised.
    """
    outward = way.outward if top == way.end else way.outward_from(top)
    for i, hook, blocks in outward:
        if blocks is not None and response is not None and blocks(request, response):
            return i + 1, response
        try:
            response = hook(request, response)
        except Exception as error:
            return i, error
    return way.start, response
