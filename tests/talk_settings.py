"""The testproject's settings, with a database and a key prefix of a test's own."""

import os

from testproject.database import sqlite_database
from testproject.settings import *  # noqa: F403
from testproject.settings import CHANNEL_LAYERS, DATABASES

DATABASES["default"] = sqlite_database(os.environ["TALK_DATABASE"])
CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] = os.environ["TALK_PREFIX"]
