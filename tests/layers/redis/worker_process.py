"""A process that reads a channel as ``runworker`` does, and prints what it got.

It handles its first message and then waits for a line on its standard input.
"""

import asyncio
import sys

from django.conf import settings

URL, PREFIX = sys.argv[1:]
settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "django_asgi_bridge.layers.RedisChannelLayer",
            "CONFIG": {"hosts": [URL], "prefix": PREFIX, "timeout": 2.0},
        }
    },
    LOGGING_CONFIG=None,
)

from django_asgi_bridge.consumer import AsyncConsumer  # noqa: E402 - needs settings
from django_asgi_bridge.layers import get_channel_layer  # noqa: E402
from django_asgi_bridge.routing import ChannelNameRouter  # noqa: E402
from django_asgi_bridge.worker import Worker  # noqa: E402


class Printing(AsyncConsumer):
    """Prints the numbers of its messages."""

    is_first = True

    async def job(self, message):
        print(message["by"], message["n"], flush=True)
        if self.is_first:
            self.is_first = False
            await asyncio.to_thread(sys.stdin.readline)


router = ChannelNameRouter({"jobs": Printing.as_asgi()})
Worker(router, ["jobs"], get_channel_layer()).run()
