"""Responses that no server may ever see as they are."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseServerError

from tests.servers.app import board
from tests.servers.app.vectors import ERROR_PAGE


def error_page(request: HttpRequest) -> HttpResponse:
    return HttpResponseServerError(ERROR_PAGE, content_type="text/plain")


def _header(name: Any, value: Any) -> Callable[[HttpResponse], None]:
    """Return what puts a header past Django's own checks into a response."""

    def spoil(response: HttpResponse) -> None:
        response.headers._store[str(name).lower()] = (name, value)  # type: ignore[attr-defined]  # private: the point is to get past the checks

    return spoil


def _cookie(attribute: str, value: str) -> Callable[[HttpResponse], None]:
    """Return what puts a cookie past the checks of Django and of `http.cookies`."""

    def spoil(response: HttpResponse) -> None:
        response.set_cookie("bad", "fine")
        morsel = response.cookies["bad"]
        if attribute in {"_key", "_coded_value"}:
            object.__setattr__(morsel, attribute, value)
        else:
            dict.__setitem__(morsel, attribute, value)

    return spoil


INJECTION = "a\r\nInjected: yes"

SPOILERS: dict[str, Callable[[HttpResponse], None]] = {
    "value-crlf": _header("X-Bad", INJECTION),
    "value-lf": _header("X-Bad", "a\nInjected: yes"),
    "value-cr": _header("X-Bad", "a\rInjected: yes"),
    "value-split": _header(
        "X-Bad", "a\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes\r\n\r\n"
    ),
    "value-nul": _header("X-Bad", "a\x00b"),
    "value-control": _header("X-Bad", "a\x01b"),
    "value-delete": _header("X-Bad", "a\x7fb"),
    "value-next-line": _header("X-Bad", "a\x85b"),
    "value-leading-space": _header("X-Bad", " a"),
    "value-not-latin-1": _header("X-Bad", "a\u20acb"),
    "value-bytes": _header("X-Bad", INJECTION.encode()),
    "value-integer": _header("X-Bad", 7),
    "content-type-crlf": _header("Content-Type", "text/plain\r\nInjected: yes"),
    "name-crlf": _header("X-Bad\r\nInjected", "yes"),
    "name-empty": _header("", "a"),
    "name-colon": _header("X:Bad", "a"),
    "name-space": _header("X Bad", "a"),
    "name-not-ascii": _header("X-B\u00e4d", "a"),
    "cookie-value-crlf": _cookie("_coded_value", INJECTION),
    "cookie-value-nul": _cookie("_coded_value", "a\x00b"),
    "cookie-value-not-ascii": _cookie("_coded_value", "a\u20acb"),
    "cookie-path-crlf": _cookie("path", "/" + INJECTION),
    "cookie-name-crlf": _cookie("_key", "bad\r\nInjected: yes; x"),
}


def hostile(request: HttpRequest, vector: str) -> HttpResponse:
    """Answer with a response that breaks the rules in the named way."""
    if vector not in SPOILERS:
        raise Http404(vector)
    response = HttpResponse("this must not arrive", content_type="text/plain")
    SPOILERS[vector](response)
    board.post(f"{vector}:spoiled")
    return response
