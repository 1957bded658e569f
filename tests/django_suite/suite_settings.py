"""Settings of a run: Django's own for its tests on SQLite, with our recorder."""

from test_sqlite import *  # type: ignore[import-not-found] # noqa: F403 - Django's own

TEST_RUNNER = "tests.django_suite.recorder.RecordingRunner"
