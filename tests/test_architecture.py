"""The floors, doors and house rules of the package, kept by reading its source.

What the rules are for stands in the documentation's page on the architecture.
"""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import django_asgi_bridge

PACKAGE = "django_asgi_bridge"
ROOT = Path(django_asgi_bridge.__file__).parent

FLOORS = {
    "types": 0,
    "exceptions": 0,
    "protocol": 1,
    "conf": 2,
    "threads": 2,
    "db": 3,
    "lifespan": 3,
    "middleware": 3,
    "sockets": 3,
    "http": 4,
    "layers": 4,
    "mounts": 4,
    "security": 4,
    "sessions": 4,
    "auth": 5,
    "consumer": 6,
    "routing": 6,
    "generic": 7,
    "asgi": 8,
    "worker": 8,
    "checks": 9,
    "apps": 10,
    "management": 10,
    "templatetags": 10,
    "testing": 10,
    "utils": 10,
    "compat": 11,
}

# (importing room, imported room) on one floor, with the reason.
NEIGHBOURS = {
    ("threads", "conf"): "the pool's size is a setting; the door reads it",
}

# Function-level imports of own modules, with the reason.
LATE_IMPORTS = {
    ("apps", "checks"): "servers make no system checks and do not pay for that room",
    ("asgi", "mounts"): "sites that mount nothing do not pay for that room",
    ("asgi", "routing"): "sites without WebSocket routes do not pay for that half",
    ("checks", "layers"): "sites without CHANNEL_LAYERS do not pay for it either",
    ("http", "db"): "sites without ATOMIC_ASYNC_VIEWS do not pay for that room",
    ("http", "protocol"): "sites without multipart forms do not pay for their edges",
    ("lifespan", "lifespan"): "sites that mount nothing do not pay for guests",
}

# Imports that only some rooms may have: what asks for it, and who has the key.
DOORS = {
    "django.conf": {"conf"},
    "asgiref.sync": {"threads", "db", "testing"},
    "concurrent.futures": {"threads", "testing"},
    "channels": set(),
}

ALL_WAYS = {"Thread", "run_in_executor", "sync_to_async", "to_thread"}
WAYS_TO_A_THREAD = {"db": ALL_WAYS - {"sync_to_async"}}

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50

# Debts: named here until they are paid, and an error when they are.
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS: set[str] = {"testing.client:AsyncClient.stream"}
CIRCLES: set[frozenset[str]] = set()
UNDECLARED: dict[str, set[str]] = {
    "conf": {"SETTING"},
    "http.body": {"PREFETCH_BYTES", "SynchronousBodyRead"},
    "http.files": {"BLOCKS_PER_TRIP", "BLOCK_BYTES"},
    "http.hooks": {"INLINE_BYTES"},
    "http.look": {"MAX_REMEMBERED"},
    "http.marks": {"Policy", "View"},
    "management.commands._explanation": {"LOOP", "WORKER"},
    "protocol.response": {
        "MAX_FIELD_BYTES",
        "MAX_REMEMBERED",
        "MAX_REMEMBERED_LENGTH",
        "MAX_REMEMBERED_NAMES",
        "MAX_SHOWN",
    },
    "testing.client": {"CHUNK_BYTES"},
}


def modules() -> dict[str, Path]:
    """Return the files of the package by their dotted names."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
SOURCES = pytest.mark.parametrize("module", MODULES)


def room_of(module: str) -> str:
    """Return the room of a dotted module name; the package's root has none."""
    return module.removeprefix(PACKAGE).strip(".").partition(".")[0]


