"""A test runner that writes one JSON line per finished test.

The lines are flushed at once, so that a run that hangs or dies still tells what it
had finished, and which test it was in.
"""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from django.test.runner import DiscoverRunner

__all__ = ("RecordingResult", "RecordingRunner", "write")

ENVIRONMENT_NAME = "DJANGO_SUITE_REPORT"

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
)


def write(**entry: object) -> None:
    """Append one entry to the report of this run."""
    with Path(os.environ[ENVIRONMENT_NAME]).open("a", encoding="utf-8") as report:
        report.write(json.dumps(entry) + "\n")


class RecordingResult(unittest.TextTestResult):
    """Write the outcome of each test, and each failed subtest, to the report."""

    def startTest(self, test: unittest.TestCase) -> None:
        write(event="start", test=test.id())
        super().startTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._record(test, "passed")
        super().addSuccess(test)

    def addError(self, test: unittest.TestCase, err: _ExcInfo) -> None:
        self._record(test, "failed", err)
        super().addError(test, err)

    def addFailure(self, test: unittest.TestCase, err: _ExcInfo) -> None:
        self._record(test, "failed", err)
        super().addFailure(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._record(test, "skipped", detail=reason)
        super().addSkip(test, reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: _ExcInfo) -> None:
        self._record(test, "passed")
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._record(test, "failed", detail="unexpected success")
        super().addUnexpectedSuccess(test)

    def addSubTest(
        self,
        test: unittest.TestCase,
        subtest: unittest.TestCase,
        err: _ExcInfo | None,
    ) -> None:
        if err is not None:
            self._record(test, "failed", err, detail=f"in {subtest.id()}\n")
        super().addSubTest(test, subtest, err)

    def _record(
        self,
        test: unittest.TestCase,
        outcome: str,
        err: _ExcInfo | None = None,
        detail: str = "",
    ) -> None:
        if err is not None:
            detail += self._exc_info_to_string(err, test)  # type: ignore[attr-defined] # not in typeshed
        write(event="end", test=test.id(), outcome=outcome, detail=detail)


class RecordingRunner(DiscoverRunner):
    """Django's test runner with the result class above."""

    def get_resultclass(self) -> Any:
        return RecordingResult
