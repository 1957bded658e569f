"""Layers and servers for the tests of the layer on Redis."""

import uuid

import pytest

from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.layers.redis.servers import RedisServer


@pytest.fixture
def prefix():
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(redis_url, prefix):
    """Give a function that makes layers of one site."""

    def make(**options):
        options.setdefault("hosts", [redis_url])
        return RedisChannelLayer(prefix=prefix, **options)

    return make


@pytest.fixture
def start_server(tmp_path):
    """Give a function that starts servers, which end with the test."""
    servers = []

    def start(*options, kind=RedisServer):
        servers.append(kind(tmp_path, *options))
        return servers[-1]

    yield start
    for each in servers:
        each.kill()


@pytest.fixture
def server(start_server):
    return start_server()
