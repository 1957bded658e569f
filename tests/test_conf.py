"""``ASGI_BRIDGE``: every key, its type, its range, and what a mistake says."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_asgi_bridge.conf import (
    Config,
    django_settings,
    forget_config,
    get_config,
    read_config,
    read_setting,
)

FIELDS = Config.__annotations__

VALID = {
    "THREADS": 8,
    "MAX_THREADS": 64,
    "MAX_QUEUE": 0,
    "QUEUE_TIMEOUT": 0,
    "THREAD_IDLE_TIMEOUT": 0.5,
    "DETACH_AFTER": 1,
    "MAX_BODY_SIZE": 1000,
    "BODY_TIMEOUT": 2.5,
    "MAX_SYNC_STREAMS": 1,
    "ATOMIC_ASYNC_VIEWS": True,
    "RESOLVE_USER": True,
    "ON_DISCONNECT": "shield",
    "MAX_HEADERS": 10,
    "MAX_HEADER_BYTES": 1024,
    "STRICT_PATHS": True,
    "LIFESPAN": ["project.hooks.one"],
    "LIFESPAN_TIMEOUT": 3,
    "HEARTBEAT": 5.0,
    "WEBSOCKET_ORIGINS": ["https://app.example.com"],
}

WRONG = [
    *(
        (name, value)
        for name in ("THREADS", "MAX_THREADS", "MAX_QUEUE", "MAX_SYNC_STREAMS")
        for value in ("8", 8.0, None, True)
    ),
    *((name, "8") for name in ("MAX_HEADERS", "MAX_HEADER_BYTES", "MAX_BODY_SIZE")),
    *(
        (name, value)
        for name in (
            "QUEUE_TIMEOUT",
            "THREAD_IDLE_TIMEOUT",
            "DETACH_AFTER",
            "BODY_TIMEOUT",
            "LIFESPAN_TIMEOUT",
            "HEARTBEAT",
        )
        for value in ("1", True)
    ),
    *((name, None) for name in ("QUEUE_TIMEOUT", "DETACH_AFTER", "BODY_TIMEOUT")),
    *((name, 1) for name in ("ATOMIC_ASYNC_VIEWS", "RESOLVE_USER", "STRICT_PATHS")),
    ("ON_DISCONNECT", None),
    ("LIFESPAN", "project.hooks.one"),
    ("LIFESPAN", None),
    ("WEBSOCKET_ORIGINS", "https://app.example.com"),
]

OUT_OF_RANGE = [
    ("THREADS", 0, "at least 1"),
    ("MAX_THREADS", 0, "at least 1"),
    ("MAX_THREADS", 31, "at least THREADS, which is 32"),
    ("THREADS", 129, "at least THREADS, which is 129"),
    ("MAX_QUEUE", -1, "at least 0"),
    ("QUEUE_TIMEOUT", -0.1, "at least 0"),
    ("DETACH_AFTER", -1, "at least 0"),
    ("THREAD_IDLE_TIMEOUT", 0, "above 0"),
    ("BODY_TIMEOUT", 0, "above 0"),
    ("LIFESPAN_TIMEOUT", 0, "above 0"),
    ("HEARTBEAT", 0, "above 0"),
    ("HEARTBEAT", -1, "above 0"),
    ("MAX_BODY_SIZE", -1, "at least 0"),
    ("MAX_SYNC_STREAMS", 0, "at least 1"),
    ("MAX_HEADERS", 0, "at least 1"),
    ("ON_DISCONNECT", "ignore", "'cancel', 'finish' or 'shield'"),
]


@pytest.fixture(autouse=True)
def _fresh_config():
    yield
    forget_config()


def test_every_key_is_in_the_tables_here():
    """A new key comes with its cases."""
    assert set(VALID) == {name.upper() for name in FIELDS}
    assert {name for name, _ in WRONG} == set(VALID)


def test_config_has_the_documented_defaults():
    """Without the setting, the numbers are those of the reference."""
    assert vars(read_config({})) == vars(Config())
    assert vars(Config()) == {
        "threads": 32,
        "max_threads": 128,
        "max_queue": 1000,
        "queue_timeout": 5.0,
        "thread_idle_timeout": 60.0,
        "detach_after": 5.0,
        "max_body_size": None,
        "body_timeout": 60.0,
        "max_sync_streams": 64,
        "atomic_async_views": False,
        "resolve_user": False,
        "on_disconnect": "cancel",
        "max_headers": 128,
        "max_header_bytes": 65536,
        "strict_paths": False,
        "lifespan": (),
        "lifespan_timeout": 30.0,
        "heartbeat": 15.0,
        "websocket_origins": (),
    }


@pytest.mark.parametrize("key", sorted(VALID))
def test_key_becomes_a_field(key):
    """A key is the field's name in capitals."""
    config = read_config({key: VALID[key]})

    value = getattr(config, key.lower())
    given = VALID[key]
    assert value == (tuple(given) if isinstance(given, list) else given)
    others = {name for name in FIELDS if name != key.lower()}
    assert all(getattr(config, name) == getattr(Config(), name) for name in others)


