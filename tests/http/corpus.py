"""The corpus of requests that must be answered as by Django's WSGI handler.

It is generated from a fixed seed: the same cases on each machine, with ids that
say what they are made of. ``DIFFERENCES`` names what is meant to differ.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from urllib.parse import urlencode

import django

from tests.http import views
from tests.http.support import Request

__all__ = ("CASES", "DIFFERENCES", "Case", "Difference", "Observed", "expected_of")

SEED = 20_260_301
RANDOM_CASES = 220

OURS = "tests.http.middlewares"
DJANGO: dict[str, str] = {
    "security": "django.middleware.security.SecurityMiddleware",
    "update-cache": "django.middleware.cache.UpdateCacheMiddleware",
    "gzip": "django.middleware.gzip.GZipMiddleware",
    "conditional": "django.middleware.http.ConditionalGetMiddleware",
    "session": "django.contrib.sessions.middleware.SessionMiddleware",
    "locale": "django.middleware.locale.LocaleMiddleware",
    "common": "django.middleware.common.CommonMiddleware",
    "broken-links": "django.middleware.common.BrokenLinkEmailsMiddleware",
    "csrf": "django.middleware.csrf.CsrfViewMiddleware",
    "auth": "django.contrib.auth.middleware.AuthenticationMiddleware",
    "login": "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "message": "django.contrib.messages.middleware.MessageMiddleware",
    "xframe": "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp": "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "xview": "django.contrib.admindocs.middleware.XViewMiddleware",
    "site": "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "flatpage": "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "redirects": "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "fetch-cache": "django.middleware.cache.FetchFromCacheMiddleware",
}
"""Django's own middleware, in an order in which they work together."""

NEW = frozenset({"csp"} if django.VERSION < (6, 0) else ())
"""What this Django does not have; the corpus is the same without it."""

DEFAULT = ("security", "session", "common", "csrf", "auth", "message", "xframe")
"""What ``startproject`` writes."""

FOREIGN = (
    "Blocking",
    "RequestOnly",
    "ResponseOnly",
    "EveryHook",
    "EveryHookInside",
    "AsyncViewHook",
    "OverridesHook",
    "OverridesHelper",
    "OverridesNothing",
    "AddsAttribute",
    "sync_only",
    "async_only",
    "both",
    "Both",
    "OwnCall",
    "OldStyle",
    "Wrapped",
    "WrappedBlocking",
    "not_used",
)
"""Middleware in the manner of third parties that lets everything pass."""

MEDDLING = (
    "AnswersRequest",
    "AnswersView",
    "AnswersViewByTemplate",
    "AnswersException",
    "AnswersTemplate",
    "ReplacesResponse",
    "LosesResponse",
    "LosesTemplate",
    "ChangesUrlconf",
    "ResetsUrlconf",
    "ChangesPath",
    "ChangesLanguage",
    "ChangesMethod",
)
"""Middleware that answers itself or changes where a request goes."""

HARMLESS = tuple(name for name in MEDDLING if name != "LosesResponse")
"""Those that may stand outermost, where nobody is left to answer for them."""

FAULTY = (
    *(
        f"{hook}{error}"
        for hook in ("Request", "View", "Exception", "Template", "Response")
        for error in ("Bug", "Missing", "Denied")
    ),
    "CallBug",
    "sync_only_late_bug",
    "async_only_late_bug",
)
"""Middleware that breaks."""

VIEWS = tuple(name for name in views.VIEWS if not name.endswith("thread"))

FORM = "application/x-www-form-urlencoded"
MULTIPART = (
    b"--edge\r\n"
    b'Content-Disposition: form-data; name="word"\r\n\r\n'
    b"caf\xc3\xa9\r\n"
    b"--edge\r\n"
    b'Content-Disposition: form-data; name="upload"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n"
    b"twelve bytes\r\n"
    b"--edge--\r\n"
)
TOKEN = "t" * 32

