"""The application of a Channels project.

BENCH_AUTH: set for session and user.
"""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from testproject.bench.site.consumers import consumers

http = get_asgi_application()
routes = [path(name, each.as_asgi()) for name, each in consumers("channels").items()]
sockets: Any = URLRouter(routes)
if os.environ.get("BENCH_AUTH"):
    sockets = AuthMiddlewareStack(sockets)
application = ProtocolTypeRouter({"http": http, "websocket": sockets})
