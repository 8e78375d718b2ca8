"""Who did what, when and from where: written once, never changed."""

from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from durable.models.fields import IdField


class AppendOnlyError(TypeError):
    """Somebody tried to change or to remove a row of the audit trail."""

    def __init__(self) -> None:
        """Make the sentence."""
        super().__init__("the audit trail is append-only: rows are neither changed nor removed")


class AppendOnlyQuerySet[M: models.Model](models.QuerySet[M]):
    """Reads and adds; refuses the rest."""

    def update(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError

    def bulk_update(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError

    def update_or_create(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Add rows; refuse to overwrite any."""
        if kwargs.get("update_conflicts"):
            raise AppendOnlyError
        return super().bulk_create(objs, *args, **kwargs)

    # Django's own code updates and deletes through these.
    _update = update
    _raw_delete = delete


class Action(models.TextChoices):
    """What was done, or tried too late."""

    APPROVE = "approve", _("approve")
    REJECT = "reject", _("reject")
    CANCEL = "cancel", _("cancel")


class SignIn(models.TextChoices):
    """How the actor proved who they are."""

    SESSION = "session", _("signed in")


class AuditEntry(models.Model):
    """One act of one person on one promise.

    The actor's name is kept beside the id, since users may be renamed or deleted.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    actor_name = models.TextField()
    sign_in = models.TextField(choices=SignIn)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.TextField(blank=True)
    action = models.TextField(choices=Action)
    target = IdField(help_text=_("Id of the promise."))
    reason = models.TextField(blank=True, help_text=_("What the actor wrote."))
    is_effective = models.BooleanField(help_text=_("False when somebody else was first."))
    state_before = models.TextField()
    state_after = models.TextField()
    payload_hash = models.TextField(
        blank=True, help_text=_("SHA-256 of the value as written, or as it would have been.")
    )
    request_key = models.TextField(
        blank=True, help_text=_("The same for a repeated click on the same form.")
    )

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        default_permissions = ("view",)
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="signoff_audit_once_a_click",
                fields=["target", "actor", "action", "request_key"],
                condition=~Q(request_key=""),
            ),
        ]
        indexes: ClassVar = [
            models.Index(name="signoff_audit_target", fields=["target", "at"]),
            models.Index(name="signoff_audit_time", fields=["-at"]),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.target}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; refuse to change one that exists."""
        if not self._state.adding:
            raise AppendOnlyError
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError
