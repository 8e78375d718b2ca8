"""The dashboard as a Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SignoffConfig(AppConfig):
    """Pages for people and operators, kept in step with the engine by its signals."""

    name = "dashboard"
    label = "signoff"
    verbose_name = _("Signoff")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to the engine."""
        from dashboard import checks as page_checks  # noqa: F401, PLC0415 - registers on import
        from dashboard import receivers  # noqa: F401, PLC0415 - registers on import
        from dashboard.answer_forms import checks as form_checks  # noqa: F401, PLC0415
        from dashboard.audit_chain import keep_chain  # noqa: PLC0415
        from dashboard.channels import checks  # noqa: F401, PLC0415 - registers on import
        from dashboard.channels import receivers as channel_receivers  # noqa: F401, PLC0415
        from dashboard.claims import release_silent  # noqa: PLC0415
        from dashboard.holding import send_overdue  # noqa: PLC0415
        from dashboard.links import forget_expired  # noqa: PLC0415
        from dashboard.streams import stop_streams  # noqa: PLC0415
        from dashboard.sweep import keep_house  # noqa: PLC0415
        from dashboard.timekeeping import end_overdue  # noqa: PLC0415
        from dashboard.webhooks.upkeep import forget_old  # noqa: PLC0415
        from durable import signals  # noqa: PLC0415

        signals.housekeeping.connect(keep_house, dispatch_uid="signoff-sweep")
        signals.housekeeping.connect(keep_chain, dispatch_uid="signoff-chain")
        signals.housekeeping.connect(end_overdue, dispatch_uid="signoff-expiry")
        signals.housekeeping.connect(send_overdue, dispatch_uid="signoff-held")
        signals.housekeeping.connect(release_silent, dispatch_uid="signoff-silence")
        signals.housekeeping.connect(forget_old, dispatch_uid="signoff-webhooks")
        signals.housekeeping.connect(forget_expired, dispatch_uid="signoff-links")
        signals.stopping.connect(stop_streams, dispatch_uid="signoff-streams")
