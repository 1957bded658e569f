"""What an ASGI server says of a request, checked and translated for Django.

These are rules alone: nothing here reads a body, a setting or a socket.
Specification: ASGI HTTP message format 2.5, "HTTP connection scope"; RFC 9110
(HTTP semantics); RFC 9112 (HTTP/1.1 framing).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django_asgi_bridge.protocol.response import CONTROLS, MAX_LENGTH_DIGITS, TOKEN, cut

__all__ = (
    "HAS_LENGTH",
    "Refusal",
    "check_request",
    "meta_from_headers",
    "put_headers",
    "query_of",
    "read_head",
    "server_name_port",
    "server_protocol",
    "split_path",
)

HAS_LENGTH: Final = 1
"""Bit of ``read_head``: the request announced the length of its body."""

_COMMON_NAMES: Final = (
    "accept accept-charset accept-encoding accept-language"
    " access-control-request-headers access-control-request-method age"
    " authorization cache-control cdn-loop connection content-disposition"
    " content-encoding content-language content-length content-range content-type"
    " cookie date dnt etag expect forwarded from host if-match if-modified-since"
    " if-none-match if-range if-unmodified-since keep-alive last-event-id"
    " max-forwards origin pragma priority proxy-authorization range referer"
    " sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode"
    " sec-fetch-site sec-fetch-user sec-gpc sec-websocket-key te traceparent"
    " tracestate trailer transfer-encoding upgrade upgrade-insecure-requests"
    " user-agent via x-api-key x-correlation-id x-csrftoken x-forwarded-for"
    " x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id"
    " x-requested-with"
)

_META_KEYS: Final = {
    **dict(
        zip(
            _COMMON_NAMES.encode().split(),
            f"HTTP_{_COMMON_NAMES.upper()}".replace("-", "_")
            .replace(" ", " HTTP_")
            .split(),
            strict=True,
        )
    ),
    b"content-length": "CONTENT_LENGTH",
    b"content-type": "CONTENT_TYPE",
}

# RFC 9110 5.6.2, without the underscore: `x_a` and `x-a` would share a META key.
_NAME: Final = TOKEN.replace(b"_", b"")
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_SCHEMES: Final = frozenset({"http", "https"})
# Made once: `bytes | str` makes a new object each time.
_TEXTS: Final = (bytes, str)

# For bytes.translate(), which changes text with such a byte and no other. It takes
# half as long as the search for a regular expression. Bytes from 0x80 are `obs-text`:
# a header in UTF-8 is made of them, so 0x85 (NEL) stays allowed here.
_WITHOUT_CONTROLS: Final = bytes.maketrans(CONTROLS, b"?" * len(CONTROLS))
# RFC 9112 section 3.2: a request target has neither white space nor controls.
_WITHOUT_SPACE: Final = bytes.maketrans(
    CONTROLS + b"\t ", b"?" * len(CONTROLS + b"\t ")
)

# Headers that must come once; each has a bit, every other common name has 0.
_ENCODING: Final = 2
_BITS: Final = {
    **dict.fromkeys(_META_KEYS, 0),
    b"content-length": HAS_LENGTH,
    b"transfer-encoding": _ENCODING,
    b"content-type": 4,
    b"host": 8,
    b"origin": 16,
    b"sec-websocket-key": 32,
}

# Escapes that a proxy and Django may read differently: / \ NUL and dot segments.
_AMBIGUOUS_PATH: Final = rb"%2f|%5c|%00|\\|/(?:\.|%2e){1,2}(?![^/?])"


class Refusal:
    """Why a request gets no view.

    Attributes:
        status: The HTTP status of the answer: 400, 408, 413, 431, 503 or 507.
        reason: One sentence for the log; no values of secret headers.
    """

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason


def meta_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Translate a scope's headers to the entries of Django's ``request.META``.

    Repeated headers are joined with ``,``, cookies with ``; ``. Dropped without
    a word are names with ``_`` (they would pass for names with ``-``) and names
    that are no RFC 9110 tokens. So two names share a key only when they differ
    in case alone.

    Args:
        headers: Pairs of name and value, as the server made them.

    Returns:
        ``CONTENT_LENGTH``, ``CONTENT_TYPE`` and ``HTTP_*``, in order of arrival.
    """
    meta: dict[str, str] = {}
    put_headers(meta, headers)
    return meta


