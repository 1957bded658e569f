"""System checks: what a wrong setting says before the site is served."""

import pytest
from django.core import checks
from django.test import override_settings

MEMORY = "django_asgi_bridge.layers.InMemoryChannelLayer"


def ids_and_messages():
    found = checks.run_checks(tags=["django_asgi_bridge"])
    return [(each.id.rpartition(".")[2], each.msg, each.hint) for each in found]


@pytest.mark.parametrize(
    ("settings", "number", "words"),
    [
        ({"ASGI_BRIDGE": {"THREAD": 1}}, "E001", "'THREAD'; the nearest one is"),
        ({"ASGI_BRIDGE": {"THREADS": 0}}, "E001", "must be at least 1"),
        ({"ASGI_BRIDGE": {"LIFESPAN": ["nowhere.hook"]}}, "E002", "nowhere.hook"),
        ({"CHANNEL_LAYERS": {"default": {}}}, "E003", "No BACKEND specified"),
        (
            {"CHANNEL_LAYERS": {"default": {"BACKEND": "no.such.Layer"}}},
            "E003",
            "Cannot import BACKEND 'no.such.Layer'",
        ),
        (
            {
                "CHANNEL_LAYERS": {
                    "a": {"BACKEND": MEMORY},
                    "b": {"BACKEND": MEMORY, "CONFIG": {"capcity": 1}},
                }
            },
            "E003",
            "CHANNEL_LAYERS['b'] cannot be used",
        ),
    ],
)
def test_wrong_setting_is_an_error(settings, number, words):
    with override_settings(**settings):
        found = ids_and_messages()

    assert [each[0] for each in found] == [number]
    assert words in found[0][1]


def test_layer_that_cannot_be_imported_says_why_in_its_hint():
    layers = {"default": {"BACKEND": "no.such.Layer"}}
    with override_settings(CHANNEL_LAYERS=layers):
        [(_, _, hint)] = ids_and_messages()

    assert hint == "No module named 'no'"


@pytest.mark.parametrize(
    "settings",
    [{}, {"CHANNEL_LAYERS": {}}, {"CHANNEL_LAYERS": {"default": {"BACKEND": MEMORY}}}],
)
def test_right_settings_say_nothing(settings):
    with override_settings(**settings):
        assert ids_and_messages() == []


def test_pool_that_may_be_larger_than_the_database_is_warned_of(monkeypatch):
    from django.db import connections

    database = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60}
    monkeypatch.setitem(connections.settings, "default", database)
    with override_settings(ASGI_BRIDGE={"THREADS": 101, "MAX_THREADS": 200}):
        [(number, message, _)] = ids_and_messages()

    assert number == "W001"
    assert "THREADS'] is 101" in message
