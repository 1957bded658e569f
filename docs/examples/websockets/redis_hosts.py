"""Settings: the ways to say which Redis servers a layer uses."""

LAYER = "django_asgi_bridge.layers.RedisChannelLayer"

CHANNEL_LAYERS = {
    # Two servers: each name is on one of them.
    "default": {
        "BACKEND": LAYER,
        "CONFIG": {"hosts": ["redis://10.0.0.1:6379/0", "redis://10.0.0.2:6379/0"]},
    },
    "pair": {"BACKEND": LAYER, "CONFIG": {"hosts": [("10.0.0.1", 6379)]}},
    # Options of redis-py's connections beside the address.
    "tls": {
        "BACKEND": LAYER,
        "CONFIG": {
            "hosts": [
                {
                    "address": "rediss://redis.example.com:6380/0",
                    "username": "site",
                    "password": "secret",
                    "ssl_ca_certs": "/etc/ssl/redis.pem",
                }
            ]
        },
    },
    "sentinel": {
        "BACKEND": LAYER,
        "CONFIG": {
            "hosts": [
                {
                    "sentinels": [("10.0.0.1", 26379), ("10.0.0.2", 26379)],
                    "master_name": "mymaster",
                }
            ]
        },
    },
}
