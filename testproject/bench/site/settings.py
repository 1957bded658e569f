"""Settings of the Django sites that are measured; a case chooses by environment.

BENCH_APPS: apps that a peer needs, separated by commas.
BENCH_MIDDLEWARE: ``default`` for the seven of ``startproject``, else none.
BENCH_EXTRA_MIDDLEWARE: how many trivial middlewares there are besides.
BENCH_DATABASE: a path for SQLite, or ``postgres://…``.
BENCH_CONN_MAX_AGE: seconds.
BENCH_POOL: set for Django's pool of psycopg connections.
BENCH_THREADS: this package's ``THREADS``.
BENCH_URLCONF: the routes, ``urls`` when left out.
BENCH_LAYER: a key of ``LAYERS``.
BENCH_REDIS: the URL of the channel layers' server.
"""

import os
from pathlib import Path
from typing import Any

from testproject.database import database_from_url, sqlite_database

_ours = "django_asgi_bridge.layers"
_prefix = {"prefix": f"bench-{os.environ.get('BENCH_RUN', '')}"}
_hosts = {"hosts": [os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")]}

LAYERS: dict[str, dict[str, Any]] = {
    "": {},
    "ours-memory": {"BACKEND": f"{_ours}.InMemoryChannelLayer"},
    "ours-redis": {"BACKEND": f"{_ours}.RedisChannelLayer", "CONFIG": _hosts | _prefix},
    "channels-memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "channels-pubsub": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": _hosts | _prefix,
    },
    "channels-core": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": _hosts | _prefix,
    },
}
"""Where CHANNEL_LAYERS points, by name."""


def _database() -> dict[str, Any]:
    place = os.environ.get("BENCH_DATABASE", "")
    entry: dict[str, Any]
    if place.startswith("postgres"):
        entry = database_from_url(place)
    elif place:
        entry = sqlite_database(Path(place))
    else:
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    if os.environ.get("BENCH_POOL"):
        entry["OPTIONS"] = {**entry["OPTIONS"], "pool": {"min_size": 4, "max_size": 32}}
    entry["CONN_MAX_AGE"] = int(os.environ.get("BENCH_CONN_MAX_AGE", "0"))
    return entry


ALLOWED_HOSTS = ["*"]
SECRET_KEY = "only for the benchmark"
ROOT_URLCONF = os.environ.get("BENCH_URLCONF", "testproject.bench.site.urls")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {"default": _database()}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "testproject.bench.site",
    *filter(None, os.environ.get("BENCH_APPS", "").split(",")),
]
MIDDLEWARE = ["testproject.bench.site.middleware.Trivial"] * int(
    os.environ.get("BENCH_EXTRA_MIDDLEWARE", "0")
)
if os.environ.get("BENCH_MIDDLEWARE") == "default":
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        *MIDDLEWARE,
    ]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

CHANNEL_LAYERS = {"default": LAYERS[os.environ.get("BENCH_LAYER", "")]}
if not CHANNEL_LAYERS["default"]:
    CHANNEL_LAYERS = {}
ASGI_BRIDGE: dict[str, Any] = {}
if "BENCH_THREADS" in os.environ:
    ASGI_BRIDGE["THREADS"] = int(os.environ["BENCH_THREADS"])

BOLT_API = ["testproject.bench.site.with_bolt:api"]
BOLT_COMPRESSION = False
BOLT_MAX_UPLOAD_SIZE = 20 * 1024 * 1024  # Django has no limit for files
LOGGING_CONFIG = None
