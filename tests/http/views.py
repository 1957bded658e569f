"""Views of every kind, each as a sync and as an async one.

``VIEWS`` has them by name; the URLconfs give each a path of its name.
"""

import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    HttpResponseNotModified,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils import timezone, translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import condition, require_POST

from tests.http.middlewares import TRACE

__all__ = ("EXEMPT", "UNAWAITED", "VIEWS")

UNAWAITED: list[Coroutine[Any, Any, Any]] = []
"""What views returned by mistake, for the test to close."""

LARGE = "a line of text that compresses\n" * 4000


def _hello(request: Any) -> Any:
    return HttpResponse("hello")


def _where(request: Any) -> Any:
    """Tell what a view sees of the URL and of its surroundings."""
    try:
        reversed_path = reverse("hello")
    except NoReverseMatch:
        reversed_path = "none"
    return JsonResponse(
        {
            "path": request.path,
            "path_info": request.path_info,
            "urlconf": get_urlconf(),
            "hello": reversed_path,
            "prefix": get_script_prefix(),
            "language": translation.get_language(),
            "zone": timezone.get_current_timezone_name(),
            "route": request.resolver_match.route,
            "kwargs": request.resolver_match.kwargs,
        }
    )


def _template(request: Any) -> Any:
    template = engines["django"].from_string(
        "{{ word }} {{ extra }} {{ missing.name }}{% csrf_token %}"
    )
    return TemplateResponse(request, template, {"word": "rendered"})


def _template_broken(request: Any) -> Any:
    def explode() -> str:
        raise ValueError("in the template")

    template = engines["django"].from_string("{{ explode }}")
    return TemplateResponse(request, template, {"explode": explode})


def _template_callback(request: Any) -> Any:
    response = _template(request)
    response.add_post_render_callback(lambda each: TRACE.append("post-render"))
    return response


def _stream(request: Any) -> Any:
    def parts() -> Iterator[str]:
        try:
            for number in range(3):
                TRACE.append(f"part {number}")
                yield f"part {number}\n"
        finally:
            TRACE.append("stream closed")

    return StreamingHttpResponse(parts())


def _stream_list(request: Any) -> Any:
    return StreamingHttpResponse(["one ", b"two ", "three"])


def _stream_async(request: Any) -> Any:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield f"part {number}\n"

    return StreamingHttpResponse(parts())


def _file(request: Any) -> Any:
    return FileResponse(
        io.BytesIO(b"of the file " * 20_000), as_attachment=True, filename="ä b.txt"
    )


def _redirect(request: Any) -> Any:
    return HttpResponseRedirect("/elsewhere/")


def _redirect_permanent(request: Any) -> Any:
    return HttpResponsePermanentRedirect("/für-immer/?a=b")


def _not_found(request: Any) -> Any:
    raise Http404("no such thing")


def _denied(request: Any) -> Any:
    raise PermissionDenied("not you")


def _suspicious(request: Any) -> Any:
    raise SuspiciousOperation("what are you doing")


def _bad_request(request: Any) -> Any:
    raise BadRequest("cannot be read")


def _multipart_error(request: Any) -> Any:
    raise MultiPartParserError("no boundary")


def _too_many(request: Any) -> Any:
    raise TooManyFieldsSent("fields")


def _too_big(request: Any) -> Any:
    raise RequestDataTooBig("body")


def _value_error(request: Any) -> Any:
    raise ValueError("a bug")


def _key_error_chained(request: Any) -> Any:
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("chained") from error


def _none(request: Any) -> Any:
    return None


def _coroutine(request: Any) -> Any:
    async def later() -> Any:
        return HttpResponse("never")

    coroutine = later()
    UNAWAITED.append(coroutine)
    return coroutine


def _cookies(request: Any) -> Any:
    response = HttpResponse(str(sorted(request.COOKIES.items())))
    response.set_cookie("first", "1", max_age=60, httponly=True)
    response.set_cookie("second", "two words", samesite="Lax", secure=True)
    response.set_signed_cookie("signed", "value", salt="x")
    response.delete_cookie("gone", path="/there")
    return response


def _headers(request: Any) -> Any:
    response = HttpResponse("headers", content_type="text/plain; charset=latin-1")
    response["X-Latin"] = "sch\xf6n"
    response["X-Long"] = "x" * 500
    response["x-lower"] = "kept"
    response["Vary"] = "Accept"
    response.headers["X-Encoded"] = "\u20ac"
    return response


def _messages(request: Any) -> Any:
    if hasattr(request, "_messages"):
        messages.success(request, "stored")
        messages.debug(request, "below the level")
    return HttpResponse("message")


def _messages_shown(request: Any) -> Any:
    return HttpResponse(", ".join(str(each) for each in messages.get_messages(request)))


def _session(request: Any) -> Any:
    request.session["count"] = 1
    return HttpResponse("saved")


def _session_read(request: Any) -> Any:
    return HttpResponse(str(request.session.get("visits", 0)))


def _session_expiry(request: Any) -> Any:
    request.session["count"] = 2
    request.session.set_expiry(300)
    return HttpResponse("saved for a while")


def _session_error(request: Any) -> Any:
    request.session["count"] = 1
    return HttpResponse("not saved", status=500)


def _language(request: Any) -> Any:
    translation.activate("de")
    return HttpResponse(translation.gettext("Monday"))


def _csrf_token(request: Any) -> Any:
    return HttpResponse(f"<input value={get_token(request)}>")


def _user(request: Any) -> Any:
    user = getattr(request, "user", None)
    return HttpResponse("no middleware" if user is None else str(user.is_anonymous))


