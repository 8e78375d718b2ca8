"""Tasks: the right and duty to run the function behind a targeted promise."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from durable.models.fields import ProtocolModel
from durable.models.promise import Promise
from durable.protocol.states import TaskState

_ACQUIRED = Q(state=TaskState.ACQUIRED.value)
_PENDING = Q(state=TaskState.PENDING.value)
_PARKED = Q(state__in=[TaskState.SUSPENDED.value, TaskState.HALTED.value])
_HELD_UP = Q(stuck__isnull=False) | Q(state=TaskState.HALTED.value)
_LEASED = Q(pid__isnull=False, ttl__isnull=False, expires_at__isnull=False)
_NOT_LEASED = Q(pid__isnull=True, ttl__isnull=True, expires_at__isnull=True)


class Task(ProtocolModel):
    """A task as stored (protocol.md 2.3); its id is that of its promise.

    ``queue`` and the columns after it are not the machine's: they steer native workers.
    """

    promise = models.OneToOneField(
        Promise, primary_key=True, db_column="id", on_delete=models.DO_NOTHING
    )
    state = models.TextField(choices=[(state.value, state.value) for state in TaskState])
    version = models.PositiveIntegerField()
    resumes = models.JSONField(default=list)
    pid = models.TextField(null=True)
    ttl = models.BigIntegerField(null=True)
    expires_at = models.BigIntegerField(null=True)
    retry_at = models.BigIntegerField(null=True)
    queue = models.TextField(null=True, help_text="Group that the target names; null for URLs.")
    not_before = models.BigIntegerField(
        default=0, help_text="Workers leave the task alone until then: delay or back-off."
    )
    releases = models.PositiveIntegerField(
        default=0, help_text="Times given back in a row without progress."
    )
    stuck = models.TextField(null=True, help_text="Why the task cannot go on, in a sentence.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="durable_task_state_known",
                condition=Q(state__in=[state.value for state in TaskState]),
            ),
            models.CheckConstraint(
                name="durable_task_leased_iff_acquired",
                condition=(_ACQUIRED & _LEASED & Q(version__gte=1)) | (~_ACQUIRED & _NOT_LEASED),
            ),
            models.CheckConstraint(
                name="durable_task_retried_iff_pending",
                condition=(_PENDING & Q(retry_at__isnull=False))
                | (~_PENDING & Q(retry_at__isnull=True)),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="durable_task_claim", fields=["queue", "not_before"], condition=_PENDING
            ),
            models.Index(
                name="durable_task_retry", fields=["queue", "retry_at"], condition=_PENDING
            ),
            models.Index(name="durable_task_lease", fields=["expires_at"], condition=_ACQUIRED),
            # The executions that show as stuck; hardly any task is ever in it.
            models.Index(name="durable_task_stuck", fields=["promise"], condition=_HELD_UP),
            # Searches by state; fulfilled tasks are the many, and need none.
            models.Index(
                name="durable_task_parked", fields=["state", "promise"], condition=_PARKED
            ),
        ]

    def __str__(self) -> str:
        return self.promise_id
