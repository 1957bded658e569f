"""Reads a database URL into an entry of Django's DATABASES setting."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ("database_from_url", "sqlite_database")

_ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
}


def database_from_url(url: str) -> dict[str, Any]:
    """Return the DATABASES entry for a URL.

    Args:
        url: `postgres://user:password@host:port/name?option=value`; parts may be
            left out, reserved characters are percent-encoded.

    Raises:
        ValueError: The scheme is not one of `postgres` and `postgresql`.
    """
    parts = urlsplit(url)
    if parts.scheme not in _ENGINES:
        # The URL itself may hold a password: it is not shown.
        message = f"DATABASE_URL starts with {parts.scheme!r}; expected postgres://"
        raise ValueError(message)
    return {
        "ENGINE": _ENGINES[parts.scheme],
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def sqlite_database(path: Path) -> dict[str, Any]:
    """Return the DATABASES entry for a SQLite file that many threads use."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            # Readers and one writer at a time; a second writer waits its turn
            # (seconds) instead of failing when it upgrades a read lock.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        },
    }
