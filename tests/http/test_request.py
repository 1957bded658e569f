"""What a request knows when it is made, and what it finds out when it is asked."""

import copy
import pickle
from typing import Any

import pytest
from django.core.exceptions import BadRequest
from django.test import override_settings

from django_asgi_bridge.http.handler import ASGIRequest
from tests.http.support import Request


def scope_of(*headers: tuple[bytes, bytes], **changes: Any) -> dict[str, Any]:
    """Return the scope of a request with these headers."""
    return {**Request("/a/b/").scope(), "headers": list(headers), **changes}


def test_request_makes_meta_once_when_it_is_asked_for():
    """A view that never looks at it does not wait for it."""
    request = ASGIRequest(scope_of((b"x-own", b"1")), None)
    assert "META" not in vars(request)

    meta = request.META

    assert meta["HTTP_X_OWN"] == "1"
    assert request.META is meta
    assert request.environ is meta


def test_request_tells_in_meta_how_it_came():
    """What middleware makes of the request is not what the client sent."""
    scope = scope_of(method="post", root_path="/a", query_string=b"c=1")
    request = ASGIRequest(scope, None)
    request.method = "PUT"
    request.path_info = request.path = "/elsewhere/"
    request.script_name = "/x"  # type: ignore[attr-defined]  # Django's own

    meta = request.META

    assert (meta["REQUEST_METHOD"], meta["QUERY_STRING"]) == ("POST", "c=1")
    assert (meta["SCRIPT_NAME"], meta["PATH_INFO"]) == ("/a", "/b/")


def test_request_shares_meta_with_its_copy():
    """What a copy notes there is seen by the middleware of the first."""
    request = ASGIRequest(scope_of(), None)

    copy.copy(request).META["CSRF_COOKIE_NEEDS_UPDATE"] = True

    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]


def test_request_takes_meta_along_when_it_is_pickled():
    """As it is, with what was noted there."""
    request = ASGIRequest(scope_of(), None)

    again = pickle.loads(pickle.dumps(request))

    assert vars(again)["META"] == request.META


@pytest.mark.parametrize("is_mixed_in", [False, True])
def test_request_sets_meta_where_a_subclass_keeps_it_itself(is_mixed_in):
    """Django's own tests count so what is written into it."""

    class Keeps:
        @property
        def META(self) -> Any:
            return self.kept

        @META.setter
        def META(self, value: Any) -> None:
            self.kept = value

    if is_mixed_in:

        class Special(Keeps, ASGIRequest):  # type: ignore[misc]  # what is tested
            pass
    else:

        class Special(ASGIRequest):  # type: ignore[no-redef]  # the other case
            META = Keeps.META  # type: ignore[assignment]  # what is tested

    request: Any = Special(scope_of((b"x-own", b"1")), None)

    assert request.kept["HTTP_X_OWN"] == "1"
    assert request.META is request.kept


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
def test_request_knows_its_content_type_from_the_start(name):
    """The encoding of the form is known before anybody asks for META."""
    value = b"text/plain; charset=latin-1; a=b"

    request = ASGIRequest(scope_of((b"accept", b"x"), (name, value)), None)

    assert request.content_type == "text/plain"
    assert request.content_params == {"charset": "latin-1", "a": "b"}
    assert request.encoding == "latin-1"


def test_request_without_a_content_type_has_an_empty_one():
    request = ASGIRequest(scope_of((b"content-types", b"x")), None)

    assert (request.content_type, request.content_params) == ("", {})
    assert request.encoding is None


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        (scope_of(query_string=b"a=\xff"), UnicodeDecodeError),
        (scope_of((b"content-type", b"x" * 10_001)), BadRequest),
    ],
)
def test_request_refuses_what_cannot_be_read_when_it_is_made(scope, error):
    """The handler answers with 400; no view or middleware sees such a request."""
    with pytest.raises(error):
        ASGIRequest(scope, None)


@pytest.mark.parametrize("query", [None, "", b""])
def test_request_without_a_query_has_an_empty_one(query):
    request = ASGIRequest(scope_of(query_string=query), None)

    assert request.META["QUERY_STRING"] == ""
    assert not request.GET


def test_request_is_where_the_setting_says():
    """FORCE_SCRIPT_NAME wins over what the server says."""
    with override_settings(FORCE_SCRIPT_NAME="/a"):
        request: Any = ASGIRequest(scope_of(root_path="/other"), None)

        assert (request.script_name, request.path_info) == ("/a", "/b/")
        assert request.META["SCRIPT_NAME"] == "/a"
