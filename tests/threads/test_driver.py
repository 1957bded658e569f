"""The driver: one context on both sides, and what a cancellation does."""

import asyncio
import contextvars
import functools
import threading

import pytest
from asgiref.local import Local

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.driver import detached_here, detached_tasks, drive
from django_asgi_bridge.threads.worker import PoolLease
from tests.threads.support import Call, run, served, until, wait, wait_until_idle

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Gate:
    """A blocking function that tells the loop when it runs."""

    def __init__(self):
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.is_over = False

    def __call__(self):
        self.entered.set()
        wait(self.opened)
        self.is_over = True
        return "through"

    async def is_entered(self):
        await asyncio.to_thread(wait, self.entered)


async def cancelled(task):
    """Cancel a task that is under way and tell that it ended so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def start(pool, request, **options):
    return asyncio.get_running_loop().create_task(served(pool, request, **options))


def test_trip_shares_the_context_both_ways(pool):
    """What either side sets, the other sees; a token is good on both."""

    def on_worker():
        seen = variable.get()
        return seen, variable.set("worker")

    async def request(lease):
        token = variable.set("loop")
        seen, worker_token = await lease.run(on_worker)
        assert (seen, variable.get()) == ("loop", "worker")
        variable.reset(worker_token)
        assert variable.get() == "loop"
        await lease.run(variable.reset, token)
        return variable.get("nothing")

    assert run(served(pool, request)) == "nothing"
    assert variable.get(None) is None


def test_trips_of_one_request_use_one_thread(pool):
    """All sync code of a request runs on its leased worker."""

    async def request(lease):
        return {await lease.run(threading.get_ident) for _ in range(5)}

    assert len(run(served(pool, request))) == 1


def test_trip_raises_what_the_function_raised(pool):
    """An exception crosses as it is, and the request goes on."""
    error = ValueError("told to fail")

    def fail():
        raise error

    async def request(lease):
        with pytest.raises(ValueError, match="told to fail") as caught:
            await lease.run(fail)
        assert caught.value is error
        return await lease.run(lambda: "still here")

    assert run(served(pool, request)) == "still here"


def test_locals_are_seen_after_a_trip_that_failed(pool):
    """An error page asks for the URLconf and the language as any other does."""
    local = Local()

    def fail():
        local.value = "worker"
        raise ValueError("told to fail")

    async def request(lease):
        with pytest.raises(ValueError, match="told to fail"):
            await lease.run(fail)
        return local.value

    assert run(served(pool, request)) == "worker"


def test_trip_waits_once_and_queues_nothing(pool, monkeypatch):
    """One future, no list: most trips find a worker and end by themselves."""
    made = []

    async def request(lease):
        loop = asyncio.get_running_loop()
        original = loop.create_future

        def create_future():
            made.append(original())
            return made[-1]

        with monkeypatch.context() as patch:
            patch.setattr(loop, "create_future", create_future)
            await lease.run(int)
        return lease.pending, lease.parked, lease.cursors

    assert run(served(pool, request)) == ((), (), ())
    assert len(made) == 1


def test_driven_coroutine_can_be_an_async_generator_with_trips(pool):
    """An async generator makes trips between its items."""

    async def numbers(lease):
        for number in range(3):
            yield await lease.run(lambda number=number: number * 2)

    async def request(lease):
        return [number async for number in numbers(lease)]

    assert run(served(pool, request)) == [0, 2, 4]


def test_driver_tells_when_the_coroutine_waits_for_the_first_time():
    """``on_wait`` is called once, and never for a coroutine that does not wait."""
    calls = []

    async def waits():
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def answers():
        return 1

    async def main():
        context = contextvars.copy_context()
        await drive(context, waits(), lambda: calls.append("waits"))
        await drive(context, answers(), lambda: calls.append("answers"))

    run(main())

    assert calls == ["waits"]


def test_trip_that_has_not_started_is_withdrawn_when_its_task_is_cancelled(pools):
    """A request that leaves the queue never runs its call."""
    pool = pools(threads=1, max_threads=1)
    holder = PoolLease()
    running = Call(is_gated=True)
    pool.submit(holder, running)
    wait(running.started)
    gate = Gate()

    async def main():
        task = start(pool, lambda lease: lease.run(gate))
        await until(lambda: pool.stats().waiting)
        await cancelled(task)
        assert pool.stats().waiting == 0

    run(main())
    running.gate.set()
    wait(running.delivered)
    pool.close(holder)
    assert not gate.entered.is_set()


def test_cancelled_request_waits_for_its_running_call(pool):
    """The call ends, then the coroutine sees the cancellation, then clean-up runs."""
    gate = Gate()
    seen = []

    async def request(lease):
        try:
            await lease.run(gate)
        except asyncio.CancelledError:
            seen.append(gate.is_over)
            raise
        finally:
            seen.append(await lease.run(lambda: "clean", is_cleanup=True))

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == [True, "clean"]


@pytest.mark.parametrize("reason", ["twice", "too long"])
def test_cancelled_request_leaves_its_clean_up_to_the_background(pool, reason):
    """The server has its task back; clean-up follows when the call has ended."""
    gate = Gate()
    seen: list[object] = []

    async def request(lease):
        try:
            await lease.run(gate)
        finally:
            seen.append("told")
            seen.append(await lease.run(lambda: gate.is_over, is_cleanup=True))

    async def main():
        patience = 0.0 if reason == "too long" else 60.0
        task = start(pool, request, detach_after=patience)
        await gate.is_entered()
        task.cancel()
        if reason == "twice":
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["told"]
        assert len(detached_tasks) == 2
        gate.opened.set()
        await asyncio.gather(*detached_tasks)

    run(main())
    assert seen == ["told", True]
    assert not detached_tasks


def test_clean_up_leaves_when_it_is_cancelled_while_a_left_call_runs(pool):
    """A second cancellation, during clean-up, gives the server its task back."""
    gate = Gate()
    seen: list[object] = []

    async def request(lease):
        try:
            await lease.run(gate, is_leavable=True)
        finally:
            seen.append("told")
            seen.append(await lease.run(lambda: gate.is_over, is_cleanup=True))

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        task.cancel()
        await until(lambda: bool(seen))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.opened.set()
        while detached_tasks:
            await asyncio.wait(list(detached_tasks))

    run(main())
    assert gate.is_over
    assert seen == ["told"]


@pytest.mark.parametrize("is_leavable", [True, False])
def test_request_goes_on_when_it_recovers_from_a_cancellation(pool, is_leavable):
    """asyncio.timeout() sees its own cancellation while the call still runs."""
    gate = Gate()

    def slow(over):
        variable.set("worker")
        over()
        gate()

    async def request(lease):
        token = variable.set("loop")
        loop = asyncio.get_running_loop()
        answer = []
        try:
            async with asyncio.timeout(None) as limit:
                over = functools.partial(loop.call_soon_threadsafe, limit.reschedule, 0)
                await lease.run(slow, over, is_leavable=is_leavable)
        except TimeoutError:
            answer = [gate.is_over, asyncio.current_task().cancelling()]
        if is_leavable:
            variable.reset(token)
        answer.append(await lease.run_promptly(lambda: "prompt"))
        gate.opened.set()
        await until(lambda: not lease.is_left())
        answer.append(await lease.run(lambda: gate.is_over, is_cleanup=True))
        return answer

    patience = 60.0 if is_leavable else 0.0

    assert run(served(pool, request, detach_after=patience)) == [
        False,
        0,
        "prompt",
        True,
    ]
    assert not detached_tasks


def test_leavable_call_carries_what_it_set_when_it_ends(pool):
    """It runs in a copy of the context, and a coroutine sees no difference."""
    local = Local()

    def on_worker():
        variable.set("worker")
        local.value = "worker"

    async def request(lease):
        local.value = "loop"
        await lease.run(on_worker, is_leavable=True)
        return variable.get(), local.value

    assert run(served(pool, request)) == ("worker", "worker")


def test_leavable_call_carries_nothing_when_it_was_left(pool):
    """What a call sets after the request went on without it is lost."""
    gate = Gate()

    def slow():
        variable.set("worker")
        gate()

    async def request(lease):
        try:
            await lease.run(slow, is_leavable=True)
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
        gate.opened.set()
        await until(lambda: not lease.is_left())
        return variable.get("nothing")

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        task.cancel()
        return await task

    assert run(main()) == "nothing"


def test_cancelled_request_cancels_what_its_parked_worker_waits_for(pool):
    """Cancelling reaches the coroutine that sync code waits for, then the call."""
    seen = []
    started = asyncio.Event()

    async def request(lease):
        async def inner():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("inner")
                raise

        def outer():
            try:
                lease.call_async(inner)
            finally:
                seen.append("outer")

        await lease.run(outer)

    async def main():
        task = start(pool, request)
        await started.wait()
        await cancelled(task)

    run(main())
    assert seen == ["inner", "outer"]


def test_call_async_of_a_call_that_outlived_its_loop_is_an_error(pool):
    """Nobody would ever answer: the worker must not wait for ever."""
    gate = Gate()
    errors = []

    async def request(lease):
        async def inner():
            """Do nothing."""

        def outer():
            gate()
            try:
                lease.call_async(inner)
            except RuntimeError as error:
                errors.append(str(error))

        lease.detach_after = 0.0
        await lease.run(outer)

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        await cancelled(task)

    run(main())
    gate.opened.set()
    wait_until_idle(pool)

    assert "is closed" in errors[0]


def test_cancelled_while_a_parked_worker_runs_nested_code_detaches(pool):
    """The nested call ends, then the inner coroutine, then the outer call."""
    gate = Gate()
    seen = []

    async def request(lease):
        async def inner():
            try:
                await lease.run(gate)
            finally:
                seen.append("inner")
                await lease.run(seen.append, "inner clean", is_cleanup=True)

        def outer():
            try:
                lease.call_async(inner)
            finally:
                seen.append("outer")

        try:
            await lease.run(outer)
        finally:
            seen.append("request")

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.is_over
        gate.opened.set()
        while detached_tasks:
            await asyncio.wait(list(detached_tasks))

    run(main())
    assert gate.is_over
    assert sorted(seen) == ["inner", "inner clean", "outer", "request"]


def test_cancellation_that_sync_code_swallows_is_raised_after_its_call(pool):
    """A cancelled request does not go on as if nothing had been."""
    gate = Gate()

    async def request(lease):
        await lease.run(gate)
        raise AssertionError("the request went on")

    async def main():
        task = start(pool, request)
        await gate.is_entered()
        task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_cleanup_call_is_made_when_its_task_is_cancelled_in_the_queue(pools):
    """A clean-up call waits for a worker as long as it takes."""
    pool = pools(threads=1, max_threads=1)
    holder = PoolLease()
    running = Call(is_gated=True)
    pool.submit(holder, running)
    wait(running.started)
    made: list[int] = []

    async def main():
        async def request(lease):
            await lease.run(made.append, 1, is_cleanup=True)

        task = start(pool, request, queue_timeout=0.0)
        await until(lambda: pool.stats().waiting)
        task.cancel()
        await asyncio.sleep(0)
        running.gate.set()
        await asyncio.to_thread(wait, running.delivered)
        pool.close(holder)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert made == [1]


def test_trip_raises_pool_busy_after_the_queue_timeout(pools):
    """The error names both numbers of the pool."""
    pool = pools(threads=1, max_threads=1)
    holder = PoolLease()
    call = Call()
    pool.submit(holder, call)
    wait(call.delivered)

    async def request(lease):
        await lease.run(lambda: None)

    with pytest.raises(PoolBusy, match=r"within 0\.001 s.*'THREADS'\] is 1"):
        run(served(pool, request, queue_timeout=0.001))
    pool.close(holder)


def test_call_async_carries_context_and_result_both_ways(pool):
    """Sync code that waits for a coroutine shares its variables with it."""

    async def inner(value):
        assert variable.get() == "outer"
        variable.set("inner")
        await asyncio.sleep(0)
        return value * 2

    async def request(lease):
        def outer():
            variable.set("outer")
            result = lease.call_async(inner, 21)
            return result, variable.get()

        return await lease.run(outer)

    assert run(served(pool, request)) == (42, "inner")


def test_call_async_raises_what_the_coroutine_raised(pool):
    """An exception crosses a parked worker as it is."""

    async def inner():
        raise KeyError("inner")

    async def request(lease):
        def outer():
            with pytest.raises(KeyError, match="inner"):
                lease.call_async(inner)
            return "caught"

        return await lease.run(outer)

    assert run(served(pool, request)) == "caught"


def test_64_parked_requests_do_not_starve_the_one_that_frees_them(pools):
    """64 async views behind a sync middleware wait for a sync request."""
    pool = pools(threads=4, max_threads=80)

    async def main():
        freed = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def view():
            await freed.wait()
            return 1

        async def waits(lease):
            return await lease.run(lease.call_async, view)

        async def frees(lease):
            await lease.run(loop.call_soon_threadsafe, freed.set)

        tasks = [start(pool, waits) for _ in range(64)]
        await until(lambda: pool.stats().leased == 64 and not pool.stats().running)
        await start(pool, frees)
        return sum(await asyncio.gather(*tasks))

    assert run(main()) == 64


def test_part_of_a_request_may_be_driven_in_a_task_of_its_own(pool):
    """Middleware may put the rest of the chain into a task; it has the worker."""

    async def request(lease):
        async def rest():
            return await lease.run(threading.get_ident)

        first = await lease.run(threading.get_ident)
        tasks = [
            asyncio.create_task(drive_all(contextvars.copy_context(), rest()))
            for _ in range(3)
        ]
        return {first, *await asyncio.gather(*tasks)}

    async def drive_all(context, coroutine):
        return await drive(context, coroutine)

    assert len(run(served(pool, request))) == 1


def test_two_parked_parts_of_a_request_get_their_own_answers(pool):
    """Two tasks of one request wait on one thread; each has its own result."""

    async def request(lease):
        events = [asyncio.Event(), asyncio.Event()]
        entered = [asyncio.Event(), asyncio.Event()]

        async def part(number):
            async def inner():
                entered[number].set()
                await events[number].wait()
                return number

            return await lease.run(lease.call_async, inner)

        async def driven(number):
            return await drive(contextvars.copy_context(), part(number))

        first = asyncio.create_task(driven(0))
        await entered[0].wait()
        second = asyncio.create_task(driven(1))
        await entered[1].wait()
        # The outer wait on the thread's stack is over first.
        events[0].set()
        await asyncio.sleep(0)
        events[1].set()
        return await asyncio.gather(first, second)

    assert run(served(pool, request)) == [0, 1]


def test_two_loops_in_two_threads_share_the_pool(pool):
    """Each request's calls come back to its own loop."""
    outcomes = []

    async def request(lease):
        loop = asyncio.get_running_loop()

        async def which():
            return asyncio.get_running_loop() is loop

        return [await lease.run(lease.call_async, which) for _ in range(20)]

    def serve():
        outcomes.append(run(served(pool, request)))

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == [[True] * 20] * 2


