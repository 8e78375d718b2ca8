"""Where other systems report to: endpoints, their secrets, and what came in. Instants: epoch ms."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.signatures import Scheme


class Preset(models.TextChoices):
    """Who sends."""

    GITHUB = "github", _("GitHub")
    STRIPE = "stripe", _("Stripe")
    SLACK = "slack", _("Slack")
    GENERIC = "generic", _("Another system")


class WebhookAction(models.TextChoices):
    """What an endpoint is for."""

    SETTLE = "settle", _("settles what waits for it")
    START = "start", _("starts executions")


class WebhookEndpoint(models.Model):
    """An address that one other system posts to. Endpoints are switched off, never deleted."""

    id = models.BigAutoField(primary_key=True)
    name = models.TextField()
    slug = models.SlugField(max_length=100, unique=True, help_text=_("The end of its address."))
    preset = models.TextField(choices=Preset, default=Preset.GENERIC)
    action = models.TextField(choices=WebhookAction)
    signature_header = models.TextField()
    algorithm = models.TextField()
    encoding = models.TextField()
    signature_prefix = models.TextField(blank=True)
    signed = models.TextField(help_text=_("What is signed, of {timestamp} and {body}."))
    timestamp = models.TextField(
        blank=True, help_text=_("The header with the time, or the beginning of its part.")
    )
    tolerance_s = models.PositiveIntegerField()
    event_id = models.TextField(
        blank=True, help_text=_("Template of what events are numbered by; empty: by their bodies.")
    )
    networks = models.JSONField(
        default=list, help_text=_("Who may post, as addresses and networks; empty: anybody.")
    )
    max_bytes = models.PositiveIntegerField()
    mapping = models.JSONField()
    is_active = models.BooleanField(default=True)
    made_at = models.BigIntegerField()
    changed_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        default_permissions = ("view",)
        permissions: ClassVar = [("manage_webhooks", _("Can set up webhooks and see their log"))]

    def __str__(self) -> str:
        return self.slug

    @property
    def scheme(self) -> Scheme:
        """How requests are signed."""
        return Scheme(
            header=self.signature_header,
            algorithm=self.algorithm,
            encoding=self.encoding,
            prefix=self.signature_prefix,
            signed=self.signed,
            timestamp=self.timestamp,
            tolerance=self.tolerance_s,
        )

    @property
    def accepts_late_news(self) -> bool:
        """Whether the sender is told that all is well when its news comes too late to matter."""
        return PRESETS[self.preset].hates_refusals


class WebhookSecret(models.Model):
    """A secret of an endpoint, sealed with the project's ``SECRET_KEY``; two live ones at most."""

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="secrets")
    sealed = models.TextField()
    hint = models.TextField(help_text=_("Its last characters."))
    made_at = models.BigIntegerField()
    retired_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("webhook secret")
        verbose_name_plural = _("webhook secrets")
        default_permissions = ()

    def __str__(self) -> str:
        return f"…{self.hint}"


class WebhookEvent(models.Model):
    """An event that was acted upon: what has the same id is not acted upon again."""

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, db_index=False, related_name="events"
    )
    event_id = models.TextField()
    seen_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_event_once", fields=["endpoint", "event_id"]),
        ]
        indexes: ClassVar = [models.Index(name="signoff_event_seen", fields=["seen_at"])]

    def __str__(self) -> str:
        return self.event_id


class WebhookDelivery(models.Model):
    """One request to an endpoint, or its body read again; never changed."""

    class Outcome(models.TextChoices):
        """What became of it."""

        RESOLVED = "resolved", _("resolved")
        REJECTED = "rejected", _("rejected")
        STARTED = "started", _("started")
        REPEATED = "repeated", _("already applied")
        LATE = "late", _("already settled")
        RUNNING = "running", _("already started")
        IGNORED = "ignored", _("ignored")
        CHALLENGE = "challenge", _("address confirmed")
        UNKNOWN = "unknown", _("unknown id")
        UNMAPPED = "unmapped", _("does not fit")
        MALFORMED = "malformed", _("not readable")
        UNSIGNED = "unsigned", _("wrong signature")
        STALE = "stale", _("too old")
        FORBIDDEN = "forbidden", _("address not allowed")
        TOO_LARGE = "too_large", _("too large")
        INACTIVE = "inactive", _("switched off")
        FAILED = "failed", _("failed here")

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, db_index=False, related_name="deliveries"
    )
    received_at = models.BigIntegerField()
    ip = models.GenericIPAddressField(null=True)
    headers = models.JSONField(default=dict, help_text=_("Without what signs or signs in."))
    body = models.BinaryField(help_text=_("As it came; of what nobody signed only the beginning."))
    size = models.PositiveIntegerField()
    is_verified = models.BooleanField(help_text=_("Signed by a live secret, lately."))
    event_id = models.TextField(blank=True)
    outcome = models.TextField(choices=Outcome)
    status = models.PositiveSmallIntegerField(help_text=_("HTTP status of the answer."))
    promise_id = models.TextField(blank=True)
    problem = models.TextField(blank=True)
    redelivery_of = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )
    redelivered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(name="signoff_delivery_log", fields=["endpoint", "-id"]),
            models.Index(name="signoff_delivery_outcome", fields=["endpoint", "outcome", "-id"]),
            models.Index(name="signoff_delivery_age", fields=["received_at"]),
            models.Index(
                name="signoff_delivery_refused",
                fields=["endpoint", "-id"],
                condition=Q(is_verified=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.outcome} {self.received_at}"

    @property
    def raw(self) -> bytes:
        """The body, whatever type the database's driver gives it."""
        content: Any = self.body
        return bytes(content)

    @property
    def is_whole(self) -> bool:
        """Whether all of the body was kept."""
        return len(self.raw) == self.size