METHODS: dict[str, Request] = {
    "get": Request(query="a=1&a=2&b=%C3%A9"),
    "get-agent": Request(
        headers=(
            ("Accept-Encoding", "gzip"),
            ("Accept-Language", "de, fr;q=0.5"),
            ("Referer", "http://elsewhere.example/"),
            ("User-Agent", "corpus"),
        )
    ),
    "get-cookies": Request(
        headers=(("Cookie", f"a=1; b=2; sessionid={'s' * 32}; django_language=fr"),)
    ),
    "get-etag": Request(headers=(("If-None-Match", '"v1", "v2"'),)),
    "get-range": Request(headers=(("Range", "bytes=10-19"),)),
    "get-bad-host": Request(headers=(("X-Forwarded-Host", "bad host"),)),
    "head": Request(method="HEAD"),
    "head-cookies": Request(
        method="HEAD", headers=(("Cookie", f"sessionid={'s' * 32}"),)
    ),
    "options": Request(method="OPTIONS"),
    "form": Request(
        method="POST",
        headers=(("Content-Type", FORM),),
        body=urlencode({"word": "café", "number": "1"}).encode(),
    ),
    "form-token": Request(
        method="POST",
        headers=(("Content-Type", FORM), ("Cookie", f"csrftoken={TOKEN}")),
        body=urlencode({"csrfmiddlewaretoken": TOKEN, "word": "x"}).encode(),
    ),
    "form-origin": Request(
        method="POST",
        headers=(
            ("Content-Type", FORM),
            ("Cookie", f"csrftoken={TOKEN}"),
            ("Origin", "http://evil.example"),
        ),
        body=urlencode({"csrfmiddlewaretoken": TOKEN}).encode(),
    ),
    "json": Request(
        method="POST",
        headers=(
            ("Content-Type", "application/json"),
            ("Cookie", f"csrftoken={TOKEN}"),
            ("X-CSRFToken", TOKEN),
        ),
        body=b"[1, 2, 3]",
    ),
    "multipart": Request(
        method="POST",
        headers=(
            ("Content-Type", "multipart/form-data; boundary=edge"),
            ("Cookie", f"csrftoken={TOKEN}"),
            ("X-CSRFToken", TOKEN),
        ),
        body=MULTIPART,
    ),
    "multipart-broken": Request(
        method="POST",
        headers=(("Content-Type", "multipart/form-data"),),
        body=MULTIPART,
    ),
    "form-large": Request(
        method="POST",
        headers=(("Content-Type", FORM),),
        body=b"word=" + b"x" * 5000,
    ),
    "put": Request(
        method="PUT", headers=(("Content-Type", "text/plain"),), body=b"put this"
    ),
    "delete": Request(method="DELETE"),
}
"""Requests but for their paths."""


@dataclass(frozen=True)
class Case:
    """One exchange.

    Attributes:
        id: what it is made of.
        middleware: dotted paths.
        urlconf: the root URLconf.
        request: what is sent.
        settings: that differ from the suite's.
        repeats: how often it is sent, each answer counts.
    """

    id: str
    middleware: tuple[str, ...]
    request: Request
    urlconf: str = "tests.http.urls"
    settings: tuple[tuple[str, Any], ...] = ()
    repeats: int = 1


