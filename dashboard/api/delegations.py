"""Being away: who answers in whose place, and when."""

import datetime as dt
from typing import Annotated

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard.api.lookups import row_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError, Wrong, refuse
from dashboard.api.values import Moment, epoch_ms, instant, moment
from dashboard.delegations import delegate, delegations_of, revoke
from dashboard.models import Delegation
from dashboard.people import find_by_name
from dashboard.permissions import delegations_to_end


class DelegationBody(Struct, forbid_unknown_fields=True):
    """Who answers, from when until when; for one group or one type of question, if one is given."""

    deputy: str
    starts_at: Moment
    ends_at: Moment
    group: str = ""
    type: Annotated[str, Meta(max_length=100)] = ""


class DelegationLine(Struct):
    """A delegation, with user names."""

    id: int
    principal: str
    deputy: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    group: str
    type: str
    revoked_at: dt.datetime | None

    @classmethod
    def of(cls, one: Delegation) -> "DelegationLine":
        """Return the line of a delegation."""
        return cls(
            id=one.pk,
            principal=one.principal.get_username(),
            deputy=one.deputy.get_username(),
            starts_at=moment(one.starts_at),
            ends_at=moment(one.ends_at),
            group="" if one.group is None else one.group.name,
            type=one.task_type,
            revoked_at=instant(one.revoked_at),
        )


class Delegations(Struct):
    """What one gave away or took on that is not over, the newest first."""

    items: list[DelegationLine]


@operation("GET", "delegations", result=Delegations)
def list_delegations(call: Call) -> Delegations:
    """List who stands in for whom, as far as it concerns who asks."""
    return Delegations([DelegationLine.of(one) for one in delegations_of(call.user)])


@operation("POST", "delegations", body=DelegationBody, result=DelegationLine, statuses=(201,))
def make_delegation(call: Call) -> DelegationLine:
    """Let somebody answer in one's place for a time."""
    body: DelegationBody = call.body
    deputy = find_by_name(body.deputy.strip())
    if deputy is None:
        refuse("deputy", _("There is nobody of this name."))
    group = None
    if body.group and (group := Group.objects.filter(name=body.group).first()) is None:
        refuse("group", _("You are not a member of this group."))
    try:
        made = delegate(
            call.actor,
            deputy,
            starts_at=epoch_ms(body.starts_at),
            ends_at=epoch_ms(body.ends_at),
            group=group,
            task_type=body.type.strip(),
        )
    except ValidationError as error:
        raise ProblemError(422, errors=[Wrong("", one) for one in error.messages]) from None
    return DelegationLine.of(made)


@operation("POST", "delegations/{delegation_id}/end", result=DelegationLine)
def end_delegation(call: Call, delegation_id: int) -> DelegationLine:
    """End a delegation now: one's own, or with the right to anybody's."""
    one = row_of(delegations_to_end(call.user), delegation_id)
    revoke(one, call.actor)
    one.refresh_from_db()
    return DelegationLine.of(one)
