"""The fixtures of the pytest plugin."""

from typing import Any

import pytest
from django.contrib.auth.models import User


@pytest.mark.asyncio
@pytest.mark.django_db
async def test_project_serves_the_path(websocket: Any) -> None:
    await User.objects.acreate(username="ada")
    socket = websocket("/ws/chat/hide/")

    await socket.connect()
    await socket.send_json_to({"text": "hello"})

    assert await socket.receive_json_from() == {"text": "hello"}
    await socket.disconnect()
