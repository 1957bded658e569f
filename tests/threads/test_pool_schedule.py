"""The pool's invariants, over generated schedules.

``PoolMachine`` drives the scheduler alone: its workers are stand-ins that run a
job when the schedule says so, hence every interleaving can be repeated. The last
test lets real threads, parked ones too, do as they like.
"""

import functools
import math
import random
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads import pool as pool_module
from django_asgi_bridge.threads.worker import (
    PINS_CURSOR,
    PINS_NOTHING,
    PINS_STATE,
    PoolLease,
)
from tests.threads.support import Call, make_pool, wait, wait_until_idle

THREADS, MAX_THREADS, MAX_QUEUE = 2, 3, 3


class StandIn:
    """A worker without a thread: the schedule ends its jobs."""

    def __init__(self, pool, number):
        self.pool = pool
        self.inbox = self
        self.current: Any = None
        self.has_to_attach = True
        self.is_ended = False

    def start(self):
        """There is no thread to start."""

    def join(self, timeout):
        """There is no thread to wait for."""

    def put(self, item):
        if item is None:
            self.is_ended = True
            self.pool.workers_to_end.append(self)
            return
        assert not self.is_ended, "a job for a worker that was told to end"
        assert self.current is None, "a second job for a worker that runs one"
        self.current = item
        item[1].executions += 1

    def finish(self, has_open_work, clean_until=0.0, may_move=True):
        lease, job = self.current
        # From here on the inbox may take the next lease's job.
        self.current = None
        lease.note(job, has_open_work and not lease.is_closed)
        lease.clean_until, lease.may_move = clean_until, may_move
        following = self.pool.job_done(lease, has_detached=lease.is_closed)
        if following is not None:
            self.put((lease, following))


