"""Which sites' pages may open a WebSocket."""

import pytest

from django_asgi_bridge.security.websocket import (
    AllowedHostsOriginValidator,
    OriginValidator,
    SameOriginValidator,
    WebsocketDenier,
)

pytestmark = pytest.mark.asyncio


async def is_let_in(validator, *origins, scheme="ws", **headers):
    """Tell whether a handshake reaches the application."""
    sent = []
    pairs = [(b"origin", each) for each in origins]
    pairs += [(name.encode(), value) for name, value in headers.items()]

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append(event["type"])

    scope = {"type": "websocket", "path": "/", "headers": pairs}
    if scheme is not None:
        scope["scheme"] = scheme
    answer = await validator(scope, receive, send)
    assert (answer == "in") == (sent == [])
    return answer == "in"


async def application(scope, receive, send):
    return "in"


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        (["*"], b"http://any.where", True),
        (["*"], None, True),
        (["*"], b"\xff", True),
        ([], b"http://a.com", False),
        (["a.com"], None, False),
        (["a.com"], b"", False),
        (["a.com"], b"null", False),
        (["a.com"], b"http://a.com", True),
        (["a.com"], b"https://a.com:8443", True),
        (["a.com"], b"http://A.COM", True),
        (["a.com"], b"http://b.a.com", False),
        ([".a.com"], b"http://b.a.com", True),
        ([".a.com"], b"http://a.com", True),
        (["*.a.com"], b"http://b.a.com", False),
        (["http://a.com"], b"http://a.com:80", True),
        (["http://a.com"], b"https://a.com", False),
        (["http://a.com:8080"], b"http://a.com", False),
        (["https://.a.com"], b"https://b.a.com:443", True),
        (["wss://a.com"], b"wss://a.com", True),
        (["a.com"], b"http://[::1", False),
        (["a.com"], b"http://a.com:nonsense", False),
        (["[::1]"], b"http://[::1]:8000", True),
        (["a.com"], b"http://a.com@evil.com", False),
    ],
)
async def test_origin_validator_goes_by_its_list(allowed, origin, expected):
    validator = OriginValidator(application, allowed)
    origins = [] if origin is None else [origin]

    assert await is_let_in(validator, *origins) is expected


@pytest.mark.parametrize("allowed", [["*"], ["a.com"]])
async def test_two_origins_are_refused(allowed):
    """W2."""
    validator = OriginValidator(application, allowed)

    assert not await is_let_in(validator, b"http://a.com", b"http://a.com")


async def test_validators_are_for_websockets_alone():
    with pytest.raises(ValueError, match="non-WebSocket connection"):
        await OriginValidator(application, ["*"])({"type": "http"}, None, None)


@pytest.mark.parametrize(
    ("hosts", "debug", "origin", "expected"),
    [
        (["a.com"], False, b"http://a.com", True),
        (["a.com"], False, b"http://localhost", False),
        ([], True, b"http://localhost:8000", True),
        ([], True, b"http://[::1]:8000", True),
        ([], True, b"http://evil.com", False),
        ([], False, b"http://localhost", False),
    ],
)
async def test_allowed_hosts_are_read_when_it_is_made(
    hosts, debug, origin, expected, settings
):
    settings.ALLOWED_HOSTS = hosts
    settings.DEBUG = debug
    validator = AllowedHostsOriginValidator(application)
    settings.ALLOWED_HOSTS = ["other.com"]

    assert await is_let_in(validator, origin) is expected


async def test_denier_refuses_and_is_an_application_for_routes():
    assert not await is_let_in(WebsocketDenier())
    assert not await is_let_in(WebsocketDenier.as_asgi())


SAME = [
    # origins, host, expected
    ([b"http://a.com"], b"a.com", True),
    ([b"http://a.com:80"], b"a.com", True),
    ([b"http://A.com"], b"a.COM", True),
    ([b"http://a.com."], b"a.com", True),
    ([b"http://a.com:8000"], b"a.com:8000", True),
    ([b"http://[::1]:8000"], b"[::1]:8000", True),
    ([b"http://a.com:8000"], b"a.com", False),
    ([b"https://a.com"], b"a.com", False),
    ([b"http://evil.com"], b"a.com", False),
    ([b"http://a.com.evil.com"], b"a.com", False),
    ([b"http://user@a.com"], b"a.com", False),
    ([b"http://a.com/path"], b"a.com", False),
    ([b"null"], b"a.com", False),
    ([b""], b"a.com", False),
    ([b"http://a.com:99999"], b"a.com", False),
    ([b"http://a.com:0"], b"a.com", False),
    ([b"file://"], b"a.com", False),
    ([b"http://a.com", b"http://a.com"], b"a.com", False),
    ([b"chrome-extension://a.com"], b"a.com", False),
    ([b"https://app.example.com"], b"a.com", True),
    ([b"https://app.example.com:444"], b"a.com", False),
    ([], b"a.com", True),
]