@dataclass(frozen=True)
class Observed:
    """What an exchange showed.

    Attributes:
        logs: logger, level, message and ``status_code`` of each record.
        trace: what the middleware and the view noted.
        mails: subjects of what was mailed.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    logs: tuple[tuple[Any, ...], ...] = ()
    trace: tuple[str, ...] = ()
    mails: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Difference:
    """Something that is meant to differ from Django's WSGI handler.

    Attributes:
        applies: to this case and what WSGI shows?
        adapt: make what is expected of it.
    """

    name: str
    reason: str
    applies: Callable[[Case, Observed], bool]
    adapt: Callable[[Case, Observed], Observed]


def _without_body(case: Case, seen: Observed) -> bool:
    return case.request.method == "HEAD" or seen.status in {204, 304}


def _cut_body(case: Case, seen: Observed) -> Observed:
    # Nobody asks the iterator for what will not be sent.
    trace = (each for each in seen.trace if not each.startswith(("part", "stream")))
    headers = seen.headers
    if seen.status in {204, 304}:
        headers = tuple(each for each in headers if each[0] != "Content-Length")
    return replace(seen, body=b"", headers=headers, trace=tuple(trace))


def _asks_for_range(case: Case, seen: Observed) -> bool:
    is_file = ("Content-Length", "240000") in seen.headers and seen.status == 200
    return is_file and any(name == "Range" for name, _ in case.request.headers)


def _range(case: Case, seen: Observed) -> Observed:
    headers = tuple(
        (name, "10" if name == "Content-Length" else value)
        for name, value in seen.headers
    )
    added = (("Accept-Ranges", "bytes"), ("Content-Range", "bytes 10-19/240000"))
    return replace(seen, status=206, headers=(*headers, *added), body=seen.body[10:20])


def _is_too_big(case: Case, seen: Observed) -> bool:
    return any(log[0] == "django.security.RequestDataTooBig" for log in seen.logs)


def _is_refused_early(case: Case, seen: Observed) -> bool:
    return case.id.startswith("too-big-async")


def _refused(case: Case, seen: Observed) -> Observed:
    body = b"413 Content Too Large\n"
    message = (
        f"Content Too Large: {case.request.path!r}: a body of 5005 bytes is over the "
        "limit of 1000"
    )
    return Observed(
        413,
        (
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ),
        body,
        (("django.request", "WARNING", message, 413, None),),
    )


def _content_too_large(case: Case, seen: Observed) -> Observed:
    body = seen.body.replace(b"Bad Request (400)", b"Content Too Large (413)")
    lengths = {"Content-Length": str(len(body))}
    headers = [(name, lengths.get(name, value)) for name, value in seen.headers]
    # What was not read of it is not waited for.
    headers.insert(1, ("Connection", "close"))
    return replace(seen, status=413, headers=tuple(headers), body=body)


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "no body where none may be, and no length of it with 204 and 304",
        "RFC 9110: HEAD, 204 and 304 have no content; WSGI servers cut it off, ASGI "
        "servers do not all, and some wait for the length that was announced",
        _without_body,
        _cut_body,
    ),
    Difference(
        "too large a body for an async view is refused before middleware runs",
        "request.body is there for async views without waiting, so the body comes "
        "first, and DATA_UPLOAD_MAX_MEMORY_SIZE holds while it comes",
        _is_refused_early,
        _refused,
    ),
    Difference(
        "413 instead of 400",
        "RFC 9110 section 15.5.14: content that is too large has a status of its own",
        _is_too_big,
        _content_too_large,
    ),
    Difference(
        "ranges of files are served",
        "RFC 9110 section 14: Django sends the whole file whatever is asked for",
        _asks_for_range,
        _range,
    ),
)


def expected_of(case: Case, seen: Observed) -> Observed:
    """Turn what WSGI shows into what is expected here."""
    for difference in DIFFERENCES:
        if difference.applies(case, seen):
            seen = difference.adapt(case, seen)
    return seen


def _paths(*names: str) -> tuple[str, ...]:
    return tuple(DJANGO.get(name, f"{OURS}.{name}") for name in names)


def _request(method: str, path: str) -> Request:
    return replace(METHODS[method], path=path)


def _systematic() -> Iterator[Case]:
    default = _paths(*DEFAULT)
    for view in VIEWS:
        yield Case(f"default-{view}-get", default, _request("get", f"/{view}/"))
    for view in ("echo", "async-echo", "body", "async-body", "read", "async-read"):
        for method in METHODS:
            yield Case(
                f"default-{view}-{method}", default, _request(method, f"/{view}/")
            )
    for method in METHODS:
        for view in ("hello", "async-hello", "protected", "async-class", "large"):
            yield Case(
                f"default-{view}-{method}", default, _request(method, f"/{view}/")
            )
    for one in (*FOREIGN, *MEDDLING, *FAULTY):
        for view in ("hello", "async-template", "async-value-error"):
            stack = _paths("EveryHook", *DEFAULT[:3], one, *DEFAULT[3:], "ResponseOnly")
            yield Case(f"{one}-{view}", stack, _request("get", f"/{view}/"))
    for one in ("ChangesUrlconf", "ChangesPath", "locale"):
        for path in (
            "/hello/",
            "/async-hello/",
            "/only-here/",
            "/async-only-here",
            "/where",
            "/async-where/",
            "/elsewhere/7/",
            "/value-error/",
            "/nowhere/",
        ):
            stack = _paths("security", one, "common", "EveryHook")
            yield Case(f"{one}-{path.strip('/')}", stack, _request("get-agent", path))
    yield from _bodies()
    yield from _languages()
    yield from _blocking()
    yield from _special()


def _bodies() -> Iterator[Case]:
    for path, method in product(
        ("/hello/", "/async-body/", "/echo/", "/nowhere/"),
        ("form", "json", "multipart", "put"),
    ):
        for one in ("ChangesUrlconf", "ChangesPath", "ChangesMethod", "sync_only"):
            stack = _paths(one, "common", "csrf")
            yield Case(
                f"{one}-{path.strip('/')}-{method}", stack, _request(method, path)
            )
    for outer, inner in product(
        ("Blocking", "EveryHook", "both", "async_only", "AsyncViewHook"),
        ("LosesResponse", "ResponseBug", "RequestMissing", "AnswersRequest"),
    ):
        for view in ("hello", "async-hello"):
            stack = _paths(outer, inner, "RequestOnly", "EveryHookInside")
            yield Case(f"{outer}+{inner}-{view}", stack, _request("get", f"/{view}/"))


def _languages() -> Iterator[Case]:
    for first in (("locale",), (), ("ChangesLanguage",), ("locale", "ChangesLanguage")):
        stack = _paths(*first, "common", "EveryHook")
        for path, method in product(
            ("/en/echo/", "/de/async-echo/", "/fr/async-body/", "/async-read/"),
            ("form", "json", "multipart"),
        ):
            yield Case(
                f"i18n-{'+'.join(first) or 'none'}-{path.strip('/')}-{method}",
                stack,
                _request(method, path),
                urlconf="tests.http.urls_i18n",
            )
        for path in (
            "/en/where/",
            "/en-us/where/",
            "/en-us/async-where/",
            "/day/Monday/",
            "/day/Montag/",
            "/day/lundi/",
            "/async-day/Monday/",
            "/async-day/Montag/",
            "/de/async-where/",
            "/de/where/",
            "/fr/where/",
            "/fr/async-where/",
            "/async-where/",
            "/where",
            "/plain/",
            "/async-plain/",
            "/de/nowhere/",
            "/de/async-value-error/",
        ):
            name = (
                f"i18n-{'+'.join(first) or 'none'}-{path.strip('/').replace('/', '.')}"
            )
            for language in ("en-us", "en"):
                yield Case(
                    f"{name}-{language}",
                    stack,
                    _request("get-agent", path),
                    urlconf="tests.http.urls_i18n",
                    settings=(("LANGUAGE_CODE", language),),
                )


def _blocking() -> Iterator[Case]:
    """Let Django's own hooks block: in the database, the cache, the upload."""
    for last in (("login",), ("xview",), ("flatpage", "redirects")):
        stack = _paths(*DEFAULT[:5], *last)
        for view in ("hello", "async-hello", "async-not-found", "async-session"):
            for method in ("get", "get-cookies", "head-cookies"):
                name = f"blocking-{last[0]}-{view}-{method}"
                yield Case(name, stack, _request(method, f"/{view}/"))
    for one in ("OverridesHook", "OverridesHelper"):
        for view in ("async-hello", "async-not-found"):
            yield Case(f"{one}-{view}-get", _paths(one), _request("get", f"/{view}/"))
    for one in ("EveryHook", "AnswersException"):
        for view in ("template-broken", "async-template-broken"):
            yield Case(f"{one}-{view}-get", _paths(one), _request("get", f"/{view}/"))
    for view in ("hello", "async-hello", "async-echo", "protected", "async-class"):
        for method in ("form-token", "multipart"):
            yield Case(
                f"blocking-upload-{view}-{method}",
                _paths("common", "csrf"),
                _request(method, f"/{view}/"),
                settings=(("FILE_UPLOAD_HANDLERS", [f"{OURS}.BlockingUpload"]),),
            )
    for view in ("hello", "async-hello", "async-not-found", "async-session"):
        yield Case(
            f"blocking-cache-{view}",
            _paths("update-cache", "session", "fetch-cache"),
            _request("get", f"/{view}/"),
            settings=(("CACHES", {"default": {"BACKEND": f"{OURS}.BlockingCache"}}),),
            repeats=2,
        )