def imports_of(node: ast.AST) -> list[tuple[str, ast.stmt]]:
    """Return each dotted name that is imported below ``node``, and where."""
    found: list[tuple[str, ast.stmt]] = []
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            found.extend((alias.name, each) for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            assert each.level == 0, "relative import"
            for alias in each.names:
                full = f"{each.module}.{alias.name}"
                found.append((full if full in MODULES else str(each.module), each))
    return found


def own_imports(module: str) -> set[str]:
    """Return the package's modules that ``module`` imports, for types too."""
    return {
        name
        for name, _ in imports_of(TREES[module])
        if name == PACKAGE or name.startswith(f"{PACKAGE}.")
    }


def functions_of(tree: ast.Module) -> list[tuple[str, ast.AST]]:
    """Return all functions and methods with their qualified names."""
    found: list[tuple[str, ast.AST]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((prefix + child.name, child))
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(tree, "")
    return found


# Floors and doors.


def test_every_room_has_a_floor():
    """A new room is put on a floor before it is built."""
    rooms = {room_of(module) for module in MODULES} - {""}

    assert rooms - set(FLOORS) == set()


@SOURCES
def test_imports_only_go_down(module):
    """A room imports lower floors and itself, for types too."""
    room = room_of(module)
    for imported in own_imports(module):
        other = room_of(imported)
        if not room:
            assert not other, f"the root imports {imported}"
        elif other and other != room and (room, other) not in NEIGHBOURS:
            assert FLOORS[other] < FLOORS[room], f"{module} imports {imported}"


def test_exceptions_to_the_floors_are_used():
    """An exception that nobody needs any more is taken out."""
    used = {(room_of(a), room_of(b)) for a in MODULES for b in own_imports(a)}

    assert set(NEIGHBOURS) <= used


def test_modules_import_one_another_in_no_circle():
    """Inside a room too, and for types too, there is an order to read in."""
    graph = {
        # A part of a package may import the package: that one only re-exports.
        module: {each for each in own_imports(module) if not module.startswith(each)}
        for module in MODULES
    }
    circles = set()
    for module in MODULES:
        reached = reachable(graph, module)
        circle = {each for each in reached if module in reachable(graph, each)}
        if circle:
            circles.add(frozenset(short(each) for each in circle))

    assert circles == CIRCLES


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return the modules that an import of ``start`` leads to."""
    found: set[str] = set()
    pending = list(graph[start])
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending.extend(graph[module])
    return found


def short(module: str) -> str:
    """Return a module's name inside the package."""
    return module.removeprefix(f"{PACKAGE}.")


@SOURCES
def test_own_modules_are_imported_at_the_top(module):
    """No import hides in a function to dodge a circle."""
    for name, function in functions_of(TREES[module]):
        for imported, _ in imports_of(function):
            if imported.startswith(PACKAGE):
                pair = (room_of(module), room_of(imported))
                assert pair in LATE_IMPORTS, f"{module}.{name} imports {imported}"


@SOURCES
def test_doors_are_used_by_those_who_have_the_key(module):
    """Settings, executors and asgiref's bridge are each one room's business."""
    for imported, statement in imports_of(TREES[module]):
        for door, rooms in DOORS.items():
            if imported == door or imported.startswith(f"{door}."):
                where = f"{module}:{statement.lineno} imports {imported}"
                assert room_of(module) in rooms, where


@SOURCES
def test_protocol_and_types_know_neither_django_nor_asyncio(module):
    """The rules of ASGI are tested without a loop and without a framework."""
    if FLOORS.get(room_of(module), 9) > 1:
        return
    for imported, _ in imports_of(TREES[module]):
        assert imported.partition(".")[0] not in ("django", "asyncio", "asgiref")


@SOURCES
def test_nobody_else_runs_code_on_threads(module):
    """The loop's default executor is no way around the pool."""
    if room_of(module) in ("threads", "testing"):
        return
    for node in ast.walk(TREES[module]):
        name = getattr(node, "attr", getattr(node, "id", ""))
        where = f"{module}:{getattr(node, 'lineno', 0)} {name}"
        assert name not in WAYS_TO_A_THREAD.get(room_of(module), ALL_WAYS), where


# The public face.


@SOURCES
def test_public_module_declares_what_it_defines(module):
    """``__all__`` is a sorted tuple of the public names; the package's are re-exports.

    A module without public names of its own needs none.
    """
    if module.endswith("__main__"):
        return
    tree = TREES[module]
    defined = public_names(tree)
    declared = None
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
                declared = ast.literal_eval(node.value)
    if declared is None:
        assert not defined, f"{module} has no __all__ but defines {sorted(defined)}"
        return

    assert isinstance(declared, tuple)
    assert sorted(set(declared), key=ruffs_order) == list(declared)
    imported = {
        alias.asname or alias.name
        for node in [*tree.body, *late_names(tree)]
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert defined - set(declared) == UNDECLARED.get(short(module), set())
    assert set(declared) <= defined | imported, "declared but not there"


def late_names(tree: ast.Module) -> list[ast.stmt]:
    """Return what a module imports for type checkers and gives by ``__getattr__``."""
    found: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.extend(node.body)
    return found


def public_names(tree: ast.Module) -> set[str]:
    """Return what a module defines under a name without underscore."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")} - {"logger"} | (
        names & {"__version__"}
    )


def ruffs_order(name: str) -> tuple[int, str]:
    """Sort as ruff's RUF022: constants, classes, the rest."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_package_ships_its_types():
    """Type checkers read the package's own annotations."""
    assert (ROOT / "py.typed").is_file()


# No effects of an import.


def test_importing_everything_has_no_effect():
    """No setting is read, no thread, loop, signal or patch is made by an import."""
    code = """
        import asyncio, importlib, sys, threading
        from asgiref.sync import AsyncToSync, SyncToAsync
        from django.core import signals
        from django.core.handlers import asgi, base
        from django.conf import settings
        from django.db import models
        from django.test import signals as test_signals

        def state():
            return (
                threading.active_count(),
                {name: len(signal.receivers) for name, signal in vars(signals).items()
                 if hasattr(signal, "receivers")},
                len(models.signals.pre_init.receivers),
                {cls: dict(vars(cls)) for cls in (
                    AsyncToSync, SyncToAsync, asgi.ASGIHandler, asgi.ASGIRequest,
                    base.BaseHandler,
                )},
                dict(SyncToAsync.context_to_thread_executor),
                settings.configured,
            )

        before = state()
        for name in sys.argv[1:]:
            importlib.import_module(name)
        after = state()
        for left, right in zip(before, after, strict=True):
            assert left == right, (left, right)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *MODULES],
        cwd=ROOT.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


# House rules.


@SOURCES
def test_package_has_no_assert(module):
    """An assert vanishes under ``python -O``."""
    lines = [n.lineno for n in ast.walk(TREES[module]) if isinstance(n, ast.Assert)]

    assert lines == []


@SOURCES
def test_caches_are_bounded(module):
    """No cache grows for ever: ``lru_cache`` has a size, ``cache`` is not used."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                where = f"{module}.{node.name}: {text}"
                if "lru_cache" in text:
                    assert "maxsize=" in text, where
                    assert "maxsize=None" not in text, where
                else:
                    assert text not in ("cache", "functools.cache"), where


def test_modules_are_short():
    """A module of more than 400 lines has more than one subject."""
    found = {
        short(module)
        for module, path in MODULES.items()
        if len(path.read_text().splitlines()) > MAX_MODULE_LINES
    }

    assert found == LONG_MODULES


def test_functions_are_short():
    """A function of more than 50 lines is more than one step."""
    found = {
        f"{short(module)}:{name}"
        for module, tree in TREES.items()
        for name, node in functions_of(tree)
        if node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }

    assert found == LONG_FUNCTIONS


@SOURCES
def test_module_says_what_it_is(module):
    """Every module that holds code opens with a docstring."""
    tree = TREES[module]
    assert not tree.body or ast.get_docstring(tree)


@SOURCES
def test_loggers_are_named_by_their_room(module):
    """``django_asgi_bridge.<room>``, or a logger of Django's that sites know."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger":
            name = ast.literal_eval(node.args[0])
            assert name in (f"{PACKAGE}.{room_of(module)}", "django.request"), module
