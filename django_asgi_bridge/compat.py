"""Lets code that was written for Channels import this package under its name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

__all__ = ("install_as_channels",)

_CHANNELS = "channels"
_OURS = __name__.rpartition(".")[0]
_VERSION = "4.3.2"
# A second copy of a template library would make Django complain of the first.
_LEFT_OUT = ("templatetags", "compat", "checks")

_lock = threading.Lock()


def install_as_channels() -> None:
    """Make ``import channels`` give this package; call it at the top of the settings.

    Everything below ``channels`` then is this package's own module objects, whether
    or not Channels is installed, and with or without ``"channels"`` in
    ``INSTALLED_APPS``. Calling it again does nothing.

    Raises:
        RuntimeError: Channels itself was imported already.
    """
    with _lock:
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):
            return
        if _CHANNELS in sys.modules:
            raise RuntimeError(
                "install_as_channels() was called after Channels itself had been "
                "imported: call it first in the settings module, before anything "
                "that imports channels."
            )
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds ``channels`` and what is below it."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of a module of Channels, made of ours."""
        top, _, rest = fullname.partition(".")
        if top != _CHANNELS:
            return None
        if not rest:
            return ModuleSpec(fullname, _TopLoader(), is_package=True)
        if rest == "apps":
            return ModuleSpec(fullname, _AppsLoader())
        ours = f"{_OURS}.{rest}"
        if rest.partition(".")[0] in _LEFT_OUT or find_spec(ours) is None:
            return None
        return ModuleSpec(fullname, _AliasLoader(ours))


class _AliasLoader(Loader):
    """Gives an own module under a second name."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, imported under its own name."""
        module = import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back: importlib has put the alias' there."""
        module.__spec__ = self._spec


class _TopLoader(Loader):
    """Makes the stand-in for ``channels`` itself."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Let importlib make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it the names that Channels' own has."""
        module.__dict__.update(
            __version__=_VERSION,
            DEFAULT_CHANNEL_LAYER="default",
            __doc__="This package, under the name of Channels.",
        )


class _AppsLoader(Loader):
    """Makes the stand-in for ``channels.apps``."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Let importlib make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it the app that ``"channels"`` in ``INSTALLED_APPS`` stands for."""
        # Django is imported here: this is called at the top of a settings module.
        from django.apps import AppConfig  # noqa: PLC0415

        here = str(Path(__file__).parent)
        members = {
            "__module__": module.__name__,
            "name": _CHANNELS,
            "verbose_name": "Channels",
            # Where Django looks for management commands.
            "path": here,
        }
        config = type("ChannelsConfig", (AppConfig,), members)
        module.__dict__["ChannelsConfig"] = config
