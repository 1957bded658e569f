from django.contrib import admin
from django.urls import include, path
from pages import hello

urlpatterns = [
    path("admin/", admin.site.urls),
    path("async/", hello.on_the_loop),
    path("sync/", hello.on_a_worker),
]

websocket_urlpatterns = [
    path("ws/chat/", include("chat.urls")),
]
