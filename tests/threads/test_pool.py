"""The pool: slots, threads, the queue, and what it takes back."""

import math
import threading

import pytest

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.worker import (
    PINS_CURSOR,
    PINS_NOTHING,
    PINS_STATE,
    PoolLease,
    Worker,
)
from tests.threads.support import WATCHDOG, Call, wait, wait_until_idle


def submit(pool, lease, **options):
    call = Call(**options)
    pool.submit(lease, call)
    return call


def done(pool, lease, **options):
    """Run a job to its end."""
    call = submit(pool, lease, **options)
    wait(call.delivered)
    return call


def test_pool_starts_no_thread_before_the_first_job(pool):
    """A pool that nobody asks has no threads."""
    assert pool.stats().threads == 0


def test_pool_reuses_its_thread_when_leases_come_in_turn(pool):
    """Requests that follow one another use one thread."""
    threads = set()
    for _ in range(50):
        lease = PoolLease()
        threads.add(done(pool, lease).thread)
        pool.close(lease)

    assert len(threads) == 1
    assert pool.stats().started_total == 1


def test_pool_takes_the_worker_used_last(pool):
    """The worker used last is used next, so that the others can grow old."""
    first, second, third = PoolLease(), PoolLease(), PoolLease()
    one = done(pool, first).thread
    other = done(pool, second).thread
    pool.close(first)
    pool.close(second)

    assert done(pool, third).thread is other
    assert other is not one
    pool.close(third)


def test_pool_runs_no_more_jobs_at_once_than_it_has_slots(pool):
    """A third job waits for a slot, though a third thread could be started."""
    leases = [PoolLease() for _ in range(3)]
    calls = [submit(pool, lease, is_gated=True) for lease in leases]
    wait(calls[0].started)
    wait(calls[1].started)

    assert not calls[2].started.is_set()
    assert pool.stats().running == 2
    assert pool.stats().waiting == 1

    calls[0].gate.set()
    wait(calls[2].started)
    for call, lease in zip(calls, leases, strict=True):
        call.gate.set()
        wait(call.delivered)
        pool.close(lease)


def test_pool_wakes_a_worker_for_each_job_when_all_of_them_block(pools):
    """Sleeping workers are woken one by one, without waiting for each other's jobs."""
    pool = pools(threads=8, max_threads=8)
    for _ in range(2):
        leases = [PoolLease() for _ in range(8)]
        calls = [submit(pool, lease, is_gated=True) for lease in leases]
        for call in calls:
            wait(call.started)
        for call, lease in zip(calls, leases, strict=True):
            call.gate.set()
            wait(call.delivered)
            pool.close(lease)
        wait_until_idle(pool)

    assert pool.stats().started_total == 8


def test_pool_frees_the_slot_of_a_lease_that_only_keeps_its_thread(pool):
    """Threads above ``threads`` are for leases that hold one and run nothing."""
    leases = [PoolLease() for _ in range(4)]
    threads = {done(pool, lease).thread for lease in leases}

    assert len(threads) == 4
    assert pool.stats().leased == 4
    assert pool.stats().running == 0
    for lease in leases:
        pool.close(lease)


def test_pool_refuses_a_job_when_the_queue_is_full(pools):
    """The lease that finds ``max_queue`` others waiting gets PoolBusy at once."""
    pool = pools(threads=1, max_threads=1, max_queue=2)
    holder, *waiting = [PoolLease() for _ in range(3)]
    done(pool, holder)
    calls = [submit(pool, lease) for lease in waiting]

    with pytest.raises(PoolBusy, match=r"MAX_QUEUE.*2"):
        pool.submit(PoolLease(), Call())
    patient = PoolLease()
    cleanup = submit(pool, patient, is_patient=True)

    pool.close(holder)
    for lease, call in zip([*waiting, patient], [*calls, cleanup], strict=True):
        wait(call.delivered)
        pool.close(lease)


def test_pool_forgets_a_job_that_is_withdrawn_while_it_waits(pools):
    """A job can be taken back until it starts; then it cannot."""
    pool = pools(threads=1, max_threads=1)
    holder, waiting = PoolLease(), PoolLease()
    running = submit(pool, holder, is_gated=True)
    wait(running.started)
    call = submit(pool, waiting)

    assert pool.withdraw(waiting, call)
    assert not pool.withdraw(waiting, call)
    assert not pool.withdraw(holder, running)
    assert pool.stats().waiting == 0

    running.gate.set()
    wait(running.delivered)
    pool.close(holder)
    pool.close(waiting)
    assert call.executions == 0


