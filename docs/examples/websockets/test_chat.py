"""Two visitors of one room, without a server."""

import pytest

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.testing import WebsocketCommunicator


@pytest.mark.asyncio
async def test_room_hears_what_is_said() -> None:
    application = get_asgi_application()
    visitors = [WebsocketCommunicator(application, "/ws/chat/hide/") for _ in range(2)]
    for visitor in visitors:
        assert await visitor.connect() == (True, None)

    await visitors[0].send_json_to({"text": "hello"})

    for visitor in visitors:
        assert await visitor.receive_json_from() == {"text": "hello"}
        await visitor.disconnect()
