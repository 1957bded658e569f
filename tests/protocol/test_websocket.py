"""What may be sent over a WebSocket, and when."""

import pytest

from django_asgi_bridge.exceptions import BadMessage, SocketStateError
from django_asgi_bridge.protocol.websocket import (
    SocketState,
    after,
    check_close,
    denial,
)

CONNECTING, OPEN, DENYING, CLOSED = SocketState
ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}
START = {"type": "websocket.http.response.start"}
BODY = {"type": "websocket.http.response.body"}
MORE = {**BODY, "more_body": True}
OTHER = {"type": "something.else"}


@pytest.mark.parametrize(
    ("state", "event", "following"),
    [
        (CONNECTING, ACCEPT, OPEN),
        (CONNECTING, CLOSE, CLOSED),
        (CONNECTING, START, DENYING),
        (DENYING, MORE, DENYING),
        (DENYING, BODY, CLOSED),
        (DENYING, CLOSE, None),
        (OPEN, SEND, OPEN),
        (OPEN, CLOSE, CLOSED),
        (OPEN, ACCEPT, None),
        (CLOSED, SEND, None),
        (CLOSED, CLOSE, None),
        (CLOSED, ACCEPT, None),
        (CLOSED, BODY, None),
        (OPEN, OTHER, OPEN),
    ],
)
def test_event_leads_to_the_state_after_it(state, event, following):
    assert after(state, event) is following


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (CONNECTING, SEND),
        (CONNECTING, BODY),
        (OPEN, START),
        (OPEN, BODY),
        (DENYING, ACCEPT),
        (DENYING, SEND),
        (DENYING, START),
    ],
)
def test_event_out_of_order_is_refused(state, event):
    with pytest.raises(SocketStateError, match=state.name):
        after(state, event)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1014, 3000, 4999, None])
def test_close_code_may_be_sent(code):
    check_close(code, "x" * 123)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_code_may_not_be_sent(code):
    with pytest.raises(BadMessage, match=str(code)):
        check_close(code, None)


def test_denial_is_a_response_with_a_status_of_its_own():
    start, body = denial(401, [("WWW-Authenticate", "Basic")], b"who?")

    assert start["status"] == 401
    assert start["headers"] == [(b"www-authenticate", b"Basic")]
    assert body["body"] == b"who?"
    with pytest.raises(BadMessage, match="200"):
        denial(200, [], b"")
