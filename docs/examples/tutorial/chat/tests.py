from django.contrib.auth.models import User
from django.test import Client, TestCase

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.testing import WebsocketCommunicator


class ChatTests(TestCase):
    async def test_visitor_speaks_under_their_name(self) -> None:
        browser = Client()
        await browser.aforce_login(await User.objects.acreate_user("ada"))
        session = browser.cookies["sessionid"].value
        socket = WebsocketCommunicator(
            get_asgi_application(),
            "/ws/chat/lobby/",
            headers=[
                (b"host", b"testserver"),
                (b"origin", b"http://testserver"),
                (b"cookie", f"sessionid={session}".encode()),
            ],
        )

        await socket.connect()
        await socket.send_json_to({"text": "hello"})

        assert await socket.receive_json_from() == {"name": "ada", "text": "joined"}
        assert await socket.receive_json_from() == {"name": "ada", "text": "hello"}
        await socket.disconnect()
