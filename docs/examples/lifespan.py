"""Startup and shutdown hooks, and a view that uses what they opened."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from django.apps import AppConfig
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_asgi_bridge import http


class Prices:
    """Stands for a client, a pool, a cache: anything that is opened and closed."""

    def __init__(self) -> None:
        self.is_open = True

    async def aclose(self) -> None:
        self.is_open = False


@asynccontextmanager
async def prices() -> AsyncIterator[dict[str, Any]]:
    """Open the client before the first request, close it after the last."""
    client = Prices()
    yield {"prices": client}
    await client.aclose()


@contextmanager
def greeting(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """See what earlier hooks yielded; a sync hook runs on a worker thread."""
    yield {"greeting": f"open: {state['prices'].is_open}"}


class ShopConfig(AppConfig):
    """An app brings its own hook."""

    name = "shop"

    @asynccontextmanager
    async def asgi_lifespan(self) -> AsyncIterator[None]:
        yield


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(http.state(request).greeting)


urlpatterns = [path("", index)]
