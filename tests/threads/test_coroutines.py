"""Functions that stand for coroutine functions."""

import asyncio
import inspect

import pytest

from django_asgi_bridge.threads import raising, tail_call


async def answer(number):
    return number


@tail_call
def asked(number):
    return answer(number)


class Door:
    @tail_call
    def __call__(self, number):
        return answer(number)


@pytest.mark.parametrize("call", [asked, Door(), Door().__call__])
def test_tail_call_returns_what_the_other_one_does(call):
    assert asyncio.run(call(3)) == 3


@pytest.mark.parametrize("call", [asked, Door().__call__])
def test_tail_call_is_told_to_be_a_coroutine_function(call):
    """Servers take an application for one of ASGI 2 otherwise."""
    assert inspect.iscoroutinefunction(call)


def test_raising_raises_only_when_it_is_awaited():
    waiting = raising(LookupError("nothing"))

    with pytest.raises(LookupError, match="nothing"):
        asyncio.run(waiting)
