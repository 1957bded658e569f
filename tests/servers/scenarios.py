"""Names of scenarios and servers, as the tests' parameters tell them."""

import pytest

from tests.servers.specs import ServerSpec


def _params(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return dict(callspec.params) if callspec is not None else {}


def server_of(item: pytest.Item) -> str | None:
    """Return the server that a test runs on, None outside the matrix."""
    specs = [each for each in _params(item).values() if isinstance(each, ServerSpec)]
    return specs[0].name if specs else None


def scenario_of(item: pytest.Item) -> str:
    """Return the test's name with its own parameters, the server left out."""
    name = getattr(item, "originalname", item.name).removeprefix("test_")
    values = _params(item).values()
    own = [str(value) for value in values if not isinstance(value, ServerSpec)]
    return f"{name}[{'-'.join(own)}]" if own else name


def title_of(item: pytest.Item) -> str:
    """Return what the scenario is about: the first line of its docstring."""
    doc = getattr(getattr(item, "function", None), "__doc__", None) or item.name
    return str(doc).strip().splitlines()[0].rstrip(".")
