"""The only reader of ``django.conf.settings``.

``ASGI_BRIDGE = {...}`` in the settings module becomes one frozen, typed
``Config``. It is built at first use and built anew after ``setting_changed``.
Django's own settings are read live, through ``django_settings`` or, where each
request does, ``read_setting``, because test runners assign some of them without
sending that signal.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = (
    "Config",
    "django_settings",
    "forget_config",
    "get_config",
    "read_config",
    "read_setting",
)

SETTING = "ASGI_BRIDGE"


class Config:
    """Every option of the package; each field is a key of ``ASGI_BRIDGE``.

    A key is the field's name in capitals: ``ASGI_BRIDGE = {"THREADS": 16}``.

    Attributes:
        threads: sync calls that may run at once in one process. 32 keeps a
            database at a size that its own default limit of 100 allows three
            processes of, and is independent of the cores since such calls wait.
        max_threads: worker threads, hence connections per database, that may
            exist in one process. Threads above ``threads`` exist only for
            requests that hold a thread while they wait on the event loop.
        max_queue: requests that may wait for a worker thread.
        queue_timeout: seconds a request may wait for one before it gets a 503.
            5 s is what a person still waits for a page.
        thread_idle_timeout: seconds after which an unused worker thread ends and
            closes its connections.
        detach_after: seconds a cancelled request waits for its running sync view
            before the server gets its task back; the view still runs to its end.
        max_body_size: bytes of a request body, ``None`` for no limit, as Django.
        body_timeout: seconds without a body byte before a request gets a 408.
        max_sync_streams: responses with a sync iterator that may be under way;
            each holds a worker thread. Half of ``max_threads``.
        atomic_async_views: ``ATOMIC_REQUESTS`` covers async views too.
        resolve_user: load session and user on a worker before an async view of a
            signed-in visitor runs, so that ``request.user`` works in it; costs each
            such view a trip and the queries, so it is off. ``@resolves_user`` does
            it for one view.
        on_disconnect: what happens to a view whose client leaves: ``"cancel"``,
            ``"finish"`` or ``"shield"``.
        max_headers: header fields of one request; above it 431. h11, hypercorn
            and nginx stop at about 100.
        max_header_bytes: bytes of all header fields of one request; above it 431.
        strict_paths: refuse encoded slashes, backslashes, NUL and dot segments.
        lifespan: dotted paths of startup and shutdown hooks.
        lifespan_timeout: seconds that one hook may take to start or to stop.
        heartbeat: seconds of silence after which an event stream sends a comment;
            ``None`` for never. Proxies close a connection that was silent for 30 to
            60 s.
        websocket_origins: origins such as ``"https://app.example.com"`` whose pages
            may open WebSockets here, besides this site's own. None by default:
            browsers let any page try, with the visitor's cookies.
    """

    threads: int = 32
    max_threads: int = 128
    max_queue: int = 1000
    queue_timeout: float = 5.0
    thread_idle_timeout: float = 60.0
    detach_after: float = 5.0
    max_body_size: int | None = None
    body_timeout: float = 60.0
    max_sync_streams: int = 64
    atomic_async_views: bool = False
    resolve_user: bool = False
    on_disconnect: str = "cancel"
    max_headers: int = 128
    max_header_bytes: int = 65536
    strict_paths: bool = False
    lifespan: tuple[str, ...] = ()
    lifespan_timeout: float = 30.0
    heartbeat: float | None = 15.0
    websocket_origins: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        if unknown := sorted(given.keys() - _KINDS.keys()):
            raise TypeError(f"Config has no option {', '.join(map(repr, unknown))}.")
        defaults = {name: getattr(Config, name) for name in _KINDS}
        vars(self).update(defaults | given)
        for name in ("threads", "max_threads", "max_sync_streams", "max_headers"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("queue_timeout", "detach_after", "max_queue"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in (
            "thread_idle_timeout",
            "body_timeout",
            "lifespan_timeout",
            "heartbeat",
            "max_header_bytes",
        ):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "above 0")
        size = self.max_body_size
        _require(size is None or size >= 0, "max_body_size", size, "at least 0")
        _require(
            self.max_threads >= self.threads,
            "max_threads",
            self.max_threads,
            f"at least THREADS, which is {self.threads}",
        )
        _require(
            self.on_disconnect in ("cancel", "finish", "shield"),
            "on_disconnect",
            self.on_disconnect,
            "'cancel', 'finish' or 'shield'",
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"the option {name!r} of a Config cannot be changed: set {SETTING}."
        )


_KINDS: Mapping[str, object] = Config.__annotations__
"""What each option may be, as it is annotated."""


_TYPES: Mapping[object, tuple[type, ...]] = MappingProxyType(
    {
        int: (int,),
        float: (int, float),
        bool: (bool,),
        str: (str,),
        int | None: (int, type(None)),
        float | None: (int, float, type(None)),
        tuple[str, ...]: (list, tuple),
    }
)

_current: Config | None = None


# Where django_settings keeps each value that was asked for, until it changes.
_remembered: dict[str, Any] = object.__getattribute__(django_settings, "__dict__")


def read_setting(name: str) -> Any:
    """Return one of Django's settings as it is at this moment.

    The same as ``getattr(django_settings, name)`` without the price of a lazy
    object's attribute.
    """
    try:
        return _remembered[name]
    except KeyError:
        return getattr(django_settings, name)


def get_config() -> Config:
    """Return the options in force.

    Raises:
        ImproperlyConfigured: a key is unknown, or a value is of the wrong type
            or out of its range; the message names both.
    """
    global _current
    if _current is None:
        _current = read_config(getattr(django_settings, SETTING, {}))
        setting_changed.connect(_on_setting_changed, dispatch_uid=__name__)
    return _current


def forget_config() -> None:
    """Make the next ``get_config()`` read the setting again."""
    global _current
    _current = None


def read_config(given: object) -> Config:
    """Turn the value of ``ASGI_BRIDGE`` into a ``Config``."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            f"{SETTING} is {given!r}; it must be a dictionary of options."
        )
    known = {name.upper(): name for name in _KINDS}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(str(key).upper(), known, n=1, cutoff=0)
            raise ImproperlyConfigured(
                f"{SETTING} has no option {key!r}; the nearest one is {near[0]!r}."
            )
        name = known[key]
        values[name] = _typed(key, value, _KINDS[name])
    return Config(**values)


def _typed(key: str, value: object, kind: object) -> object:
    allowed = _TYPES[kind]
    is_bool_as_number = isinstance(value, bool) and bool not in allowed
    if not isinstance(value, allowed) or is_bool_as_number:
        raise ImproperlyConfigured(
            f"{SETTING}[{key!r}] is {value!r}; it must be of type "
            f"{getattr(kind, '__name__', kind) if isinstance(kind, type) else kind}."
        )
    return tuple(value) if isinstance(value, list) else value


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ImproperlyConfigured(
            f"{SETTING}[{name.upper()!r}] is {value!r}; it must be {expected}."
        )


def _on_setting_changed(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        forget_config()
