"""Channel layers by their aliases in ``CHANNEL_LAYERS``, each made at first use."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.layers.base import DEFAULT_CHANNEL_LAYER

__all__ = ("ChannelLayerManager", "channel_layers", "get_channel_layer")

_SETTING = "CHANNEL_LAYERS"


class ChannelLayerManager:
    """The layers of a process by alias; ``manager["default"]`` makes one at first use.

    A change of the setting in a test (``override_settings``) forgets them all.
    """

    def __init__(self) -> None:
        self.backends: dict[str, Any] = {}
        # Two threads may ask first, and two in-memory layers would not meet. A
        # layer's constructor may ask for another layer, hence reentrant.
        self._lock = threading.RLock()
        self._is_listening = False

    @property
    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        """``CHANNEL_LAYERS`` as it is now; empty when it is not set."""
        found: Mapping[str, Mapping[str, Any]] | None = getattr(
            django_settings, _SETTING, None
        )
        return found or {}

    def make_backend(self, name: str) -> Any:
        """Make a new layer from its ``CONFIG``.

        Raises:
            InvalidChannelLayerError: its entry in the setting is wrong.
            KeyError: the alias is not in the setting.
        """
        return self._make_backend(name, self.configs[name].get("CONFIG", {}))

    def make_test_backend(self, name: str) -> Any:
        """Make a new layer from its ``TEST_CONFIG``, which must be there.

        Raises:
            InvalidChannelLayerError: its entry in the setting is wrong.
        """
        try:
            config = self.configs[name]["TEST_CONFIG"]
        except KeyError as error:
            raise InvalidChannelLayerError(
                f"No TEST_CONFIG specified for {name}"
            ) from error
        return self._make_backend(name, config)

    def _make_backend(self, name: str, config: Mapping[str, Any]) -> Any:
        entry = self.configs[name]
        if "ROUTING" in entry:
            raise InvalidChannelLayerError(
                f"ROUTING key found for {name} - this is no longer needed in"
                f" Channels 2."
            )
        if "BACKEND" not in entry:
            raise InvalidChannelLayerError(f"No BACKEND specified for {name}")
        path = entry["BACKEND"]
        try:
            backend = import_string(path)
        except ImportError as error:
            invalid = InvalidChannelLayerError(
                f"Cannot import BACKEND {path!r} specified for {name}"
            )
            invalid.add_note(str(error))
            raise invalid from error
        return backend(**config)

    def __getitem__(self, key: str) -> Any:
        try:
            return self.backends[key]
        except KeyError:
            pass
        with self._lock:
            if key not in self.backends:
                self._listen()
                self.backends[key] = self.make_backend(key)
            return self.backends[key]

    def __contains__(self, key: object) -> bool:
        return key in self.configs

    def set(self, key: str, layer: Any) -> Any:
        """Put a layer in the place of an alias, for tests.

        Returns:
            The layer it replaced, None if that was not made yet.
        """
        with self._lock:
            self._listen()
            old = self.backends.get(key)
            self.backends[key] = layer
        return old

    def _listen(self) -> None:
        # Not in `__init__`: importing this module would connect a receiver.
        if not self._is_listening:
            self._is_listening = True
            setting_changed.connect(self._reset_backends)

    def _reset_backends(self, *, setting: str, **kwargs: object) -> None:
        if setting == _SETTING:
            self.backends = {}


channel_layers = ChannelLayerManager()
"""The process's layers."""


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> Any:
    """Return the layer of an alias, None when ``CHANNEL_LAYERS`` does not name it.

    Raises:
        InvalidChannelLayerError: the alias's entry in the setting is wrong.
    """
    if alias in channel_layers.backends or alias in channel_layers:
        return channel_layers[alias]
    return None
