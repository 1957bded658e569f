"""What every channel layer with groups must do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_asgi_bridge.testing.layer_case import LayerCase

__all__ = ("GroupConformance",)

_EVENT = {"type": "test.event"}


class GroupConformance(LayerCase):
    """The tests of groups; inherit ``ChannelLayerConformance``, which has them."""

    async def test_group_send_reaches_each_member_once(self) -> None:
        """A message to a group is one message for each channel in it."""
        async with self.opened("groups") as layer:
            members = [await layer.new_channel() for _ in range(3)]
            for member in members:
                await layer.group_add("room", member)

            await layer.group_send("room", _EVENT)

            for member in members:
                await self.expect_only(layer, member, "test.event")

    async def test_group_send_reaches_nobody_else(self) -> None:
        """A channel of another group, or of none, gets nothing."""
        async with self.opened("groups") as layer:
            member, other, alone = [await layer.new_channel() for _ in range(3)]
            await layer.group_add("room", member)
            await layer.group_add("room2", other)

            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member, "test.event")
            await self.expect_only(layer, other)
            await self.expect_only(layer, alone)

    async def test_group_keeps_the_order_of_a_sender(self) -> None:
        """Messages of one sender arrive in the order in which they were sent."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)
            kinds = [f"test.{number}" for number in range(30)]

            for kind in kinds:
                await layer.group_send("room", {"type": kind})

            await self.expect(layer, member, *kinds)

    async def test_group_member_gets_nothing_after_group_discard(self) -> None:
        """A channel that left a group gets no more of its messages."""
        async with self.opened("groups") as layer:
            stays, leaves = [await layer.new_channel() for _ in range(2)]
            for member in (stays, leaves):
                await layer.group_add("room", member)

            await layer.group_discard("room", leaves)
            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, stays, "test.event")
            await self.expect_only(layer, leaves)

    async def test_group_member_that_joins_twice_gets_one_message(self) -> None:
        """A second ``group_add`` renews the membership, and one discard ends it."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)
            await layer.group_add("room", member)

            await layer.group_send("room", _EVENT)
            await self.expect_only(layer, member, "test.event")
            await layer.group_discard("room", member)
            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member)

    async def test_group_member_that_rejoins_gets_messages_again(self) -> None:
        """Leaving is not for ever."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)
            await layer.group_discard("room", member)
            await layer.group_add("room", member)

            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member, "test.event")

    async def test_group_discard_of_a_stranger_is_no_error(self) -> None:
        """Who leaves a group need not know whether it is in it."""
        async with self.opened("groups") as layer:
            member, stranger = [await layer.new_channel() for _ in range(2)]
            await layer.group_add("room", member)

            await layer.group_discard("room", stranger)
            await layer.group_discard("empty", stranger)
            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member, "test.event")

    async def test_group_send_to_an_empty_group_is_no_error(self) -> None:
        """A group without members takes messages, and they are for nobody."""
        async with self.opened("groups") as layer:
            await layer.group_send("empty", _EVENT)

            late = await layer.new_channel()
            await layer.group_add("empty", late)
            await self.expect_only(layer, late)

    async def test_channel_in_two_groups_gets_the_messages_of_both(self) -> None:
        """A channel may be in any number of groups; leaving one keeps the others."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            await layer.group_add("one", member)
            await layer.group_add("two", member)

            await layer.group_send("one", {"type": "test.one"})
            await layer.group_send("two", {"type": "test.two"})
            await self.expect(layer, member, "test.one", "test.two")
            await layer.group_discard("one", member)
            await layer.group_send("one", {"type": "test.one"})
            await layer.group_send("two", {"type": "test.two"})

            await self.expect_only(layer, member, "test.two")

    async def test_members_do_not_see_each_others_changes(self) -> None:
        """Each member has a message of its own, and the sender keeps its own."""
        async with self.opened("groups") as layer:
            one, two = [await layer.new_channel() for _ in range(2)]
            for member in (one, two):
                await layer.group_add("room", member)
            message: dict[str, Any] = {"type": "test.event", "list": [{"a": [1]}]}

            await layer.group_send("room", message)
            message["list"][0]["a"].append(2)
            first = await self.next_of(layer, one)
            self.equal(first["list"], [{"a": [1]}])
            first["list"][0]["a"].append(3)

            self.equal((await self.next_of(layer, two))["list"], [{"a": [1]}])
            self.equal(message["list"], [{"a": [1, 2]}])

    async def test_full_member_does_not_keep_messages_from_the_others(self) -> None:
        """``group_send`` raises nothing for a channel that is full."""
        async with self.opened("groups", capacity=3) as layer:
            full, free = [await layer.new_channel() for _ in range(2)]
            for member in (full, free):
                await layer.group_add("room", member)
            kinds = [f"test.{number}" for number in range(6)]

            for kind in kinds:
                await layer.group_send("room", {"type": kind})
                await self.expect(layer, free, kind)

    async def test_full_member_keeps_the_oldest_messages(self) -> None:
        """What came within a channel's capacity is there, what came later is not."""
        async with self.opened("groups", capacity=3) as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)

            for number in range(6):
                await layer.group_send("room", {"type": f"test.{number}"})

            await self.expect(layer, member, "test.0", "test.1", "test.2")
            await self.expect_only(layer, member)

    async def test_membership_ends_after_group_expiry(self) -> None:
        """A channel that nobody reads leaves its groups after ``group_expiry``."""
        async with self.opened("groups", group_expiry=1) as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)

            await self.pass_time(layer, 2.5)
            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member)

    async def test_group_add_renews_a_membership(self) -> None:
        """``group_expiry`` counts from the last ``group_add``."""
        async with self.opened("groups", group_expiry=3) as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)
            await self.pass_time(layer, 2)
            await layer.group_add("room", member)
            await self.pass_time(layer, 2)

            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member, "test.event")

    async def test_flush_ends_memberships(self) -> None:
        """After ``flush`` no group has members."""
        async with self.opened("groups") as layer:
            if "flush" not in layer.extensions:
                pytest.skip("the layer has no extension 'flush'")
            member = await layer.new_channel()
            await layer.group_add("room", member)
            await layer.flush()

            await layer.group_send("room", _EVENT)

            await self.expect_only(layer, member)

    @pytest.mark.parametrize("name", ["", "a b", "a!b", "ä", "a" * 100, 5, None])
    async def test_group_name_is_refused_when_invalid(self, name: Any) -> None:
        """Letters, digits, hyphen, underscore and full stop; up to 99 of them."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            with pytest.raises(TypeError):
                await layer.group_add(name, member)
            with pytest.raises(TypeError):
                await layer.group_send(name, _EVENT)

    @pytest.mark.parametrize("name", ["room\n", "room٣"])
    async def test_group_name_is_refused_when_it_only_looks_valid(
        self, name: str
    ) -> None:
        """A line feed at the end, and digits of other scripts, are no name."""
        async with self.opened("groups") as layer:
            with pytest.raises(TypeError):
                await layer.group_send(name, _EVENT)

    async def test_group_takes_the_longest_name(self) -> None:
        """99 characters are a name."""
        async with self.opened("groups") as layer:
            member, name = await layer.new_channel(), "g" * 99
            await layer.group_add(name, member)

            await layer.group_send(name, _EVENT)

            await self.expect_only(layer, member, "test.event")

    async def test_group_send_arrives_when_sent_from_another_loop(self) -> None:
        """A thread with a loop of its own, as ``async_to_sync`` makes, may send."""
        async with self.opened("groups") as layer:
            member = await layer.new_channel()
            await layer.group_add("room", member)
            received = asyncio.create_task(self.next_of(layer, member))
            await self.settle(layer)

            await asyncio.to_thread(asyncio.run, layer.group_send("room", _EVENT))

            self.equal((await received)["type"], "test.event")
