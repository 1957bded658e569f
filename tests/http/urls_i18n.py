"""The same views below a language prefix, and one view without it."""

from django.conf.urls.i18n import i18n_patterns
from django.urls import path

from tests.http.views import VIEWS

urlpatterns = [
    path("plain/", VIEWS["where"], name="plain"),
    path("async-plain/", VIEWS["async-where"], name="async-plain"),
    *i18n_patterns(
        *(path(f"{name}/", view, name=name) for name, view in VIEWS.items())
    ),
]
