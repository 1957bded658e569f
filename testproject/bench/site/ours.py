"""This package's application, as a project's ``asgi.py``."""

from django_asgi_bridge.asgi import get_asgi_application

application = get_asgi_application()
