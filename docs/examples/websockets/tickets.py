"""Tickets: a page asks for one over HTTP, and shows it when it opens a socket."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils.crypto import get_random_string

from django_asgi_bridge.exceptions import DenyConnection
from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
from django_asgi_bridge.middleware import BaseMiddleware
from django_asgi_bridge.types import Receive, Scope, Send

SECONDS = 30
PREFIX = "ticket."
# A subprotocol may not have the colon that signers use by default.
signer = TimestampSigner(salt="socket", sep=".")


@login_required
def new_ticket(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"ticket": ticket_of(request.user.pk)})


def ticket_of(pk: int) -> str:
    return PREFIX + signer.sign_object([pk, get_random_string(8)])


class TicketMiddleware(BaseMiddleware):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        offered = scope["subprotocols"]
        tickets = [each for each in offered if each.startswith(PREFIX)]
        scope = {
            **scope,
            "subprotocols": [each for each in offered if each not in tickets],
            "user": await user_of(tickets[0]) if tickets else AnonymousUser(),
        }
        return await super().__call__(scope, receive, send)


async def user_of(ticket: str) -> Any:
    try:
        pk, _ = signer.unsign_object(ticket.removeprefix(PREFIX), max_age=SECONDS)
    except BadSignature:
        return AnonymousUser()
    if not await cache.aadd(ticket, "used", SECONDS):
        return AnonymousUser()
    users = get_user_model().objects.filter(pk=pk, is_active=True)
    return await users.afirst() or AnonymousUser()


class PricesConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        if not self.scope["user"].is_authenticated:
            raise DenyConnection
        await self.accept(subprotocol="prices")


urlpatterns = [path("ticket/", new_ticket)]
websocket_urlpatterns = [
    path("ws/prices/", TicketMiddleware(PricesConsumer.as_asgi()), name="prices"),
]
