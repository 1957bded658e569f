"""Other applications beside Django, in the project's asgi.py."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from django_asgi_bridge.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")


async def where(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Starlette at {request.scope['root_path']}")


def old(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"WSGI at {environ['SCRIPT_NAME']}".encode()]


application = get_asgi_application(
    mounts={
        "/api": Starlette(routes=[Route("/", where)]),
        "/old": old,
    },
)
