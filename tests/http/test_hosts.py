"""Hosts that passed once pass again; all others are Django's to judge, each time."""

from typing import ClassVar

import pytest
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.http import request as django_request
from django.test import override_settings

from django_asgi_bridge.http import request
from django_asgi_bridge.http.request import ASGIRequest


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Begin with no known host, and leave none of the test's behind."""
    known = request._KnownHosts()
    monkeypatch.setattr(request, "_known_hosts", known)
    return known


@pytest.fixture
def checks(monkeypatch):
    """Return the hosts that Django's own check was asked about."""
    asked = []
    original = django_request.split_domain_port

    def split_domain_port(host):
        asked.append(host)
        return original(host)

    monkeypatch.setattr(django_request, "split_domain_port", split_domain_port)
    return asked


def host_of(host: str) -> str:
    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    return ASGIRequest(scope, None).get_host()


@override_settings(ALLOWED_HOSTS=["a.example", ".b.example"])
def test_host_is_checked_once(checks):
    """A site has few hosts, and the same one passes by the same settings."""
    asked = ["a.example", "x.b.example:8000", "a.example", "x.b.example:8000"]
    assert [host_of(each) for each in asked] == asked

    assert checks == ["a.example", "x.b.example:8000"]


@override_settings(ALLOWED_HOSTS=["a.example"])
def test_refused_host_is_refused_again(checks):
    """What does not pass is checked each time."""
    for _ in range(2):
        with pytest.raises(DisallowedHost):
            host_of("evil.example")

    assert checks == ["evil.example"] * 2


def test_other_settings_judge_anew():
    """Neither other settings nor a list that was changed lets an old host pass."""
    allowed = ["a.example"]
    with override_settings(ALLOWED_HOSTS=allowed):
        host_of("a.example")
        allowed[0] = "b.example"
        with pytest.raises(DisallowedHost):
            host_of("a.example")
    with (
        override_settings(ALLOWED_HOSTS=["c.example"]),
        pytest.raises(DisallowedHost),
    ):
        host_of("a.example")


def test_debug_allows_no_host_for_later():
    """Without ALLOWED_HOSTS it is DEBUG that decides, as it is at the moment."""
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
        assert host_of("localhost") == "localhost"
    with (
        override_settings(ALLOWED_HOSTS=[], DEBUG=False),
        pytest.raises(DisallowedHost),
    ):
        host_of("localhost")


class Moody(str):
    """A pattern that allows what it likes."""

    __slots__ = ()


class Hosts(list):
    """A list of hosts from elsewhere."""

    __slots__ = ()


@pytest.mark.parametrize("allowed", [[Moody("a.example")], Hosts(["a.example"])])
def test_patterns_of_an_unknown_kind_are_asked_each_time(allowed, checks):
    """They may allow now what they refuse later."""
    with override_settings(ALLOWED_HOSTS=allowed):
        host_of("a.example")
        host_of("a.example")

    assert len(checks) == 2


@pytest.mark.parametrize("name", ["validate_host", "get_host"])
@override_settings(ALLOWED_HOSTS=["a.example"])
def test_check_that_a_tool_replaced_is_asked_each_time(name, monkeypatch):
    """A tool may replace Django's check at any time."""
    calls = []

    def check(*args):
        calls.append(args)
        return True

    host_of("a.example")
    owner = django_request if name == "validate_host" else django_request.HttpRequest
    monkeypatch.setattr(owner, name, check)
    host_of("a.example")
    host_of("a.example")

    assert len(calls) == 2


@override_settings(ALLOWED_HOSTS=["*"])
def test_few_and_short_hosts_are_remembered(known):
    """Nobody fills the memory with hosts, and all of them pass."""
    names = [f"h{i}.example" for i in range(3 * request._MAX_HOSTS)]
    long = ".".join(["a" * 60] * 5)

    assert [host_of(each) for each in [*names, long]] == [*names, long]
    assert not known.has(long, ["*"])
    assert sum(known.has(each, ["*"]) for each in names) <= request._MAX_HOSTS
    assert known.has(names[-1], ["*"])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], {}),
        ([(b"cookie", b"")], {}),
        ([(b"cookie", b"a=1; b=2"), (b"cookie", b"c")], {"a": "1", "b": "2", "": "c"}),
    ],
)
def test_cookies_are_djangos(headers, expected):
    """Also of requests that bring none, and over HTTP/2 in pieces."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    cookies = ASGIRequest(scope, None).COOKIES

    assert cookies == expected


class Tenant(DjangoASGIRequest):
    """Has a say in what hosts there are, and may change its mind."""

    denied: ClassVar[set[str]] = set()

    def get_host(self):
        host = super().get_host()
        if host in self.denied:
            raise DisallowedHost(host)
        return host


class RequestOfTenant(ASGIRequest, Tenant):
    """Asks that class after ours."""


@override_settings(ALLOWED_HOSTS=["a.example"])
def test_class_between_ours_and_djangos_is_asked_each_time(monkeypatch):
    """A host that passed once is not one that this class has nothing against."""
    scope = {"type": "http", "method": "GET", "path": "/"}
    request = RequestOfTenant({**scope, "headers": [(b"host", b"a.example")]}, None)
    assert request.get_host() == "a.example"
    assert host_of("a.example") == "a.example"

    monkeypatch.setattr(Tenant, "denied", {"a.example"})
    with pytest.raises(DisallowedHost):
        request.get_host()