def test_every_job_of_a_waiting_lease_is_told_to_wait(pools):
    """Each call has a time-out of its own: also the one behind the first."""
    pool = pools(threads=1, max_threads=1)
    holder, waiting = PoolLease(), PoolLease()
    done(pool, holder)
    first, second = Call(), Call()

    assert pool.submit(waiting, first)
    assert pool.submit(waiting, second)

    assert pool.withdraw(waiting, first)
    assert pool.stats().waiting == 1
    assert pool.withdraw(waiting, second)
    assert pool.stats().waiting == 0
    pool.close(holder)


def test_pool_takes_an_idle_worker_back_from_a_lease_without_pins(pools):
    """When no thread is left, a lease that nothing ties to its thread gives it."""
    pool = pools(threads=2, max_threads=2)
    older, newer, asking = PoolLease(), PoolLease(), PoolLease()
    oldest_thread = done(pool, older, pins=PINS_NOTHING).thread
    done(pool, newer, pins=PINS_NOTHING)

    assert done(pool, asking).thread is oldest_thread
    assert older.worker is None
    assert newer.worker is not None
    assert pool.stats().started_total == 2
    for lease in (older, newer, asking):
        pool.close(lease)


@pytest.mark.parametrize(
    ("pins", "has_open_work"),
    [(PINS_STATE, False), (PINS_CURSOR, False), (PINS_NOTHING, True)],
    ids=["unknown code", "cursor", "transaction"],
)
def test_pool_leaves_a_pinned_lease_its_worker(pools, pins, has_open_work):
    """Unknown code, an open cursor or a transaction tie a lease to its thread."""
    pool = pools(threads=1, max_threads=1, has_open_work=lambda: has_open_work)
    pinned, asking = PoolLease(), PoolLease()
    done(pool, pinned, pins=pins)
    call = submit(pool, asking)

    assert not call.started.is_set()
    assert pool.stats().waiting == 1

    pool.close(pinned)
    wait(call.delivered)
    pool.close(asking)


def test_lease_per_call_gives_its_worker_back_after_each_call(pool):
    """A stream holds no worker between its calls."""
    lease = PoolLease()
    lease.is_per_call = True

    done(pool, lease)
    wait_until_idle(pool)

    assert lease.worker is None


def test_lease_per_call_keeps_its_worker_while_a_cursor_is_open(pool):
    """A stream keeps its worker from the first row of a query to the last."""
    is_open = True
    lease = PoolLease()
    lease.is_per_call = True
    options = {"pins": PINS_CURSOR, "is_cursor_open": lambda: is_open}

    done(pool, lease, **options)
    assert lease.worker is not None

    is_open = False
    done(pool, lease, **options)
    wait_until_idle(pool)
    assert lease.worker is None


def test_pool_calls_on_attach_before_and_on_detach_after_a_lease(pool):
    """Both hooks run on the worker, around all jobs of the lease."""
    seen = []

    def note(name):
        return lambda: seen.append((name, threading.current_thread()))

    lease = PoolLease(note("attach"), note("detach"))
    thread = done(pool, lease, fn=note("job")).thread
    done(pool, lease, fn=note("job"))
    pool.close(lease)
    wait_until_idle(pool)

    assert seen == [(name, thread) for name in ("attach", "job", "job", "detach")]


def test_lease_keeps_a_worker_whose_transactions_cannot_be_told(pools):
    """A failing look is no proof that nothing is open: the call may be in one."""

    def fail():
        raise AttributeError("no connection")

    pool = pools(has_open_work=fail)
    lease = PoolLease()
    lease.is_per_call = True
    done(pool, lease, pins=PINS_NOTHING)

    assert lease.worker is not None
    pool.close(lease)


@pytest.mark.parametrize(
    ("pins", "clean_until", "is_detached"),
    [
        (PINS_NOTHING, math.inf, False),
        (PINS_NOTHING, 0.0, True),
        (PINS_STATE, math.inf, True),
    ],
    ids=["clean", "due", "pinned"],
)
def test_pool_skips_on_detach_when_nothing_is_left(
    pools, pins, clean_until, is_detached
):
    """A worker goes back as it is when ``on_detach`` would have nothing to do."""
    pool = pools(clean_until=lambda: (clean_until, True))
    detached = []
    lease = PoolLease(on_detach=lambda: detached.append(1))
    done(pool, lease, pins=pins)

    pool.close(lease)
    is_back = lease.worker is None
    wait_until_idle(pool)

    assert bool(detached) is is_detached
    assert is_back is not is_detached


