"""Both names of uvicorn's worker class: its own, deprecated one and its successor."""

from collections.abc import Callable

import pytest

from tests.servers.conftest import installed
from tests.servers.processes import Server
from tests.servers.specs import gunicorn_with

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "worker", ["uvicorn.workers.UvicornWorker", "uvicorn_worker.UvicornWorker"]
)
def test_worker_class(make_any_server: Callable[..., Server], worker: str):
    """The site starts, answers and ends under either class."""
    with make_any_server(installed(gunicorn_with(worker))) as server:
        assert server.get("/sync/").status == 200
        assert server.get("/async/").status == 200

    assert len(server.lifespan("startup")) == 1
    assert server.lifespan("shutdown") == server.lifespan("startup")
