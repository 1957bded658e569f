"""This package and Channels: one test runs on both, and must fail on Channels.

A test that is marked by ``on_both()`` takes a ``side`` and finds classes by the
module names that both packages have. On Channels it is an expected failure with the
reason that the row of the contract names, and by that exception alone. It says so
when a release of Channels passes it.
"""

import importlib
from types import ModuleType

import pytest

__all__ = ("CHANNELS", "OURS", "Side", "on_both")


class Side:
    """One of the two packages.

    Args:
        name: of the test's parameter.
        package: whose modules they are.
        patience: seconds until what never comes is given up.
    """

    def __init__(self, name: str, package: str, patience: float) -> None:
        self.name = name
        self.package = package
        self.patience = patience

    def __call__(self, module: str) -> ModuleType:
        """Return one of its modules, such as ``"generic.websocket"``."""
        pytest.importorskip(self.package, reason=f"{self.package} is not installed")
        return importlib.import_module(f"{self.package}.{module}")


OURS = Side("ours", "django_asgi_bridge", 30.0)
# All that is waited for there is what does not come.
CHANNELS = Side("channels", "channels", 2.0)


def on_both(
    reason: str, raises: type[BaseException] | tuple[type[BaseException], ...]
) -> pytest.MarkDecorator:
    """Run a test on both sides.

    Args:
        reason: what Channels does instead.
        raises: how the test fails there.
    """
    failing = pytest.mark.xfail(reason=reason, raises=raises, strict=True)
    sides = [pytest.param(OURS, id="ours")]
    sides.append(pytest.param(CHANNELS, id="channels", marks=failing))
    return pytest.mark.parametrize("side", sides)
