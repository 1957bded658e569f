"""What a server cannot do: one table, and each line of it is verified.

A scenario that is listed here must fail on that server. When a newer server passes
it, the run fails until the line is taken out.
"""

from dataclasses import dataclass

ALL = (
    "uvicorn-httptools",
    "uvicorn-h11",
    "hypercorn",
    "daphne",
    "granian",
    "gunicorn-uvicorn",
    "gunicorn-asgi",
)


@dataclass(frozen=True)
class Limit:
    """One scenario that some servers cannot pass, and why."""

    scenario: str
    servers: tuple[str, ...]
    reason: str


LIMITS: tuple[Limit, ...] = ()


def find_limit(scenario: str, server: str) -> str | None:
    """Return why a server cannot pass a scenario, or None when it must."""
    for limit in LIMITS:
        if limit.scenario == scenario and server in limit.servers:
            return limit.reason
    return None
