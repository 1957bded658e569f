from django.urls import path
from pages import hello

urlpatterns = [
    path("async/", hello.on_the_loop),
    path("sync/", hello.on_a_worker),
]