def test_pool_detaches_a_lease_that_is_closed_during_its_last_job(pool):
    """Closing in mid-job is no way around ``on_detach``."""
    detached = threading.Event()
    lease = PoolLease(on_detach=detached.set)
    call = submit(pool, lease, is_gated=True)
    wait(call.started)

    pool.close(lease)
    call.gate.set()

    wait(detached)


@pytest.mark.parametrize("is_slot_wanted", [False, True])
def test_pool_detaches_a_lease_that_is_closed_as_its_last_job_ends(
    pools, is_slot_wanted
):
    """The worker has asked whether it is over, and the pool has not heard yet."""
    detached = threading.Event()
    lease, other = PoolLease(on_detach=detached.set), PoolLease()
    call = None

    def close_meanwhile():
        # What close() does before it has to wait for the lock.
        lease.is_closed = call is not None
        return 0.0, False

    pool = pools(threads=1, max_threads=2, clean_until=close_meanwhile)
    done(pool, other)
    call = submit(pool, lease, is_gated=True)
    wait(call.started)
    if is_slot_wanted:
        submit(pool, other)
    call.gate.set()
    wait(call.delivered)
    pool.close(lease)
    pool.close(other)

    wait(detached)
    wait_until_idle(pool)
    assert lease.worker is None


def test_pool_gives_a_late_call_a_worker_for_itself(pool):
    """A task that outlives its request may still call; nothing stays leased."""
    lease = PoolLease()
    done(pool, lease)
    pool.close(lease)

    late = done(pool, lease)
    wait_until_idle(pool)

    assert late.executions == 1
    assert lease.worker is None


def test_failing_hooks_do_not_end_the_worker(pools, caplog):
    """A hook that fails is logged; its worker lives on."""

    def fail():
        raise ValueError("told to fail")

    pool = pools(has_open_work=fail)
    lease = PoolLease(fail, fail)

    done(pool, lease)
    pool.close(lease)
    wait_until_idle(pool)

    assert pool.stats().idle == 1
    assert [record.message for record in caplog.records] == [
        "a hook of the worker threads failed"
    ] * 3


def test_parked_worker_frees_its_slot_and_runs_nested_jobs(pools):
    """While a job waits, others run, and its own lease's jobs run on its thread."""
    pool = pools(threads=1)
    lease, other = PoolLease(), PoolLease()
    awaited = object()
    outer = submit(pool, lease, fn=lambda: pool.park(lease, awaited))
    wait(outer.started)

    elsewhere = done(pool, other)
    nested = done(pool, lease)
    assert nested.thread is outer.thread
    assert elsewhere.thread is not outer.thread
    assert not outer.delivered.is_set()

    pool.submit(lease, Call(resumes=awaited, is_patient=True))
    wait(outer.delivered)
    pool.close(lease)
    pool.close(other)


def test_resumed_worker_waits_for_a_slot(pools):
    """A wait that is over goes on when a slot is free, before new leases."""
    pool = pools(threads=1)
    lease, other, third = PoolLease(), PoolLease(), PoolLease()
    awaited = object()
    outer = submit(pool, lease, fn=lambda: pool.park(lease, awaited))
    wait(outer.started)
    running = submit(pool, other, is_gated=True)
    wait(running.started)
    order = []
    waiting = submit(pool, third, fn=lambda: order.append(outer.delivered.is_set()))

    pool.submit(lease, Call(resumes=awaited, is_patient=True))
    assert not outer.delivered.is_set()
    running.gate.set()
    wait(outer.delivered)
    wait(waiting.delivered)

    for each in (lease, other, third):
        pool.close(each)


def test_outer_wait_ends_after_the_inner_one(pools):
    """Two waits on one thread end from the inside, whichever is over first."""
    pool = pools(threads=1)
    lease = PoolLease()
    ended = []

    def park(name):
        pool.park(lease, name)
        ended.append(name)

    outer = submit(pool, lease, fn=lambda: park("outer"))
    wait(outer.started)
    inner = submit(pool, lease, fn=lambda: park("inner"))
    wait(inner.started)

    pool.submit(lease, Call(resumes="outer", is_patient=True))
    assert done(pool, lease).thread is outer.thread
    assert ended == []

    pool.submit(lease, Call(resumes="inner", is_patient=True))
    wait(outer.delivered)
    assert ended == ["inner", "outer"]
    pool.close(lease)


