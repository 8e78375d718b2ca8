"""Promises, and who is told when they settle."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from durable.models.fields import Differs, IdField, IsTargeted, OriginTag, ProtocolModel
from durable.protocol.states import PromiseState

_PENDING = Q(state=PromiseState.PENDING.value)
_EXECUTION = Q(is_root=True) & Q(IsTargeted("tags"))
_UNRESOLVED = (
    PromiseState.REJECTED,
    PromiseState.REJECTED_CANCELED,
    PromiseState.REJECTED_TIMEDOUT,
)


class Promise(ProtocolModel):
    """A promise as stored (protocol.md 2.2); mind the deadline: a pending row may have passed it.

    Instants are epoch milliseconds. The columns after ``tags`` are hidden: no record shows them.
    """

    id = IdField(primary_key=True)
    state = models.TextField(choices=[(state.value, state.value) for state in PromiseState])
    timeout_at = models.BigIntegerField()
    created_at = models.BigIntegerField()
    settled_at = models.BigIntegerField(null=True)
    param_data = models.TextField(null=True)
    param_headers = models.JSONField(null=True)
    value_data = models.TextField(null=True)
    value_headers = models.JSONField(null=True)
    tags = models.JSONField()
    origin = IdField(help_text="Root of the lineage: the origin tag, else the id itself.")
    replayed_by = IdField(  # type: ignore[misc]
        null=True, help_text="The task whose replay asks for this promise; null for roots."
    )
    function = models.TextField(null=True, help_text="Name of the function called, from param.")
    is_external = models.BooleanField(help_text="Settled from outside its task: deadline is armed.")
    is_root = models.BooleanField(help_text="Has no parent but itself.")
    is_undrained = models.BooleanField(
        default=False, help_text="Settled, with callbacks or listeners not told yet."
    )
    started_at = models.BigIntegerField(null=True)
    attempts = models.PositiveIntegerField(null=True)
    last_error = models.TextField(null=True)
    started_by = models.TextField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="durable_promise_state_known",
                condition=Q(state__in=[state.value for state in PromiseState]),
            ),
            models.CheckConstraint(
                name="durable_promise_settled_iff_not_pending",
                condition=(_PENDING & Q(settled_at__isnull=True))
                | (~_PENDING & Q(settled_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="durable_promise_pending_has_no_value",
                condition=~_PENDING | Q(value_data__isnull=True, value_headers__isnull=True),
            ),
            models.CheckConstraint(
                name="durable_promise_times_in_order",
                condition=Q(created_at__lte=models.F("timeout_at"))
                & (
                    Q(settled_at__isnull=True)
                    | Q(
                        settled_at__lte=models.F("timeout_at"),
                        settled_at__gte=models.F("created_at"),
                    )
                ),
            ),
            models.CheckConstraint(
                name="durable_promise_timedout_at_deadline",
                condition=~Q(state=PromiseState.REJECTED_TIMEDOUT.value)
                | Q(settled_at=models.F("timeout_at")),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="durable_promise_deadline",
                fields=["timeout_at"],
                condition=_PENDING & Q(is_external=True),
            ),
            models.Index(
                name="durable_promise_undrained", fields=["id"], condition=Q(is_undrained=True)
            ),
            models.Index(name="durable_promise_lineage", fields=["origin", "replayed_by"]),
            # The list of executions, newest first: all, of a state, of a function in a state. Steps
            # and other promises are in none of these.
            models.Index(
                name="durable_promise_roots",
                fields=["-created_at", "id"],
                condition=_EXECUTION,
            ),
            models.Index(
                name="durable_promise_root_state",
                fields=["state", "-created_at", "id"],
                condition=_EXECUTION,
            ),
            models.Index(
                name="durable_promise_root_call",
                fields=["function", "state", "-created_at", "id"],
                condition=_EXECUTION,
            ),
            # What an execution waits for: of a large one all but a few promises are settled.
            models.Index(
                name="durable_promise_open",
                fields=["origin"],
                condition=_PENDING & Q(is_external=True),
            ),
            # Searches by state: resolved promises are the many, and need none.
            models.Index(name="durable_promise_pending", fields=["id"], condition=_PENDING),
            models.Index(
                name="durable_promise_unresolved",
                fields=["state", "id"],
                condition=Q(state__in=[state.value for state in _UNRESOLVED]),
            ),
            # Searches by origin tag, with the index on origin: what was created under another one.
            models.Index(
                OriginTag("tags"),
                name="durable_promise_other_origin",
                condition=Q(Differs(OriginTag("tags"), models.F("origin"))),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Callback(ProtocolModel):
    """When ``awaited`` settles, the task of ``awaiter`` is resumed."""

    pk = models.CompositePrimaryKey("awaited", "awaiter")
    awaited = models.ForeignKey(
        Promise, on_delete=models.DO_NOTHING, related_name="callbacks", db_index=False
    )
    awaiter = models.ForeignKey(
        Promise, on_delete=models.DO_NOTHING, related_name="awaits", db_index=False
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="durable_callback_awaiter_is_not_self",
                condition=~Q(awaited=models.F("awaiter")),
            )
        ]
        indexes: ClassVar = [models.Index(name="durable_callback_awaiter", fields=["awaiter"])]

    def __str__(self) -> str:
        return f"{self.awaiter_id} awaits {self.awaited_id}"


class Listener(ProtocolModel):
    """When the promise settles, an unblock message goes to ``address``."""

    pk = models.CompositePrimaryKey("promise", "address")
    promise = models.ForeignKey(
        Promise, on_delete=models.DO_NOTHING, related_name="listeners", db_index=False
    )
    address = IdField()

    def __str__(self) -> str:
        return f"{self.address} listens to {self.promise_id}"
