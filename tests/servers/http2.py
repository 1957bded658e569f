"""An HTTP/2 client over TLS, one stream at a time."""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.servers.wire import PATIENCE, Connection, Head, Response, WireError

Fields = Iterable[tuple[str, str]]


class Http2Connection:
    """One connection, negotiated by ALPN."""

    def __init__(self, address: tuple[str, int], certificate: Path) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        context.set_alpn_protocols(["h2"])
        self.wire = Connection(address, tls=context, patience=PATIENCE)
        if self.wire.socket.selected_alpn_protocol() != "h2":
            self.wire.socket.close()
            raise WireError("the server does not speak HTTP/2")
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_inbound_headers=True
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.unread: list[h2.events.Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.wire.socket.close()

    def flush(self) -> None:
        """Send what the protocol has to say."""
        self.wire.send(self.h2.data_to_send())

    def send_head(
        self, method: str, target: str, fields: Fields = (), *, is_whole: bool = True
    ) -> int:
        """Send a request's head and return the number of its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        head = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "testsite"),
            (":path", target),
            *fields,
        ]
        self.h2.send_headers(stream_id, head, end_stream=is_whole)
        self.flush()
        return stream_id

    def send_piece(
        self, stream_id: int, piece: bytes, *, is_last: bool = False
    ) -> None:
        """Send a piece of a body, in frames of the size the server allows."""
        size = self.h2.max_outbound_frame_size
        for start in range(0, len(piece), size):
            frame = piece[start : start + size]
            while self.h2.local_flow_control_window(stream_id) < len(frame):
                self.receive()
            is_end = is_last and start + size >= len(piece)
            self.h2.send_data(stream_id, frame, end_stream=is_end)
            self.flush()

    def reset(self, stream_id: int) -> None:
        """Leave a stream; the connection goes on."""
        self.h2.reset_stream(stream_id, error_code=8)
        self.flush()

    def receive(self) -> None:
        """Receive more and give the window back."""
        self.wire.need()
        received, self.wire.buffer = self.wire.buffer, b""
        try:
            news = self.h2.receive_data(received)
        except h2.exceptions.ProtocolError as exc:
            raise WireError(f"not HTTP/2: {exc}") from exc
        for event in news:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
        self.unread += news
        self.flush()

    def next_event(self, stream_id: int) -> h2.events.Event:
        """Return the next event of a stream."""
        while True:
            for event in self.unread:
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise WireError(f"connection ended: {event!r}")
                if stream_of(event) == stream_id:
                    self.unread.remove(event)
                    return event
            self.receive()

    def read_response(self, stream_id: int) -> Response:
        """Return the whole answer on a stream; trailers become headers."""
        response = Response(0)
        pieces: list[bytes] = []
        while True:
            event = self.next_event(stream_id)
            match event:
                case h2.events.InformationalResponseReceived():
                    response.interim.append(_head(event.headers))
                case h2.events.ResponseReceived():
                    head = _head(event.headers)
                    response.status, response.headers = head.status, head.headers
                case h2.events.TrailersReceived():
                    response.headers += event.headers
                case h2.events.DataReceived():
                    pieces.append(event.data)
                case h2.events.StreamReset():
                    raise WireError(f"stream reset: {event!r}")
                case h2.events.StreamEnded():
                    response.body = b"".join(pieces)
                    return response

    def get(self, target: str, fields: Fields = ()) -> Response:
        """Send a GET request and read the answer."""
        return self.read_response(self.send_head("GET", target, fields))


def _head(fields: list[tuple[str, str]]) -> Head:
    return Head(int(dict(fields)[":status"]), fields[1:])


def stream_of(event: h2.events.Event) -> int | None:
    """Return the stream on which an event came."""
    if isinstance(event, h2.events.PushedStreamReceived):
        return event.parent_stream_id
    return getattr(event, "stream_id", None)
