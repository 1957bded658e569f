"""``ASGIRequest``: Django's request, made from an ASGI scope in one pass.

Specification: ASGI HTTP 2.5, "HTTP connection scope"; RFC 9110 section 5.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import BadRequest
from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.http import QueryDict, parse_cookie
from django.http import request as django_request
from django.http.multipartparser import MultiPartParserError
from django.utils.functional import cached_property

from django_asgi_bridge import http
from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.http.hooks import unless_patched
from django_asgi_bridge.http.incoming import has_header
from django_asgi_bridge.http.place import mounted_path
from django_asgi_bridge.protocol.request import (
    put_headers,
    query_of,
    server_name_port,
    server_protocol,
)

if TYPE_CHECKING:
    from django_asgi_bridge.http.extensions import BodyStream

__all__ = ("ASGIRequest",)

_MAX_FORM_EDGE = 65536
"""Bytes before the first part of a multipart body, and after the last: one chunk."""

_MAX_CONTENT_TYPE = 10_000
"""Characters of a Content-Type, as Django 6.1; parsing time grows with them."""

_NOBODY = (None, None)
"""The client of a server that names none, as behind a Unix socket."""

_MAX_HOSTS = 256
"""Hosts that are remembered. A client may send as many as a ``*`` allows."""

_MAX_HOST = 261
"""Characters of one of them: a name of 253 (RFC 1035) with a port and dots."""


class ASGIRequest(DjangoASGIRequest):
    """A Django request over an ASGI scope, with this package's extensions.

    Args:
        scope: the HTTP scope as the server gave it.
        body_file: what the body is read from; ``None`` for a request without one.

    Raises:
        UnicodeDecodeError: the query string is not UTF-8.
        BadRequest: the content type is unreasonable.
    """

    _keeps_meta = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note whether a subclass has a META of its own, which has to be set."""
        super().__init_subclass__(**kwargs)
        cls._keeps_meta = cls.META is not ASGIRequest.META

    def __init__(self, scope: Any, body_file: Any) -> None:
        self.scope = scope
        self._post_parse_error = False
        self._read_started = False
        self.resolver_match = None
        self.path = scope["path"]
        self._bridge_place = self.script_name, self.path_info = mounted_path(scope)
        self.method = scope["method"].upper()
        self._stream = body_file
        if scope.get("query_string"):
            # What is wrong with it is answered with 400 before anybody asks for META.
            query_of(scope)
        if self._keeps_meta:
            self.META = self._read_meta()
        if has_header(scope, b"content-type"):
            if len(self.META.get("CONTENT_TYPE", "")) > _MAX_CONTENT_TYPE:
                raise BadRequest(
                    "the Content-Type header is longer than "
                    f"{_MAX_CONTENT_TYPE} characters"
                )
            self._set_content_type_params(self.META)  # type: ignore[attr-defined]  # private
        else:
            self.content_type, self.content_params = "", {}

    @cached_property
    def META(self) -> dict[str, Any]:  # type: ignore[override]  # noqa: N802 - Django's name
        """The headers and what WSGI says of a request; see ``HttpRequest.META``.

        Made when it is asked for: many views never do.
        """
        return self._read_meta()

    def _read_meta(self) -> dict[str, Any]:
        # All from the scope: middleware may have changed the request by now.
        scope = self.scope
        script_name, path_info = self._bridge_place
        scheme = scope.get("scheme") or "http"
        name, port = server_name_port(scope.get("server"), scheme)
        client = scope.get("client") or _NOBODY
        # With all keys at once the dictionary has room for some headers, too.
        meta: dict[str, Any] = {
            "REQUEST_METHOD": scope["method"].upper(),
            "QUERY_STRING": query_of(scope) if scope.get("query_string") else "",
            "SCRIPT_NAME": script_name,
            "PATH_INFO": path_info,
            "SERVER_PROTOCOL": server_protocol(scope.get("http_version", "1.1")),
            "SERVER_NAME": name,
            "SERVER_PORT": port,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.url_scheme": scheme,
            "REMOTE_ADDR": client[0],
            "REMOTE_HOST": client[0],
            "REMOTE_PORT": client[1],
        }
        if client is _NOBODY:
            del meta["REMOTE_ADDR"], meta["REMOTE_HOST"], meta["REMOTE_PORT"]
        put_headers(meta, scope.get("headers") or ())
        return meta

    @cached_property
    def _messages(self) -> Any:
        """The storage of messages, which ``http.messages`` left to who asks first."""
        attributes = self.__dict__
        note = attributes.get("_bridge_messages")
        if note is not None:
            attributes["_messages"] = note.storage_for(self)
            attributes.pop("_bridge_messages", None)
        elif "_messages" not in attributes:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute '_messages'"
            )
        # Else another thread was faster.
        return attributes["_messages"]

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # noqa: N802 - Django's name
        """The cookies that the client sent."""
        header = self.META.get("HTTP_COOKIE")
        return parse_cookie(header) if header else {}

    def get_host(self) -> str:
        """Return the host that was asked for; see ``HttpRequest.get_host``.

        Raises:
            DisallowedHost: ``ALLOWED_HOSTS`` does not allow it.
        """
        allowed = read_setting("ALLOWED_HOSTS")
        # Without any, DEBUG has a say.
        if (
            _GET_HOST is None
            or not allowed
            or type(allowed) not in (list, tuple)
            or getattr(super().get_host, "__func__", None) is not _GET_HOST
            or django_request.validate_host is not _VALIDATE_HOST
        ):
            return super().get_host()
        host: str = self._get_raw_host()  # type: ignore[attr-defined]  # private
        if not _known_hosts.has(host, allowed):
            seen = allowed[:]
            host = super().get_host()
            if read_setting("ALLOWED_HOSTS") == seen:
                _known_hosts.add(host, seen)
        return host

    def __getstate__(self) -> object:
        """Return the state with META in it: copies share it."""
        _ = self.META
        return super().__getstate__()

    @property
    def environ(self) -> dict[str, Any]:
        """``META`` under the name that WSGI requests have for it."""
        return self.META

    @property
    def raw_path(self) -> bytes | None:
        """The path as the client sent it, percent signs and all, if known."""
        raw: bytes | None = self.scope.get("raw_path")
        return raw

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``."""
        version: str = self.scope.get("http_version", "1.1")
        return version

    # The body.

    @property
    def body(self) -> bytes:
        """The whole body; see ``HttpRequest.body``.

        Raises:
            RequestDataTooBig: it is over ``DATA_UPLOAD_MAX_MEMORY_SIZE``; no more
                than that was received.
            SynchronousBodyRead: an async view marked ``@streams_body`` did not
                await the body first.
        """
        is_unread = not hasattr(self, "_body") and not self._read_started
        if is_unread and isinstance(self._stream, http.body.IncomingBody):
            self._stream.fill(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        body: bytes = super().body
        return body

    def parse_file_upload(self, META: Mapping[str, Any], post_data: Any) -> Any:  # noqa: N803 - Django's name
        """Parse a multipart body, also one whose length was not announced."""
        if not META.get("CONTENT_LENGTH"):
            size = self._known_size()
            META = {**META, "CONTENT_LENGTH": str(size)}  # noqa: N806
        try:
            return super().parse_file_upload(META, _Watched(post_data, self))
        except BaseException:
            # Django's parser leaves the file that was being written open.
            for handler in self.upload_handlers:
                handler.upload_interrupted()
            raise

    def _known_size(self) -> int:
        stream: Any = self._stream
        if hasattr(self, "_body"):
            return len(self._body)
        if stream is None or not stream.seekable():
            # Unknown: large enough that files are not kept in memory.
            return sys.maxsize
        place = stream.tell()
        size: int = stream.seek(0, os.SEEK_END)
        stream.seek(place)
        return size

    def close(self) -> None:
        """Close the uploaded files and the body."""
        stream: Any = self._stream
        if hasattr(self, "_files"):
            super().close()
        elif stream is not None:
            stream.close()

    # Extensions; each is also a function of django_asgi_bridge.http.

    async def abody(self) -> bytes:
        """Wait for the whole body and return it; see ``http.abody``."""
        return await http.abody(self)

    async def aform(self) -> QueryDict:
        """Parse the form off the event loop; see ``http.aform``."""
        return await http.aform(self)

    def stream(self) -> BodyStream:
        """Iterate over the body as it arrives; see ``http.stream``."""
        return http.stream(self)

    def is_disconnected(self) -> bool:
        """Tell whether the client has left; see ``http.is_disconnected``."""
        return http.is_disconnected(self)

    def after(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call ``function`` after the last byte is sent; see ``http.after``."""
        http.after(self, function, *args, **kwargs)

    async def early_hints(self, links: Iterable[str]) -> None:
        """Send a 103 response with ``Link`` headers; see ``http.early_hints``."""
        await http.early_hints(self, links)

    async def push(self, path: str) -> None:
        """Push a resource over HTTP/2; see ``http.push``."""
        await http.push(self, path)

    @property
    def state(self) -> Any:
        """What the lifespan hooks left for requests; see ``http.state``."""
        return http.state(self)

    @property
    def tls(self) -> http.TLS | None:
        """The connection's TLS information, if the server tells; see ``http.tls``."""
        return http.tls(self)