def _login_required(request: Any) -> Any:
    if not request.user.is_authenticated:
        return HttpResponseRedirect(f"/login/?next={request.path}")
    return HttpResponse("signed in")


def _echo(request: Any) -> Any:
    return JsonResponse(
        {
            "method": request.method,
            "query": request.GET,
            "form": request.POST,
            "files": {name: each.size for name, each in request.FILES.items()},
            "type": request.content_type,
            "length": request.META.get("CONTENT_LENGTH"),
        }
    )


def _body(request: Any) -> Any:
    return HttpResponse(request.body or b"empty")


def _json(request: Any) -> Any:
    return JsonResponse({"sum": sum(json.loads(request.body or "[0]"))})


def _read(request: Any) -> Any:
    return HttpResponse(request.read(4) + b"|" + request.read())


def _no_content(request: Any) -> Any:
    return HttpResponse("must not be sent", status=204)


def _not_modified(request: Any) -> Any:
    return HttpResponseNotModified(headers={"ETag": '"same"'})


def _teapot(request: Any) -> Any:
    return HttpResponse("short and stout", status=418, reason="Very Much A Teapot")


def _unavailable(request: Any) -> Any:
    return HttpResponse("later", status=503, headers={"Retry-After": "9"})


def _large(request: Any) -> Any:
    return HttpResponse(LARGE)


def _etag(request: Any) -> Any:
    return HttpResponse("tagged", headers={"ETag": '"v1"'})


def _closes(request: Any) -> Any:
    response = HttpResponse("closes")
    response._resource_closers.append(lambda: TRACE.append("closed"))
    return response


def _thread(request: Any) -> Any:
    """Tell the thread that the view runs on."""
    return HttpResponse(threading.current_thread().name)


PLAIN: dict[str, Callable[[Any], Any]] = {
    "hello": _hello,
    "where": _where,
    "template": _template,
    "template-broken": _template_broken,
    "template-callback": _template_callback,
    "stream": _stream,
    "stream-list": _stream_list,
    "stream-async": _stream_async,
    "file": _file,
    "redirect": _redirect,
    "redirect-permanent": _redirect_permanent,
    "not-found": _not_found,
    "denied": _denied,
    "suspicious": _suspicious,
    "bad-request": _bad_request,
    "multipart-error": _multipart_error,
    "too-many": _too_many,
    "too-big": _too_big,
    "value-error": _value_error,
    "chained-error": _key_error_chained,
    "none": _none,
    "coroutine": _coroutine,
    "cookies": _cookies,
    "headers": _headers,
    "messages": _messages,
    "messages-shown": _messages_shown,
    "session": _session,
    "session-read": _session_read,
    "session-expiry": _session_expiry,
    "session-error": _session_error,
    "language": _language,
    "csrf-token": _csrf_token,
    "user": _user,
    "login-required": _login_required,
    "echo": _echo,
    "body": _body,
    "json": _json,
    "read": _read,
    "no-content": _no_content,
    "not-modified": _not_modified,
    "teapot": _teapot,
    "unavailable": _unavailable,
    "large": _large,
    "etag": _etag,
    "closes": _closes,
    "thread": _thread,
}


def _traced(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def view(request: Any, **kwargs: Any) -> Any:
        TRACE.append("view")
        return function(request)

    return view


def _awaited(function: Callable[[Any], Any]) -> Callable[..., Any]:
    async def view(request: Any, **kwargs: Any) -> Any:
        TRACE.append("view")
        return function(request)

    return view


class Page(View):
    """A sync class-based view."""

    def get(self, request: Any, **kwargs: Any) -> Any:
        return HttpResponse("class")

    def post(self, request: Any, **kwargs: Any) -> Any:
        return HttpResponse(f"posted {sorted(request.POST)}")


class AsyncPage(View):
    """An async class-based view."""

    async def get(self, request: Any, **kwargs: Any) -> Any:
        return HttpResponse("class")

    async def post(self, request: Any, **kwargs: Any) -> Any:
        return HttpResponse(f"posted {sorted(request.POST)}")


@method_decorator(never_cache, name="dispatch")
class NeverCached(Page):
    """A class-based view with a decorated ``dispatch``."""


class Instance:
    """A view that is an instance."""

    def __call__(self, request: Any, **kwargs: Any) -> Any:
        return HttpResponse("instance")


VIEWS: dict[str, Callable[..., Any]] = {
    **{name: _traced(function) for name, function in PLAIN.items()},
    **{f"async-{name}": _awaited(function) for name, function in PLAIN.items()},
    "class": Page.as_view(),
    "async-class": AsyncPage.as_view(),
    "never-cached": NeverCached.as_view(),
    "instance": Instance(),
    "post-only": require_POST(_traced(_hello)),
    "async-post-only": require_POST(_awaited(_hello)),
    "protected": csrf_protect(_traced(_echo)),
    "async-protected": csrf_protect(_awaited(_echo)),
    "cached": cache_control(max_age=99, public=True)(_traced(_hello)),
    "async-cached": cache_control(max_age=99, public=True)(_awaited(_hello)),
    "conditional": condition(etag_func=lambda request: '"v2"')(_traced(_hello)),
    "async-conditional": condition(etag_func=lambda request: '"v2"')(_awaited(_hello)),
}

EXEMPT = frozenset({"echo", "body", "json", "read"})
"""Views that are exempt from the CSRF check."""

for _name in EXEMPT:
    for _each in (_name, f"async-{_name}"):
        VIEWS[_each] = csrf_exempt(VIEWS[_each])
