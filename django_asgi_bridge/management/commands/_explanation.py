"""The walk that ``asgi_explain`` prints: a request's calls and its trips.

A trip is one call on the request's worker thread. The dispatch plan is walked as a
request would, without calling any middleware hook, view or receiver. What depends on
the request's course is told apart: the minimum, and what adds to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core import signals
from django.dispatch import Signal
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import ResolverMatch, get_resolver

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.http.djangos import iscoroutinefunction
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.http.hooks import Blocks, always, never
from django_asgi_bridge.http.layers import Layer
from django_asgi_bridge.http.marks import marks_of
from django_asgi_bridge.http.plan import Plan
from django_asgi_bridge.http.views import ViewHook

__all__ = ("REASONS", "Explanation", "Step", "explain")

LOOP = "event loop"
WORKER = "worker"

REASONS = {
    "_asks_for_user": "asks for the user unless the view needs no login",
    "_is_head": "asks for the user of a HEAD request",
    "_is_large": "works on a body of more than 64 KiB",
    "_is_not_found": "looks further when the response is a 404",
    "_may_be_cached": "asks the cache for GET and HEAD",
    "_parses_form": "parses the form of an unsafe request that is not exempt",
    "_reads_csrf_session": "reads the session when CSRF_USE_SESSIONS is on",
    "_saves_session": "saves the session when it was modified",
    "stores_messages": "stores messages when some were added or shown",
    "_updates_cache": "stores a response that may be cached",
    "_writes_csrf_session": "saves the token when CSRF_USE_SESSIONS is on",
    "always": "unknown code",
    "postponable": "only computes",
    "never": "only computes",
}
"""What a question of ``http.hooks`` asks about, by the question's name."""

_OWN_MODULES = ("django.db", "django.core.cache", "django.core.handlers.base")
"""Where Django's own receivers of the two request signals are."""


@dataclass(slots=True)
class Step:
    """One call of a request.

    Attributes:
        name: the middleware's dotted path, the view's or the receiver's name.
        hook: what of it is called.
        where: ``"event loop"`` or ``"worker"``.
        trip: the number of the trip that makes the call, ``None`` on the loop.
        why: why it runs there.
    """

    name: str
    hook: str
    where: str
    trip: int | None
    why: str


@dataclass(slots=True)
class Explanation:
    """A request's calls in their order, and its trips.

    Attributes:
        method: the HTTP method.
        path: the path below the script prefix.
        view: the view's dotted name, ``None`` when the URL does not resolve.
        is_async: the view is a coroutine function.
        steps: the calls, from the first to the last.
        trips: the trips of a request in which nothing else happens.
        more: what adds trips to these.
    """

    method: str
    path: str
    view: str | None
    is_async: bool
    steps: list[Step] = field(default_factory=list)
    trips: int = 0
    more: list[str] = field(default_factory=list)


def explain(handler: ASGIHandler, method: str, path: str) -> Explanation:
    """Walk the plan of ``handler`` as a request for ``path`` would."""
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    request = handler.request_class(scope, None)
    urlconf = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    try:
        match: ResolverMatch | None = get_resolver(urlconf).resolve(request.path_info)
    except Http404:
        match = None
    return _Walk(handler, request, match).result


