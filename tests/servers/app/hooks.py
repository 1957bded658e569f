"""The site's lifespan: each start and end of a worker is a line in a file."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping

from tests.servers.app.content import site_directory


def _write(word: str) -> None:
    path = site_directory() / "lifespan.txt"
    with path.open("a", encoding="ascii") as journal_file:
        journal_file.write(f"{word} {os.getpid()}\n")


@contextlib.asynccontextmanager
async def journal() -> AsyncIterator[Mapping[str, object]]:
    """Write `startup`, put a value into the state, write `shutdown` at the end."""
    if os.environ.get("SITE_STARTUP") == "fail":
        raise RuntimeError("the cellar is flooded")
    _write("startup")
    yield {"greeting": "set at startup"}
    _write("shutdown")
