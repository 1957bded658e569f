"""Writes reference pages from the docstrings: ``python docs/reference/generate.py``."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

PACKAGE = "django_asgi_bridge"
FOLDER = Path(__file__).parent
PAGES = ("public-names.md", "consumers.md", "layers.md")

# What stands above this line of a page is written by hand.
MARK = "<!-- Written by generate.py from here on. -->\n"

# Module: the page that it is on, where that is not the first.
ELSEWHERE = {
    "consumer": "consumers.md",
    "generic.http": "consumers.md",
    "generic.websocket": "consumers.md",
    "sockets": "consumers.md",
    "layers": "layers.md",
    "layers.redis": "layers.md",
}

# Module: the names that are for users; all of __all__ where none are listed.
DOORS: dict[str, tuple[str, ...]] = {
    "asgi": (),
    "auth": (),
    "compat": (),
    "consumer": (),
    "generic.http": (),
    "generic.websocket": (),
    "http": (),
    "http.handler": (),
    "db": (),
    "layers": (),
    "layers.redis": (),
    "lifespan": (),
    "middleware": (),
    "mounts": (),
    "routing": (),
    "security.websocket": (),
    "sessions": (),
    "sockets": ("Bounds", "Dropped"),
    "templatetags.websockets": ("websocket_url",),
    "threads": ("PoolStats", "get_pool", "run_sync"),
    "testing": (),
    "exceptions": (),
    "http.body": ("BodyTimeout", "SynchronousBodyRead"),
    "http.eventstream": ("AsyncSourceError",),
    "protocol.response": ("BadResponse",),
    "types": (),
    "utils": (),
    "worker": (),
}

_SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:")
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z`\"])")


def page(name: str) -> str:
    """Return a whole page: what was written by hand, and the rest."""
    by_hand, _, _ = (FOLDER / name).read_text(encoding="utf-8").partition(MARK)
    parts = [by_hand + MARK]
    for door, chosen in DOORS.items():
        if ELSEWHERE.get(door, PAGES[0]) == name:
            parts.extend(section(door, chosen))
    return "\n".join(parts)


def section(door: str, chosen: tuple[str, ...]) -> Iterator[str]:
    """Yield the parts about one module."""
    name = f"{PACKAGE}.{door}"
    module = importlib.import_module(name)
    yield f"## `{name}`\n"
    if door in {"http.body", "http.eventstream", "protocol.response"}:
        yield "Errors that users may meet; the rest of the module is not public.\n"
    elif chosen:
        yield "The rest of the module is not public.\n"
    for each in chosen or sorted(module.__all__, key=str.lower):
        yield from entry(name, each)


def entry(module: str, name: str) -> Iterator[str]:
    """Yield the parts about one name."""
    home, node = find(module, name)
    yield f"### `{name}`\n"
    yield fence(signature(node, home))
    yield from prose(docstring(home, node))
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(member)
            is_plain = not member.name.startswith("_") and text
            if not is_plain or "setter" in ast.dump(
                ast.Module(member.decorator_list, [])
            ):
                continue
            yield f"#### `{name}.{member.name}`\n"
            yield fence(signature(member, home))
            yield from prose(text or "")


def find(module: str, name: str) -> tuple[ast.Module, ast.stmt]:
    """Return where a name is defined: the module's tree and the statement."""
    source = inspect.getsource(importlib.import_module(module))
    tree = ast.parse(source)
    late = [node.body for node in tree.body if isinstance(node, ast.If)]
    for node in [*tree.body, *chain.from_iterable(late)]:
        if isinstance(node, ast.ImportFrom) and name in imported(node):
            return find(str(node.module), name)
        if getattr(node, "name", None) == name:
            return tree, node
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return tree, node
    raise LookupError(f"{module}.{name} is defined nowhere")


def imported(node: ast.ImportFrom) -> set[str]:
    """Return the names that an import gives."""
    return {each.asname or each.name for each in node.names}


