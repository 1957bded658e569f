"""The routes of the Django sites.

BENCH_ROUTES: how many others stand before them.
"""

import os

from django.urls import path

from testproject.bench.site import views

__all__ = ("urlpatterns",)

urlpatterns = [
    path(f"other/{number}/<int:key>/", views.hello)
    for number in range(int(os.environ.get("BENCH_ROUTES", "0")))
]
urlpatterns += [
    path("hello/sync", views.hello),
    path("hello/async", views.ahello),
    path("json/sync", views.json),
    path("json/async", views.ajson),
    path("user/sync", views.user),
    path("user/async", views.auser),
    path("queries/<int:count>/sync", views.queries),
    path("queries/<int:count>/async", views.aqueries),
    path("page/sync", views.page),
    path("page/async", views.apage),
    path("wait/sync", views.wait),
    path("wait/async", views.await_),
    path("big/sync", views.big),
    path("big/async", views.abig),
    path("file/sync", views.file),
    path("csv/sync", views.csv),
    path("csv/async", views.acsv),
    path("upload/sync", views.upload),
    path("events/sync", views.events),
    path("events/async", views.aevents),
]
