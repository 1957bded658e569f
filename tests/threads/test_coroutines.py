"""Functions that stand for coroutine functions."""

import asyncio
import inspect

import pytest

from django_asgi_bridge.threads import hand_on, raising, tail_call


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


def test_application_called_without_arguments_is_no_factory():
    """uvicorn tries that, and takes what lets it for one that makes applications."""

    class Application:
        @tail_call
        def __call__(self, scope, receive, send):
            return answer(scope)

    @tail_call
    def application(scope, receive, send):
        return answer(scope)

    for each in (Application(), application):
        with pytest.raises(TypeError, match="missing 3 required positional arguments"):
            each()  # type: ignore[call-arg]  # what is tested
        assert asyncio.run(each(3, None, None)) == 3


def test_what_is_handed_on_is_a_coroutine_also_of_an_application_that_gives_a_future():
    """Who makes a task of it gets one."""

    async def main():
        def application(scope, receive, send):
            return asyncio.ensure_future(answer(scope))

        return await asyncio.create_task(hand_on(application, 3, None, None))

    assert asyncio.run(main()) == 3
