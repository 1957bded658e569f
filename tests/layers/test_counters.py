"""Whatever is done with a layer, every message is accounted for."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from django_asgi_bridge.exceptions import ChannelFull
from django_asgi_bridge.layers import InMemoryChannelLayer
from tests.layers.clocks import Clock
from tests.layers.mailboxes import Box

CHANNELS = st.sampled_from(["a", "b", "c"])
GROUPS = st.sampled_from(["g", "h"])


class LayerMachine(RuleBasedStateMachine):
    """Random operations on a layer beside a plain model of it."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.layer = InMemoryChannelLayer(
            capacity=3, expiry=10, group_expiry=25, clock=self.clock
        )
        self.number = 0
        self.receivers: list[asyncio.Task] = []
        self.received: list[object] = []
        self.boxes: dict[str, Box] = {}
        self.refused = 0

    def teardown(self):
        for task in self.receivers:
            task.cancel()
        self.turn()
        self.loop.close()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def turn(self):
        async def turns():
            for _ in range(8):
                await asyncio.sleep(0)

        self.run(turns())
        for task in [each for each in self.receivers if each.done()]:
            self.receivers.remove(task)
            if not task.cancelled():
                self.received.append(task.result())

    def event(self):
        self.number += 1
        return {"type": "t", "number": self.number, "list": []}

    @rule(channel=CHANNELS)
    def send(self, channel):
        try:
            self.run(self.layer.send(channel, self.event()))
        except ChannelFull:
            self.refused += 1

    @rule(channel=CHANNELS)
    def receive(self, channel):
        self.receivers.append(self.loop.create_task(self.layer.receive(channel)))
        self.turn()

    @rule(data=st.data())
    def cancel(self, data):
        if self.receivers:
            data.draw(st.sampled_from(self.receivers)).cancel()

    @rule()
    def let_run(self):
        self.turn()

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds):
        self.clock.pass_(seconds)

    @rule(group=GROUPS, channel=CHANNELS)
    def join(self, group, channel):
        self.run(self.layer.group_add(group, channel))

    @rule(group=GROUPS, channel=CHANNELS)
    def leave(self, group, channel):
        self.run(self.layer.group_discard(group, channel))

    @rule(group=GROUPS)
    def group_send(self, group):
        self.run(self.layer.group_send(group, self.event()))

    @rule(group=GROUPS)
    def broadcast(self, group):
        self.number += 1
        self.run(self.layer.group_broadcast(group, json=self.number))

    @rule(group=GROUPS, room=st.integers(0, 4))
    def open(self, group, room):
        box = Box(room)
        name = self.run(self.layer.open_mailbox(box))
        self.boxes[name] = box
        self.run(self.layer.group_add(group, name))

    @rule(data=st.data())
    def send_to_consumer(self, data):
        if self.boxes:
            name = data.draw(st.sampled_from(sorted(self.boxes)))
            try:
                self.run(self.layer.send(name, self.event()))
            except ChannelFull:
                self.refused += 1

    @rule(data=st.data())
    def close(self, data):
        if self.layer._mailboxes:
            name = data.draw(st.sampled_from(sorted(self.layer._mailboxes)))
            self.layer.close_mailbox(name)

    @rule()
    def flush(self):
        self.run(self.layer.flush())

    @invariant()
    def counters_are_exact(self):
        counted = self.layer.stats()
        assert counted.sent == (
            counted.delivered + counted.dropped + counted.expired + counted.waiting
        )
        assert counted.waiting == sum(map(len, self.layer.channels.values()))
        assert counted.dropped >= self.refused
        taken = sum(len(box.events) + len(box.frames) for box in self.boxes.values())
        done = [each for each in self.receivers if each.done() and not each.cancelled()]
        assert counted.delivered == len(self.received) + len(done) + taken

    @invariant()
    def nobody_is_left_behind(self):
        layer = self.layer
        for name, queue in layer.channels.items():
            assert queue.messages or queue.waiters or name in layer._mailboxes, name
        members = layer._members
        pairs = {
            (group, each) for group in layer.groups for each in layer.groups[group]
        }
        assert all(layer.groups.values())
        assert all(members._live.values())
        assert pairs == {
            (group, channel)
            for channel in members._groups_of
            for group in members.groups_of(channel)
        }
        live = {
            (group, each) for group in members._live for each in members._live[group]
        }
        assert set(members._aging) == pairs - live
        assert {each for _, each in live} <= set(layer._mailboxes)


TestLayerMachine = LayerMachine.TestCase
TestLayerMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
