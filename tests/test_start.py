"""What a process loads before it serves: counted, for each kind of site.

Each site is a process of its own, since modules that were loaded stay.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "django_asgi_bridge"

# Rooms that a site without WebSockets, mounts, streams and forms never needs.
UNNEEDED = {
    "auth",
    "checks",
    "compat",
    "consumer",
    "db",
    "exceptions.channels",
    "generic",
    "http.answers",
    "http.apart",
    "http.body",
    "http.contracts",
    "http.delivery",
    "http.events",
    "http.eventstream",
    "http.extensions",
    "http.files",
    "http.pulling",
    "http.streams",
    "layers",
    "lifespan.guests",
    "lifespan.managers",
    "lifespan.run",
    "middleware",
    "mounts",
    "protocol.chunks",
    "protocol.length",
    "protocol.messages",
    "protocol.multipart",
    "protocol.ranges",
    "routing",
    "security",
    "sessions",
    "sockets",
    "testing",
    "threads.loop_thread",
    "types.layers",
    "utils",
    "worker",
}

# Of the WebSocket half, what `get_asgi_application()` itself serves with.
SOCKETS = {"auth", "routing.site", "security.websocket", "sessions", "sockets.refusal"}

MAX_OWN_MODULES = 43
"""Modules of the package that a plain site loads; each is some 0.1 ms and 15 KB."""

SITE = """
    import asyncio, json, sys, types
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        return HttpResponse(b"hello")

    urls = types.ModuleType("start_urls")
    urls.urlpatterns = [path("", hello)]
    sys.modules["start_urls"] = urls
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", *APPS],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF="start_urls",
        SECRET_KEY="only for tests",
    )
    sent = []

    async def visit(application, scope):
        events = iter([{"type": f"{scope['type']}.{scope.pop('event')}"}])

        async def receive():
            for event in events:
                return event
            await asyncio.Event().wait()

        async def send(event):
            sent.append(event)

        scope = {"asgi": {"version": "3.0"}, **scope}
        task = asyncio.create_task(application(scope, receive, send))
        while not sent and not task.done():
            await asyncio.sleep(0)
        if scope["type"] == "http":
            await task
        task.cancel()
        await asyncio.wait([task])

    STARTUP = {"type": "lifespan", "event": "startup"}
    REQUEST = {
        "type": "http", "event": "request", "method": "GET", "path": "/",
        "http_version": "1.1", "query_string": b"", "headers": [(b"host", b"a")],
    }
"""


def run(code, apps=(PACKAGE,)):
    """Run a site in a process; return what the code put into ``told``."""
    program = [
        f"APPS = {list(apps)!r}\ntold = {{}}",
        textwrap.dedent(SITE),
        textwrap.dedent(code),
        'told["modules"] = sorted(sys.modules)\nprint(json.dumps(told))',
    ]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(program)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def rooms(modules):
    """Return the package's among these modules, by their names inside it."""
    own = (name for name in modules if name.startswith(f"{PACKAGE}."))
    return {name.removeprefix(f"{PACKAGE}.") for name in own}


def test_names_of_unneeded_rooms_are_right():
    """A room that was renamed or taken out is so here too."""
    for name in UNNEEDED | SOCKETS:
        path = ROOT / PACKAGE / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.fixture(scope="module")
def plain():
    """A site without WebSockets, at its start and after its first request."""
    return run("""
        from django_asgi_bridge.asgi import get_asgi_application
        application = get_asgi_application()
        told["at_start"] = sorted(sys.modules)
        asyncio.run(visit(application, STARTUP))
        sent.clear()
        asyncio.run(visit(application, REQUEST))
        told["status"] = sent[0]["status"]
        told["compiled"] = sorted(
            {
                f"{found.__qualname__}.{method}"
                for name, module in list(sys.modules.items())
                if name.startswith("django_asgi_bridge")
                for found in vars(module).values()
                if getattr(found, "__module__", "").startswith("django_asgi_bridge")
                for method in ("__new__", "__init__", "__eq__", "__setattr__")
                if "<string>" in str(getattr(getattr(found, method, 0), "__code__", 0))
            }
        )
    """)


def test_plain_site_loads_nothing_of_the_others(plain):
    """Neither at its start nor for its first request."""
    assert plain["status"] == 200
    assert {
        name
        for name in rooms(plain["modules"])
        if {name, name.partition(".")[0]} & UNNEEDED
    } == set()


def test_plain_site_loads_few_modules_more_than_djangos(plain):
    """Of others Django's error views, which it loads when it shows the first.

    And the names of the ``from __future__`` imports.
    """
    djangos = run(
        """
        from django.core.asgi import get_asgi_application
        get_asgi_application()
        """,
        apps=(),
    )

    more = set(plain["at_start"]) - set(djangos["modules"])
    others = {name for name in more if name.partition(".")[0] != PACKAGE}
    views = {"django.views.decorators.csrf", "django.views.defaults"}
    assert others <= {*views, "__future__"}
    assert len(rooms(more)) <= MAX_OWN_MODULES


