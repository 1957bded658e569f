"""The documentation: its examples run, its blocks are those files, its links lead on."""

import asyncio
import importlib.util
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import unittest
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User

from django_asgi_bridge import layers
from django_asgi_bridge.conf import Config
from django_asgi_bridge.consumer import AsyncConsumer
from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.sockets import Bounds
from django_asgi_bridge.testing import AsyncClient
from tests.browser import Browser
from tests.http.exchanges import Wire

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
EXAMPLE_KINDS = {".py", ".html"}
SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n\n?)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = HEADING.findall(without_fences(page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


# Pages.


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_has_only_links_that_lead_somewhere(page):
    """A relative link names a file of the repository, its anchor a heading."""
    for target in LINK.findall(without_fences(page.read_text("utf-8"))):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        linked = (page.parent / name).resolve() if name else page
        if linked == DOCS / "reference" / "servers.md" and not linked.exists():
            continue  # written by the tests of the servers
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_shows_examples_as_they_run(page):
    """A Python block is a file of docs/examples, or a part of one, or says why not."""
    for fence in FENCE.finditer(page.read_text("utf-8")):
        mark, code = fence["mark"] or "", fence["code"]
        if found := re.match(r"example: (\S+?)(,|$)", mark):
            assert code == (ROOT / found[1]).read_text("utf-8"), found[1]
        elif found := re.fullmatch(r"part of: (\S+)", mark):
            assert code in (ROOT / found[1]).read_text("utf-8"), code
        elif fence["kind"] == "python" and page.is_relative_to(DOCS):
            assert mark.startswith("not run: "), code


def test_every_example_is_on_a_page():
    """No file of docs/examples is left that no page shows."""
    shown = {
        found
        for page in PAGES
        for found in re.findall(
            r"<!-- (?:example|part of): (\S+?)(?:,.*)? -->", page.read_text("utf-8")
        )
    }

    files = [each for each in EXAMPLES.rglob("*.*") if each.suffix in EXAMPLE_KINDS]
    assert shown == {page_id(each) for each in files}


def test_index_leads_to_every_page():
    """Each page is linked from the index."""
    index = DOCS / "index.md"
    linked = {
        (DOCS / target).resolve() for target in LINK.findall(index.read_text("utf-8"))
    }

    assert {page for page in DOCS.rglob("*.md") if page != index} <= linked


# References.


def rows_of(page: str, heading: str = "") -> list[list[str]]:
    """Return the rows of the tables of a page, or below one of its headings."""
    text = (DOCS / "reference" / page).read_text("utf-8")
    if heading:
        text = re.split(
            r"^## ", text.partition(f"## {heading}\n")[2], flags=re.MULTILINE
        )[0]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


def kind_of(annotated: Any) -> str:
    return annotated.__name__ if isinstance(annotated, type) else str(annotated)


def test_settings_page_has_every_option():
    """The table has each field of Config with its type and its default."""
    rows = rows_of("settings.md")
    shown = {row[0]: (row[1].replace("\\", ""), row[2]) for row in rows}
    expected = {}
    for name, annotated in Config.__annotations__.items():
        default = [] if getattr(Config, name) == () else getattr(Config, name)
        kind = kind_of(annotated)
        kind = {"tuple": "list[str]", "tuple[str, ...]": "list[str]"}.get(kind, kind)
        expected[f"`{name.upper()}`"] = (f"`{kind}`", f"`{default!r}`")

    assert shown == expected
    assert all(len(row) == 5 and row[3] and row[4] for row in rows)


def test_bounds_table_has_every_option():
    """It has each field of Bounds with its type and its default."""
    rows = rows_of("consumers.md", "Bounds")

    assert {row[0]: (row[1].replace("\\", ""), row[2]) for row in rows} == {
        f"`{each.name}`": (f"`{kind_of(each.type)}`", f"`{each.default!r}`")
        for each in fields(Bounds)
    }
    assert all(len(row) == 5 and row[3] and row[4] for row in rows)


def test_consumer_table_has_every_attribute():
    """It has each attribute that a consumer's class may set, with its default."""
    own = (AsyncConsumer, AsyncWebsocketConsumer)
    defaults = {
        name: value
        for each in own
        for name, value in vars(each).items()
        if name[0] != "_" and not callable(value)
        if not isinstance(value, property | classmethod | cached_property)
    }
    rows = rows_of("consumers.md", "Attributes to set")

    assert {row[0]: row[2] for row in rows} == {
        f"`{name}`": "`Bounds()`" if name == "bounds" else f"`{value!r}`"
        for name, value in defaults.items()
    }
    assert all(len(row) == 5 and row[3] and row[4] for row in rows)


@pytest.mark.parametrize("name", ["InMemoryChannelLayer", "RedisChannelLayer"])
def test_layers_page_has_every_option(name):
    """The table has each argument of the layer with its default."""
    if name == "RedisChannelLayer":
        pytest.importorskip("redis")
    options = inspect.signature(getattr(layers, name)).parameters.values()
    rows = rows_of("layers.md", f"Options of {name}")

    assert {row[0]: row[2] for row in rows} == {
        f"`{each.name}`": "`time.monotonic`"
        if each.name == "clock"
        else f"`{each.default!r}`"
        for each in options
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert all(len(row) == 5 and row[3] and row[4] for row in rows)


def test_layers_page_has_every_counter():
    rows = rows_of("layers.md", "Counters")

    assert [row[0] for row in rows] == [
        f"`{each.name}`" for each in fields(layers.LayerStats)
    ]


@pytest.mark.parametrize("name", ["public-names.md", "consumers.md", "layers.md"])
def test_names_page_is_what_the_docstrings_say(name):
    """`python docs/reference/generate.py` would write the page as it is."""
    generate = load(DOCS / "reference" / "generate.py")

    assert name in generate.PAGES
    assert (DOCS / "reference" / name).read_text("utf-8") == generate.page(name)


def test_checks_page_has_every_check():
    """Each id of a system check has its place."""
    source = (ROOT / "django_asgi_bridge" / "checks.py").read_text("utf-8")
    page = (DOCS / "reference" / "checks.md").read_text("utf-8")
    ids = set(re.findall(r'id="(django_asgi_bridge\.\w\d+)"', source))

    assert ids
    assert ids == set(re.findall(r"^## `(.*)`$", page, re.MULTILINE))


def test_commands_page_has_every_command():
    """Each management command has its place."""
    folder = ROOT / "django_asgi_bridge" / "management" / "commands"
    commands = {path.stem for path in folder.glob("[a-z]*.py")}
    page = (DOCS / "reference" / "commands.md").read_text("utf-8")

    assert commands == set(re.findall(r"^## `(\w+)", page, re.MULTILINE))


def test_differences_page_names_every_django_test_given_up():
    """What the suite of Django may fail is what the page tells."""
    source = (ROOT / "tests/django_suite/differences.toml").read_text("utf-8")
    page = (DOCS / "explanation" / "differences.md").read_text("utf-8")
    given_up = re.findall(r'^test = "(.+)"$', source, re.MULTILINE)

    assert sorted(given_up) == sorted(
        re.findall(r"^\| `(\S+\.tests?\S*)`", page, re.MULTILINE)
    )


# Examples.


async def turns(count: int) -> None:
    """Let the event loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def load(path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    name = f"docs_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(settings) -> Iterator:
    """Give a function that imports an example and makes its URLs the site's."""
    loaded = []

    def use(name: str) -> ModuleType:
        module = load(EXAMPLES / f"{name}.py")
        loaded.append(module.__name__)
        if hasattr(module, "urlpatterns"):
            settings.ROOT_URLCONF = module.__name__
            settings.MIDDLEWARE = []
        return module

    yield use
    for name in loaded:
        sys.modules.pop(name, None)


def ask(path: str, *args, **kwargs) -> Wire:
    """Ask the handler on an event loop of its own, as a server does."""
    return asyncio.run(Wire(path, *args, **kwargs).serve(ASGIHandler()))


def ask_here(path: str) -> Wire:
    """Ask it so that sync code runs in this thread, in the test's transaction."""
    return async_to_sync(Wire(path).serve)(ASGIHandler())


@pytest.mark.django_db
def test_streaming_example_sends_rows(example):
    """The CSV export has a line for each user."""
    example("streaming")
    User.objects.create_user("ada")

    wire = ask_here("/export/")

    assert wire.body.decode().splitlines()[1].endswith(",ada")


def test_streaming_example_sends_each_line_alone(example, capsys):
    """An async generator's items leave one by one, and it is closed."""
    example("streaming")

    wire = ask("/counting/")

    assert wire.chunks == [b"0\n", b"1\n", b"2\n", b""]
    assert capsys.readouterr().out == "closed\n"


def test_streaming_example_goes_on_after_the_last_event(example):
    """EventSource's header says where to go on."""
    example("streaming")

    wire = ask("/events/", headers=[("last-event-id", "2")])

    assert wire.body == b'event: count\nid: 3\ndata: {"number": 3}\n\n'


def test_streaming_example_sends_a_range(example):
    """A file is sent by ranges too."""
    example("streaming")

    wire = ask("/source/", headers=[("range", "bytes=3-7")])

    assert wire.status == 206
    assert wire.body == b"Views"


def test_uploads_example_takes_a_form(example):
    """A sync view has the file of a multipart form."""
    example("uploads")
    boundary = "frontier"
    body = io.BytesIO()
    body.write(f"--{boundary}\r\nContent-Disposition: form-data; ".encode())
    body.write(b'name="file"; filename="a.txt"\r\n\r\nhello\r\n')
    body.write(f"--{boundary}--\r\n".encode())
    kind = f"multipart/form-data; boundary={boundary}"

    wire = ask(
        "/upload/", "POST", body=body.getvalue(), headers=[("content-type", kind)]
    )

    assert wire.body == b'{"name": "a.txt", "size": 5}'


def test_uploads_example_parses_a_form_for_an_async_view(example):
    """POST and FILES are there when aform() returns."""
    example("uploads")
    head = b"--frontier\r\nContent-Disposition: form-data; "
    body = head + b'name="title"\r\n\r\nSea\r\n'
    body += head + b'name="file"; filename="a.txt"\r\n\r\nhello\r\n--frontier--\r\n'
    kind = "multipart/form-data; boundary=frontier"

    wire = ask("/photo/", "POST", body=body, headers=[("content-type", kind)])

    assert wire.body == b'{"title": "Sea", "size": 5}'


def test_uploads_example_reads_as_it_arrives(example):
    """A view marked by streams_body gets the chunks of the connection."""
    example("uploads")

    wire = ask("/digest/", "POST", body=[b"ab", b"c"])

    assert wire.body.startswith(b"ba7816bf")


@pytest.mark.parametrize(
    ("token", "status", "received"), [("let me in", 200, 2), ("no", 403, 0)]
)
def test_uploads_example_refuses_without_reading(example, token, status, received):
    """A body that is not wanted is not received."""
    example("uploads")

    wire = ask("/report/", "POST", body=[b"[1,", b" 2]"], headers=[("x-token", token)])

    assert (wire.status, wire.received) == (status, received)


@pytest.mark.parametrize("name", ["uploads_settings", "sizing"])
def test_settings_example_is_valid(example, settings, name):
    """The options of the example are options."""
    from django_asgi_bridge.conf import get_config

    settings.ASGI_BRIDGE = example(name).ASGI_BRIDGE

    assert get_config() != Config()


def test_lifespan_example_opens_and_closes(example, settings):
    """The hooks run around the requests, in their order."""
    module = example("lifespan")
    hooks = [f"{module.__name__}.prices", f"{module.__name__}.greeting"]
    settings.ASGI_BRIDGE = {"LIFESPAN": hooks}

    async def serve() -> Wire:
        handler = ASGIHandler()
        wire = await Wire("/").serve(handler)
        await handler.lifespan.stop()
        return wire

    assert asyncio.run(serve()).body == b"open: True"


def test_mounting_example_serves_all_three(example):
    """Starlette, a WSGI application and Django answer under one application."""
    pytest.importorskip("a2wsgi")
    application = example("mounting").application

    async def serve() -> list[bytes]:
        wires = [await Wire(path).serve(application) for path in ("/api/", "/old/x")]
        await application.lifespan.stop()
        return [wire.body for wire in wires]

    assert asyncio.run(serve()) == [b"Starlette at /api", b"WSGI at /old"]


def test_mounting_example_serves_django_inside(example, settings):
    """Django under a prefix of Starlette has its own path."""
    settings.ROOT_URLCONF = example("uploads").__name__
    settings.MIDDLEWARE = []
    application = example("mounting_inside").application

    wire = asyncio.run(Wire("/site/digest/", "POST").serve(application))

    assert wire.status == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status", "names"),
    [
        ("/both/", 201, {"editors", "readers"}),
        ("/both/?fail", 500, set()),
        ("/savepoint/", 201, {"kept"}),
    ],
)
def test_transactions_example_keeps_all_or_nothing(example, path, status, names):
    """What fails is rolled back."""
    example("transactions")

    wire = ask_here(path)

    assert wire.status == status
    assert set(Group.objects.values_list("name", flat=True)) == names


def test_disconnects_example_follows_the_policies(example):
    """The default cancels, finish goes on, after runs at the end."""
    module = example("disconnects")

    async def leave(path: str) -> Wire:
        module.packed.clear()
        wire = Wire(path)
        wire.start(ASGIHandler())
        await turns(50)
        wire.leave()
        await turns(50)
        module.packed.set()
        await wire.ended()
        return wire

    assert asyncio.run(leave("/search/")).sent == []
    assert asyncio.run(leave("/order/")).sent == []
    assert ask("/report/").status == 202
    assert module.done == [
        "search cancelled",
        "paid",
        "packed, client left: True",
        "report written",
    ]


def test_time_limit_example_answers_504(example, settings):
    """The view is cancelled, and the middleware's answer is sent."""
    module = example("disconnects")
    module.SECONDS = 0
    settings.MIDDLEWARE = [f"{module.__name__}.time_limit"]

    assert ask("/search/").status == 504
    assert module.done == ["search cancelled"]


@pytest.mark.django_db
def test_request_user_example_greets(example, settings):
    """The view of a signed-in visitor has the user, a stranger's has none."""
    example("request_user")
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    client = AsyncClient()
    stranger = async_to_sync(client.get)("/greeting/")
    client.force_login(User.objects.create_user("ada"))
    visitor = async_to_sync(client.get)("/greeting/")

    assert stranger.content == b"Hello, stranger!"
    assert visitor.content == b"Hello, ada!"


def test_existing_project_example_is_an_application(example):
    """It answers as Django's would."""
    application = example("existing_asgi").application

    wire = asyncio.run(Wire("/no/such/page/").serve(application))

    assert wire.status == 404


@pytest.mark.django_db
def test_testing_example_passes(example, settings):
    """The example's own tests pass."""
    module = example("testing_client")

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)

    assert not result.errors, result.errors
    assert not result.failures, result.failures
    assert result.testsRun == 2


PLUGIN = "django_asgi_bridge.testing.plugin"
TESTS_SETTINGS = """
SECRET_KEY = "tests only"
ROOT_URLCONF = "testing_client"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


@pytest.mark.slow
def test_testing_example_passes_with_pytest_asyncio(tmp_path):
    """The plugin gives its fixtures to a project that names it nowhere."""
    pytest.importorskip("pytest_asyncio")
    for name, source in (
        ("test_views.py", "testing_asyncio.py"),
        ("testing_client.py", "testing_client.py"),
    ):
        shutil.copy(EXAMPLES / source, tmp_path / name)
    (tmp_path / "tests_settings.py").write_text(TESTS_SETTINGS, "utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = tests_settings\n"
        "asyncio_default_fixture_loop_scope = function\n",
        "utf-8",
    )

    command = [sys.executable, "-m", "pytest", "-q", "test_views.py"]
    if PLUGIN not in [each.value for each in entry_points(group="pytest11")]:
        # A checkout that is not installed has no entry points.
        command += ["-p", PLUGIN]
    said = run(command, tmp_path)

    assert "1 passed" in said


SENTRY = """
import runpy, sys
from django.conf import settings
values = runpy.run_path({example!r})
import asyncio
settings.configure(ROOT_URLCONF="docs_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x")
from django_asgi_bridge.asgi import get_asgi_application
from tests.http.exchanges import Wire
wire = asyncio.run(Wire("/nowhere/").serve(get_asgi_application()))
print(wire.status)
"""

OPENTELEMETRY = """
import runpy
from django.conf import settings
settings.configure(ROOT_URLCONF="docs_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x")
import asyncio
application = runpy.run_path({example!r})["application"]
from tests.http.exchanges import Wire
wire = asyncio.run(Wire("/nowhere/").serve(application))
print(wire.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module", "program"),
    [
        ("monitoring_sentry", "sentry_sdk", SENTRY),
        (
            "monitoring_opentelemetry",
            "opentelemetry.instrumentation.django",
            OPENTELEMETRY,
        ),
    ],
)
def test_monitoring_example_serves(tmp_path, name, module, program):
    """A tool that is installed as the page says leaves the site as it is."""
    pytest.importorskip(module)
    (tmp_path / "docs_urls.py").write_text("urlpatterns = []\n", "utf-8")
    (tmp_path / "program.py").write_text(
        program.format(example=str(EXAMPLES / f"{name}.py")), "utf-8"
    )

    answer = run([sys.executable, "program.py"], tmp_path)

    assert answer.splitlines()[-1] == "404"


# The tutorial.


def environment() -> dict[str, str]:
    """What a reader has who is in the virtual environment."""
    scripts = str(Path(sys.executable).parent)
    kept = {key: os.environ[key] for key in os.environ if key != SETTINGS_VARIABLE}
    path = os.pathsep.join([scripts, kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(command: list[str] | str, folder: Path) -> str:
    """Run a command as a reader would."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(folder: Path, command: str) -> Iterator[str]:
    """Serve the reader's project on a port that the system gives; give the URL."""
    anywhere = re.sub(r"--reload|--port \d+", "--port 0", command)
    words = [sys.executable, "-m", *anywhere.split()]
    server = subprocess.Popen(
        words,
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    log = ""
    try:
        for line in server.stderr:
            log += line
            if found := re.search(r"running on (http://\S+)", line):
                yield found[1]
                return
        raise AssertionError(log)
    finally:
        server.terminate()
        server.communicate()


def answer_of(folder: Path, serve: str, question: str) -> str:
    """Serve the project with each line of a step, ask, and return the answer."""
    with ExitStack() as servers:
        for number, line in enumerate(serve.splitlines()):
            address = servers.enter_context(served(folder, line)).partition("//")[2]
            question = question.replace(f"127.0.0.1:{8000 + number}", address)
        return run(question, folder)


def follow(
    name: str,
    folder: Path,
    *,
    is_asking: bool = True,
    until: str = "",
    changes: Mapping[str, str] | None = None,
) -> int:
    """Do what a page of the tutorial says, as a reader; return how often it asked.

    Args:
        is_asking: run the servers and look at the answers.
        until: a heading before which to stop.
        changes: what code has in the place of what the page says.
    """
    page = (DOCS / "tutorial" / name).read_text("utf-8")
    page = page[: page.index(until)] if until else page
    fences = list(FENCE.finditer(page))
    serve = ""
    asked = 0
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        mark, code = fence["mark"] or "", fence["code"]
        for old, new in (changes or {}).items():
            code = code.replace(old, new)
        if mark == "run":
            for line in code.splitlines():
                run(line, folder)
        elif found := re.match(r"example: \S+, as (\S+)", mark):
            (folder / found[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / found[1]).write_text(code, "utf-8")
        elif found := re.match(r"example: \S+, at the end of (\S+)", mark):
            with (folder / found[1]).open("a", encoding="utf-8") as file:
                file.write(code)
        elif mark == "serve":
            serve = code.strip()
        elif mark == "ask" and is_asking:
            answer = answer_of(folder, serve, code)
            assert answer.strip() == following["code"].strip()
            asked += 1
        else:
            is_shown = mark == "ask" or fence["kind"] == "text"
            assert is_shown or mark.startswith("not run: "), code
    return asked


@pytest.mark.servers
@pytest.mark.slow
def test_tutorial_does_what_it_says(tmp_path):
    """Each step of the page, one after the other, has the output that it shows."""
    pytest.importorskip("uvicorn")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    assert follow("first-site.md", tmp_path) == 5


@pytest.mark.servers
@pytest.mark.slow
def test_chat_tutorial_does_what_it_says(tmp_path, redis_url):
    """So does part two, in one process and in two."""
    pytest.importorskip("uvicorn")
    pytest.importorskip("websockets")
    follow("first-site.md", tmp_path, is_asking=False, until="## 4.")

    hosts = '"hosts": ["redis://127.0.0.1:6379/0"]'
    own = f'"hosts": ["{redis_url}"], "prefix": "{uuid.uuid4().hex}"'

    assert follow("chat.md", tmp_path, changes={hosts: own}) == 2


@pytest.mark.servers
@pytest.mark.slow
def test_chat_of_the_tutorial_works_in_two_browser_pages(tmp_path):
    """The page of part two: what one says, the other shows."""
    pytest.importorskip("uvicorn")
    follow("first-site.md", tmp_path, is_asking=False, until="## 4.")
    follow("chat.md", tmp_path, is_asking=False, until="## 8.")
    browser = Browser(tmp_path / "profile")
    try:
        with served(tmp_path, "uvicorn project.asgi:application --port 0") as address:
            pages = [browser.open(f"{address}/chat/lobby/") for _ in range(2)]
            other = browser.open(f"{address}/chat/garden/")
            for page in (*pages, other):
                page.until("document.body?.innerText.includes('Guest: joined')")
            pages[0].run(
                "document.querySelector('#text').value = 'anybody there?';"
                "document.querySelector('#say button').click()"
            )
            shown = "document.body?.innerText.includes('Guest: anybody there?')"
            for page in pages:
                page.until(shown)
            assert other.run(shown) is False
    finally:
        browser.close()
