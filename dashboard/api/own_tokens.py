"""The tokens with which programs act in one's name, of which a token makes no more."""

import datetime as dt
from typing import Annotated, Any, Literal

from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard.api import tokens
from dashboard.api.filling import given_in, require_valid
from dashboard.api.lookups import row_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import ProblemError
from dashboard.api.values import MAX_NUMBER, instant, moment
from dashboard.models import ApiToken, SignIn
from dashboard.views.tokens import TokenForm

PAGE_SIZE = 100


class TokenLine(Struct):
    """A token without itself; ``hint`` are its last characters."""

    id: int
    owner: str
    name: str
    hint: str
    is_read_only: bool
    made_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None

    @classmethod
    def of(cls, one: ApiToken) -> "TokenLine":
        """Return the line of a token."""
        return cls(
            id=one.pk,
            owner=one.owner.get_username(),
            name=one.name,
            hint=one.hint,
            is_read_only=one.is_read_only,
            made_at=moment(one.made_at),
            expires_at=instant(one.expires_at),
            last_used_at=instant(one.last_used_at),
        )


class TokenQuery(Struct, forbid_unknown_fields=True):
    """``before`` is the ``older`` of the page before."""

    before: Annotated[int, Meta(ge=1, le=MAX_NUMBER)] | None = None


class Tokens(Struct):
    """The tokens that were not revoked, the newest first, and where the next page begins."""

    items: list[TokenLine]
    older: int | None


class TokenBody(Struct, forbid_unknown_fields=True):
    """What a token is for, and for how many days it counts; 0 is for ever."""

    name: str
    days: Literal[0, 30, 90, 365] = 90
    is_read_only: bool = False


class TokenMade(Struct):
    """A token, which is shown this once."""

    token: str


@operation("GET", "tokens", query=TokenQuery, result=Tokens)
def list_tokens(call: Call) -> Tokens:
    """List one's tokens; with the right to revoke them, those of everybody."""
    found: Any = tokens.tokens_to_revoke(call.user).select_related("owner")
    if call.query.before is not None:
        found = found.filter(pk__lt=call.query.before)
    rows = list(found[: PAGE_SIZE + 1])
    page = rows[:PAGE_SIZE]
    older = page[-1].pk if len(rows) > PAGE_SIZE else None
    return Tokens([TokenLine.of(one) for one in page], older)


@operation("POST", "tokens", body=TokenBody, result=TokenMade, statuses=(201,))
def make_token(call: Call) -> TokenMade:
    """Make a token; takes a session, since a token that leaked must not outlive its end."""
    if call.actor.sign_in is SignIn.TOKEN:
        raise ProblemError(403, _("A token makes no other: sign in to do so."))
    form = TokenForm(given_in(call.body))
    require_valid(form)
    return TokenMade(form.save(call.actor))


@operation("POST", "tokens/{token_id}/revoke", result=TokenLine)
def revoke_token(call: Call, token_id: int) -> TokenLine:
    """Revoke a token: one's own, or with the right anybody's."""
    row = row_of(tokens.tokens_to_revoke(call.user).select_related("owner"), token_id)
    tokens.revoke(row, call.actor)
    return TokenLine.of(row)