@pytest.mark.parametrize("module", ["django.urls", "django.db.models.fields"])
def test_django_is_loaded_no_deeper_than_by_itself(module):
    """Deep stacks are slow: see the first import in ``asgi``."""
    depths = [
        run(f"""
            class Watch:
                @staticmethod
                def find_spec(name, path, target=None):
                    if name == {module!r}:
                        frame, told["depth"] = sys._getframe(), 0
                        while frame := frame.f_back:
                            told["depth"] += 1

            sys.meta_path.insert(0, Watch)
            for name in [each for each in sys.modules if each.startswith("django.")]:
                del sys.modules[name]
            from {package}.asgi import get_asgi_application
        """)["depth"]
        for package in ("django.core", PACKAGE)
    ]

    assert depths[1] <= depths[0]


def test_first_request_loads_nothing(plain):
    """What the start saves is not left to the first visitor."""
    late = set(plain["modules"]) - set(plain["at_start"])

    assert rooms(late) == set()


def test_plain_site_has_no_class_compile_methods(plain):
    """``dataclass`` and ``NamedTuple`` do: that takes as long as some imports."""
    assert plain["compiled"] == []


def test_app_alone_loads_nothing():
    """Every management command loads the app; those that check load the checks."""
    told = run("""
        django.setup()
        told["at_start"] = sorted(sys.modules)
        from django.core.checks import run_checks
        run_checks(tags=["django_asgi_bridge"])
    """)

    assert rooms(told["at_start"]) == {"apps"}
    assert "checks" in rooms(told["modules"])


@pytest.mark.parametrize(
    ("routes", "needed"),
    [("[path('ws', hello)]", SOCKETS), ("[]", set())],
    ids=["with routes", "without"],
)
def test_site_with_websockets_has_loaded_them_when_it_has_started(routes, needed):
    """No visitor waits for it; a site without such routes does not load them."""
    told = run(f"""
        from django_asgi_bridge.asgi import get_asgi_application
        urls.websocket_urlpatterns = {routes}
        asyncio.run(visit(get_asgi_application(), STARTUP))
        told["sent"] = sent
    """)

    assert told["sent"] == [{"type": "lifespan.startup.complete"}]
    assert rooms(told["modules"]) & SOCKETS == needed


def test_site_with_hooks_has_loaded_what_runs_them():
    """No visitor waits for it, on a server without the lifespan protocol either."""
    told = run("""
        from contextlib import asynccontextmanager
        from django_asgi_bridge.asgi import get_asgi_application

        @asynccontextmanager
        async def hook():
            yield

        urls.hook = hook
        settings.ASGI_BRIDGE = {"LIFESPAN": ["start_urls.hook"]}
        get_asgi_application()
    """)

    assert {"lifespan.managers", "lifespan.run"} <= rooms(told["modules"])


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("'ws'", "'ws' in websocket_urlpatterns is no route"),
        ("path('ws', Echo)", "leads to the class Echo"),
    ],
)
def test_wrong_websocket_route_stops_the_start(route, words):
    """The server tells, not the first visitor."""
    told = run(f"""
        from django_asgi_bridge.asgi import get_asgi_application

        class Echo:
            as_asgi = None

        urls.websocket_urlpatterns = [{route}]
        asyncio.run(visit(get_asgi_application(), STARTUP))
        told["sent"] = sent
    """)

    [event] = told["sent"]
    assert event["type"] == "lifespan.startup.failed"
    assert words in event["message"]


def test_urlconf_that_cannot_be_imported_is_left_to_the_requests():
    """As with Django: the process starts, and each request tells."""
    told = run("""
        from django_asgi_bridge.asgi import get_asgi_application
        settings.ROOT_URLCONF = "no.such.urls"
        asyncio.run(visit(get_asgi_application(), STARTUP))
        told["sent"] = sent
    """)

    assert told["sent"] == [{"type": "lifespan.startup.complete"}]


@pytest.mark.parametrize(
    ("package", "room", "name"),
    [
        ("exceptions", "channels", "ChannelFull"),
        ("http", "eventstream", "EventStreamResponse"),
        ("http", "extensions", "early_hints"),
        ("types", "layers", "Mailbox"),
    ],
)
def test_late_rooms_are_loaded_with_their_first_name(package, room, name):
    """The names stand in the package as if they were there from the start."""
    told = run(f"""
        from django_asgi_bridge import {package} as package
        told["before"] = "django_asgi_bridge.{package}.{room}" in sys.modules
        told["listed"] = "{name}" in dir(package)
        from django_asgi_bridge.{package} import {name}
        told["after"] = "django_asgi_bridge.{package}.{room}" in sys.modules
        told["is_kept"] = vars(package)["{name}"] is {name}
        told["has_others"] = hasattr(package, "{name}s")
        everything = {{}}
        exec("from django_asgi_bridge.{package} import *", everything)
        told["missing"] = sorted(set(package.__all__) - set(everything))
    """)

    del told["modules"]
    assert told == {
        "before": False,
        "listed": True,
        "after": True,
        "is_kept": True,
        "has_others": False,
        "missing": [],
    }
