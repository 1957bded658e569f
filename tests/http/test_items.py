"""The items of a streamed response become bytes as Django makes them."""

from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.utils.safestring import mark_safe

from django_asgi_bridge.http.streams import _aclose_all
from tests.http.exchanges import Wire, site

pytestmark = pytest.mark.asyncio

ITEMS = [b"bytes", "tëxt", mark_safe("<sáfe>"), 5, memoryview(b"view"), None]


class OwnBytes(StreamingHttpResponse):
    """Writes each item in its own way."""

    def make_bytes(self, value: Any) -> bytes:
        return b"[" + super().make_bytes(value) + b"]"


class OwnContent(StreamingHttpResponse):
    """Gives something else than its iterator."""

    @property
    def streaming_content(self) -> Any:
        if self.is_async:
            return replacing()
        return iter([b"own"])

    @streaming_content.setter
    def streaming_content(self, value: Any) -> None:
        self._set_streaming_content(value)  # type: ignore[attr-defined]  # private


class OwnIteration(StreamingHttpResponse):
    """Is iterated over in its own way."""

    def __iter__(self) -> Any:
        return iter([b"own"])


class OwnAsyncIteration(StreamingHttpResponse):
    """Is iterated over in its own way, by ``async for``."""

    async def __aiter__(self) -> Any:
        yield b"own"


async def replacing() -> Any:
    """Give what stands in the place of the view's items."""
    yield b"own"


async def each(items: list[Any]) -> Any:
    """Give items from an async iterator."""
    for item in items:
        yield item


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("response", "content_type", "expected"),
    [
        (StreamingHttpResponse, "text/csv", "bytestëxt<sáfe>5viewNone".encode()),
        (
            StreamingHttpResponse,
            "text/csv; charset=latin-1",
            "bytestëxt<sáfe>5viewNone".encode("latin-1"),
        ),
        (OwnBytes, "text/csv", "[bytes][tëxt][<sáfe>][5][view][None]".encode()),
        (OwnContent, "text/csv", b"own"),
    ],
)
async def test_items_are_sent_as_the_response_makes_them_bytes(
    response, content_type, expected, is_async
):
    """By the charset of its Content-Type, and by what a subclass overrides."""

    def view(request):
        items = each(ITEMS) if is_async else iter(ITEMS)
        return response(items, content_type=content_type)

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == expected


@pytest.mark.parametrize("response", [OwnIteration, OwnAsyncIteration])
async def test_response_that_is_iterated_over_in_its_own_way_is_asked(response):
    """The iterator that it was given is not read behind its back."""

    def view(request):
        is_async = response is OwnAsyncIteration
        return response(each([b"given"]) if is_async else iter([b"given"]))

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"own"


@pytest.mark.parametrize("is_async", [False, True])
async def test_items_are_sent_by_a_method_that_a_tool_put_in_place(
    is_async, monkeypatch
):
    """Monitoring tools replace methods of Django's classes."""
    djangos = StreamingHttpResponse.make_bytes
    seen = []

    def make_bytes(self: Any, value: Any) -> Any:
        seen.append(value)
        return djangos(self, value)

    monkeypatch.setattr(StreamingHttpResponse, "make_bytes", make_bytes)

    def view(request):
        return StreamingHttpResponse(each(["a", "b"]) if is_async else iter(["a", "b"]))

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"ab"
    assert seen == ["a", "b"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_bytes_of_a_response_that_has_a_way_of_its_own(is_async):
    """What is set on the response itself is asked for each item, too."""

    async def view(request):
        items = each(["a", b"b"]) if is_async else iter(["a", b"b"])
        response = StreamingHttpResponse(items)
        original = response.make_bytes
        upper: Any = lambda value: original(value).upper()  # noqa: E731
        response.make_bytes = upper  # type: ignore[method-assign]
        return response

    with site(view) as handler:
        wire = await Wire().serve(handler)

    assert wire.body == b"AB"


async def test_iterator_is_closed_once_at_its_end():
    """One that the response hands out as its own iterator is the same one."""
    closed = []

    class Items:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            closed.append("closed")

    response = StreamingHttpResponse(Items())
    await _aclose_all(response._iterator, response._iterator)

    assert closed == ["closed"]
