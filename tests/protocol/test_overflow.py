"""Bounded queues lose nothing without counting it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_bridge.protocol.overflow import Overflow, make_queue

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(0, 3), st.integers(0, 5)),
        st.tuples(st.just("take"), st.none(), st.none()),
        st.tuples(st.just("drop"), st.none(), st.none()),
    ),
    max_size=60,
)


@given(st.sampled_from(list(Overflow)), st.integers(1, 4), STEPS)
def test_queue_accounts_for_every_item(policy, bound, steps):
    """offered == taken + dropped + refused + waiting, at every step."""
    queue = make_queue(policy, bound, max_bytes=12)
    offered = taken = refused = 0
    entries = {}
    for number, (step, key, size) in enumerate(steps):
        if step == "offer":
            offered += 1
            dropped = queue.dropped
            is_queued = queue.offer(number, key, size)
            entries[number] = queue.entered - 1
            refused += not is_queued and queue.dropped == dropped
        elif step == "take" and len(queue):
            left = queue.left
            assert entries[queue.take()] == left
            taken += 1
        elif step == "drop":
            queue.drop_all()
        assert offered == taken + queue.dropped + refused + len(queue)
        assert len(queue) <= bound
        assert queue.bytes <= 12
        assert queue.left <= queue.entered - len(queue)
        assert len(queue) or queue.left == queue.entered
    assert refused == 0 or policy is Overflow.BLOCK


@given(st.sampled_from([*Overflow]), st.lists(st.integers(0, 3), max_size=30))
def test_queue_keeps_the_order_of_entry(policy, keys):
    queue = make_queue(policy, 5)
    for number, key in enumerate(keys):
        queue.offer(number, key)

    rest = [queue.take() for _ in range(len(queue))]

    assert rest == sorted(rest)


def test_latest_by_key_keeps_the_latest_of_each_key():
    queue = make_queue(Overflow.LATEST_BY_KEY, 2)
    for number, key in enumerate("abacb"):
        queue.offer(number, key)

    assert [queue.take() for _ in range(len(queue))] == [3, 4]
    assert queue.dropped == 3
    with pytest.raises(IndexError):
        queue.take()


def test_large_item_may_wait_alone():
    queue = make_queue(Overflow.DROP_NEWEST, 5, max_bytes=10)

    assert queue.offer("large", size=100)
    assert not queue.offer("small", size=1)


@pytest.mark.parametrize("policy", [Overflow.DROP_NEWEST, Overflow.LATEST_BY_KEY])
def test_first_that_suits_is_taken_out_of_turn(policy):
    queue = make_queue(policy, 5, max_bytes=100)
    for number in range(4):
        queue.offer(number, number, size=1)

    assert queue.take_first(lambda item: item == 2) == 2
    assert queue.take_first(lambda item: item == 9) is None
    assert [queue.take() for _ in range(3)] == [0, 1, 3]
    assert queue.bytes == 0