class _Walk:
    """Takes the steps of one request, in the order in which they are made."""

    def __init__(
        self, handler: ASGIHandler, request: HttpRequest, match: ResolverMatch | None
    ) -> None:
        plan: Plan = handler.plan
        view = None if match is None else match.func
        self.plan = plan
        self.layers: Sequence[Layer] = plan.layers
        self.request = request
        self.match = match
        self.view: Any = view
        self.response = HttpResponse(status=404 if view is None else 200)
        self.result = Explanation(
            str(request.method),
            request.path_info,
            None if match is None else _name_of(view),
            view is not None and iscoroutinefunction(view),
        )
        self.sender = type(handler)
        self._receivers(signals.request_started, "request_started")
        if plan.is_whole_trip(not self.result.is_async):
            self._on_worker(0, self._trip())
            self._finish(is_settled=True)
            return
        self._on_loop(0)
        if view is None:
            # Django logs a 404 after the chain.
            self._step("log_response", "", self._trip(), "logs the 404")
        outside = plan.layers[: plan.last_async + 1]
        keeps_thread = any(layer.keeps_thread() for layer in outside)
        self._finish(is_settled=not self.result.is_async and not keeps_thread)

    # What is noted.

    def _trip(self) -> int:
        self.result.trips += 1
        return self.result.trips

    def _step(self, name: str, hook: str, trip: int | None, why: str) -> None:
        where = LOOP if trip is None else WORKER
        self.result.steps.append(Step(name, hook, where, trip, why))

    def _more(self, name: str, hook: str, blocks: Blocks) -> None:
        if blocks not in (never, always) and not _is_off(blocks):
            self.result.more.append(f"+1 when {name}.{hook} {_why(blocks)}")

    # The walks, as Plan.on_worker and Plan.on_loop go them.

    def _on_worker(self, first: int, trip: int) -> None:
        i = first
        while i < len(self.layers):
            layer = self.layers[i]
            if layer.kind == "sync":
                self._step(layer.name, "__call__", trip, _why_sync(layer))
                self._on_worker(i + 1, trip)
                break
            if layer.kind == "async":
                why = "own coroutine: awaited as it is, the worker waits"
                self._step(layer.name, "__call__", None, why)
                self._on_loop(i + 1)
                break
            if layer.request_hook is not None:
                why = _why(layer.request_blocks)
                self._step(layer.name, "process_request", trip, why)
            i += 1
        else:
            self._view_on_worker(trip)
        for layer in reversed(self.layers[first:i]):
            if layer.response_hook is not None:
                why = _why(layer.response_blocks)
                self._step(layer.name, "process_response", trip, why)

    def _view_on_worker(self, trip: int) -> None:
        if self.match is None:
            self._step("404", "", trip, "the URL resolves to no view")
            return
        for hook in self.plan.view.view_hooks:
            is_async = hook.is_async
            why = "a coroutine: the worker waits" if is_async else _why(hook.blocks)
            self._step(*_hook_name(hook.call), None if is_async else trip, why)
        if self.result.is_async:
            why = "async: awaited on the event loop, the worker waits"
            self._step(str(self.result.view), "view", None, why)
        else:
            self._step(str(self.result.view), "view", trip, "sync")

    def _on_loop(self, first: int) -> None:
        end = len(self.layers)
        trip_at = end + 1 if self.result.is_async else self.plan.last_async + 1
        i = first
        while True:
            if i >= trip_at:
                self._on_worker(i, self._trip())
                break
            if i == end:
                self._view_on_loop()
                break
            layer = self.layers[i]
            if layer.kind == "async":
                why = "own coroutine: awaited as it is"
                self._step(layer.name, "__call__", None, why)
                self._on_loop(i + 1)
                break
            if layer.kind == "hooks" and not layer.request_blocks(self.request, None):
                self._hook_inline(layer, "request")
                i += 1
                continue
            last = _last_together(self.layers, i)
            if self.layers[last].kind == "sync":
                self._on_worker(i, self._trip())
                break
            self._hooks_in_trip(self.layers[i : last + 1], "request")
            i = last + 1
        self._unwind(i, first)

    def _unwind(self, top: int, bottom: int) -> None:
        i = top
        while i > bottom:
            i -= 1
            layer = self.layers[i]
            if layer.response_hook is None:
                continue
            if not layer.response_blocks(self.request, self.response):
                self._hook_inline(layer, "response")
                continue
            low = i
            for k in range(i, bottom - 1, -1):
                if self.layers[k].response_blocks is always:
                    low = k
            self._hooks_in_trip(self.layers[low : i + 1][::-1], "response")
            i = low

    def _hook_inline(self, layer: Layer, side: str) -> None:
        if getattr(layer, f"{side}_hook") is None:
            return
        blocks: Blocks = getattr(layer, f"{side}_blocks")
        self._step(layer.name, f"process_{side}", None, _why_inline(blocks))
        self._more(layer.name, f"process_{side}", blocks)

    def _hooks_in_trip(self, layers: Sequence[Layer], side: str) -> None:
        trip = self._trip()
        for layer in layers:
            if getattr(layer, f"{side}_hook") is not None:
                blocks: Blocks = getattr(layer, f"{side}_blocks")
                self._step(layer.name, f"process_{side}", trip, _why(blocks))

    def _view_on_loop(self) -> None:
        hooks = self.plan.view.view_hooks
        i = 0
        while i < len(hooks):
            blocks = hooks[i].blocks
            name, called = _hook_name(hooks[i].call)
            if hooks[i].is_async:
                self._step(name, called, None, "a coroutine: awaited")
            elif not blocks(self.request, self.view):
                self._step(name, called, None, _why_inline(blocks))
                self._more(name, called, blocks)
            else:
                last = _last_view_hook(hooks, i)
                trip = self._trip()
                for hook in hooks[i : last + 1]:
                    self._step(*_hook_name(hook.call), trip, _why(hook.blocks))
                i = last
            i += 1
        if get_config().resolve_user or marks_of(self.view).resolves_user:
            more = "+1 for a visitor with a session cookie: the user is loaded"
            self.result.more.append(more)
        self._step(str(self.result.view), "view", None, "async: awaited")

    # The signals and the end.

    def _receivers(self, signal: Signal, name: str) -> bool:
        """Note the receivers of others; tell whether sync ones are among them."""
        sync, asynchronous = signal._live_receivers(self.sender)
        unknown = [each for each in sync if not _is_djangos(each)]
        if unknown:
            trip = self._trip()
            for receiver in unknown:
                why = "a sync receiver: unknown code"
                self._step(_name_of(receiver), name, trip, why)
        for receiver in asynchronous:
            self._step(_name_of(receiver), name, None, "a coroutine: awaited")
        return bool(unknown)

    def _finish(self, *, is_settled: bool) -> None:
        """Note the request's end."""
        result = self.result
        has_worker = any(step.trip is not None for step in result.steps)
        if not self._receivers(signals.request_finished, "request_finished"):
            if has_worker and not is_settled:
                why = "closes the response and the caches on the worker that was used"
                self._step("request_finished", "", self._trip(), why)
            elif not has_worker:
                why = "+1 at the end, if calls left something on the worker"
                result.more.append(why)
        result.more.append(
            "+1 for each await of the ORM or of sync_to_async"
            if result.is_async
            else "+1 for each part of a streamed response, and 1 to close it"
        )
        result.more.append("+1 for functions given to request.after, each")
        if result.is_async:
            result.more.append("+1 for a response of 400 and above: it is logged")
            result.more.append("+1 when the view raises: the error page is made")


