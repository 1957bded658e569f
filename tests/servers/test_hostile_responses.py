"""Responses that would break the protocol become an honest 500."""

import pytest

from tests.servers.app import vectors
from tests.servers.processes import Server
from tests.servers.wire import Connection


@pytest.mark.parametrize("vector", vectors.VECTORS)
def test_hostile_response(connection: Connection, site: Server, vector: str):
    """A response with forbidden bytes is replaced by the site's error page."""
    response = connection.get(f"/hostile/{vector}/")

    assert site.sees(f"{vector}:spoiled")
    assert "injected" not in response
    assert response.status == 500
    assert response.body.decode() == vectors.ERROR_PAGE
    assert site.get("/sync/").status == 200
