"""Questions for people, one a latent promise, and who may answer them.

No foreign key has a constraint in the database: rows are written inside the engine's transactions,
which must not fail at their commit, and promises may be pruned without knowing these tables.
"""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from dashboard.descriptions import Description
from dashboard.descriptions.answers import DEFAULT, AnswerOption
from dashboard.descriptions.description import parse_description
from dashboard.descriptions.reading import DescriptionError
from durable.models.fields import IdField
from durable.models.promise import Promise
from durable.protocol.validation import MAX_INSTANT

NO_DUE = MAX_INSTANT
"""Stands for "no deadline", so that one index orders all tasks."""


class HumanTask(models.Model):
    """A latent promise as people see it. Instants are epoch ms.

    Whether it is open is read from the promise, see ``dashboard.permissions.is_open``.
    """

    promise = models.OneToOneField(
        Promise,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="human_task",
    )
    title = models.TextField(blank=True, help_text=_("Empty when nothing describes the promise."))
    question = models.TextField(blank=True)
    due_at = models.BigIntegerField(default=NO_DUE)
    created_at = models.BigIntegerField()
    settled_at = models.BigIntegerField(
        null=True, help_text=_("When known to be settled; the promise says whether it is.")
    )
    is_unassigned = models.BooleanField(
        help_text=_("It names nobody who exists: for those who may settle any.")
    )
    type = models.TextField(
        blank=True, default="", db_default="", help_text=_("What kind of question it is.")
    )
    priority = models.SmallIntegerField(
        default=0, db_default=0, help_text=_("From -1, low, to 2, urgent.")
    )
    follow_up_at = models.BigIntegerField(null=True)
    expires_at = models.BigIntegerField(
        null=True, help_text=_("From then on answers are refused; the promise may live longer.")
    )
    previous = IdField(
        blank=True, default="", db_default="", help_text=_("The question that this one asks again.")
    )
    round = models.SmallIntegerField(default=1, db_default=1)
    started_by = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text=_("Who started the execution that asks."),
    )
    excludes_starter = models.BooleanField(
        default=False,
        db_default=False,
        help_text=_("Whoever started the execution may not answer."),
    )
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    claimed_at = models.BigIntegerField(null=True)
    released_at = models.BigIntegerField(
        null=True, help_text=_("When it is given back by itself, unless its holder does something.")
    )
    waits_for_requester_since = models.BigIntegerField(
        null=True, help_text=_("Somebody asked back, and the requester has not replied.")
    )
    origin = IdField(help_text=_("Root of the execution that asks."))
    function = models.TextField(blank=True, help_text=_("Name of the root's function."))
    description = models.JSONField(default=dict, help_text=_("The description as it came."))
    described_at = models.BigIntegerField(
        null=True, help_text=_("When the API gave the description; empty for the promise's own.")
    )
    problem = models.TextField(blank=True, help_text=_("What is wrong with the description."))

    class Meta:
        verbose_name = _("human task")
        verbose_name_plural = _("human tasks")
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("view_executions", _("Can see all executions")),
            ("settle_any", _("Can answer any question, whoever it is for")),
            ("cancel_executions", _("Can cancel executions")),
            ("override_separation", _("Can answer in spite of separation of duties")),
            ("manage_tasks", _("Can give questions to others")),
            ("reveal_secrets", _("Can reveal secret values")),
            ("describe_tasks", _("Can describe what waits without a description")),
        ]
        indexes: ClassVar = [
            models.Index(
                name="signoff_task_open",
                fields=["due_at", "created_at", "promise"],
                condition=Q(settled_at__isnull=True),
            ),
            models.Index(
                name="signoff_task_order",
                fields=["priority", "due_at", "created_at", "promise"],
                condition=Q(settled_at__isnull=True),
            ),
            models.Index(
                name="signoff_task_unassigned",
                fields=["priority", "due_at", "created_at", "promise"],
                condition=Q(settled_at__isnull=True, is_unassigned=True),
            ),
            models.Index(
                name="signoff_task_done",
                fields=["-settled_at", "-promise"],
                condition=Q(settled_at__isnull=False),
            ),
            models.Index(name="signoff_task_created", fields=["created_at"]),
            models.Index(name="signoff_task_origin", fields=["origin"]),
            models.Index(
                name="signoff_task_asked",
                fields=["started_by", "due_at", "created_at", "promise"],
                condition=Q(settled_at__isnull=True) & ~Q(started_by=""),
            ),
            models.Index(
                name="signoff_task_claimed",
                fields=["claimed_by", "due_at", "created_at", "promise"],
                condition=Q(settled_at__isnull=True, claimed_by__isnull=False),
            ),
            models.Index(
                name="signoff_task_released",
                fields=["released_at"],
                condition=Q(settled_at__isnull=True, released_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.promise_id

    @property
    def asked_at(self) -> int:
        """Since when people are asked: a description of the API may come later than the wait."""
        return self.created_at if self.described_at is None else self.described_at

    @property
    def describes_itself(self) -> bool:
        """Whether the promise says what it asks, be it right or wrong; then that never changes."""
        return self.described_at is None and bool(self.title or self.problem)

    @property
    def is_described(self) -> bool:
        """Whether its description is there and right; else it has the plain form."""
        return bool(self.title) and not self.problem

    @cached_property
    def described(self) -> Description | None:
        """What the description says, without what is secret; None when there is none that is right.

        Its ``raw`` is whole.
        """
        return self.revealed.without_secrets() if self.revealed is not None else None

    @cached_property
    def revealed(self) -> Description | None:
        """All that the description says: for those to whom ``dashboard.revealing`` shows it."""
        if not self.is_described:
            return None
        try:
            return parse_description(self.description)
        except DescriptionError as error:  # it was right by the rules of an earlier version
            self.problem = str(error)
            return None

    @property
    def mistake(self) -> str:
        """What is wrong with the description, by today's rules; empty for nothing."""
        return self.problem if self.revealed is None else ""

    @property
    def options(self) -> tuple[AnswerOption, ...]:
        """The answers that it offers: without a description yes and no."""
        return DEFAULT if self.described is None else self.described.answers

    @property
    def due(self) -> int | None:
        """The time by which people should answer, epoch ms."""
        return None if self.due_at >= NO_DUE else self.due_at

    def is_overdue(self, now: int) -> bool:
        """Whether that time has passed, epoch ms; while the requester is asked it stands still."""
        return self.due_at <= now and self.waits_for_requester_since is None


class Decider(models.Model):
    """Somebody whom a description names.

    A permission is always matched by its name: who has it is known when somebody looks. A name of
    another kind that nobody had then is matched as a name for as long as it takes to appear; once
    bound, the row follows the user or group and not the name.
    """

    class Kind(models.TextChoices):
        USER = "user", _("user")
        GROUP = "group", _("group")
        PERMISSION = "permission", _("permission")

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="deciders",
    )
    kind = models.TextField(choices=Kind)
    name = models.TextField(help_text=_("User name or group name as the description has it."))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    group = models.ForeignKey(
        Group,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    is_unknown = models.BooleanField(
        default=False, help_text=_("Nobody has had this name yet, so the name decides.")
    )
    is_open = models.BooleanField(
        default=True,
        help_text=_("Not known to be settled; lets an index leave the history out."),
    )

    class Meta:
        verbose_name = _("decider")
        verbose_name_plural = _("deciders")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_decider_once", fields=["task", "kind", "name"]),
            models.CheckConstraint(
                name="signoff_decider_is_user_or_group",
                condition=Q(kind="user", group__isnull=True)
                | Q(kind="group", user__isnull=True)
                | Q(kind="permission", user__isnull=True, group__isnull=True),
            ),
            models.CheckConstraint(
                name="signoff_decider_bound_or_unknown",
                condition=Q(is_unknown=False) | Q(user__isnull=True, group__isnull=True),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="signoff_decider_user",
                fields=["user", "is_open", "task"],
                condition=Q(user__isnull=False),
            ),
            models.Index(
                name="signoff_decider_group",
                fields=["group", "is_open", "task"],
                condition=Q(group__isnull=False),
            ),
            models.Index(
                name="signoff_decider_name",
                fields=["kind", "name", "is_open", "task"],
                condition=Q(is_unknown=True),
            ),
            models.Index(
                name="signoff_decider_gone",
                fields=["task"],
                condition=Q(user__isnull=True, group__isnull=True, is_unknown=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def is_permission(self) -> bool:
        """Whether everybody with a permission may answer."""
        return self.kind == self.Kind.PERMISSION