def test_worker_survives_a_loop_that_closed_under_its_call(pool):
    """The answer to nobody is dropped; the worker takes the next lease."""
    gate = Gate()
    leases = []
    loop = asyncio.new_event_loop()

    async def abandoned(lease):
        leases.append(lease)
        await lease.run(gate)

    async def begin():
        task = loop.create_task(served(pool, abandoned))
        await asyncio.sleep(0)
        return task

    async def other(lease):
        return await lease.run(lambda: "served")

    task = loop.run_until_complete(begin())
    wait(gate.entered)
    task._log_destroy_pending = False
    loop.close()
    gate.opened.set()
    pool.close(leases[0])

    assert run(served(pool, other)) == "served"


def test_tasks_that_a_closed_loop_left_are_forgotten():
    """They never end, and other loops must not wait for them."""

    async def never_ends():
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    lost = loop.create_task(never_ends())
    loop.run_until_complete(asyncio.sleep(0))

    async def others():
        detached_tasks.add(lost)
        own = asyncio.create_task(never_ends())
        detached_tasks.add(own)
        while_it_lives = detached_here() == {own} and lost in detached_tasks
        loop.close()
        afterwards = detached_here() == {own} and lost not in detached_tasks
        detached_tasks.discard(own)
        own.cancel()
        return while_it_lives, afterwards

    try:
        assert asyncio.run(others()) == (True, True)
    finally:
        lost._log_destroy_pending = False
