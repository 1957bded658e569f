"""Python calls, counted: what something costs, in a number that does not flicker."""

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Self

import asgiref
import django

import django_asgi_bridge

PACKAGE = str(Path(django_asgi_bridge.__file__).parent)
COUNTED = (PACKAGE, *(str(Path(each.__file__).parent) for each in (asgiref, django)))


class Counter:
    """Counts calls on the thread that made it and on threads started meanwhile.

    Attributes:
        own: calls of this package's functions.
        all: of this package's, Django's and asgiref's functions.
    """

    def __init__(self) -> None:
        self.own = self.all = 0

    def __enter__(self) -> Self:
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """Take one event of the interpreter."""
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(COUNTED):
            self.all += 1
            self.own += name.startswith(PACKAGE)