def signature(node: ast.stmt, home: ast.Module) -> str:
    """Return a definition without its body."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        marks = [ast.unparse(each) for each in node.decorator_list]
        # For its callers it is a coroutine function.
        is_tail = "tail_call" in marks
        is_async = isinstance(node, ast.AsyncFunctionDef) or is_tail
        prefix = "async def" if is_async else "def"
        lines = [
            f"@{mark}"
            for mark in marks
            if mark in {"cached_property", "classmethod", "property"}
        ]
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        if is_tail and isinstance(node.returns, ast.Subscript):
            inner = ast.unparse(node.returns.slice).strip("()")
            returns = f" -> {inner.rpartition(', ')[2]}"
        return "\n".join([*lines, wrapped(prefix, node, returns)])
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(each) for each in node.bases)
        lines = [f"class {node.name}({bases}):" if bases else f"class {node.name}:"]
        for each in node.body:
            if is_attribute(each):
                lines.append(f"    {ast.unparse(each)}")
            elif isinstance(each, ast.FunctionDef) and each.name == "__init__":
                text = wrapped("def", each, " -> None")
                lines.extend(f"    {line}" for line in text.splitlines())
        return "\n".join(lines)
    return ast.unparse(node)


def is_attribute(node: ast.stmt) -> bool:
    """Tell whether a line of a class is an attribute for users; no constant is."""
    if isinstance(node, ast.AnnAssign):
        return not ast.unparse(node.target).startswith("_")
    is_plain = isinstance(node, ast.Assign) and len(node.targets) == 1
    return is_plain and ast.unparse(node.targets[0])[0].islower()


def wrapped(
    prefix: str, node: ast.FunctionDef | ast.AsyncFunctionDef, returns: str
) -> str:
    """Return a head line, on several lines where it is long."""
    arguments = [spaced(each) for each in split_arguments(ast.unparse(node.args))]
    line = f"{prefix} {node.name}({', '.join(arguments)}){returns}"
    if len(line) <= 80:
        return line
    body = "".join(f"    {argument},\n" for argument in arguments)
    return f"{prefix} {node.name}(\n{body}){returns}"


def spaced(argument: str) -> str:
    """Write the default of an annotated argument as formatters do."""
    name, colon, rest = argument.partition(": ")
    return f"{name}: {rest.replace('=', ' = ', 1)}" if colon else argument


def split_arguments(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    arguments, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return [argument.strip() for argument in arguments]


def docstring(home: ast.Module, node: ast.stmt) -> str:
    """Return a definition's docstring; of a variable, the string below it."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ast.get_docstring(node) or ""
    position = home.body.index(node) + 1
    following = home.body[position] if position < len(home.body) else None
    value = getattr(following, "value", None)
    text = getattr(value, "value", "")
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def fence(code: str) -> str:
    """Return a fence that is no example: it shows signatures."""
    return f"```text\n{code}\n```\n"


def prose(text: str) -> Iterator[str]:
    """Yield a docstring as Markdown, one sentence a line."""
    for block in re.split(r"\n\s*\n", text):
        first, _, rest = block.partition("\n")
        if first in _SECTIONS:
            yield f"{first}\n"
            yield "\n".join(items(rest)) + "\n"
        elif block.startswith("- "):
            yield "\n".join(items(re.sub(r"^- ", "", block, flags=re.MULTILINE))) + "\n"
        elif block.strip():
            yield sentences(block) + "\n"


def items(text: str) -> Iterator[str]:
    """Yield the entries of an Args section and its like."""
    for chunk in re.split(r"\n(?=\S)", textwrap.dedent(text)):
        line = " ".join(chunk.split())
        name, colon, rest = line.partition(": ")
        if colon and re.fullmatch(r"[\w.]+", name):
            line = f"`{name}`: {rest}"
        lines = sentences(line).splitlines()
        yield "\n  ".join([f"- {lines[0]}", *lines[1:]])


def sentences(text: str) -> str:
    """Join lines, and break after each sentence."""
    line = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    return _SENTENCE_END.sub("\n", line.replace("``", "`"))


if __name__ == "__main__":
    for each in PAGES:
        (FOLDER / each).write_text(page(each), encoding="utf-8")
