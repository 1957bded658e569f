"""System checks, ``django_asgi_bridge.E001`` and so on."""

from __future__ import annotations

from collections.abc import Sequence

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_asgi_bridge.conf import django_settings, get_config
from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.lifespan import find_hooks

__all__ = (
    "check_channel_layers",
    "check_database_size",
    "check_settings",
    "run_checks",
)

_DEFAULT_SERVER_LIMIT = 100


def run_checks() -> Sequence[checks.CheckMessage]:
    """Make all of them."""
    return [*check_settings(), *check_database_size(), *check_channel_layers()]


def check_settings() -> Sequence[checks.CheckMessage]:
    """E001: ``ASGI_BRIDGE`` is not valid; E002: a lifespan hook cannot be used."""
    try:
        config = get_config()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_asgi_bridge.E001")]
    try:
        find_hooks(config.lifespan)
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_asgi_bridge.E002")]
    return []


def check_database_size() -> Sequence[checks.CheckMessage]:
    """W001: the pool may open more connections than PostgreSQL allows by default."""
    try:
        config = get_config()
    except ImproperlyConfigured:
        return []
    aliases = [
        alias
        for alias in connections
        if "postgresql" in connections.settings[alias]["ENGINE"]
        and connections.settings[alias]["CONN_MAX_AGE"] != 0
    ]
    if not aliases or config.threads <= _DEFAULT_SERVER_LIMIT:
        return []
    return [
        checks.Warning(
            f"ASGI_BRIDGE['THREADS'] is {config.threads}, so one process may keep "
            f"that many connections open to {', '.join(map(repr, aliases))}; "
            f"PostgreSQL allows {_DEFAULT_SERVER_LIMIT} by default.",
            hint="Lower THREADS, raise max_connections, or put a pooler in front.",
            id="django_asgi_bridge.W001",
        )
    ]


def check_channel_layers() -> Sequence[checks.CheckMessage]:
    """E003: a layer of ``CHANNEL_LAYERS`` cannot be made. No server is asked."""
    if not getattr(django_settings, "CHANNEL_LAYERS", None):
        return []
    # Sites without layers do not pay for that half of the package.
    from django_asgi_bridge.layers import channel_layers  # noqa: PLC0415

    found = []
    for name in channel_layers.configs:
        try:
            channel_layers.make_backend(name)
        except _UNUSABLE as error:
            notes: list[str] = getattr(error, "__notes__", [])
            found.append(
                checks.Error(
                    f"CHANNEL_LAYERS[{name!r}] cannot be used: {error}",
                    hint=" ".join(notes) or None,
                    id="django_asgi_bridge.E003",
                )
            )
    return found


# The last two for arguments in CONFIG that a layer of somebody else does not take.
_UNUSABLE = (InvalidChannelLayerError, ImproperlyConfigured, TypeError, ValueError)
