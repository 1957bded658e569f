"""Talking to an ASGI application from a test, event by event.

The interface is that of ``channels.testing``. The application runs in a task of its
own, in an empty context, as under a server; its sync code has the database
connections, and so the transaction, of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Mapping
from typing import Any

from asgiref.compatibility import guarantee_single_callable

from django_asgi_bridge.sockets.failure import FailureClose
from django_asgi_bridge.testing.expectations import expect_event
from django_asgi_bridge.testing.places import place_of
from django_asgi_bridge.testing.worker import connections_of_test

__all__ = ("ApplicationCommunicator",)


class ApplicationCommunicator:
    """Runs an application for one scope; sends it events and receives its own.

    Args:
        application: an ASGI application, of version 2 or 3.
        scope: the connection's.

    Attributes:
        input_queue: events for the application.
        output_queue: events from it.
    """

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self.application = _in_test(application)
        self.scope = scope
        self.input_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.output_queue: asyncio.Queue[Any] = asyncio.Queue()
        self._future: asyncio.Future[Any] | None = None
        self._name = _name_of(application)

    @property
    def future(self) -> asyncio.Future[Any]:
        """The application's task; it starts when it is first asked for."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_task(
                self.application(
                    self.scope, self.input_queue.get, self.output_queue.put
                ),
                # What the test has set is not seen, as under a server.
                context=contextvars.Context(),
            )
        return self._future

    async def send_input(self, message: Mapping[str, Any]) -> None:
        """Let the application receive an event.

        Raises:
            Exception: what the application raised.
        """
        if self.future.done():
            self.future.result()
        await self.input_queue.put(message)

    async def receive_output(self, timeout: float = 1) -> Any:
        """Return the application's next event.

        Args:
            timeout: seconds to wait for it.

        Raises:
            TimeoutError: none came; the message says where the application waits.
            Exception: what the application raised.
        """
        if self.future.done():
            self.future.result()
        getting = asyncio.ensure_future(self.output_queue.get())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait(
                    [getting, self.future], return_when=asyncio.FIRST_COMPLETED
                )
                if not getting.done():
                    # It failed, and nothing will come.
                    self.future.result()
                event = await getting
        except TimeoutError:
            if self.future.done():
                self.future.result()
            place = place_of(self.future)
            await self._cancel()
            raise TimeoutError(
                f"{self._name} sent nothing within {timeout:g} s; it waits in {place}"
            ) from None
        finally:
            getting.cancel()
        if isinstance(event, FailureClose):
            # The application is about to raise what made it close.
            await asyncio.wait([self.future], timeout=timeout)
            if self.future.done():
                self.future.result()
        return event

    async def receive_nothing(
        self, timeout: float = 0.1, interval: float = 0.01
    ) -> bool:
        """Tell whether the application sends no event for a time.

        Args:
            timeout: seconds to watch.
            interval: seconds between two looks.
        """
        if self.future.done():
            self.future.result()
        end = time.monotonic() + timeout
        while self.output_queue.empty() and time.monotonic() < end:
            await asyncio.sleep(interval)
        if self.output_queue.empty() and self.future.done():
            # Silent because it has failed.
            self.future.result()
        return self.output_queue.empty()

    async def wait(self, timeout: float = 1) -> None:
        """Wait for the application's end.

        Raises:
            TimeoutError: it has not ended; the message says where it waits.
            Exception: what the application raised.
        """
        done, _ = await asyncio.wait([self.future], timeout=timeout)
        if not done:
            place = place_of(self.future)
            await self._cancel()
            raise TimeoutError(
                f"{self._name} did not end within {timeout:g} s; it waits in {place}"
            )
        with contextlib.suppress(asyncio.CancelledError):
            self.future.result()

    def stop(self, exceptions: bool = True) -> None:
        """Cancel the application, unless it has ended.

        Args:
            exceptions: raise what an application that has ended raised.
        """
        future = self._future
        if future is None:
            return
        if not future.done():
            future.cancel()
        elif exceptions:
            future.result()

    def __del__(self) -> None:
        # A closed loop cannot cancel anything any more; an application that
        # failed has been asked for its error, or nobody wants it.
        with contextlib.suppress(RuntimeError, AttributeError):
            self.stop(exceptions=False)

    async def _receive_body(self, kind: str, timeout: float) -> bytes:
        """Return what the next events of that kind bring, the last one included."""
        body = b""
        more_body = True
        while more_body:
            part = await self.receive_output(timeout)
            expect_event(part, kind)
            body += part.get("body", b"")
            more_body = part.get("more_body", False)
        return body

    async def _cancel(self) -> None:
        self.future.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.future


def _in_test(application: Any) -> Any:
    """Return the application with the test's database connections."""
    adapt: Any = guarantee_single_callable
    inner = adapt(application)

    async def in_test(scope: Any, receive: Any, send: Any) -> Any:
        with connections_of_test():
            return await inner(scope, receive, send)

    return in_test


def _name_of(application: Any) -> str:
    return str(getattr(application, "__qualname__", type(application).__qualname__))
