"""What was sent to people about their questions, what they do not want, and who they are elsewhere.

Instants are epoch ms.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask
from durable.models.fields import IdField


class MessageEvent(models.TextChoices):
    """Why a message is sent."""

    ASKED = "asked", _("asked")
    ASSIGNED = "assigned", _("handed over")
    MENTIONED = "mentioned", _("mentioned")
    REMINDED = "reminded", _("reminded")
    ESCALATED = "escalated", _("escalated")
    EXPIRED = "expired", _("expired")
    OUTCOME = "outcome", _("outcome")


class Message(models.Model):
    """One message to one recipient; made before it is sent, so that a crash loses none.

    Unsent messages of an open question are sent again until they are sent or given up.
    """

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="messages",
    )
    asked_at = models.BigIntegerField(
        help_text=_("When the question was asked: an id may be pruned and come back.")
    )
    channel = models.TextField(help_text=_("Name of the channel in the settings."))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )
    recipient = models.TextField(help_text=_("The user as user:<id>, else the address."))
    address = models.TextField(help_text=_("Mail address, room or URL."))
    event = models.TextField(choices=MessageEvent)
    occasion = models.TextField(blank=True, help_text=_("Which of several events of the kind."))
    subject = models.TextField(blank=True)
    reference = models.TextField(
        blank=True, help_text=_("Message-ID, or what the channel calls the message.")
    )
    thread = models.TextField(
        blank=True, help_text=_("Reference of the message that began the conversation.")
    )
    created_at = models.BigIntegerField()
    sent_at = models.BigIntegerField(null=True)
    given_up_at = models.BigIntegerField(null=True)
    outcome_shown_at = models.BigIntegerField(
        null=True, help_text=_("When its reader was told how the question ended.")
    )
    attempts = models.SmallIntegerField(default=0)
    sender = IdField(
        default="", blank=True, help_text=_("Id of the execution that is sending it just now.")
    )
    problem = models.TextField(blank=True, help_text=_("Why the last attempt failed."))

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="signoff_message_once",
                fields=["task", "asked_at", "channel", "recipient", "event", "occasion"],
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="signoff_message_unended",
                fields=["task"],
                condition=Q(
                    sent_at__isnull=False, outcome_shown_at__isnull=True, given_up_at__isnull=True
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.channel} {self.address}"

    @property
    def ends(self) -> bool:
        """Whether it says how the question ended."""
        return self.event in {MessageEvent.EXPIRED, MessageEvent.OUTCOME}


class NotificationPreference(models.Model):
    """What a user wants to hear of on a channel, and when."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False, related_name="+"
    )
    channel = models.TextField()
    is_off = models.BooleanField(default=False, help_text=_("Nothing at all."))
    muted_types = models.JSONField(default=list, help_text=_("Kinds of questions."))
    digest_hours = models.JSONField(
        default=list,
        help_text=_("Hours of the day at which one message comes in place of one a question."),
    )
    digest_execution = IdField(
        default="", blank=True, help_text=_("Id of the execution that sends the next.")
    )

    class Meta:
        verbose_name = _("notification preference")
        verbose_name_plural = _("notification preferences")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_preference_once", fields=["user", "channel"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.channel}"


class ChatIdentity(models.Model):
    """Somebody's account in a chat, and the user it belongs to once that was confirmed.

    ``nonce`` is in the one link that may confirm it; the next link makes the one before worthless.
    """

    id = models.BigAutoField(primary_key=True)
    channel = models.TextField()
    external_id = models.TextField()
    name = models.TextField(blank=True, help_text=_("What the chat calls the person."))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    linked_at = models.BigIntegerField(null=True)
    nonce = models.TextField(blank=True)

    class Meta:
        verbose_name = _("chat identity")
        verbose_name_plural = _("chat identities")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="signoff_chat_identity_once", fields=["channel", "external_id"]
            ),
            models.CheckConstraint(
                name="signoff_chat_identity_linked",
                condition=Q(user__isnull=True, linked_at__isnull=True)
                | Q(user__isnull=False, linked_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.external_id}"
