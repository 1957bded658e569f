"""A consumer alone, with a visitor that the test chooses."""

from chat.visitor import BasketConsumer
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.test import TestCase

from django_asgi_bridge.testing import WebsocketCommunicator


class BasketTests(TestCase):
    def setUp(self) -> None:
        self.socket = WebsocketCommunicator(BasketConsumer.as_asgi(), "/")
        self.socket.scope["session"] = SessionStore()

    async def test_customer_sees_what_they_put_in(self) -> None:
        self.socket.scope["user"] = await User.objects.acreate_user("ada")

        await self.socket.connect()
        await self.socket.send_json_to("tea")

        assert await self.socket.receive_json_from() == {"of": "ada", "has": ["tea"]}
        await self.socket.disconnect()

    async def test_stranger_is_refused(self) -> None:
        self.socket.scope["user"] = AnonymousUser()

        is_accepted, _ = await self.socket.connect()

        assert not is_accepted
