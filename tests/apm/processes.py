"""Runs a child in a process of its own, since monitoring tools patch for good."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ("recorded",)

ROOT = Path(__file__).absolute().parent.parent.parent


def recorded(child: str, **order: Any) -> list[Any]:
    """Return what a child saw of each of its ``urls``."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.apm.{child}", json.dumps(order)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answers: list[Any] = json.loads(run.stdout)
    return answers
