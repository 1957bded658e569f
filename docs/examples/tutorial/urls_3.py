from django.urls import path
from pages import events, hello, upload

urlpatterns = [
    path("async/", hello.on_the_loop),
    path("sync/", hello.on_a_worker),
    path("countdown/", events.page),
    path("countdown/events/", events.events),
    path("digest/", upload.digest),
]
