"""``group_broadcast`` on any layer, from any code."""

import asyncio

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    channel_layers,
    get_channel_layer,
    group_broadcast,
)
from tests.layers.mailboxes import Box

MEMORY = {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}


class Foreign(BaseChannelLayer):
    """A layer that knows groups and no broadcasts."""

    extensions = ["groups"]

    def __init__(self):
        super().__init__()
        self.sent = []

    async def group_send(self, group, message):
        self.sent.append((group, message))


class Bare(BaseChannelLayer):
    """A layer without groups."""

    extensions: list[str] = []


@pytest.mark.parametrize(
    ("given", "content"),
    [
        ({"text_data": "a"}, {"text": "a"}),
        ({"bytes_data": b"a"}, {"bytes": b"a"}),
        ({"json": [1]}, {"text": "[1]"}),
    ],
)
@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": "tests.layers.test_broadcast.Foreign"}}
)
@pytest.mark.asyncio
async def test_broadcast_is_an_event_on_a_layer_that_knows_none(given, content):
    await group_broadcast("room", **given)

    event = {"type": "bridge.broadcast", "group": "room", **content}
    assert get_channel_layer().sent == [("room", event)]


@override_settings(CHANNEL_LAYERS={"default": MEMORY, "other": MEMORY})
@pytest.mark.asyncio
async def test_broadcast_uses_the_layer_of_its_alias():
    box = Box()
    layer = get_channel_layer("other")
    await layer.group_add("room", await layer.open_mailbox(box))

    await group_broadcast("room", json={"a": 1}, alias="other")
    await group_broadcast("room", json={"a": 2})

    assert box.frames == [{"type": "websocket.send", "text": '{"a": 1}'}]


@pytest.mark.parametrize("backend", [None, "tests.layers.test_broadcast.Bare"])
@pytest.mark.asyncio
async def test_broadcast_is_refused_when_there_are_no_groups(backend):
    layers = {"default": {"BACKEND": backend}} if backend else {}
    with (
        override_settings(CHANNEL_LAYERS=layers),
        pytest.raises(InvalidChannelLayerError, match="'default' is unconfigured or"),
    ):
        await group_broadcast("room", text_data="a")


@pytest.mark.parametrize("given", [{}, {"text_data": "a", "bytes_data": b"a"}])
@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": "tests.layers.test_broadcast.Foreign"}}
)
@pytest.mark.asyncio
async def test_broadcast_is_refused_without_exactly_one_content(given):
    with pytest.raises(ValueError, match="give exactly one of"):
        await group_broadcast("room", **given)

    assert get_channel_layer().sent == []


@override_settings(CHANNEL_LAYERS={"default": MEMORY})
def test_broadcast_arrives_when_called_from_sync_code():
    layer = get_channel_layer()
    box = Box()
    name = asyncio.run(layer.open_mailbox(box))
    async_to_sync(layer.group_add)("room", name)

    async_to_sync(group_broadcast)("room", text_data="a")

    assert box.frames == [{"type": "websocket.send", "text": "a"}]
    assert channel_layers["default"] is layer
    assert isinstance(layer, InMemoryChannelLayer)
