"""The demo as a Django app; installed with ``SIGNOFF_DEMO=1``."""

from django.apps import AppConfig


class ExamplesConfig(AppConfig):
    """Orders, reviews and deployments."""

    name = "examples"
    verbose_name = "Examples"
    default_auto_field = "django.db.models.BigAutoField"
