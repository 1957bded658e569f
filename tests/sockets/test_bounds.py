"""What a consumer may say about its queues."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.sockets import Bounds, Dropped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_overflow": "block"}, "slowest member"),
        ({"outgoing_overflow": "block"}, "slowest member"),
        ({"client_overflow": "wait"}, "'drop_oldest'"),
        ({"outgoing": 0}, "at least 1"),
        ({"layer_events": -1}, "at least 1"),
        ({"send_timeout": 0}, "above 0"),
    ],
)
def test_bounds_refuse_what_cannot_be(options, message):
    with pytest.raises(ImproperlyConfigured, match=message):
        Bounds(**options)


def test_dropped_counts_can_be_told_apart():
    assert Dropped(3, 2, 1) - Dropped(1, 1, 1) == Dropped(2, 1, 0)
