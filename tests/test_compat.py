"""This package under the name of Channels, each time in a process of its own."""

import itertools
import os
import subprocess
import sys
import textwrap

import pytest

SETTINGS = """
import sys, types
settings = sys.modules["compat_settings"] = types.ModuleType("compat_settings")
{install}
settings.__dict__.update(
    SECRET_KEY="x",
    USE_TZ=True,
    ROOT_URLCONF="compat_settings",
    urlpatterns=[],
    ASGI_APPLICATION="compat_settings.application",
    INSTALLED_APPS={apps!r},
    CHANNEL_LAYERS={{"default": {{"BACKEND": "{package}.layers.InMemoryChannelLayer"}}}},
    DATABASES={{
        "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    }},
    STATIC_URL="static/",
)
import django
django.setup()
"""
INSTALL = (
    "from django_asgi_bridge.compat import install_as_channels\ninstall_as_channels()"
)
APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]


MODULES = [
    "auth", "consumer", "db", "exceptions", "generic.http", "generic.websocket",
    "layers", "management.commands.runworker", "middleware", "routing",
    "security.websocket", "sessions", "testing", "testing.application",
    "testing.http", "testing.live", "testing.websocket", "utils", "worker",
]  # fmt: skip


def run(code, *, install=INSTALL, apps=("django_asgi_bridge",), package="channels"):
    """Run code in a project and return what it prints."""
    script = SETTINGS.format(install=install, apps=[*apps, *APPS], package=package)
    return subprocess.run(
        [sys.executable, "-c", script + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "compat_settings"},
    )


def test_modules_below_channels_are_our_own_objects():
    done = run(
        f"""
        names = {MODULES!r}"""
        """
        import importlib, pkgutil
        import django_asgi_bridge
        for name in names:
            theirs = importlib.import_module(f"channels.{name}")
            ours = importlib.import_module(f"django_asgi_bridge.{name}")
            assert theirs is ours, name
            assert ours.__spec__.name == ours.__name__, name
        from channels.testing.application import ApplicationCommunicator
        from channels.testing.http import HttpCommunicator
        from channels.testing.websocket import WebsocketCommunicator
        import channels
        assert channels.__version__ == "4.3.2"
        assert channels.DEFAULT_CHANNEL_LAYER == "default"
        print(type(channels.layers.get_channel_layer()).__module__)
        """
    )

    assert done.stdout == "django_asgi_bridge.layers.memory\n", done.stderr


COMPARE = """
import importlib, inspect

def parameters(thing):
    return list(inspect.signature(thing).parameters.values())

def compare(where, theirs, ours):
    known = parameters(ours)
    named = {each.name: each for each in known}
    for index, each in enumerate(parameters(theirs)):
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            if each.kind not in [own.kind for own in known]:
                print(f"{where}: {each}")
        elif each.name not in named or (
            repr(named[each.name].default) != repr(each.default)
        ):
            print(f"{where}: {each}")
        elif each.kind is each.POSITIONAL_OR_KEYWORD and known[index].name != each.name:
            print(f"{where}: place of {each}")

for name in names:
    theirs = importlib.import_module(f"channels.{name}")
    ours = importlib.import_module(f"django_asgi_bridge.{name}")
    for attribute, thing in vars(theirs).items():
        where = f"{name}.{attribute}"
        if attribute.startswith("_") or not callable(thing):
            continue
        if not str(thing.__module__).startswith(("channels.", "asgiref.")):
            continue
        own = getattr(ours, attribute, None)
        if own is None:
            if name in thing.__module__:
                print(where)
        elif not inspect.isclass(thing):
            compare(where, thing, own)
        else:
            for member in dir(thing):
                if member != "__init__" and member.startswith("_"):
                    continue
                owner = next(each for each in thing.__mro__ if member in vars(each))
                if not owner.__module__.startswith(("channels.", "asgiref.")):
                    continue
                if not hasattr(own, member):
                    if callable(getattr(thing, member)):
                        print(f"{where}.{member}")
                elif inspect.isroutine(getattr(thing, member)):
                    compare(
                        f"{where}.{member}", getattr(thing, member), getattr(own, member)
                    )
"""


def test_names_and_signatures_are_those_of_channels():
    """Of each function, class and method, but for those that are told here."""
    for name in ("channels", "daphne"):
        pytest.importorskip(name)
    done = run(f"names = {MODULES!r}\n{COMPARE}", install="")
    assert done.returncode == 0, done.stderr

    differences = {
        # An unknown argument is a TypeError there too, one class further up.
        "layers.InMemoryChannelLayer.__init__: **kwargs",
        # A denier is an application, no consumer.
        *(
            f"security.websocket.WebsocketDenier.{name}"
            for name in (
                "accept", "close", "connect", "disconnect", "dispatch", "receive",
                "send", "websocket_connect", "websocket_disconnect",
                "websocket_receive",
            )
        ),
        # Put in the place of what nothing here has to be kept from.
        "testing.application.no_op",
        # The server runs in a thread and needs no preparation in a process.
        "testing.live.make_application",
        "testing.live.set_database_connection",
        # What asgiref's servers do with applications that have ended.
        *(
            f"{module}.Worker.{name}"
            for module in ("worker", "management.commands.runworker")
            for name in ("application_checker", "delete_oldest_application_instance")
        ),
    }  # fmt: skip
    assert set(done.stdout.splitlines()) == differences


