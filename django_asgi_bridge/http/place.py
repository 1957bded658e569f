"""Where a request is: the script prefix and the URLconf that ``django.urls`` sees.

Both live in the request's context, for ``reverse()`` and ``get_urlconf()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import base as django_urls
from django.urls import set_script_prefix, set_urlconf

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.protocol.request import split_path
from django_asgi_bridge.threads.locals import LocalView

__all__ = ("mounted_path", "use_script_prefix", "use_urlconf")

_prefixes = LocalView(vars(django_urls)["_prefixes"])
_urlconfs = LocalView(vars(django_urls)["_urlconfs"])


def mounted_path(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return where the site is mounted, ``""`` at the root, and the path from there."""
    forced: str | None = read_setting("FORCE_SCRIPT_NAME")
    prefix: str = forced or scope.get("root_path") or ""
    path: str = scope["path"]
    return split_path(path, prefix) if prefix else ("", path)


def use_script_prefix(prefix: str) -> None:
    """Make ``prefix`` that of the current context; see ``set_script_prefix``."""
    # Without one Django answers "/".
    if (prefix or "/") != _prefixes.get("value", "/"):
        set_script_prefix(prefix)


def use_urlconf(urlconf: Any) -> None:
    """Make ``urlconf`` that of the current context; see ``set_urlconf``."""
    if urlconf:
        _urlconfs.set("value", urlconf)
    else:
        set_urlconf(urlconf)
