"""Settings: how much may wait, for how long, and as whose property."""

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "django_asgi_bridge.layers.RedisChannelLayer",
        "CONFIG": {
            "hosts": ["redis://127.0.0.1:6379/0"],
            "prefix": "shop",
            "capacity": 100,
            "channel_capacity": {"thumbnails": 10_000},
            "expiry": 60,
            "max_message_size": 256 * 1024,
        },
    },
}
