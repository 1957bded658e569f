import threading

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse


async def on_the_loop(request: HttpRequest) -> HttpResponse:
    count = await User.objects.acount()
    here = threading.current_thread().name
    return HttpResponse(f"{count} users, async view in {here}\n")


def on_a_worker(request: HttpRequest) -> HttpResponse:
    count = User.objects.count()
    here = threading.current_thread().name
    return HttpResponse(f"{count} users, sync view in {here}\n")
