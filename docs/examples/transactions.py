"""Transactions in async views."""

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_asgi_bridge.db import atomic


async def both_or_none(request: HttpRequest) -> HttpResponse:
    """Make two groups, or none if anything fails in between."""
    async with atomic():
        await Group.objects.acreate(name="editors")
        if "fail" in request.GET:
            raise ValueError("rolls back")
        await Group.objects.acreate(name="readers")
    return HttpResponse(status=201)


async def with_savepoint(request: HttpRequest) -> HttpResponse:
    """Undo the inner block alone."""
    async with atomic():
        await Group.objects.acreate(name="kept")
        try:
            async with atomic():
                await Group.objects.acreate(name="undone")
                raise LookupError
        except LookupError:
            pass
    return HttpResponse(status=201)


urlpatterns = [
    path("both/", both_or_none),
    path("savepoint/", with_savepoint),
]
