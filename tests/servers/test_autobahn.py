"""What Autobahn's fuzzing client finds in an echo is the server's, not ours.

The cases of limits and of compression (9, 12, 13) take long: the program in
`tests.servers.autobahn` runs them.
"""

import os

import pytest

from tests.servers.autobahn import counts, differences, run
from tests.servers.conftest import StartServer, installed
from tests.servers.specs import SOCKET_SPECS, ServerSpec

WSTEST = os.environ.get("BRIDGE_WSTEST", "")
GROUPS = [1, 2, 3, 4, 5, 6, 7, 10]

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.skipif(not WSTEST, reason="BRIDGE_WSTEST names no wstest program"),
]


@pytest.mark.parametrize("socket_spec", SOCKET_SPECS, ids=lambda spec: spec.name)
def test_verdicts_on_a_consumer_are_those_on_a_bare_echo(
    make_any_server: StartServer, socket_spec: ServerSpec
):
    """Both applications run in one process of the server."""
    with make_any_server(installed(socket_spec)) as server:
        found = run(server, WSTEST, [f"{group}.*" for group in GROUPS])
        server.kill()

    assert list(counts(found["bare"])) == GROUPS
    assert differences(found) == {}, found