@pytest.mark.parametrize(("origins", "host", "expected"), SAME)
async def test_own_pages_and_named_sites_are_let_in(
    origins, host, expected, settings, caplog
):
    """W1, W3: the default is to deny, whatever ALLOWED_HOSTS says."""
    settings.ALLOWED_HOSTS = ["*"]
    validator = SameOriginValidator(application, ["https://app.example.com"])

    assert await is_let_in(validator, *origins, host=host) is expected
    assert expected or "WEBSOCKET_ORIGINS" in caplog.text


@pytest.mark.parametrize("form", ["{}=c", "a=b; {}=c", "{} =c", "a=b;\t{}\t= c"])
async def test_session_cookie_without_an_origin_is_refused(form, settings, caplog):
    validator = SameOriginValidator(application)
    cookie = form.format(settings.SESSION_COOKIE_NAME).encode()

    assert not await is_let_in(validator, host=b"a.com", cookie=cookie)
    assert await is_let_in(validator, host=b"a.com", cookie=b"a=b")


@pytest.mark.parametrize(
    ("scheme", "origin", "host", "expected"),
    [
        # As daphne leaves it out, over TLS of its own too.
        (None, b"https://a.com", b"a.com", True),
        (None, b"https://a.com:8443", b"a.com:8443", True),
        (None, b"http://a.com:8000", b"a.com:8000", True),
        (None, b"https://a.com", b"a.com:80", False),
        (None, b"https://a.com", b"a.com:8000", False),
        (None, b"https://b.com", b"a.com", False),
        (None, b"ftp://a.com", b"a.com", False),
        ("ws", b"https://a.com", b"a.com", False),
        ("wss", b"https://a.com", b"a.com", True),
        ("wss", b"http://a.com", b"a.com", False),
    ],
)
async def test_own_page_may_come_over_tls_where_the_server_does_not_tell(
    scheme, origin, host, expected
):
    validator = SameOriginValidator(application)

    assert await is_let_in(validator, origin, host=host, scheme=scheme) is expected


async def test_scheme_is_that_of_a_trusted_proxy(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    validator = SameOriginValidator(application)
    headers = {"host": b"a.com", "x-forwarded-proto": b"https"}

    assert await is_let_in(validator, b"https://a.com", **headers)
    assert not await is_let_in(validator, b"http://a.com", **headers)


async def test_host_is_that_of_a_trusted_proxy(settings):
    settings.ALLOWED_HOSTS = ["a.com"]
    validator = SameOriginValidator(application)
    headers = {"host": b"inside:8000", "x-forwarded-host": b"a.com"}

    assert not await is_let_in(validator, b"http://a.com", **headers)
    settings.USE_X_FORWARDED_HOST = True
    assert await is_let_in(validator, b"http://a.com", **headers)
    assert await is_let_in(validator, b"http://a.com", host=b"a.com")


@pytest.mark.parametrize(
    ("allowed", "host", "expected"),
    [
        (["a.com"], b"a.com:8000", True),
        ([".a.com"], b"b.a.com", True),
        (["[::1]"], b"[::1]:8000", True),
        (["a.com"], b"rebound.com", False),
        ([], b"127.0.0.1:8000", True),
        ([], b"site.localhost:8000", True),
        ([], b"rebound.com", False),
    ],
)
async def test_own_host_is_one_of_allowed_hosts(
    allowed, host, expected, settings, caplog
):
    """A page that leads its own name to this server is refused, as its requests are."""
    settings.ALLOWED_HOSTS = allowed
    settings.DEBUG = not allowed
    validator = SameOriginValidator(application)

    assert await is_let_in(validator, b"http://" + host, host=host) is expected
    assert expected or "is not in ALLOWED_HOSTS" in caplog.text
