#!/usr/bin/env python
"""Command line of the site: `python testproject/manage.py <command>`."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command."""
    # Python put this folder first on the path; the site is imported as
    # `testproject`, from the folder above, and only so.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
