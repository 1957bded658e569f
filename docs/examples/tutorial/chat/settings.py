INSTALLED_APPS = [
    "django_asgi_bridge",
    "pages",
    "chat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

CHANNEL_LAYERS = {
    "default": {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"},
}
