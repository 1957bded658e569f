"""When a request that waits for its worker begins to watch for its client."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpResponse

from django_asgi_bridge.http import lookout
from tests.http.exchanges import Base, Gate, Wire, site

pytestmark = pytest.mark.asyncio


class Requests:
    """Takes the place of requests, and of the loop's timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watched: list[str] = []
        self.turns: list = []
        loop = asyncio.get_running_loop()
        self._lookout = lookout._Lookout(loop)
        monkeypatch.setattr(
            loop, "call_later", lambda _, turn: self.turns.append(turn), raising=False
        )

    def add(self, name: str) -> None:
        self._lookout.add(Waiting(name, self.watched))

    def turn(self) -> None:
        self.turns.pop()()


class Waiting:
    def __init__(self, name: str, watched: list[str]) -> None:
        self.name = name
        self.watched = watched

    def start_listening(self) -> None:
        self.watched.append(self.name)


async def test_request_is_watched_at_the_second_turn_that_it_sees(monkeypatch):
    """One timer serves all, and there is none while nobody waits."""
    requests = Requests(monkeypatch)

    requests.add("a")
    requests.add("b")
    assert len(requests.turns) == 1
    requests.turn()
    assert requests.watched == []
    requests.add("c")
    assert len(requests.turns) == 1
    requests.turn()
    assert requests.watched == ["a", "b"]
    requests.turn()
    assert requests.watched == ["a", "b", "c"]
    assert requests.turns == []
    requests.add("d")
    assert len(requests.turns) == 1


async def serve_at_once(wire: Wire, handler: Any) -> None:
    """Serve as a server whose `send()` has never to wait."""

    async def send(message: Any) -> None:
        wire.sent.append(message)

    await handler(wire.scope, wire.receive, send)


async def test_short_sync_view_makes_no_watch():
    """What is answered at once asks the server for nothing but the body."""
    wire = Wire()
    with site(lambda request: HttpResponse("short")) as handler:
        await serve_at_once(wire, handler)

    assert wire.body == b"short"
    assert wire.asked == 1


async def test_async_view_is_watched_when_it_waits_after_a_trip():
    """A wait that is no trip may be long, and what waits can be cancelled."""
    in_view = Gate()

    async def view(request):
        await sync_to_async(int)()
        in_view.open()
        await asyncio.Event().wait()

    wire = Wire()
    with site(view) as handler:
        base = Base()
        wire.start(handler)
        await in_view.opened()
        await wire.until_asked(2)
        wire.leave()
        await wire.ended()
        left = await base.left()

    assert wire.sent == []
    assert left == {}


async def test_long_sync_view_learns_that_its_client_left():
    """The watch begins while the view runs."""
    in_view, go_on = Gate(), Gate()
    seen = []

    def view(request):
        in_view.open()
        go_on.wait()
        seen.append(request.is_disconnected())
        return HttpResponse("long")

    wire = Wire()
    with site(view) as handler:
        base = Base()
        wire.start(handler)
        await in_view.opened()
        await wire.until_asked(2)
        wire.leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go_on.open()
        await wire.ended()
        left = await base.left()

    assert seen == [True]
    assert wire.sent == []
    assert left == {}


async def test_request_that_has_ended_is_watched_no_more(monkeypatch):
    """A turn that comes late finds nothing to do."""
    late = []
    monkeypatch.setattr("django_asgi_bridge.http.exchange.watch_later", late.append)
    wire = Wire()
    with site(lambda request: HttpResponse("short")) as handler:
        await serve_at_once(wire, handler)
        late[0].start_listening()
        await asyncio.sleep(0)

    assert wire.asked == 1
