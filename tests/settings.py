"""Settings of the unit tests: the default project, SQLite or DATABASE_URL."""

import os
from typing import Any

from testproject.database import database_from_url
from testproject.settings import (
    CHANNEL_LAYERS,
    INSTALLED_APPS,
    MIDDLEWARE,
    TEMPLATES,
)

__all__ = ("CHANNEL_LAYERS", "INSTALLED_APPS", "MIDDLEWARE", "TEMPLATES")

SECRET_KEY = "tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "testproject.urls"
ASGI_BRIDGE: dict[str, Any] = {}

_database_url = os.environ.get("DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": (
        database_from_url(_database_url)
        if _database_url
        else {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    ),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A test signs in often, and nobody attacks its users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
STATIC_URL = "static/"
USE_TZ = True
