"""The same views below a language prefix, and some views without it."""

from django.conf.urls.i18n import i18n_patterns
from django.urls import path
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from tests.http.views import VIEWS

MONDAY = gettext_lazy("Monday")

urlpatterns = [
    path("plain/", VIEWS["where"], name="plain"),
    path("async-plain/", VIEWS["async-where"], name="async-plain"),
    path(format_lazy("day/{}/", MONDAY), VIEWS["where"]),
    path(format_lazy("async-day/{}/", MONDAY), VIEWS["async-where"]),
    *i18n_patterns(
        *(path(f"{name}/", view, name=name) for name, view in VIEWS.items())
    ),
]