def _last_together(layers: Sequence[Layer], first: int) -> int:
    """Return the last layer that the trip of layer ``first`` includes."""
    last = first
    for i in range(first, len(layers)):
        if layers[i].kind != "hooks":
            return i if layers[i].kind == "sync" else last
        if layers[i].request_blocks is always:
            last = i
    return last


def _last_view_hook(hooks: Sequence[ViewHook], first: int) -> int:
    last = first
    for i in range(first, len(hooks)):
        if hooks[i].is_async:
            break
        if hooks[i].blocks is always:
            last = i
    return last


def _why(blocks: Blocks) -> str:
    name = getattr(blocks, "__name__", "")
    return REASONS.get(name, name.strip("_").replace("_", " "))


def _why_sync(layer: Layer) -> str:
    reason = "sync-only"
    if getattr(layer.instance, "async_capable", False):
        reason = "built sync, since one inside is sync-only"
    return f"{reason}: holds its worker until the response"


def _why_inline(blocks: Blocks) -> str:
    if blocks is never or _is_off(blocks):
        return _why(never)
    return f"{_why(never)} now; it {_why(blocks)}"


def _is_off(blocks: Blocks) -> bool:
    """Tell whether a setting keeps the hook from ever blocking."""
    name = getattr(blocks, "__name__", "")
    return name.endswith("_csrf_session") and not settings.CSRF_USE_SESSIONS


def _name_of(function: Any) -> str:
    named = getattr(function, "view_class", None) or inspect.unwrap(function)
    name = getattr(named, "__qualname__", None) or type(named).__qualname__
    return f"{getattr(named, '__module__', '?')}.{name}"


def _hook_name(hook: Any) -> tuple[str, str]:
    owner = type(inspect.unwrap(hook).__self__)
    return f"{owner.__module__}.{owner.__qualname__}", "process_view"


def _is_djangos(receiver: Any) -> bool:
    return str(inspect.unwrap(receiver).__module__) in _OWN_MODULES
