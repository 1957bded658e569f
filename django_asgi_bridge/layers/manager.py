"""The project's channel layers, made from ``CHANNEL_LAYERS`` when first asked for."""

from collections.abc import Mapping
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.exceptions import InvalidChannelLayerError

__all__ = (
    "DEFAULT_CHANNEL_LAYER",
    "ChannelLayerManager",
    "channel_layers",
    "get_channel_layer",
)

DEFAULT_CHANNEL_LAYER = "default"


class ChannelLayerManager:
    """Layers by alias; each is made once, and anew after the setting changes."""

    def __init__(self) -> None:
        self.backends: dict[str, Any] = {}
        self._is_watching = False

    @property
    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        """``CHANNEL_LAYERS`` as it is now."""
        configs: Mapping[str, Mapping[str, Any]] = getattr(
            django_settings, "CHANNEL_LAYERS", {}
        )
        return configs

    def make_backend(self, name: str) -> Any:
        """Return a new layer with the ``CONFIG`` of an alias.

        Raises:
            InvalidChannelLayerError: the setting is wrong.
        """
        return self._make_backend(name, self.configs[name].get("CONFIG", {}))

    def make_test_backend(self, name: str) -> Any:
        """Return a new layer with the ``TEST_CONFIG`` of an alias.

        Raises:
            InvalidChannelLayerError: there is none, or the setting is wrong.
        """
        if "TEST_CONFIG" not in self.configs[name]:
            raise InvalidChannelLayerError(f"No TEST_CONFIG specified for {name}")
        return self._make_backend(name, self.configs[name]["TEST_CONFIG"])

    def set(self, key: str, layer: Any) -> Any:
        """Put a layer in the place of an alias' own; return the one that was there."""
        self._watch()
        old = self.backends.get(key)
        self.backends[key] = layer
        return old

    def __getitem__(self, key: str) -> Any:
        if key not in self.backends:
            self._watch()
            self.backends[key] = self.make_backend(key)
        return self.backends[key]

    def __contains__(self, key: str) -> bool:
        return key in self.configs

    def _make_backend(self, name: str, config: Mapping[str, Any]) -> Any:
        described = self.configs[name]
        if "ROUTING" in described:
            raise InvalidChannelLayerError(
                f"ROUTING key found for {name} - this is no longer needed in "
                "Channels 2."
            )
        if "BACKEND" not in described:
            raise InvalidChannelLayerError(f"No BACKEND specified for {name}")
        path = described["BACKEND"]
        try:
            backend = import_string(path)
        except ImportError as error:
            raise InvalidChannelLayerError(
                f"Cannot import BACKEND {path!r} specified for {name}"
            ) from error
        return backend(**config)

    def _watch(self) -> None:
        if not self._is_watching:
            setting_changed.connect(self._on_setting_changed)
            self._is_watching = True

    def _on_setting_changed(self, *, setting: str, **kwargs: object) -> None:
        if setting == "CHANNEL_LAYERS":
            self.backends = {}


channel_layers = ChannelLayerManager()


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> Any:
    """Return the layer of an alias, or None if ``CHANNEL_LAYERS`` has none.

    Raises:
        InvalidChannelLayerError: the setting is wrong.
    """
    layer = channel_layers.backends.get(alias)
    if layer is None and alias in channel_layers:
        layer = channel_layers[alias]
    return layer
