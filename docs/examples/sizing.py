"""Threads and connections of one process, for a project's settings."""

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "project",
        "CONN_MAX_AGE": 600,  # seconds; worker threads live on, so this counts
        "CONN_HEALTH_CHECKS": True,
    },
}

ASGI_BRIDGE = {
    "THREADS": 16,  # sync calls that run at once
    "MAX_THREADS": 40,  # threads, hence connections, that exist at most
    "THREAD_IDLE_TIMEOUT": 120.0,  # seconds until an unused thread ends
    "QUEUE_TIMEOUT": 2.0,  # seconds until a request that waits gets 503
}
