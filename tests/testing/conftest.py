"""The site of these tests, and the fixtures of the package's pytest plugin."""

import pytest

from django_asgi_bridge.testing import plugin
from tests.testing import site

# Loaded here where the package is not installed with its entry point.
asgi_client = plugin.asgi_client
asgi_worker = plugin.asgi_worker
live_asgi_server = plugin.live_asgi_server
websocket = plugin.websocket


@pytest.fixture(autouse=True)
def seen(settings):
    """Serve the site and give what its views note."""
    settings.ROOT_URLCONF = site.__name__
    site.SEEN.clear()
    return site.SEEN
