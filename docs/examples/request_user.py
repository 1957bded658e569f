"""A view that uses ``request.user``, which reads the database, and is async."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_asgi_bridge.http import resolves_user


@resolves_user
async def greeting(request: HttpRequest) -> HttpResponse:
    """Greet whoever is signed in."""
    return HttpResponse(f"Hello, {request.user.get_username() or 'stranger'}!")


urlpatterns = [path("greeting/", greeting)]
