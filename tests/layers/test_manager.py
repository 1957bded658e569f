"""Layers by alias: made once, from the setting as it is, with clear errors."""

import threading

import pytest
from django.test import override_settings

from django_asgi_bridge import layers
from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.layers import (
    ChannelLayerManager,
    InMemoryChannelLayer,
    channel_layers,
    get_channel_layer,
)

MEMORY = "django_asgi_bridge.layers.InMemoryChannelLayer"


class Demanding:
    """A layer whose constructor has a mistake."""

    def __init__(self, **config):
        config["token"]


class Slow:
    """A layer whose constructor lets another thread come in between."""

    made: list[object] = []
    entered = threading.Event()
    leave = threading.Event()

    def __init__(self):
        self.made.append(self)
        self.entered.set()
        self.leave.wait(10)


@pytest.fixture
def manager():
    return ChannelLayerManager()


def test_layer_is_none_when_the_setting_is_not_there(settings):
    del settings.CHANNEL_LAYERS

    assert get_channel_layer() is None
    assert get_channel_layer("other") is None
    assert "default" not in channel_layers


@override_settings(CHANNEL_LAYERS=None)
def test_layer_is_none_when_the_setting_is_empty():
    assert get_channel_layer() is None


@override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY}})
def test_layer_is_made_once():
    layer = get_channel_layer()

    assert isinstance(layer, InMemoryChannelLayer)
    assert get_channel_layer() is layer
    assert channel_layers["default"] is layer
    assert "default" in channel_layers
    assert get_channel_layer("other") is None


def test_layers_are_forgotten_when_the_setting_changes():
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY}}):
        assert channel_layers.backends == {}
        first = get_channel_layer()
        with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY}}):
            assert get_channel_layer() is not first
    assert channel_layers.backends == {}


@override_settings(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": MEMORY,
            "CONFIG": {"capacity": 7},
            "TEST_CONFIG": {"expiry": 100500},
        }
    }
)
def test_layer_has_the_configuration_of_its_purpose(manager):
    assert manager.make_backend("default").capacity == 7
    tested = manager.make_test_backend("default")
    assert (tested.capacity, tested.expiry) == (100, 100500)


@pytest.mark.parametrize(
    ("entry", "make", "text"),
    [
        (
            {"BACKEND": MEMORY},
            "make_test_backend",
            "No TEST_CONFIG specified for default",
        ),
        (
            {"BACKEND": MEMORY, "ROUTING": "a.b"},
            "make_backend",
            "ROUTING key found for default - this is no longer needed in Channels 2.",
        ),
        ({}, "make_backend", "No BACKEND specified for default"),
        (
            {"BACKEND": "nowhere.Layer"},
            "make_backend",
            "Cannot import BACKEND 'nowhere.Layer' specified for default",
        ),
        (
            {"BACKEND": "django_asgi_bridge.layers.Nothing"},
            "make_backend",
            (
                "Cannot import BACKEND 'django_asgi_bridge.layers.Nothing' specified for"
                " default"
            ),
        ),
    ],
)
def test_layer_is_refused_when_its_entry_is_wrong(manager, entry, make, text):
    with (
        override_settings(CHANNEL_LAYERS={"default": entry}),
        pytest.raises(InvalidChannelLayerError) as caught,
    ):
        getattr(manager, make)("default")

    assert str(caught.value) == text


@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": "tests.layers.test_manager.Demanding"}}
)
def test_error_of_a_layers_constructor_is_not_hidden():
    """It is no missing alias, although it is a KeyError too."""
    with pytest.raises(KeyError, match="token"):
        get_channel_layer()


def test_missing_alias_is_a_key_error(manager):
    with pytest.raises(KeyError):
        manager["nothing"]


@override_settings(CHANNEL_LAYERS={})
def test_layer_that_is_set_takes_the_place_of_an_alias():
    layer = InMemoryChannelLayer()

    assert channel_layers.set("default", layer) is None
    try:
        assert get_channel_layer() is layer
        assert channel_layers.set("default", "other") is layer
    finally:
        channel_layers.backends.clear()


@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": "tests.layers.test_manager.Slow"}}
)
def test_layer_is_made_once_when_two_threads_ask_first(manager):
    Slow.made.clear()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(manager["default"]))
        for _ in range(2)
    ]
    threads[0].start()
    assert Slow.entered.wait(10)
    threads[1].start()
    Slow.leave.set()
    for thread in threads:
        thread.join(10)

    assert found == [Slow.made[0], Slow.made[0]]


@override_settings(CHANNEL_LAYERS={})
def test_process_bus_is_one_and_no_projects_layer():
    bus = layers.process_bus()

    assert layers.process_bus() is bus
    assert isinstance(bus, InMemoryChannelLayer)
    assert get_channel_layer() is None
