"""What the load generators read and write."""

import pytest

from testproject.bench.clients.frames import (
    CLOSE,
    TEXT,
    client_frame,
    handshake,
    server_frame,
)
from testproject.bench.loads.wrk import parse
from testproject.bench.processes import Failed

WRK = """Running 1s test @ http://127.0.0.1:8000/hello/async
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.01ms    6.03ms  37.02ms   87.66%
    Req/Sec     6.45k     1.03k    7.91k    70.00%
  Latency Distribution
     50%    2.61ms
     99%  {p99}
  {requests} requests in 1.50s, 0.90MB read
Requests/sec:   6429.03
"""


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [("950.00us", 0.95), ("31.20ms", 31.2), ("1.20s", 1200)],
)
def test_parse_reads_what_wrk_prints(written, milliseconds):
    requests, seconds, p99 = parse(WRK.format(p99=written, requests=9643))

    assert (requests, seconds) == (9643, 1.5)
    assert p99 == pytest.approx(milliseconds)


def test_parse_refuses_when_nothing_was_answered():
    with pytest.raises(Failed, match="no result"):
        parse(WRK.format(p99="0.00us", requests=0))


def test_server_frame_is_the_example_of_rfc_6455():
    """RFC 6455, section 5.7: a single-frame unmasked text message."""
    assert server_frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, 2), (1, 2), (4, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)],
)
def test_client_frame_is_read_by_another_implementation(size, head):
    """What websockets' parser makes of it: one whole, masked message."""
    pytest.importorskip("websockets")
    from websockets.frames import Frame, Opcode
    from websockets.streams import StreamReader

    payload = bytes(number % 251 for number in range(size))
    reader = StreamReader()
    reader.feed_data(client_frame(TEXT, payload))
    parser = Frame.parse(reader.read_exact, mask=True)

    with pytest.raises(StopIteration) as stopped:
        next(parser)

    frame = stopped.value.value
    assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
    assert frame.data == payload
    assert server_frame(TEXT, payload).endswith(payload)
    # RFC 6455, section 5.2: the shortest way to write a length is the only one.
    assert len(server_frame(TEXT, payload)) == head + size


def test_client_frame_of_a_farewell_has_the_opcode_of_a_close():
    assert client_frame(CLOSE, b"\x03\xe8")[0] == 0x88


def test_handshake_offers_no_extension():
    """Compressed frames would have other lengths than those that are counted."""
    request = handshake(8000, "/echo", "sessionid=a").decode()

    assert "Sec-WebSocket-Extensions" not in request
    assert "\r\nCookie: sessionid=a\r\n" in request
    assert request.endswith("\r\n\r\n")
