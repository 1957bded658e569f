"""A real server for tests: HTTP, WebSockets and static files, in a thread.

It serves the project's own application with uvicorn, on a port that is free, and
works with a database in memory: Django's test database of SQLite is shared between
the threads of a process.
"""

from __future__ import annotations

import socket
import threading
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.test import TransactionTestCase, modify_settings

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.routing import get_default_application
from django_asgi_bridge.types import App

__all__ = (
    "ASGILiveServerTestCase",
    "ChannelsLiveServerTestCase",
    "LiveServer",
    "serve_static_files",
)

_PATIENCE = 30.0


class LiveServer:
    """A server in a thread of its own.

    Args:
        application: what it serves.
        host: where it listens.

    Raises:
        ImproperlyConfigured: uvicorn is not installed.
    """

    def __init__(self, application: App, host: str = "localhost") -> None:
        try:
            import uvicorn  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImproperlyConfigured(
                "a live server needs uvicorn: pip install 'django-asgi-bridge[server]'"
            ) from error
        self._socket = socket.create_server((host, 0))
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._is_up = threading.Event()
        config = uvicorn.Config(
            application,
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=1,
            lifespan="auto",
        )
        self._server = uvicorn.Server(config)
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name="django-asgi-bridge-live", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it answers HTTP."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where it answers WebSockets."""
        return f"ws://{self.host}:{self.port}"

    def start(self) -> None:
        """Start, and return when it serves.

        Raises:
            RuntimeError: it ended before that; the cause is chained.
        """
        startup = self._server.startup

        async def startup_and_tell(sockets: Any = None) -> None:
            await startup(sockets=sockets)
            self._is_up.set()

        self._server.startup = startup_and_tell  # type: ignore[method-assign] # to be told
        self._thread.start()
        if not self._is_up.wait(_PATIENCE) or not self._server.started:
            self.stop()
            raise RuntimeError(
                "the live server did not start: its log says why"
            ) from self._error

    def stop(self) -> None:
        """End the connections, run the shutdown hooks and join the thread."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:
            self._error = error
        finally:
            self._is_up.set()


def serve_static_files(application: App) -> App:
    """Return an application that serves the static files of the apps, too.

    That of a project without ``STATIC_URL``, which has none, stays as it is.
    """
    if not django_settings.STATIC_URL:
        return application
    # Imported when it is needed: it takes the handler that is Django's then.
    from django.contrib.staticfiles.handlers import (  # noqa: PLC0415
        ASGIStaticFilesHandler,
    )

    # Its annotations know of Django's own handler alone.
    wrap: Any = ASGIStaticFilesHandler
    wrapped: App = wrap(application)
    return wrapped


class ASGILiveServerTestCase(TransactionTestCase):
    """A test case with a real server for the project beside it.

    Attributes:
        host: where the server listens, and what ``ALLOWED_HOSTS`` gets.
        serve_static: static files of the apps are served as under ``runserver``.
        static_wrapper: what does that.
        application: dotted path is ``ASGI_APPLICATION``; override
            ``get_application()`` for another one.
    """

    host = "localhost"
    serve_static = True
    # Any: a function here would be taken for a method.
    static_wrapper: ClassVar[Any] = serve_static_files

    _live: ClassVar[LiveServer]

    @property
    def live_server_url(self) -> str:
        """``http://localhost:`` and the port."""
        return self._live.url

    @property
    def live_server_ws_url(self) -> str:
        """``ws://localhost:`` and the port."""
        return self._live.ws_url

    @classmethod
    def get_application(cls) -> Any:
        """Return what is served: ``ASGI_APPLICATION``, else the project's handler."""
        if getattr(django_settings, "ASGI_APPLICATION", None):
            return get_default_application()
        return get_asgi_application()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        allowed = modify_settings(ALLOWED_HOSTS={"append": cls.host})
        allowed.enable()
        cls.addClassCleanup(allowed.disable)
        application = cls.get_application()
        if cls.serve_static and cls.static_wrapper is not None:
            wrap = cls.__dict__.get("static_wrapper", cls.static_wrapper)
            application = wrap(application)
        cls._live = LiveServer(application, cls.host)
        cls._live.start()
        cls.addClassCleanup(cls._live.stop)


class ChannelsLiveServerTestCase(ASGILiveServerTestCase):
    """``ASGILiveServerTestCase`` under the name that Channels' test case has.

    ``ProtocolServerProcess`` names a process class there; here the server runs in a
    thread, and the attribute is not used.
    """

    ProtocolServerProcess: Any = None
