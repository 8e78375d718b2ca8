"""Accounts in a chat from which one answers: those that are linked, one more, one less."""

import datetime as dt
from typing import Annotated

from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard.api.operations import Call, Reply, operation
from dashboard.api.problems import ProblemError, not_found
from dashboard.api.values import MAX_NUMBER, instant
from dashboard.channels import identities
from dashboard.channels.identities import LinkToken
from dashboard.models import ChatIdentity, SignIn

MAX_TOKEN = 1000

type Token = Annotated[str, Meta(max_length=MAX_TOKEN)]


class ChatAccount(Struct):
    """An account in a chat: the channel, its id there, and its name."""

    id: int
    channel: str
    account: str
    name: str
    linked_at: dt.datetime | None

    @classmethod
    def of(cls, one: ChatIdentity) -> "ChatAccount":
        """Return an account."""
        return cls(one.pk, one.channel, one.external_id, one.name, instant(one.linked_at))


class ChatAccounts(Struct):
    """The accounts that are linked to one's own, and the one that a link is about."""

    items: list[ChatAccount]
    asked: ChatAccount | None


class LinkQuery(Struct, forbid_unknown_fields=True):
    """``token`` is that of a link from Slack."""

    token: Token = ""


class LinkBody(Struct, forbid_unknown_fields=True):
    """``token`` is that of a link from Slack: whoever uses that account answers in one's name."""

    token: Token


@operation("GET", "chat-accounts", query=LinkQuery, result=ChatAccounts)
def list_chat_accounts(call: Call) -> ChatAccounts:
    """List the accounts from which one answers, and say which account a link is about."""
    linked = [ChatAccount.of(one) for one in identities.identities_of(call.user)]
    asked = _asked_by(call.query.token)
    return ChatAccounts(linked, None if asked is None else ChatAccount.of(asked))


@operation(
    "POST",
    "chat-accounts",
    body=LinkBody,
    result=ChatAccount,
    statuses=(201,),
    refusals=(409,),
)
def link_chat_account(call: Call) -> ChatAccount:
    """Link the account that a link is about; takes a session, since it outlives any token."""
    if call.actor.sign_in is SignIn.TOKEN:
        raise ProblemError(403, _("A token links no account: sign in to do so."))
    token = LinkToken.decode(call.body.token)
    if token is None or not identities.link(token, call.actor):
        raise ProblemError(
            409,
            _("It was used, or is too old. Press the button in Slack again to get a new one."),
        )
    return ChatAccount.of(identities.identities_of(call.user).get(pk=token.identity_id))


@operation("DELETE", "chat-accounts/{account_id}", result=None, statuses=(204,))
def unlink_chat_account(call: Call, account_id: int) -> Reply:
    """Unlink an account: nobody answers from there in one's name any more."""
    if account_id > MAX_NUMBER or not identities.unlink(account_id, call.actor):
        raise not_found()
    return Reply(None, 204)


def _asked_by(text: str) -> ChatIdentity | None:
    token = LinkToken.decode(text) if text else None
    return None if token is None else identities.find_linkable(token)
