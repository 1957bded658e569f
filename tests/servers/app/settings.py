"""Settings of the site: what `startproject` writes, and a directory to work in."""

import os
from pathlib import Path

SITE_DIR = Path(os.environ["SITE_DIR"])

SECRET_KEY = "the site of the server tests keeps no secrets"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testsite"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_asgi_bridge",
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

ROOT_URLCONF = "tests.servers.app.urls"

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

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": SITE_DIR / "db.sqlite3",
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

# What Django has to say goes to a file of its own: the server's log then holds only
# what the server saw, and an exception in it means that one left the application.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "file": {
            "class": "logging.FileHandler",
            "filename": SITE_DIR / "django.log",
            "delay": True,
        },
    },
    "loggers": {
        "django": {"handlers": ["file"], "level": "INFO", "propagate": False},
        "django_asgi_bridge": {
            "handlers": ["file"],
            "level": "INFO",
            "propagate": False,
        },
    },
}

MAX_BODY_SIZE = 8 * 1024 * 1024

ASGI_BRIDGE = {
    "MAX_BODY_SIZE": MAX_BODY_SIZE,
    "LIFESPAN": ["tests.servers.app.hooks.journal"],
}
