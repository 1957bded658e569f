"""A real server, for browsers and other clients."""

import json

from websockets.sync.client import connect

from django_asgi_bridge.testing import ASGILiveServerTestCase


class LiveTests(ASGILiveServerTestCase):
    def test_pages_of_this_site_may_talk(self) -> None:
        address = f"{self.live_server_ws_url}/ws/chat/hide/"
        headers = {"Origin": self.live_server_url}
        with connect(address, additional_headers=headers) as socket:
            socket.send(json.dumps({"text": "hello"}))

            assert json.loads(socket.recv()) == {"text": "hello"}
