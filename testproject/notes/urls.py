"""The pages of Field Notes."""

from django.urls import path

from testproject.notes.views import inside, live, notes, transfers

urlpatterns = [
    path("", notes.home, name="home"),
    path("notes/", notes.note_list, name="notes"),
    path("notes/<int:pk>/", notes.note_detail, name="note"),
    path("notes/export.csv", transfers.export, name="export"),
    path("files/", transfers.files, name="files"),
    path("files/<int:pk>/", transfers.download, name="attachment"),
    path("upload/", transfers.upload, name="upload"),
    path("upload/raw", transfers.upload_raw, name="upload-raw"),
    path("live/", live.live, name="live"),
    path("live/events/", live.events, name="live-events"),
    path("wait/", live.wait, name="wait"),
    path("wait/next/", live.wait_next, name="wait-next"),
    path("count/", notes.count_words, name="count"),
    path("scope/", inside.scope, name="scope"),
    path("two-views/", inside.two_views, name="two-views"),
    path("two-views/sync/", inside.sync_half, name="two-views-sync"),
    path("two-views/async/", inside.async_half, name="two-views-async"),
    path("process/", inside.process, name="process"),
    # A mounted application answers before these URLs; WSGI has no mounts.
    path("api/", inside.no_api, name="api"),
    path("api/<path:path>", inside.no_api),
]
