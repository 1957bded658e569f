"""Field Notes: a small site that runs on django_asgi_bridge."""
