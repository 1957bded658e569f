"""Responses that the handler makes by itself: refusals, overload, replacements."""

from __future__ import annotations

import logging

from django.http import HttpResponse
from django.utils.log import log_response

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.protocol.request import Refusal
from django_asgi_bridge.types import Scope

__all__ = ("busy", "is_logged", "log", "refused")

logger = logging.getLogger("django.request")

_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


def refused(refusal: Refusal, scope: Scope) -> Response:
    """Return the response for a request that is refused; logs one line."""
    phrase = _PHRASES.get(refusal.status, "Bad Request")
    logger.warning(
        "%s: %s: %s",
        phrase,
        ascii(scope.get("path")),
        refusal.reason,
        extra={"status_code": refusal.status},
    )
    response = HttpResponse(
        f"{refusal.status} {phrase}\n",
        status=refusal.status,
        content_type="text/plain; charset=utf-8",
    )
    if refusal.status == 503:
        response["Retry-After"] = "1"
    response["Content-Length"] = str(len(response.content))
    if scope.get("http_version", "1.1") < "2":
        # The rest of the request was not read, or cannot be trusted.
        response["Connection"] = "close"
    return response


def busy(error: PoolBusy, request: Request) -> Response:
    """Return 503 with ``Retry-After``: no worker thread came free in time."""
    logger.warning(
        "Service Unavailable: %s: %s",
        request.path,
        error,
        extra={"status_code": 503, "request": request},
    )
    response: Response = HttpResponse(
        "503 Service Unavailable: the server is busy, try again shortly.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(error.retry_after)},
    )
    response._has_been_logged = True
    response._resource_closers.append(request.close)
    return response


def log(request: Request, response: Response) -> None:
    """Log a response of 400 and above once, as Django's handlers do."""
    log_response(
        "%s: %s",
        response.reason_phrase,
        request.path,
        response=response,
        request=request,
    )


def is_logged(response: Response) -> bool:
    """Tell whether the response was logged already."""
    return bool(getattr(response, "_has_been_logged", False))