def _special() -> Iterator[Case]:
    default = _paths(*DEFAULT)
    for view in ("hello", "async-hello", "session", "async-cookies", "large", "file"):
        cached = _paths("update-cache", *DEFAULT, "fetch-cache")
        yield Case(f"cached-{view}", cached, _request("get", f"/{view}/"), repeats=2)
        for method in ("get-agent", "get-etag", "get-range", "head"):
            stack = _paths("gzip", "conditional", *DEFAULT)
            yield Case(f"gzip-{view}-{method}", stack, _request(method, f"/{view}/"))
    for path in ("/hello", "/async-hello", "/hello//", "//hello/", "/nowhere", "/é/"):
        for method in ("get", "form"):
            for append in (True, False):
                yield Case(
                    f"slash-{path.strip('/') or 'root'}-{method}-{append}",
                    default,
                    _request(method, path),
                    settings=(("APPEND_SLASH", append),),
                )
    for view in ("csrf-token", "async-csrf-token", "protected", "session"):
        for method in ("get", "get-cookies", "form-token", "json"):
            yield Case(
                f"csrf-session-{view}-{method}",
                default,
                _request(method, f"/{view}/"),
                settings=(("CSRF_USE_SESSIONS", True),),
            )
    for view in ("hello", "async-hello", "session-read", "messages", "async-messages"):
        yield Case(
            f"every-session-saved-{view}",
            default,
            _request("get-cookies", f"/{view}/"),
            settings=(("SESSION_SAVE_EVERY_REQUEST", True),),
        )
        yield Case(
            f"messages-in-session-{view}",
            default,
            _request("get-cookies", f"/{view}/"),
            settings=(
                (
                    "MESSAGE_STORAGE",
                    "django.contrib.messages.storage.session.SessionStorage",
                ),
            ),
        )
    for view in ("echo", "async-echo", "body", "async-body", "hello", "async-hello"):
        yield Case(
            f"too-big-{view}",
            default,
            _request("form-large", f"/{view}/"),
            settings=(("DATA_UPLOAD_MAX_MEMORY_SIZE", 1000),),
        )
    for path in (
        "/flat/",
        "/flat",
        "/old/",
        "/gone/",
        "/nowhere/",
        "/async-not-found/",
    ):
        stack = _paths(*DEFAULT, "site", "flatpage", "redirects", "broken-links")
        yield Case(f"fallback-{path.strip('/')}", stack, _request("get-agent", path))
    for view in ("user", "async-user", "hello", "async-hello", "async-login-required"):
        stack = _paths(*DEFAULT[:5], "login", *DEFAULT[5:])
        yield Case(f"login-{view}", stack, _request("get", f"/{view}/"))
    yield from (
        Case(
            f"bad-host-{view}",
            default,
            _request("get-bad-host", f"/{view}/"),
            settings=(("USE_X_FORWARDED_HOST", True),),
        )
        for view in ("hello", "async-hello")
    )


