"""What the tests of consumers share."""

import pytest

from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers


@pytest.fixture
def layer():
    """Give the default channel layer; nothing may be left in its groups."""
    own = InMemoryChannelLayer()
    earlier = channel_layers.set("default", own)
    yield own
    channel_layers.backends.pop("default", None)
    if earlier is not None:
        channel_layers.set("default", earlier)
    assert own.groups == {}
