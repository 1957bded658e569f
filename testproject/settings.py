"""Settings of Field Notes; environment variables change what differs by machine.

DATABASE_URL: `postgres://user:password@host:port/name`; without it, SQLite.
DEBUG: `0` turns Django's debug mode off; it is on for this demo site.
SECRET_KEY, ALLOWED_HOSTS (comma-separated): needed without DEBUG.
MEDIA_ROOT: folder of uploaded files.
REDIS_URL: a channel layer between several processes; without it, in memory.
"""

import os
from pathlib import Path
from typing import Any

from testproject.database import database_from_url, sqlite_database

BASE_DIR = Path(__file__).resolve().parent

DEBUG = os.environ.get("DEBUG", "1") not in {"0", "false", "no", ""}
if DEBUG:
    SECRET_KEY = os.environ.get("SECRET_KEY", "for a demo on one's own machine only")
else:
    SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = [h for h in os.environ.get("ALLOWED_HOSTS", "").split(",") if h]

INSTALLED_APPS = [
    "django_asgi_bridge",
    "testproject.notes",
    "testproject.talk",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "testproject.urls"
ASGI_APPLICATION = "testproject.asgi.application"
WSGI_APPLICATION = "testproject.wsgi.application"

ASGI_BRIDGE: dict[str, Any] = {
    "LIFESPAN": ["testproject.almanac.open_almanac"],
}

_redis_url = os.environ.get("REDIS_URL")
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "django_asgi_bridge.layers.RedisChannelLayer",
        "CONFIG": {"hosts": [_redis_url], "prefix": "field-notes"},
    }
    if _redis_url
    else {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}
}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

_database_url = os.environ.get("DATABASE_URL")
DATABASES = {
    "default": {
        **(
            database_from_url(_database_url)
            if _database_url
            else sqlite_database(BASE_DIR / "db.sqlite3")
        ),
        # Worker threads live on, so their connections may too (seconds).
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
MEDIA_ROOT = Path(os.environ.get("MEDIA_ROOT", BASE_DIR / "media"))

# Uploads of any size go to a temporary file from 2.5 MB on (Django's default);
# forms without files stay small.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