NAMES = """
import importlib
for name in names:
    theirs = importlib.import_module(f"channels.{name}")
    ours = importlib.import_module(f"django_asgi_bridge.{name}")
    for attribute, thing in vars(theirs).items():
        home = str(getattr(thing, "__module__", None))
        is_own = home.startswith("channels.") or attribute == "DEFAULT_CHANNEL_LAYER"
        if is_own and not hasattr(ours, attribute):
            print(f"{name}.{attribute}")
"""


def test_modules_have_the_names_that_those_of_channels_import():
    """Projects import from there, too, and patch where a name is used."""
    for name in ("channels", "daphne"):
        pytest.importorskip(name)
    done = run(f"names = {MODULES!r}\n{NAMES}", install="")
    assert done.returncode == 0, done.stderr

    assert set(done.stdout.split()) == {
        # See above.
        "testing.application.no_op",
        "testing.live.make_application",
        "testing.live.set_database_connection",
        # Its denier is a consumer.
        "security.websocket.AsyncWebsocketConsumer",
    }


def test_layer_that_a_test_puts_in_reaches_consumers():
    done = run(
        """
        import asyncio
        from unittest import mock
        from channels.generic.websocket import AsyncWebsocketConsumer
        from channels.layers import ChannelFull, InMemoryChannelLayer
        from channels.testing import WebsocketCommunicator

        class Member(AsyncWebsocketConsumer):
            groups = ["room"]

        async def main():
            layer = InMemoryChannelLayer()
            with mock.patch("channels.consumer.get_channel_layer") as patched:
                patched.return_value = layer
                socket = WebsocketCommunicator(Member.as_asgi(), "/")
                await socket.connect()
                print(list(layer.groups), patched.call_args.args)
                await socket.disconnect()

        asyncio.run(main())
        """
    )

    assert done.stdout == "['room'] ('default',)\n", done.stderr


def test_patches_by_dotted_name_reach_our_modules():
    done = run(
        """
        from unittest import mock
        import django_asgi_bridge.db, django_asgi_bridge.layers
        with mock.patch("channels.db.close_old_connections") as patched:
            assert django_asgi_bridge.db.close_old_connections is patched
        with mock.patch("channels.layers.get_channel_layer") as patched:
            assert django_asgi_bridge.layers.get_channel_layer is patched
        print("ok")
        """
    )

    assert done.stdout == "ok\n", done.stderr


def test_unknown_module_is_not_found():
    done = run("import channels.nothing")

    assert "No module named 'channels.nothing'" in done.stderr


def test_calling_it_twice_does_nothing():
    done = run("print('ok')", install=f"{INSTALL}\ninstall_as_channels()")

    assert done.stdout == "ok\n", done.stderr


def test_it_comes_too_late_after_channels_itself():
    late = f"sys.modules['channels'] = types.ModuleType('channels')\n{INSTALL}"
    done = run("", install=late)

    assert "call it first in the settings module" in done.stderr


@pytest.mark.parametrize("is_listed", [True, False])
def test_channels_may_be_listed_as_an_app(is_listed):
    apps = ["channels", "django_asgi_bridge"] if is_listed else ["django_asgi_bridge"]
    done = run(
        """
        from django.apps import apps
        from django.core.management import call_command, get_commands
        call_command("check", verbosity=0)
        assert "runworker" in get_commands()
        print([config.label for config in apps.get_app_configs()][:2])
        """,
        apps=apps,
    )

    assert done.returncode == 0, done.stderr
    assert ("'channels'" in done.stdout) == is_listed


@pytest.mark.parametrize(
    "apps",
    [
        order
        for size in (1, 2, 3)
        for order in itertools.permutations(
            ["channels", "daphne", "django_asgi_bridge"], size
        )
    ],
    ids=" ".join,
)
def test_every_combination_of_apps_starts(apps):
    """With the real Channels and daphne."""
    for name in set(apps) - {"django_asgi_bridge"}:
        pytest.importorskip(name)
    done = run(
        """
        from django.core.management import call_command, get_commands
        call_command("check", verbosity=0)
        print(get_commands().get("runworker"))
        """,
        install="",
        apps=apps,
        package="channels" if "channels" in apps else "django_asgi_bridge",
    )

    # Trap 16: the app that is listed first has the command.
    owner = next((app for app in apps if app != "daphne"), None)
    assert done.stdout.endswith(f"{owner}\n"), done.stderr
