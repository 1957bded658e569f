"""Tests of views, through the whole handler."""

from collections.abc import AsyncIterator

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import TestCase, override_settings
from django.urls import path

from django_asgi_bridge.testing import AsyncClient


async def count(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await User.objects.acount()))


async def numbers() -> AsyncIterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number}\n"


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(numbers())


urlpatterns = [path("count/", count), path("endless/", endless)]


@override_settings(ROOT_URLCONF=__name__)
class ViewTests(TestCase):
    """The test's transaction is the views' transaction too."""

    async_client_class = AsyncClient

    async def test_count_sees_the_users_of_the_test(self) -> None:
        await User.objects.acreate(username="ada")

        response = await self.async_client.get("/count/")

        assert response.content == b"1"

    async def test_endless_ends_when_the_client_leaves(self) -> None:
        client = AsyncClient()
        async with client.stream("GET", "/endless/") as response:
            chunks = []
            async for chunk in response:
                chunks.append(chunk)
                if len(chunks) == 3:
                    break

        assert chunks == [b"1\n", b"2\n", b"3\n"]
