"""``python -m testproject.bench.site.fill``: tables, rows, and a visitor's session.

Works on BENCH_DATABASE, which is empty; prints the key of the session of a user who
is signed in.
"""

import random

import django
from django.core.management import call_command

from testproject.bench.site.answers import NUMBERS

__all__ = ()


def main() -> None:
    """Fill the database."""
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    _rows()
    print(_session())


def _rows() -> None:
    from testproject.bench.site.models import Line, Number  # noqa: PLC0415

    Number.objects.bulk_create(
        Number(value=random.randint(1, NUMBERS)) for _ in range(NUMBERS)
    )
    Line.objects.bulk_create(
        Line(text=f"line {number} of <twelve> & more") for number in range(12)
    )


def _session() -> str:
    from django.contrib.auth import (  # noqa: PLC0415
        BACKEND_SESSION_KEY,
        HASH_SESSION_KEY,
        SESSION_KEY,
        get_user_model,
    )
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415

    user = get_user_model().objects.create_user("visitor", password="visitor")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


if __name__ == "__main__":
    main()