# A tool may have put something of its own in the place of a check.
_DJANGOS = "django.http.request"
_GET_HOST = unless_patched(DjangoASGIRequest.get_host, _DJANGOS)
_VALIDATE_HOST = unless_patched(django_request.validate_host, _DJANGOS)


class _KnownHosts:
    """The hosts that passed Django's check by the last value of ``ALLOWED_HOSTS``.

    Nothing else decides on them. Django's check takes a regular expression and some
    calls for each pattern, and its CommonMiddleware asks at each request. Hosts that
    did not pass are Django's to judge, each time.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # In one piece: threads that look at it see what belongs together.
        self._known: tuple[Sequence[str], set[str]] = ((), set())

    def has(self, host: str, allowed: Sequence[str]) -> bool:
        """Tell whether ``host`` passed before, when ``allowed`` was the same."""
        patterns, hosts = self._known
        return host in hosts and patterns == allowed

    def add(self, host: str, allowed: Sequence[str]) -> None:
        """Remember a host that passed.

        Args:
            allowed: what the check was made by, and what is not changed any more.
        """
        if len(host) > _MAX_HOST or any(type(each) is not str for each in allowed):
            # Objects in the place of patterns may change their mind.
            return
        patterns, hosts = self._known
        if patterns != allowed or len(hosts) >= _MAX_HOSTS:
            self._known = (allowed, {host})
        else:
            hosts.add(host)


_known_hosts = _KnownHosts()


class _Watched:
    """The file that a multipart parser reads, with bounds for its edges.

    Raises:
        MultiPartParserError: there is more before the first part, or after the
            last one, than anybody sends; Django answers 400.
    """

    def __init__(self, file: Any, request: ASGIRequest) -> None:
        self._file = file
        # One that is missing, or no ASCII, is the parser's to refuse.
        boundary = (request.content_params or {}).get("boundary", "")
        delimiter = boundary.encode("ascii", "replace")
        # Sites without such forms do not pay for it.
        from django_asgi_bridge.protocol.multipart import FormEdges  # noqa: PLC0415

        self._edges = FormEdges(delimiter, limit=_MAX_FORM_EDGE)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read the file and look at what was read."""
        chunk: bytes = self._file.read(size)
        excess = self._edges.excess(chunk)
        if excess is not None:
            raise MultiPartParserError(excess)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
