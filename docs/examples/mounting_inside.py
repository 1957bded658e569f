"""Django inside Starlette; FastAPI is mounted into in the same way."""

import os

from starlette.applications import Starlette
from starlette.routing import Mount

from django_asgi_bridge.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = Starlette(routes=[Mount("/site", app=get_asgi_application())])
