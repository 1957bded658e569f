"""Tests of django_asgi_bridge."""
