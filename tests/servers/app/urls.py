"""The site's addresses."""

from django.urls import path, re_path

from tests.servers.app import faulty, sockets, streams, views

handler500 = "tests.servers.app.faulty.error_page"

urlpatterns = [
    path("", views.index),
    path("sync/", views.hello_sync),
    path("async/", views.hello_async),
    re_path(r"(?s)^/*echo/.*$", views.echo),
    re_path(r"(?s)^aecho/.*$", views.echo_async),
    path("large/<int:size>/", views.large),
    path("status/<int:status>/", views.status),
    path("contexts/sync/<str:mark>/", views.contexts),
    path("contexts/async/<str:mark>/", views.contexts_async),
    path("cookies/set/", views.cookies_set),
    path("cookies/read/", views.cookies_read),
    path("session/", views.session),
    path("asession/", views.session_async),
    path("form/", views.form),
    path("state/", views.state),
    path("worker/", views.worker),
    path("hang/<str:key>/", views.hang),
    path("patient/<str:key>/", views.patient),
    path("held/sync/<str:key>/", views.held),
    path("held/async/<str:key>/", views.held_async),
    path("hints/", views.hints),
    path("trailers/", views.trailers),
    path("pushed/", views.pushed),
    path("post/<str:key>/", views.post_mark),
    path("await/<str:key>/", views.await_mark),
    path("stream/sync/<str:key>/", streams.stepwise),
    path("stream/async/<str:key>/", streams.stepwise_async),
    path("endless/sync/<str:key>/", streams.endless),
    path("endless/async/<str:key>/", streams.endless_async),
    path("ticking/sync/<str:key>/", streams.ticking),
    path("ticking/async/<str:key>/", streams.ticking_async),
    path("parked/async/<str:key>/", streams.parked_async),
    path("open-ended/<str:key>/", streams.open_ended),
    path("broken/<str:kind>/", streams.broken),
    path("upload/streamed/<str:key>/", streams.upload_streamed),
    path("events/<str:key>/", streams.events),
    path("download/", streams.download),
    path("hostile/<str:vector>/", faulty.hostile),
]

websocket_urlpatterns = [
    path("ws/echo/", sockets.Echo.as_asgi()),
    path("ws/sync-echo/", sockets.SyncEcho.as_asgi()),
    path("ws/slow/", sockets.Slow.as_asgi()),
    path("ws/refusing/", sockets.Refusing.as_asgi()),
    path("ws/raising/<str:how>/", sockets.Raising.as_asgi()),
    path("ws/telling/", sockets.Telling.as_asgi()),
    path("ws/hesitating/", sockets.Hesitating.as_asgi()),
    path("ws/mirror/<str:word>/", sockets.Mirror.as_asgi()),
]
