"""Who did what, when and from where: written once, never changed.

The links that chain the rows are a table of their own, so that a row is not touched again.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.sql.compiler import SQLCompiler
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


class AppendOnlyModel(models.Model):
    """A row that is added and then stays as it is."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the row; refuse to change one that exists."""
        if not self._state.adding:
            raise AppendOnlyError
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError


class Action(models.TextChoices):
    """What was done, or tried too late."""

    APPROVE = "approve", _("approve")
    REJECT = "reject", _("reject")
    ANSWER = "answer", _("answer")
    VOTE = "vote", _("vote")
    EXPIRE = "expire", _("expire")
    SETTLE = "settle", _("settle elsewhere")
    WITHDRAW = "withdraw", _("withdraw")
    CANCEL = "cancel", _("cancel execution")
    CLAIM = "claim", _("take on")
    RELEASE = "release", _("give back")
    HAND_OVER = "hand_over", _("hand over")
    COMMENT = "comment", _("comment")
    ASK = "ask", _("ask back")
    REPLY = "reply", _("reply")
    ESCALATE = "escalate", _("ask others as well")
    REVEAL = "reveal", _("reveal")
    WRONG_PASSWORD = "wrong_password", _("give a wrong password")
    TAKE_BACK = "take_back", _("take an answer back")
    DESCRIBE = "describe", _("describe")
    BULK = "bulk", _("answer in bulk")
    DELEGATE = "delegate", _("delegate")
    REVOKE = "revoke", _("end delegation")
    LINK = "link", _("make link")
    UNLINK = "unlink", _("revoke link")
    ADD = "add", _("add")
    CHANGE = "change", _("change")
    REMOVE = "remove", _("remove")


DECISIONS = (Action.APPROVE, Action.REJECT, Action.ANSWER)
"""What settles a question by the answer of a person."""
ANSWERS = (*DECISIONS, Action.VOTE)
"""What a person says on a question, whether or not that settles it."""
ENDINGS = (*DECISIONS, Action.EXPIRE, Action.SETTLE, Action.WITHDRAW)
"""What an effective row says of a question that is over."""


class SignIn(models.TextChoices):
    """How the actor proved who they are."""

    SESSION = "session", _("signed in")
    LINK = "link", _("personal link")
    TOKEN = "token", _("API token")
    SLACK = "slack", _("Slack")
    WEBHOOK = "webhook", _("webhook")
    GATEWAY = "gateway", _("protocol")
    SYSTEM = "system", _("this system")


class TargetKind(models.TextChoices):
    """What the target of an act is."""

    TASK = "task", _("question")
    EXECUTION = "execution", _("execution")
    WEBHOOK = "webhook", _("webhook")
    LINK = "link", _("link")
    DELEGATION = "delegation", _("delegation")
    BULK = "bulk", _("bulk answer")
    TOKEN = "token", _("API token")
    VIEW = "view", _("saved view")


class CurrentTransaction(models.Func):
    """The number of the transaction that writes; SQLite, which has one at a time, has none."""

    arity = 0
    template = "(pg_current_xact_id()::text::bigint)"
    output_field = models.BigIntegerField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        """Return the same number for all."""
        return super().as_sql(compiler, connection, template="0", **context)


class AuditEntry(AppendOnlyModel):
    """One act, of a person, another system or this one.

    Names are kept beside the ids, since users may be renamed or deleted. Tables of users have no
    constraint towards these rows: they are written inside the engine's transactions.
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
    actor_name = models.TextField(blank=True, help_text=_("Empty when nobody did it."))
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    on_behalf_of_name = models.TextField(blank=True)
    sign_in = models.TextField(choices=SignIn)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.TextField(blank=True)
    action = models.TextField(choices=Action)
    answer = models.TextField(blank=True, help_text=_("Name of the answer that was chosen."))
    target_kind = models.TextField(choices=TargetKind, default=TargetKind.TASK)
    target = IdField(help_text=_("Id of what was acted on."))
    reason = models.TextField(blank=True, help_text=_("What the actor wrote."))
    is_effective = models.BooleanField(
        default=True, help_text=_("False when somebody else was first.")
    )
    is_override = models.BooleanField(
        default=False, help_text=_("Whether separation of duties was overridden.")
    )
    state_before = models.TextField(blank=True)
    state_after = models.TextField(blank=True)
    details = models.JSONField(default=dict, help_text=_("What else was before and after."))
    payload_hash = models.TextField(
        blank=True, help_text=_("SHA-256 of the value as written, or as it would have been.")
    )
    request_key = models.TextField(
        blank=True, help_text=_("The same for a repeated click on the same form.")
    )
    transaction = models.BigIntegerField(
        db_default=CurrentTransaction(),
        editable=False,
        help_text=_("Number of the transaction that wrote the row; 0 on SQLite."),
    )

    class Meta(AppendOnlyModel.Meta):
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="signoff_audit_once_a_click",
                fields=["target", "actor", "action", "request_key"],
                condition=~Q(request_key=""),
            ),
        ]
        indexes: ClassVar = [
            models.Index(name="signoff_audit_target", fields=["target", "at"]),
            models.Index(name="signoff_audit_time", fields=["-at", "-id"]),
            models.Index(name="signoff_audit_written", fields=["transaction", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name or self.sign_in} {self.action} {self.target}"


class AuditLink(AppendOnlyModel):
    """The place of an entry in the chain, see ``dashboard.audit_chain``."""

    position = models.BigIntegerField(primary_key=True, help_text=_("From 1 on, without gaps."))
    entry = models.OneToOneField(
        AuditEntry, on_delete=models.DO_NOTHING, db_constraint=False, related_name="link"
    )
    previous = models.TextField(blank=True, help_text=_("Hash at the position before."))
    hash = models.TextField(help_text=_("SHA-256 of the entry and of the hash before."))

    class Meta(AppendOnlyModel.Meta):
        verbose_name = _("audit link")
        verbose_name_plural = _("audit links")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.position} {self.hash}"
