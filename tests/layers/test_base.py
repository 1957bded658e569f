"""The base class of layers: names with Channels' texts, capacities by pattern."""

import re

import pytest

from django_asgi_bridge import layers
from django_asgi_bridge.exceptions import ChannelFull, MessageTooLarge
from django_asgi_bridge.layers import BaseChannelLayer, InMemoryChannelLayer
from django_asgi_bridge.layers.base import require_message

CHANNEL_TEXT = (
    "Channel name must be a valid unicode string with length < 100 containing only"
    " ASCII alphanumerics, hyphens, underscores, or periods."
)
GROUP_TEXT = CHANNEL_TEXT.replace("Channel", "Group", 1)


@pytest.fixture
def base():
    return BaseChannelLayer()


@pytest.mark.parametrize("name", ["a b", "a\n", "٣", "x" * 100, "", 5, None, "a!b!"])
def test_channel_name_is_refused_with_the_pinned_text(base, name):
    with pytest.raises(TypeError) as caught:
        base.require_valid_channel_name(name)

    assert str(caught.value) == CHANNEL_TEXT
    assert caught.value.__notes__[0].startswith("got ")


@pytest.mark.parametrize("name", ["a b", "a\n", "٣", "x" * 100, "", 5, "a!b"])
def test_group_name_is_refused_with_the_pinned_text(base, name):
    with pytest.raises(TypeError) as caught:
        base.require_valid_group_name(name)

    assert str(caught.value) == GROUP_TEXT
    assert caught.value.__notes__[0].startswith("got ")


@pytest.mark.parametrize("name", ["room", "x" * 99, "a.b-c_d"])
def test_names_are_accepted_when_valid(base, name):
    assert base.require_valid_channel_name(name) is True
    assert base.require_valid_channel_name(f"{name[:90]}!", receive=True) is True
    assert base.require_valid_group_name(name) is True


def test_name_to_receive_on_is_refused_when_it_goes_beyond_the_mark(base):
    with pytest.raises(TypeError) as caught:
        base.require_valid_channel_name("specific!abc", receive=True)

    expected = "Specific channel names in receive() must end at the !"
    assert str(caught.value) == expected


def test_names_are_accepted_as_a_list(base):
    assert base.valid_channel_names(["a", "b!c"]) is True
    assert base.valid_channel_names(["a!"], receive=True) is True
    with pytest.raises(TypeError):
        base.valid_channel_names(["a", "b c"])


@pytest.mark.parametrize("names", [[], None, "abc", ("a",)])
def test_names_are_refused_when_they_are_no_list_of_names(base, names):
    with pytest.raises(AssertionError, match="names must be a non-empty list"):
        base.valid_channel_names(names)


def test_deprecated_names_warn_and_work(base):
    channel = "valid_channel_name is deprecated, use require_valid_channel_name instead"
    with pytest.warns(DeprecationWarning, match=channel):
        assert base.valid_channel_name("a!b", receive=True) is True
    group = "valid_group_name is deprecated, use require_valid_group_name instead"
    with pytest.warns(DeprecationWarning, match=group):
        assert base.valid_group_name("a") is True


def test_non_local_name_ends_at_the_mark(base):
    assert base.non_local_name("specific!abc") == "specific!"
    assert base.non_local_name("jobs") == "jobs"


@pytest.mark.parametrize("cls", [BaseChannelLayer, InMemoryChannelLayer])
def test_capacity_is_that_of_the_first_pattern_that_matches(cls):
    """C12: Channels' in-memory layer raised ValueError as soon as it was asked."""
    layer = cls(
        capacity=5, channel_capacity={"http.*": 1, "*": 2, re.compile("http"): 3}
    )

    assert layer.get_capacity("http.request") == 1
    assert layer.get_capacity("jobs") == 2


def test_capacity_by_regular_expression_matches_from_the_start():
    layer = BaseChannelLayer(channel_capacity={re.compile(r"jobs\d"): 7})

    assert layer.get_capacity("jobs1.fast") == 7
    assert layer.get_capacity("my.jobs1") == 100


def test_capacities_stay_when_they_are_compiled_again():
    """Layers written for Channels compile them themselves."""
    layer = BaseChannelLayer(channel_capacity={"a*": 1})

    layer.channel_capacity = layer.compile_capacities(layer.channel_capacity)
    assert layer.get_capacity("ab") == 1
    layer.channel_capacity = layer.compile_capacities({"b*": 2})
    assert layer.get_capacity("bc") == 2


@pytest.mark.parametrize("cls", [BaseChannelLayer, InMemoryChannelLayer])
def test_layer_names_its_errors(cls):
    """R14: senders of any layer write ``except layer.ChannelFull``."""
    assert cls.ChannelFull is ChannelFull
    assert cls.MessageTooLarge is MessageTooLarge


def test_base_has_the_defaults_of_channels(base):
    assert (base.expiry, base.capacity, base.MAX_NAME_LENGTH) == (60, 100, 100)
    assert layers.DEFAULT_CHANNEL_LAYER == "default"


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("send", ("a", {}), "send() should be implemented in a channel layer"),
        ("receive", ("a",), "receive() should be implemented in a channel layer"),
        ("new_channel", (), "new_channel() should be implemented in a channel layer"),
        ("flush", (), "flush() not implemented (flush extension)"),
        ("group_add", ("a", "b"), "group_add() not implemented (groups extension)"),
        (
            "group_discard",
            ("a", "b"),
            "group_discard() not implemented (groups extension)",
        ),
        ("group_send", ("a", {}), "group_send() not implemented (groups extension)"),
    ],
)
@pytest.mark.asyncio
async def test_base_says_what_an_author_has_to_write(base, method, arguments, text):
    with pytest.raises(NotImplementedError) as caught:
        await getattr(base, method)(*arguments)

    assert str(caught.value) == text


@pytest.mark.parametrize("error", [AssertionError, ValueError])
def test_message_is_refused_as_channels_does_and_as_we_do(error):
    with pytest.raises(error, match="message is not a dict"):
        require_message("text")
    with pytest.raises(error, match="__asgi_channel__"):
        require_message({"__asgi_channel__": "a"})


def test_redis_layer_is_asked_for_by_name_only():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        layers.Nothing  # noqa: B018


def test_redis_layer_says_what_to_install_when_its_library_is_missing(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'redis'", name="redis")

    monkeypatch.setattr(layers.importlib, "import_module", missing)

    with pytest.raises(ImportError, match=r'pip install "django-asgi-bridge\[redis\]"'):
        layers.RedisChannelLayer  # noqa: B018
