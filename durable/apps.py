"""The engine as a Django app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class DurableConfig(AppConfig):
    """Finds the ``workflows`` module of every installed app once all apps are ready."""

    name = "durable"
    label = "durable"
    verbose_name = "Durable workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register functions and system checks."""
        from durable import checks  # noqa: F401, PLC0415 - registers on import
        from durable.delivery import checks as delivery  # noqa: F401, PLC0415 - and here

        autodiscover_modules("workflows")
