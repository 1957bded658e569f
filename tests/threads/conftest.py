"""Pools that end with their test."""

import pytest

from tests.threads.support import make_pool, wait_until_idle


@pytest.fixture
def pools():
    """Give a function that makes pools; all their workers must be idle at the end."""
    made = []

    def make(**options):
        made.append(make_pool(**options))
        return made[-1]

    yield make

    for pool in made:
        wait_until_idle(pool)
        pool.shutdown()
        assert pool.stats().threads == 0


@pytest.fixture
def pool(pools):
    """Give a pool of two running jobs and four threads."""
    return pools()
