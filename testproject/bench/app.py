"""The applications that are measured, chosen by environment variables.

``BENCH_MIDDLEWARE=default`` puts the seven middlewares of ``startproject`` in.
"""

import os
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

DEFAULT_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
HELLO = b"Hello, world!"


def hello(request: HttpRequest) -> HttpResponse:
    """Answer from a worker thread."""
    return HttpResponse(HELLO)


async def ahello(request: HttpRequest) -> HttpResponse:
    """Answer from the event loop."""
    return HttpResponse(HELLO)


urlpatterns = [path("sync", hello), path("async", ahello)]


def _configure() -> None:
    wants_default = os.environ.get("BENCH_MIDDLEWARE") == "default"
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django_asgi_bridge",
        ],
        MIDDLEWARE=DEFAULT_MIDDLEWARE if wants_default else [],
        ROOT_URLCONF=__name__,
        SECRET_KEY="only for the benchmark",
    )


def ours() -> Any:
    """This package's application."""
    _configure()
    from django_asgi_bridge.asgi import get_asgi_application  # noqa: PLC0415

    return get_asgi_application()


def django_asgi() -> Any:
    """Django's own ASGI application."""
    _configure()
    from django.core.asgi import get_asgi_application  # noqa: PLC0415

    return get_asgi_application()


def django_wsgi() -> Any:
    """Django's own WSGI application."""
    _configure()
    django.setup(set_prefix=False)
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415

    return get_wsgi_application()


def starlette() -> Any:
    """Starlette with the same two routes."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import PlainTextResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    def sync_view(request: Request) -> PlainTextResponse:
        return PlainTextResponse(HELLO)

    async def async_view(request: Request) -> PlainTextResponse:
        return PlainTextResponse(HELLO)

    return Starlette(routes=[Route("/sync", sync_view), Route("/async", async_view)])