def put_headers(meta: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Add to ``meta`` what ``meta_from_headers`` returns; no other key is touched."""
    repeated: dict[str, list[str]] | None = None
    for name, value in headers:
        key = _META_KEYS.get(name) or _meta_key(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key not in meta:
            meta[key] = text
        else:
            # Few requests have one: no dictionary is made for the others.
            repeated = {} if repeated is None else repeated
            repeated.setdefault(key, [meta[key]]).append(text)
    if "HTTP_COOKIE" in meta:
        meta["HTTP_COOKIE"] = meta["HTTP_COOKIE"].rstrip("; ")
    for key, texts in repeated.items() if repeated else ():
        if key == "HTTP_COOKIE":
            # HTTP/2 clients may split the cookie header (RFC 9113 8.2.3).
            meta[key] = "; ".join([cookie.rstrip("; ") for cookie in texts])
        else:
            meta[key] = ",".join(texts)


def _meta_key(name: bytes) -> str:
    """Return the META key of a name that is not a common lower-case one, or ``""``."""
    if not name or name.translate(None, _NAME):
        return ""
    key = _META_KEYS.get(name.lower())
    return key or "HTTP_" + name.decode("ascii").upper().replace("-", "_")


def check_request(
    scope: Mapping[str, Any],
    *,
    max_headers: int,
    max_header_bytes: int,
    strict_paths: bool,
) -> Refusal | None:
    """Say why a request must not reach a view, or None when it may.

    For the arguments see ``read_head``.
    """
    found = read_head(
        scope,
        max_headers=max_headers,
        max_header_bytes=max_header_bytes,
        strict_paths=strict_paths,
    )
    return found if isinstance(found, Refusal) else None


def read_head(
    scope: Mapping[str, Any],
    *,
    max_headers: int,
    max_header_bytes: int,
    strict_paths: bool,
) -> Refusal | int:
    """Say why a request must not reach a view, or what its headers told.

    The grammar of Host is left to ``request.get_host()``, invalid UTF-8 in the
    query string to the construction of the request.

    Args:
        scope: An ``http`` scope; its headers are a list, so they can be read again.
        max_headers: Header lines allowed; more are answered with 431.
        max_header_bytes: Bytes of all names and values together; more give 431.
        strict_paths: Whether ``%2F``, ``%5C``, ``%00``, backslashes and dot
            segments in the path as sent are refused with 400.

    Returns:
        The refusal, or a sum of bits, of which ``HAS_LENGTH`` has a name.

    Raises:
        ValueError: The scope breaks the ASGI specification: the server's fault.
    """
    refusal = _check_target(scope)
    if refusal is None and strict_paths:
        refusal = _check_raw_path(scope)
    if refusal is not None:
        return refusal
    headers = scope.get("headers") or ()
    try:
        return _check_headers(headers, max_headers, max_header_bytes)
    except (AttributeError, TypeError, ValueError) as exc:
        raise ValueError(
            f"scope['headers'] is not valid ({exc}): expected a list of pairs of bytes"
        ) from exc


def _check_target(scope: Mapping[str, Any]) -> Refusal | None:
    """Check method, path, scheme and the type of the query string."""
    method = scope.get("method")
    path = scope.get("path")
    if not isinstance(method, str) or not isinstance(path, str):
        raise _malformed("path" if isinstance(method, str) else "method", "str", scope)
    if method not in _METHODS and not _is_token(method):
        return Refusal(400, f"method {cut(method)} is not a token (RFC 9110 9.1)")
    if not path.startswith("/") and not (path == "*" and method.upper() == "OPTIONS"):
        return Refusal(400, f"path {cut(path)} does not start with '/'")
    if "\x00" in path:
        return Refusal(400, f"path {cut(path)} contains a NUL character")
    if not path.isascii() and not _is_encodable(path):
        return Refusal(400, f"path {cut(path)} contains a lone surrogate")
    raw_path = scope.get("raw_path")
    if raw_path and raw_path.translate(_WITHOUT_SPACE) != raw_path:
        return Refusal(400, f"target {cut(raw_path)} has a raw control character")
    scheme = scope.get("scheme") or "http"
    if scheme not in _SCHEMES and str(scheme).lower() not in _SCHEMES:
        return Refusal(400, f"scheme {cut(str(scheme))} is not 'http' or 'https'")
    if not isinstance(scope.get("query_string") or b"", _TEXTS):
        raise _malformed("query_string", "bytes or str", scope)
    return None


def _malformed(key: str, expected: str, scope: Mapping[str, Any]) -> ValueError:
    """Return the error for a scope that breaks the ASGI specification."""
    found = type(scope[key]).__name__ if key in scope else "nothing"
    return ValueError(f"scope[{key!r}] is not valid: expected {expected}, got {found}")


def _is_encodable(text: str) -> bool:
    """Tell whether text can be percent-encoded again, as redirects need it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_token(method: str) -> bool:
    is_ascii = bool(method) and method.isascii()
    return is_ascii and not method.encode().translate(None, TOKEN)


def _check_raw_path(scope: Mapping[str, Any]) -> Refusal | None:
    """Check the path as sent; a server that keeps none leaves the decoded one."""
    raw_path = scope.get("raw_path") or scope["path"].encode()
    # Compiled by the first request, of sites that ask for it.
    found = re.search(_AMBIGUOUS_PATH, raw_path, re.IGNORECASE)
    if found is None:
        return None
    return Refusal(
        400, f"raw path {cut(raw_path)} contains {cut(found[0])} (STRICT_PATHS)"
    )


def _check_headers(
    headers: Sequence[tuple[bytes, bytes]], max_headers: int, max_header_bytes: int
) -> Refusal | int:
    """Check number, size, framing, repetition and bytes of the headers.

    Returns the bits of those that came and must come once.
    """
    if len(headers) > max_headers:
        return Refusal(
            431, f"{len(headers)} headers, more than the {max_headers} allowed"
        )
    size = seen = 0
    for name, value in headers:
        size += len(name) + len(value)
        bit = _BITS.get(name)
        if bit is None:
            bit = _BITS.get(bytes.lower(name), 0)
        if not bit:
            continue
        if seen & bit:
            return Refusal(400, f"header {cut(name)} came twice, expected once")
        seen |= bit
        # bytes.isdigit() knows ASCII digits only and is false for b"".
        if bit == HAS_LENGTH and not (
            value.isdigit() and len(value) <= MAX_LENGTH_DIGITS
        ):
            return Refusal(
                400, f"Content-Length {cut(value)} is not 1 to 18 decimal digits"
            )
    if size > max_header_bytes:
        return Refusal(
            431, f"{size} bytes of headers, more than the {max_header_bytes} allowed"
        )
    # RFC 9112 6.3 lets a server answer for Transfer-Encoding alone, but calls the
    # pair a sign of request smuggling: what came before us may have read the other.
    if seen & HAS_LENGTH and seen & _ENCODING:
        return Refusal(400, "Content-Length and Transfer-Encoding came together")
    values = b"".join([value for _, value in headers])
    if values.translate(_WITHOUT_CONTROLS) != values:
        return _control_refusal(headers)
    return seen


def _control_refusal(headers: Iterable[tuple[bytes, bytes]]) -> Refusal:
    """Name the header with a control byte, not its value: it may be a secret."""
    for name, value in headers:
        for position, byte in enumerate(value):
            if byte in CONTROLS:
                where = f"0x{byte:02x} at position {position}"
                return Refusal(400, f"value of header {cut(name)} has byte {where}")
    raise ValueError("no header value contains a control byte")


def split_path(path: str, root_path: str) -> tuple[str, str]:
    """Split a path into Django's ``SCRIPT_NAME`` and ``PATH_INFO``.

    The root is taken off only where it ends a segment: root ``/a`` is no prefix
    of ``/abc``. The root itself, without a slash, is the path ``/``, as in WSGI.

    Args:
        path: The whole decoded path, root included.
        root_path: Where the application is mounted, ``""`` for nowhere.

    Returns:
        The root as it was given and the rest; the whole path when the root is
        no prefix of it.
    """
    if not root_path:
        return "", path
    prefix = root_path.rstrip("/")
    if path == prefix:
        return root_path, "/"
    if path.startswith(prefix + "/"):
        return root_path, path[len(prefix) :]
    return root_path, path


def query_of(scope: Mapping[str, Any]) -> str:
    """Return Django's ``QUERY_STRING``; servers give bytes, test clients may not.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    query: str | bytes = scope.get("query_string") or ""
    return query.decode() if isinstance(query, bytes) else query


def server_name_port(
    server: Sequence[Any] | None, scheme: str = "http"
) -> tuple[str, str]:
    """Return Django's ``SERVER_NAME`` and ``SERVER_PORT``.

    A Unix socket has no port. Something stands before it that has the scheme's
    usual one, and ``get_port()`` must not add another to cookie domains.

    Args:
        server: ``[host, port]``, ``[socket path, None]`` or None.
        scheme: The scope's scheme, for the port of a Unix socket.
    """
    if not server:
        return "unknown", "0"
    name, port = server
    if port is None:
        return str(name), "443" if scheme.lower() == "https" else "80"
    return str(name), str(port)


def server_protocol(http_version: str) -> str:
    """Return Django's ``SERVER_PROTOCOL``: ``1.1`` is ``HTTP/1.1``, ``2`` ``HTTP/2``."""
    return "HTTP/" + (http_version or "1.1")