def test_all_keys_together_are_valid():
    """The keys do not exclude one another."""
    assert read_config(VALID).threads == 8


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_value_of_a_wrong_type_is_an_error(key, value):
    """The message names the key and the value; True is not a number."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read_config({key: value})

    message = str(caught.value)
    assert f"ASGI_BRIDGE[{key!r}] is {value!r}; it must be of type " in message


@pytest.mark.parametrize(("key", "value", "expected"), OUT_OF_RANGE)
def test_value_out_of_its_range_is_an_error(key, value, expected):
    """The message names the key, the value and the range."""
    with pytest.raises(ImproperlyConfigured, match=expected):
        read_config({key: value})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("THREAD", "THREADS"),
        ("threads", "THREADS"),
        ("MAX_BODY", "MAX_BODY_SIZE"),
        ("QUEUE_TIME_OUT", "QUEUE_TIMEOUT"),
        ("zzz", None),
        (7, None),
    ],
)
def test_unknown_key_names_the_nearest_known_one(key, nearest):
    """A misspelt option is an error that helps, whatever its type."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read_config({key: 1})

    assert f"no option {key!r}" in str(caught.value)
    known = [name for name in VALID if f"nearest one is {name!r}" in str(caught.value)]
    assert len(known) == 1
    assert nearest is None or known == [nearest]


@pytest.mark.parametrize("given", [None, [], "THREADS", 8, [("THREADS", 8)]])
def test_setting_that_is_no_dictionary_is_an_error(given):
    """``ASGI_BRIDGE`` itself has a type too."""
    with pytest.raises(ImproperlyConfigured, match="must be a dictionary"):
        read_config(given)


@pytest.mark.parametrize("key", ["MAX_BODY_SIZE", "HEARTBEAT"])
def test_none_switches_an_option_off(key):
    """Where a limit may be missing, ``None`` says so."""
    assert getattr(read_config({key: None}), key.lower()) is None


def test_config_cannot_be_changed():
    """Rooms may keep the object: nobody changes it under them."""
    with pytest.raises(AttributeError, match="'threads'"):
        Config().threads = 1  # type: ignore[misc]  # what is tested


def test_a_config_of_an_option_that_is_none_is_refused():
    with pytest.raises(TypeError, match="no option 'treads'"):
        Config(treads=8)


def test_config_is_built_once_and_anew_when_the_setting_changes():
    """``override_settings`` of ASGI_BRIDGE is seen at the next reading."""
    before = get_config()
    assert get_config() is before

    with override_settings(ASGI_BRIDGE={"THREADS": 3}):
        assert get_config().threads == 3
    assert vars(get_config()) == vars(before)

    with override_settings(DEBUG=True):
        kept = get_config()
    assert get_config() is kept


def test_config_is_the_default_when_the_setting_is_missing(settings):
    """A project needs no setting at all."""
    del settings.ASGI_BRIDGE

    assert vars(get_config()) == vars(Config())


def test_error_is_raised_again_while_the_setting_is_wrong():
    """A wrong setting is not forgotten after its first error."""
    with override_settings(ASGI_BRIDGE={"THREADS": 0}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured, match="THREADS"):
                get_config()


def test_djangos_settings_are_read_as_they_are_at_the_moment(settings):
    """Test runners override some, assign others, and take them back."""
    assert read_setting("ROOT_URLCONF") == settings.ROOT_URLCONF
    with override_settings(ROOT_URLCONF="inner.urls"):
        assert read_setting("ROOT_URLCONF") == "inner.urls"
        django_settings.ROOT_URLCONF = "assigned.urls"
        assert read_setting("ROOT_URLCONF") == "assigned.urls"
        del django_settings.ROOT_URLCONF
        with pytest.raises(AttributeError):
            read_setting("ROOT_URLCONF")
    assert read_setting("ROOT_URLCONF") == settings.ROOT_URLCONF
    with pytest.raises(AttributeError):
        read_setting("NO_SUCH_SETTING")
