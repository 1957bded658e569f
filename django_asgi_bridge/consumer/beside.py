"""Handlers of one connection that run beside each other: ``concurrency`` above 1."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Hashable

from django_asgi_bridge.consumer.handling import TURN, Handling
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.threads import drive

__all__ = ("handle_beside_each_other",)


async def handle_beside_each_other(handling: Handling) -> None:
    """Handle messages in as many tasks as the consumer says, until the end is noted.

    Raises:
        StopConsumer: a handler says that it is over.
        Exception: what a handler raised.
    """
    # Keys of the handlers that run.
    busy: set[Hashable] = set()
    runners = [
        asyncio.create_task(_run_one(handling, busy))
        for _ in range(handling.consumer.concurrency)
    ]
    try:
        await asyncio.wait(runners, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for runner in runners:
            runner.cancel()
        await asyncio.wait(runners)
    errors = [
        error
        for runner in runners
        if not runner.cancelled() and (error := runner.exception())
    ]
    # An error says more than "it is over".
    errors.sort(key=lambda error: isinstance(error, StopConsumer))
    if errors:
        raise errors[0]


async def _run_one(handling: Handling, busy: set[Hashable]) -> None:
    await drive(contextvars.copy_context(), _handle_each(handling, busy))


async def _handle_each(handling: Handling, busy: set[Hashable]) -> None:
    worker = handling.new_worker()
    key_of, inbox = handling.consumer.concurrency_key, handling.inbox
    handled = 0
    while True:
        if inbox.has_notices:
            await handling.tell(worker)
        message = inbox.take_first(lambda each: key_of(each) not in busy)
        if message is None:
            if inbox.end is not None:
                return
            await inbox.wait()
            continue
        key = key_of(message)
        if key is not None:
            busy.add(key)
        try:
            await handling.handle(worker, message)
        finally:
            busy.discard(key)
            inbox.wake()
        handled += 1
        if handled % TURN == 0:
            await asyncio.sleep(0)
