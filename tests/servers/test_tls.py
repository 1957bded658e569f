"""TLS; what is HTTP/2 over it stands apart."""

from tests.servers.wire import Connection


def test_https(tls_connection: Connection):
    """Over TLS the scheme is https."""
    seen = tls_connection.get("/echo/").json()

    assert (seen["scheme"], seen["uri"]) == ("https", "https://testsite/echo/")
