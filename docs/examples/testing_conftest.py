"""The conftest.py at the root of a project."""

pytest_plugins = ["django_asgi_bridge.testing.plugin"]
