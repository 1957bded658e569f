"""``@resolves_user``: session and user in the async views of signed-in visitors."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpResponse
from django.test import TestCase, override_settings
from django.urls import path

from django_asgi_bridge.http import resolves_user
from django_asgi_bridge.testing import AsyncClient

DEFAULT = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


@resolves_user
async def marked(request):
    return HttpResponse(f"{request.user.get_username()}|")


async def plain(request):
    return HttpResponse(f"{request.user.get_username()}|")


async def untouched(request):
    return HttpResponse("nobody asked")


urlpatterns = [
    path("marked", marked),
    path("plain", plain),
    path("untouched", untouched),
]


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=DEFAULT)
class ResolveUserTests(TestCase):
    """The user is there without waiting where the view or the project asked."""

    async def _client(self) -> AsyncClient:
        user = await User.objects.acreate(username="ada")
        client = AsyncClient()
        await client.aforce_login(user)
        return client

    async def test_marked_view_may_use_the_user(self):
        """A signed-in visitor's name is there."""
        client = await self._client()
        response = await client.get("/marked")
        assert response.content == b"ada|"

    def test_marked_view_serves_a_stranger_too(self):
        """Nobody is signed in, nothing is looked up."""
        with self.assertNumQueries(0):
            response = async_to_sync(AsyncClient().get)("/marked")
        assert response.content == b"|"

    async def test_unmarked_view_is_told_what_to_do(self):
        """Django's own error, as before."""
        client = await self._client()
        with pytest.raises(SynchronousOnlyOperation):
            await client.get("/plain")

    @override_settings(ASGI_BRIDGE={"RESOLVE_USER": True})
    async def test_every_async_view_may_when_the_project_asks(self):
        """The setting does it for all async views."""
        client = await self._client()
        response = await client.get("/plain")
        assert response.content == b"ada|"

    def test_page_that_asks_for_nobody_makes_no_query(self):
        """The default costs nothing."""
        client = async_to_sync(self._client)()
        with self.assertNumQueries(0):
            response = async_to_sync(client.get)("/untouched")
        assert response.content == b"nobody asked"
