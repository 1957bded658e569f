"""What Autobahn's fuzzing client finds in an echo is the server's, not ours."""

import os

import pytest

from tests.servers.autobahn import counts, differences, run
from tests.servers.conftest import StartServer, installed
from tests.servers.specs import SOCKET_SPECS

WSTEST = os.environ.get("BRIDGE_WSTEST", "")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.skipif(not WSTEST, reason="BRIDGE_WSTEST names no wstest program"),
]

CASES = 517


@pytest.mark.parametrize(
    "name", ["uvicorn-websockets-sansio", "uvicorn-wsproto", "daphne"]
)
def test_verdicts_on_a_consumer_are_those_on_a_bare_echo(
    make_any_server: StartServer, name: str
):
    """All cases, against both applications in one process."""
    spec = installed(next(each for each in SOCKET_SPECS if each.name == name))
    with make_any_server(spec) as server:
        found = run(server, WSTEST, ["*"])

    assert len(found["consumer"]) == len(found["bare"]) == CASES
    assert differences(found) == {}, {
        agent: counts(verdicts) for agent, verdicts in found.items()
    }
