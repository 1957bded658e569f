"""The small site that the server matrix serves: a default Django project."""
