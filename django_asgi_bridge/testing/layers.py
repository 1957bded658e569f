"""What every channel layer must do, as tests that a layer's author inherits.

::

    class TestMyLayer(ChannelLayerConformance):
        def make_layer(self, **config):
            return MyLayer(prefix=uuid.uuid4().hex, **config)

pytest with pytest-asyncio runs them. Tests of what a layer does not have, as its
``extensions`` say, are skipped.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import pytest

from django_asgi_bridge.testing.layer_groups import GroupConformance

__all__ = ("ChannelLayerConformance", "known_failures")

_EVERYTHING = {
    "type": "test.everything",
    "text": "Grüße, 世界 🌍",
    "bytes": bytes(range(256)),
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "float": 0.1,
    "yes": True,
    "no": False,
    "none": None,
    "empty": ["", b"", [], {}],
    "nested": {"list": [1, [2, {"three": [b"4", None]}]]},
}

_Case = TypeVar("_Case", bound=type)


class ChannelLayerConformance(GroupConformance):
    """The tests of a channel layer; see the module, and ``LayerCase`` for hooks."""

    # Messages.

    async def test_message_arrives_as_it_was_sent(self) -> None:
        """Everything that ASGI allows in a message comes out unchanged."""
        async with self.opened() as layer:
            channel = await layer.new_channel()

            await layer.send(channel, _EVERYTHING)

            self.equal(await self.next_of(layer, channel), _EVERYTHING)

    async def test_large_message_arrives(self) -> None:
        """A mebibyte is what every layer carries, by its specification."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            message = {"type": "test.large", "bytes": b"\x00\xff" * 2**19}

            await layer.send(channel, message)

            self.equal(await self.next_of(layer, channel) == message, True)

    async def test_sender_changes_only_its_own_message(self) -> None:
        """A message is what it was at the moment of ``send``."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            message: dict[str, Any] = {"type": "test.event", "list": [1]}

            await layer.send(channel, message)
            message["list"].append(2)
            message["type"] = "test.other"

            got = await self.next_of(layer, channel)
            self.equal(got, {"type": "test.event", "list": [1]})

    async def test_send_leaves_the_senders_message_alone(self) -> None:
        """No key of the layer's own appears in it."""
        async with self.opened() as layer:
            message = {"type": "test.event"}

            await layer.send(await layer.new_channel(), message)

            self.equal(message, {"type": "test.event"})

    @pytest.mark.parametrize("message", ["text", None, [("type", "test")]])
    async def test_message_is_refused_when_it_is_no_dict(self, message: Any) -> None:
        """A message is a dict."""
        async with self.opened() as layer:
            with pytest.raises((AssertionError, TypeError, ValueError)):
                await layer.send("channel", message)

    # Names.

    @pytest.mark.parametrize(
        "name", ["", "a b", "a!b!c", "ä", "a/b", "!a", "a" * 100, 5, None]
    )
    async def test_channel_name_is_refused_when_invalid(self, name: Any) -> None:
        """Letters, digits, hyphen, underscore, full stop, one ``!``; up to 99."""
        async with self.opened() as layer:
            with pytest.raises(TypeError):
                await layer.send(name, {"type": "test.event"})
            with pytest.raises(TypeError):
                await layer.receive(name)

    @pytest.mark.parametrize("name", ["channel\n", "channel٣", "channel!ä"])
    async def test_channel_name_is_refused_when_it_only_looks_valid(
        self, name: str
    ) -> None:
        """A line feed at the end, and letters of other scripts, are no name."""
        async with self.opened() as layer:
            with pytest.raises(TypeError):
                await layer.send(name, {"type": "test.event"})

    async def test_channel_takes_the_longest_name(self) -> None:
        """99 characters are a name."""
        async with self.opened() as layer:
            await layer.send("c" * 99, {"type": "test.event"})

            await self.expect(layer, "c" * 99, "test.event")

    async def test_new_channel_returns_a_valid_name_that_nobody_has(self) -> None:
        """Its name says that one process reads it: it has a ``!``."""
        async with self.opened() as layer:
            channels = [await layer.new_channel() for _ in range(50)]

            self.equal(len(set(channels)), 50)
            for channel in channels:
                self.equal(
                    bool(re.fullmatch(r"[\w.-]+![\w.-]*", channel, re.ASCII)), True
                )
                self.equal(len(channel) < 100, True)

    # Order, and who gets what.

    async def test_channel_keeps_the_order_of_a_sender(self) -> None:
        """First in, first out."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            kinds = [f"test.{number}" for number in range(50)]

            for kind in kinds:
                await layer.send(channel, {"type": kind})

            await self.expect(layer, channel, *kinds)

    async def test_channel_keeps_messages_until_somebody_reads(self) -> None:
        """A worker that starts later finds what was sent before."""
        async with self.opened() as layer:
            for kind in ("test.1", "test.2"):
                await layer.send("jobs", {"type": kind})

            await self.expect(layer, "jobs", "test.1", "test.2")

    async def test_process_local_channels_are_apart(self) -> None:
        """Names that share the part before ``!`` are still channels of their own."""
        async with self.opened() as layer:
            channels = [await layer.new_channel() for _ in range(10)]
            reads = [
                asyncio.create_task(self.next_of(layer, channel))
                for channel in channels
            ]
            await self.settle(layer)

            for channel in reversed(channels):
                await layer.send(channel, {"type": "test.event", "for": channel})

            got = [message["for"] for message in await asyncio.gather(*reads)]
            self.equal(got, channels)

    async def test_two_receivers_on_a_channel_get_a_message_each(self) -> None:
        """A receiver that waits beside another one is woken too."""
        async with self.opened() as layer:
            reads = [asyncio.create_task(self.next_of(layer, "jobs")) for _ in range(2)]
            await self.settle(layer)

            await layer.send("jobs", {"type": "test.1"})
            await layer.send("jobs", {"type": "test.2"})

            got = sorted(m["type"] for m in await asyncio.gather(*reads))
            self.equal(got, ["test.1", "test.2"])

    async def test_each_message_goes_to_one_of_several_receivers(self) -> None:
        """None is lost, and none comes twice."""
        async with self.opened() as layer:
            numbers: list[int] = []

            async def read_ten() -> None:
                for _ in range(10):
                    message = await self.next_of(layer, "jobs")
                    numbers.append(message["number"])

            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(read_ten())
                for number in range(40):
                    await layer.send("jobs", {"type": "test.job", "number": number})

            self.equal(sorted(numbers), list(range(40)))

    async def test_cancelled_receive_takes_no_message(self) -> None:
        """The next receiver gets what came after the cancel."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            given_up = asyncio.create_task(layer.receive(channel))
            await self.settle(layer)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)

            await layer.send(channel, {"type": "test.event"})

            await self.expect(layer, channel, "test.event")

    async def test_receive_loses_nothing_when_cancelled_at_the_same_time(self) -> None:
        """A message that comes with the cancel goes to this receiver or the next."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            got = []
            for number in range(20):
                read = asyncio.create_task(layer.receive(channel))
                await self.settle(layer)
                await layer.send(channel, {"type": "test.event", "number": number})
                read.cancel()
                await asyncio.wait([read])
                is_lost = read.cancelled() or read.exception() is not None
                message = (
                    await self.next_of(layer, channel) if is_lost else read.result()
                )
                got.append(message["number"])

            self.equal(got, list(range(20)))

    async def test_send_wakes_a_receiver_when_sent_from_another_loop(self) -> None:
        """A thread with a loop of its own, as ``async_to_sync`` makes, may send."""
        async with self.opened() as layer:
            channel = await layer.new_channel()
            read = asyncio.create_task(self.next_of(layer, channel))
            await self.settle(layer)

            event = {"type": "test.event"}
            await asyncio.to_thread(asyncio.run, layer.send(channel, event))

            self.equal((await read)["type"], "test.event")

    # Capacity and expiry.

    async def test_full_channel_refuses_and_takes_again_when_read(self) -> None:
        """``capacity`` messages wait; the next one is the sender's to keep."""
        async with self.opened(capacity=3) as layer:
            for number in range(3):
                await layer.send("jobs", {"type": f"test.{number}"})
            with pytest.raises(self.channel_full):
                await layer.send("jobs", {"type": "test.3"})

            await self.expect(layer, "jobs", "test.0")
            await layer.send("jobs", {"type": "test.4"})

            await self.expect(layer, "jobs", "test.1", "test.2", "test.4")

    @pytest.mark.parametrize("pattern", ["jobs.*", re.compile(r"jobs\..")])
    async def test_channel_capacity_holds_for_names_that_match(
        self, pattern: Any
    ) -> None:
        """Globs and regular expressions; other channels keep ``capacity``."""
        async with self.opened(capacity=2, channel_capacity={pattern: 1}) as layer:
            await layer.send("jobs.a", {"type": "test.event"})
            await layer.send("other", {"type": "test.event"})
            await layer.send("other", {"type": "test.event"})

            with pytest.raises(self.channel_full):
                await layer.send("jobs.a", {"type": "test.event"})

    async def test_message_expires_when_nobody_reads_it(self) -> None:
        """After ``expiry`` seconds it is gone; a later one is there."""
        async with self.opened(expiry=1) as layer:
            await layer.send("jobs", {"type": "test.old"})
            await self.pass_time(layer, 1.5)
            await layer.send("jobs", {"type": "test.new"})

            await self.expect(layer, "jobs", "test.new")

    async def test_expired_messages_make_room(self) -> None:
        """A channel full of expired messages takes new ones."""
        async with self.opened(expiry=1, capacity=2) as layer:
            for _ in range(2):
                await layer.send("jobs", {"type": "test.old"})
            await self.pass_time(layer, 1.5)

            await layer.send("jobs", {"type": "test.new"})

            await self.expect(layer, "jobs", "test.new")

    async def test_flush_drops_all_messages(self) -> None:
        """After ``flush`` no channel has messages."""
        async with self.opened("flush") as layer:
            await layer.send("jobs", {"type": "test.old"})
            await layer.flush()
            await layer.send("jobs", {"type": "test.new"})

            await self.expect(layer, "jobs", "test.new")


def known_failures(reasons: Mapping[str, str]) -> Callable[[_Case], _Case]:
    """Decorate a conformance class: these tests fail, and must fail.

    Args:
        reasons: why, by the name of the test. A test that passes after all is a
            failure, so the list stays true.

    Raises:
        ValueError: there is no test of that name.
    """

    def mark(case: _Case) -> _Case:
        for name, reason in reasons.items():
            test = getattr(case, name, None)
            if test is None:
                raise ValueError(f"{case.__name__} has no test {name!r}.")
            failing = pytest.mark.xfail(reason=reason, strict=True)
            setattr(case, name, failing(_own_copy(test)))
        return case

    return mark


def _own_copy(
    test: Callable[..., Awaitable[None]],
) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a test that can be marked without marking the inherited one."""

    @functools.wraps(test)
    async def copied(*args: Any, **kwargs: Any) -> None:
        await test(*args, **kwargs)

    # `wraps` shares the list of marks with the inherited test.
    copied.pytestmark = list(getattr(test, "pytestmark", ()))  # type: ignore[attr-defined] # pytest's own place
    return copied