class PoolMachine(RuleBasedStateMachine):
    """Leases ask, jobs end, time-outs and closings come in between."""

    leases = Bundle("leases")

    def __init__(self):
        super().__init__()
        self.original = pool_module.Worker
        vars(pool_module)["Worker"] = StandIn
        self.pool = make_pool(
            threads=THREADS, max_threads=MAX_THREADS, max_queue=MAX_QUEUE
        )
        self.pool.workers_to_end = []
        self.known = []
        self.jobs = []
        self.refused = set()
        self.withdrawn = set()

    def teardown(self):
        try:
            self.end_everything()
        finally:
            pool_module.Worker = self.original

    def busy(self):
        return sorted(
            (worker for worker in self.pool._workers if worker.current is not None),
            key=lambda worker: self.jobs.index(worker.current[1]),
        )

    @rule(target=leases, count=st.integers(1, 4), is_per_call=st.booleans())
    def open_leases(self, count, is_per_call):
        made = [PoolLease() for _ in range(count)]
        for lease in made:
            lease.is_per_call = is_per_call
        self.known.extend(made)
        return multiple(*made)

    @rule(
        lease=leases,
        pins=st.sampled_from([PINS_NOTHING, PINS_STATE, PINS_CURSOR]),
        is_patient=st.booleans(),
    )
    def submit(self, lease, pins, is_patient):
        job = Call(pins=pins, is_patient=is_patient)
        self.jobs.append(job)
        try:
            self.pool.submit(lease, job)
        except PoolBusy:
            assert not is_patient
            assert len(self.pool._waiting) >= MAX_QUEUE
            self.refused.add(job)

    @precondition(lambda self: self.busy())
    @rule(
        data=st.data(),
        has_open_work=st.booleans(),
        clean_until=st.sampled_from([0.0, math.inf]),
    )
    def finish(self, data, has_open_work, clean_until):
        worker = data.draw(st.sampled_from(self.busy()))
        worker.finish(has_open_work, clean_until)

    @precondition(lambda self: self.pool._sleepers.waking)
    @rule()
    def wake_up(self):
        self.pool.woke(self.pool._sleepers.waking)

    @rule(lease=leases, data=st.data())
    def withdraw(self, lease, data):
        if lease.pending:
            job = data.draw(st.sampled_from(list(lease.pending)))
            assert self.pool.withdraw(lease, job)
            self.withdrawn.add(job)

    @rule(lease=leases)
    def close(self, lease):
        self.pool.close(lease)

    @precondition(lambda self: self.pool._idle)
    @rule(data=st.data())
    def grow_old(self, data):
        worker = data.draw(st.sampled_from(list(self.pool._idle)))
        assert self.pool.retire(worker)
        self.pool.ended(worker)

    @rule()
    def shut_down_and_reopen(self):
        self.pool.shutdown()
        self.let_workers_end()
        self.pool.reopen()

    def let_workers_end(self):
        while self.pool.workers_to_end:
            self.pool.ended(self.pool.workers_to_end.pop())

    @invariant()
    def bounds_hold(self):
        stats = self.pool.stats()
        handed_out = len(self.busy()) + len(self.pool._sleepers.unannounced)
        assert stats.running == handed_out <= THREADS
        assert stats.threads <= MAX_THREADS
        assert stats.running <= stats.leased

    @invariant()
    def each_worker_has_one_lease(self):
        holders = Counter(lease.worker for lease in self.known if lease.worker)
        assert not holders or max(holders.values()) == 1
        assert not set(holders) & set(self.pool._idle)
        assert set(holders) <= self.pool._workers
        for worker in self.busy():
            assert worker.current[0].worker is worker
            assert worker.current[0].active is worker.current[1]

    @invariant()
    def nobody_waits_for_what_is_free(self):
        pool = self.pool
        if pool._resuming:
            assert pool._running == THREADS
        if pool._waiting and pool._running < THREADS:
            assert not pool._idle
            assert not pool._idle_leases
            assert len(pool._workers) == MAX_THREADS

    @invariant()
    def nobody_sleeps_over_a_job(self):
        """What a sleeper was given is announced by the one that wakes."""
        if self.pool._sleepers.unannounced:
            assert self.pool._sleepers.waking is not None

    @invariant()
    def every_pending_job_is_on_its_way(self):
        for lease in self.known:
            if lease.pending:
                assert lease.active is not None or lease.is_waiting

    def end_everything(self):
        for lease in self.known:
            self.pool.close(lease)
        # One that wakes may have a job to announce although none runs.
        while self.busy() or self.pool._sleepers.waking is not None:
            if self.pool._sleepers.waking is not None:
                self.wake_up()
            else:
                self.busy()[0].finish(has_open_work=False)
        for job in self.jobs:
            was_dropped = (job in self.refused) + (job in self.withdrawn)
            assert job.executions + was_dropped == 1
        self.let_workers_end()
        stats = self.pool.stats()
        assert (stats.running, stats.waiting, stats.leased) == (0, 0, 0)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def asleep(monkeypatch):
    """Give a pool of two sleeping workers, which a test moves by hand."""
    monkeypatch.setattr(pool_module, "Worker", StandIn)
    pool = make_pool(threads=2, max_threads=2)
    leases = [PoolLease() for _ in range(2)]
    for lease in leases:
        pool.submit(lease, Call())
    for lease in leases:
        worker = lease.worker
        pool.close(lease)
        worker.finish(has_open_work=False)
    assert pool.stats().idle == 2
    return pool


def run_out(pool):
    """Let the workers end all that was submitted; the leases are closed."""
    while pool.stats().leased:
        waking = pool._sleepers.waking
        if waking is not None:
            pool.woke(waking)
        for worker in list(pool._workers):
            if worker.current is not None:
                worker.finish(has_open_work=False)


def test_worker_that_gets_free_takes_the_job_of_one_that_still_sleeps(asleep):
    """A burst of short jobs is done by the worker that is awake."""
    first, second = PoolLease(), PoolLease()
    job = Call()
    asleep.submit(first, Call(pins=PINS_NOTHING))
    asleep.submit(second, job)
    awake = first.worker
    assert job.executions == 0
    asleep.close(first)

    awake.finish(has_open_work=False)

    assert second.worker is awake
    assert job.executions == 1
    assert asleep.stats().idle == 1
    asleep.woke(awake)
    assert asleep.stats().idle == 1


