"""Settings: encrypted messages, in the middle of a change of keys."""

import os

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "django_asgi_bridge.layers.RedisChannelLayer",
        "CONFIG": {
            "hosts": ["redis://127.0.0.1:6379/0"],
            "symmetric_encryption_keys": [
                os.environ["LAYER_KEY"],
                os.environ["LAYER_KEY_BEFORE"],
            ],
        },
    },
}