def _random() -> Iterator[Case]:
    """Mix everything; a third of the cases has something that breaks or meddles."""
    choice = random.Random(SEED)
    for number in range(RANDOM_CASES):
        own = [name for name in DJANGO if choice.random() < 0.4]
        for name in choice.sample(FOREIGN, choice.choice((0, 1, 1, 2, 3))):
            own.insert(choice.randrange(len(own) + 1), name)
        if choice.random() < 0.25:
            own.insert(choice.randrange(len(own) + 1), choice.choice(HARMLESS))
        if choice.random() < 0.25:
            own.insert(choice.randrange(len(own) + 1), choice.choice(FAULTY))
        view = choice.choice(VIEWS)
        method = choice.choice(tuple(METHODS))
        urlconf, path = choice.choice(
            (
                ("tests.http.urls", f"/{view}/"),
                ("tests.http.urls", f"/{view}/"),
                ("tests.http.urls", f"/{view}/"),
                ("tests.http.urls", f"/{view}"),
                ("tests.http.urls", "/nowhere/"),
                ("tests.http.urls_i18n", f"/en/{view}/"),
                ("tests.http.urls_i18n", f"/de/{view}/"),
                ("tests.http.urls_i18n", f"/{view}/"),
            )
        )
        own = [name for name in own if name not in NEW]
        names = "+".join(own) or "bare"
        yield Case(
            f"{number:03}-{names}-{path.strip('/').replace('/', '.')}-{method}",
            _paths(*own),
            _request(method, path),
            urlconf=urlconf,
            settings=(("APPEND_SLASH", choice.random() < 0.8),),
            repeats=2 if "fetch-cache" in own else 1,
        )


def _unique(cases: Iterator[Case]) -> tuple[Case, ...]:
    """Drop what the systematic part names twice."""
    return tuple({case.id: case for case in cases}.values())


CASES: tuple[Case, ...] = (*_unique(_systematic()), *_random())
