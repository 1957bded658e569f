"""WhiteNoise behind this handler: files leave as files, and nothing warns."""

import asyncio
import warnings

import pytest
from django.test import override_settings

from django_asgi_bridge.http.handler import ASGIHandler
from tests.http.exchanges import Wire

pytest.importorskip("whitenoise")


@pytest.fixture
def served(tmp_path):
    """Serve one static file by WhiteNoise."""
    (tmp_path / "site.css").write_bytes(b"body { color: black }\n" * 20_000)
    with override_settings(
        STATIC_ROOT=str(tmp_path),
        STATIC_URL="/static/",
        MIDDLEWARE=["whitenoise.middleware.WhiteNoiseMiddleware"],
        ROOT_URLCONF="tests.http.urls",
    ):
        yield ASGIHandler()


def fetch(handler, **headers):
    """Return the finished exchange of one request for the file."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    wire = Wire(path="/static/site.css", headers=named)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(wire.serve(handler))
    return wire


def test_file_leaves_in_blocks_without_a_warning(served):
    """The whole file, and not read into memory as one piece."""
    wire = fetch(served)
    bodies = [each["body"] for each in wire.sent if each.get("body")]
    assert wire.status == 200
    assert b"".join(bodies) == b"body { color: black }\n" * 20_000
    assert max(map(len, bodies)) <= 65536


def test_range_is_whitenoises_own(served):
    """WhiteNoise answers ranges by itself; they are not cut twice."""
    wire = fetch(served, range="bytes=5-8")
    assert wire.status == 206
    assert wire.body == b"{ co"


def test_unchanged_file_is_not_sent(served):
    """A conditional request gets a 304 without a body."""
    first = fetch(served)
    again = fetch(served, if_none_match=first.header("etag"))
    assert again.status == 304
    assert again.body == b""
