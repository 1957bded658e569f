"""The Django app ``django_asgi_bridge``."""

from django.apps import AppConfig

__all__ = ("BridgeConfig",)


class BridgeConfig(AppConfig):
    """Brings the commands and the system checks."""

    name = "django_asgi_bridge"
    verbose_name = "ASGI bridge"

    def ready(self) -> None:
        """Register the system checks."""
        from django_asgi_bridge import checks  # noqa: PLC0415 - Django's place for it

        checks.register()
