"""The directory of a site: a migrated database and the file to download."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers.app.content import FILE_NAME, file_content
from tests.servers.processes import ROOT


def make_site(directory: Path) -> Path:
    """Fill a directory, and return it."""
    (directory / FILE_NAME).write_bytes(file_content())
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
        check=True,
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "SITE_DIR": str(directory),
            "DJANGO_SETTINGS_MODULE": "tests.servers.app.settings",
        },
    )
    return directory
