"""Each view of ``tests.http.views`` under its name."""

from django.urls import path

from tests.http.views import VIEWS

urlpatterns = [path(f"{name}/", view, name=name) for name, view in VIEWS.items()]