def test_shutdown_ends_idle_workers_and_leased_ones_after_their_lease(pool):
    """After a shutdown no thread is kept; the running job ends as it would."""
    idle, leased = PoolLease(), PoolLease()
    call = submit(pool, leased, is_gated=True)
    wait(call.started)
    done(pool, idle)
    pool.close(idle)
    wait_for_idle = pool.stats().idle

    pool.shutdown()

    assert wait_for_idle == 1
    assert pool.stats().threads == 1
    call.gate.set()
    wait(call.delivered)
    pool.close(leased)
    call.thread.join(WATCHDOG)
    assert pool.stats().threads == 0


def test_pool_still_takes_workers_back_after_a_shutdown(pools):
    """Requests that outlive a shutdown share the threads as before it."""
    pool = pools(threads=1, max_threads=1)
    idle, asking = PoolLease(), PoolLease()
    thread = done(pool, idle, pins=PINS_NOTHING).thread
    pool.shutdown()

    assert done(pool, asking).thread is thread

    pool.close(idle)
    pool.close(asking)
    thread.join(WATCHDOG)
    assert pool.stats().threads == 0


def test_reopened_pool_keeps_its_workers_again(pool):
    """A second lifespan in one process finds a pool that works."""
    pool.shutdown()
    pool.reopen()
    lease = PoolLease()

    done(pool, lease)
    pool.close(lease)

    assert pool.stats().idle == 1


def test_unused_worker_ends_and_runs_its_last_act(pools):
    """A worker that nobody used for ``idle_timeout`` closes its connections."""
    ended = threading.Event()
    pool = pools(idle_timeout=0.001, on_thread_end=ended.set)
    lease = PoolLease()
    thread = done(pool, lease).thread
    pool.close(lease)

    wait(ended)
    thread.join(WATCHDOG)

    assert pool.stats().threads == 0


def test_leased_worker_does_not_grow_old(pools):
    """However long a request waits, its thread is there when it calls again."""
    pool = pools(idle_timeout=0.001)
    lease = PoolLease()
    asked = threading.Event()
    retire = pool.retire

    def asked_and_refused(worker):
        answer = retire(worker)
        asked.set()
        return answer

    pool.retire = asked_and_refused
    first = done(pool, lease)
    asked.clear()
    wait(asked)

    assert done(pool, lease).thread is first.thread
    pool.close(lease)
    first.thread.join(WATCHDOG)


def test_worker_that_ends_makes_room_for_a_waiting_lease(pools):
    """The place of an ended thread is used at once."""
    held = threading.Event()
    ending = threading.Event()

    def end_slowly():
        ending.set()
        wait(held)

    pool = pools(threads=1, max_threads=1, idle_timeout=0.001, on_thread_end=end_slowly)
    first, second = PoolLease(), PoolLease()
    done(pool, first)
    pool.close(first)
    wait(ending)
    call = submit(pool, second)
    assert not call.started.is_set()

    held.set()
    wait(call.delivered)
    pool.close(second)


def test_thread_that_cannot_be_started_counts_as_a_full_pool(
    pools, monkeypatch, caplog
):
    """Out of threads, the pool goes on with those it has, and says so."""
    pool = pools(threads=2, max_threads=4)
    holder, asking = PoolLease(), PoolLease()
    thread = done(pool, holder).thread

    def fail(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Worker, "start", fail)
    call = submit(pool, asking)
    assert not call.started.is_set()
    assert "could not be started" in caplog.text

    pool.close(holder)
    wait(call.delivered)
    assert call.thread is thread
    pool.close(asking)


def test_thread_that_cannot_be_started_is_taken_from_an_idle_lease(pools, monkeypatch):
    """Out of threads, a lease that nothing ties to its thread gives it."""
    pool = pools()
    idle, asking = PoolLease(), PoolLease()
    thread = done(pool, idle, pins=PINS_NOTHING).thread

    def fail(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Worker, "start", fail)

    assert done(pool, asking).thread is thread
    pool.close(idle)
    pool.close(asking)


def test_workers_are_named_daemons(pool):
    """A stuck view shows its name in a dump and cannot keep the process alive."""
    lease = PoolLease()
    thread = done(pool, lease).thread
    pool.close(lease)

    assert thread.name.startswith("django-asgi-bridge-")
    assert thread.daemon
