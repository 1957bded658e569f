"""A channel layer of the side that a test runs on."""

import pytest


@pytest.fixture
def layer(side):
    """Give that side's layer in memory, as the default one."""
    layers = side("layers")
    own = layers.InMemoryChannelLayer()
    layers.channel_layers.set("default", own)
    yield own
    layers.channel_layers.backends.pop("default", None)