@pytest.mark.parametrize(
    ("pins", "has_open_work", "clean_until", "may_move", "is_taken"),
    [
        (PINS_NOTHING, False, math.inf, True, True),
        (PINS_NOTHING, False, 0.0, True, False),
        (PINS_NOTHING, True, math.inf, True, False),
        (PINS_STATE, False, math.inf, True, False),
        (PINS_NOTHING, False, math.inf, False, False),
    ],
    ids=["clean", "due", "transaction", "pinned", "settled"],
)
def test_worker_leaves_a_lease_for_a_sleepers_job_when_it_is_clean(
    asleep, pins, has_open_work, clean_until, may_move, is_taken
):
    """A lease that goes on keeps the thread that has something of it, and no other."""
    first, second = PoolLease(), PoolLease()
    asleep.submit(first, Call(pins=pins))
    asleep.submit(second, Call())
    awake = first.worker

    awake.finish(has_open_work, clean_until, may_move)

    assert (second.worker is awake) is is_taken
    assert (first.worker is None) is is_taken
    again = Call()
    asleep.submit(first, again)
    for each in (first, second):
        asleep.close(each)
    run_out(asleep)
    assert again.executions == 1


def test_lease_that_gave_its_worker_away_goes_before_new_ones(asleep):
    """It is in mid-request: nor is it refused where they would be."""
    first, second = PoolLease(), PoolLease()
    asleep.submit(first, Call(pins=PINS_NOTHING))
    asleep.submit(second, Call())
    awake = first.worker
    awake.finish(has_open_work=False, clean_until=math.inf)
    assert first.worker is None
    third = PoolLease()
    asleep.submit(third, Call())
    fresh = [PoolLease() for _ in range(asleep.max_queue)]
    for each in fresh:
        asleep.submit(each, Call())
    with pytest.raises(PoolBusy):
        asleep.submit(PoolLease(), Call())

    again = Call()
    assert asleep.submit(first, again)

    asleep.close(second)
    second.worker.finish(has_open_work=False)
    assert first.worker is not None
    for each in (first, third, *fresh):
        asleep.close(each)
    run_out(asleep)
    assert again.executions == 1


def test_worker_that_wakes_wakes_the_next_one_before_its_job(asleep):
    """A job that blocks keeps nobody waiting."""
    first, second = PoolLease(), PoolLease()
    job = Call()
    asleep.submit(first, Call())
    asleep.submit(second, job)

    asleep.woke(first.worker)

    assert job.executions == 1
    assert second.worker is not first.worker


@pytest.mark.parametrize("seed", range(3))
def test_threads_end_idle_after_any_schedule(pools, seed):
    """Real threads, parked ones among them: every job is made, none stays."""
    pool = pools(threads=2, max_threads=6, max_queue=10_000)
    jobs, errors = [], []

    def request(number):
        chance = random.Random(seed * 1000 + number)
        lease = PoolLease()
        lease.is_per_call = chance.random() < 0.3
        last = None
        for _ in range(chance.randrange(1, 8)):
            last = Call(pins=chance.choice((PINS_NOTHING, PINS_STATE)))
            if chance.random() < 0.4:
                awaited = object()
                last.fn = functools.partial(pool.park, lease, awaited)
                jobs.append(last)
                pool.submit(lease, last)
                wait(last.started)
                for _ in range(chance.randrange(3)):
                    nested = Call(pins=PINS_NOTHING)
                    jobs.append(nested)
                    pool.submit(lease, nested)
                pool.submit(lease, Call(resumes=awaited, is_patient=True))
            else:
                jobs.append(last)
                pool.submit(lease, last)
            if chance.random() < 0.5:
                wait(last.delivered)
        pool.close(lease)
        if last is not None:
            wait(last.delivered)

    def guarded(number):
        try:
            request(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until_idle(pool)

    assert errors == []
    assert [job.executions for job in jobs] == [1] * len(jobs)
    assert pool.stats().threads <= 6
