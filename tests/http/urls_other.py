"""What a middleware puts in the place of the root URLconf.

Names lead to views of the other kind, and elsewhere; error views are its own.
"""

from typing import Any

from django.http import HttpResponse
from django.urls import path

from tests.http.views import VIEWS

urlpatterns = [
    path("hello/", VIEWS["async-where"], name="first"),
    path("async-hello/", VIEWS["where"], name="second"),
    path("where/", VIEWS["async-where"]),
    path("async-where/", VIEWS["where"]),
    path("elsewhere/<int:number>/", VIEWS["async-where"], name="hello"),
    path("only-here/", VIEWS["hello"]),
    path("async-only-here/", VIEWS["async-hello"]),
    path("value-error/", VIEWS["async-value-error"]),
]


def handler404(request: Any, exception: Exception) -> HttpResponse:
    """Answer for what is not here."""
    return HttpResponse("not in the other URLconf", status=404)


def handler500(request: Any) -> HttpResponse:
    """Answer for a bug."""
    return HttpResponse("broken in the other URLconf", status=500)
