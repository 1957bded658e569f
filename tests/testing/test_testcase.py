"""The client in Django's own test cases, whose thread runs the sync code."""

import asyncio
import threading
from unittest import IsolatedAsyncioTestCase

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase, override_settings

from django_asgi_bridge.testing import AsyncClient


class InTransaction(TestCase):
    """Async methods of ``TestCase``."""

    async_client_class = AsyncClient

    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create_user("ada", password="secret")

    async def test_requests_see_the_tests_rows(self):
        """The client of the case goes through the handler."""
        for url in ("/users/", "/users/async/"):
            response = await self.async_client.get(url)
            assert response.json() == {"users": ["ada"]}

    async def test_test_sees_the_requests_rows(self):
        """Both kinds of views write into the test's transaction."""
        await self.async_client.post("/users/add/?name=bob")
        await self.async_client.post("/users/add/async/?name=eve")

        assert await User.objects.acount() == 3

    async def test_sign_in(self):
        """Sessions are in the same transaction too."""
        await self.async_client.aforce_login(self.user)

        assert (await self.async_client.get("/whoami/")).content == b"ada"

    async def test_assertions_of_django_work(self):
        """They look at the response's parts."""
        response = await self.async_client.get("/page/")
        self.assertContains(response, "Hello Ada")
        response = await self.async_client.get("/go/")
        self.assertRedirects(response, "/echo/?from=go", fetch_redirect_response=False)

    async def test_streams(self):
        """An endless stream is read in part."""
        async with self.async_client.stream("GET", "/ticks/") as response:
            async for chunk in response:
                assert chunk == b"tick 1"
                break
        response = await self.async_client.get("/ticks/")
        assert await anext(response.streaming_content) == b"tick 1"
        await response.disconnect()

    async def test_sync_stream_is_in_the_transaction(self):
        """The iterator runs where the view ran."""
        response = await self.async_client.get("/rows/")

        assert response.getvalue() == b"one True"

    def test_sync_method_may_use_it(self):
        """By ``async_to_sync``, on this same thread."""
        response = async_to_sync(AsyncClient().get)("/users/")

        assert response.json() == {"users": ["ada"]}
        assert threading.current_thread() is threading.main_thread()

    async def test_requests_at_the_same_time(self):
        """They wait for each other's sync code and end."""
        responses = await asyncio.gather(
            *(self.async_client.get("/users/") for _ in range(3))
        )

        assert {response.status_code for response in responses} == {200}


class Committed(TransactionTestCase):
    """Async methods of ``TransactionTestCase``."""

    async_client_class = AsyncClient

    async def test_requests_see_committed_rows(self):
        """The connection stays open between requests."""
        await User.objects.acreate(username="ada")

        for _ in range(2):
            response = await self.async_client.get("/users/")
            assert response.json() == {"users": ["ada"]}


@pytest.mark.django_db
class Isolated(IsolatedAsyncioTestCase):
    """The standard library's async case: its thread runs the loop."""

    def setUp(self):
        User.objects.create(username="ada")

    async def test_requests_see_the_tests_rows(self):
        """The worker borrows the connections of the loop's thread."""
        with override_settings(ROOT_URLCONF="tests.testing.site"):
            response = await AsyncClient().get("/users/")

        assert response.json() == {"users": ["ada"]}
