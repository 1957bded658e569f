"""Subscriptions that are given up before Redis has confirmed them."""

import asyncio
import uuid

import pytest
import redis.asyncio

from django_asgi_bridge.layers.redis.subscriber import Subscriber


@pytest.mark.asyncio
async def test_subscription_is_made_again_when_given_up_before_its_answer(redis_url):
    client = redis.asyncio.Redis.from_url(redis_url)
    came = asyncio.Queue()
    subscriber = Subscriber(
        client,
        lambda key, data: came.put_nowait((key, data)),
        lambda: None,
        patience=5.0,
    )
    key = uuid.uuid4().hex
    await subscriber.subscribe(f"{key}.first")

    given_up = asyncio.create_task(subscriber.subscribe(key))
    while key not in subscriber._waiters:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    await subscriber.unsubscribe(key)
    # Its answer comes after those of both earlier commands.
    await subscriber.subscribe(f"{key}.second")
    await asyncio.wait_for(given_up, 30)
    await subscriber.subscribe(key)
    await client.publish(key, b"arrives")

    assert await asyncio.wait_for(came.get(), 10) == (key, b"arrives")
    await subscriber.close()
    await client.aclose()


@pytest.mark.asyncio
async def test_subscriptions_come_back_after_an_error_that_nobody_expects(
    redis_url, caplog
):
    """Without its task no consumer of the loop would hear anything more."""
    client = redis.asyncio.Redis.from_url(redis_url)
    key, came, gaps = uuid.uuid4().hex, asyncio.Queue(), asyncio.Queue()

    def on_message(key, data):
        if data == b"bad":
            raise LookupError("a fault of ours")
        came.put_nowait(data)

    subscriber = Subscriber(
        client, on_message, lambda: gaps.put_nowait(True), patience=5.0
    )
    await subscriber.subscribe(key)

    await client.publish(key, b"bad")
    await asyncio.wait_for(gaps.get(), 30)
    await client.publish(key, b"good")

    assert await asyncio.wait_for(came.get(), 30) == b"good"
    assert "a fault of ours" in caplog.text
    await subscriber.close()
    await client.aclose()
