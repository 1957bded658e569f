CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "django_asgi_bridge.layers.RedisChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:6379/0"]},
    },
}
