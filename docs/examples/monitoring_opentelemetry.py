"""OpenTelemetry: the project's asgi.py."""

import os

from opentelemetry.instrumentation.django import DjangoInstrumentor

from django_asgi_bridge.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Before the application is made, since it adds a middleware to the settings.
DjangoInstrumentor().instrument()

application = get_asgi_application()
