"""What Slack sends when somebody presses a button or confirms, and what is answered.

Pressing opens a modal and decides nothing; its confirmation decides.
"""

from typing import Any
from urllib.parse import parse_qs

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _

from dashboard.answering import Actor, NoSuchQuestionError, Verdict
from dashboard.channels import identities, slack_blocks
from dashboard.channels.contents import (
    Choice,
    Notice,
    read_notice,
    read_outcome,
    speaking_to,
    task_url,
)
from dashboard.channels.slack import SlackChannel, place_of
from dashboard.decisions import OutdatedError, decide
from dashboard.forms import answer_without_form
from dashboard.models import HumanTask, Message, SignIn
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError, capacity_of
from durable.conf import database_alias


class _Named(msgspec.Struct):
    id: str
    name: str = ""
    username: str = ""


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Input(msgspec.Struct):
    value: str | None = None


class _State(msgspec.Struct):
    values: dict[str, dict[str, _Input]] = {}


class _View(msgspec.Struct):
    id: str
    callback_id: str = ""
    private_metadata: str = ""
    state: _State = msgspec.field(default_factory=_State)


class Interaction(msgspec.Struct):
    """The part of a request that is of interest."""

    type: str
    user: _Named
    team: _Named | None = None
    trigger_id: str = ""
    channel: _Named | None = None
    actions: list[_Action] = []
    view: _View | None = None

    @property
    def external_id(self) -> str:
        """Whose account it is, in which workspace."""
        return f"{self.team.id if self.team else ''}/{self.user.id}"


def read_interaction(body: bytes) -> Interaction | None:
    """Read a form with a payload of JSON; None for anything else."""
    try:
        [payload] = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)["payload"]
        return msgspec.json.decode(payload, type=Interaction)
    except (msgspec.DecodeError, ValueError, KeyError):
        return None


def respond(channel: SlackChannel, request: Interaction) -> dict[str, Any] | None:
    """Do what a request asks for; return what Slack is to do, None for nothing.

    Raises ``ChannelError`` when Slack cannot be spoken to.
    """
    if request.type == "block_actions":
        for action in request.actions:
            if action.action_id.startswith(slack_blocks.ANSWER):
                _press(channel, request, action.value)
    view = request.view
    is_ours = view is not None and view.callback_id == slack_blocks.VIEW
    if request.type == "view_submission" and view is not None and is_ours:
        return _submit(channel, request, view)
    return None


def _press(channel: SlackChannel, request: Interaction, value: str) -> None:
    room = request.channel.id if request.channel else request.user.id
    user = identities.user_of(channel.name, request.external_id)
    with speaking_to(user):
        if user is None:
            channel.whisper(room, request.user.id, _not_linked(channel, request))
            return
        try:
            task, notice, choice = _find(channel, value, user)
            capacity_of(task, user)
        except RefusedError as error:
            channel.whisper(room, request.user.id, slack_blocks.escape(str(error.sentence)))
            return
        channel.open_view(request.trigger_id, slack_blocks.confirm_view(notice, choice, value))


def _submit(channel: SlackChannel, request: Interaction, view: _View) -> dict[str, Any] | None:
    user = identities.user_of(channel.name, request.external_id)
    with speaking_to(user):
        if user is None:
            return _refuse(_("Your Slack account is not linked to an account here any more."))
        given = view.state.values.get(slack_blocks.COMMENT, {}).get(slack_blocks.COMMENT)
        comment = (given.value or "") if given else ""
        try:
            task, _notice, choice = _find(channel, view.private_metadata, user)
            answer = answer_without_form(
                task,
                choice.name,
                comment=comment.replace("\0", "").strip(),
                request_key=f"slack:{view.id}",
            )
            verdict = decide(task.pk, Actor(user, SignIn.SLACK), answer)
        except NoSuchQuestionError:
            return _refuse(_("This question is not for you."))
        except RefusedError as error:
            return _refuse(str(error.sentence))
        return _report(task, verdict)


def _find(
    channel: SlackChannel, value: str, user: AbstractBaseUser
) -> tuple[HumanTask, Notice, Choice]:
    """Return the question that a button is about, and the answer; raises ``RefusedError``."""
    place, _separator, name = value.partition(":")
    message_id = place.partition(".")[0]
    messages = Message.objects.using(database_alias()).filter(channel=channel.name)
    message = messages.filter(pk=message_id).first() if message_id.isdecimal() else None
    if message is None:
        raise RefusedError(_("This question is not for you."))
    tasks = visible_to(user).filter(pk=message.task_id, created_at=message.asked_at)
    if (task := tasks.first()) is None:
        raise RefusedError(_("This question is not for you."))
    if outcome := read_outcome(task.pk):
        raise RefusedError(outcome.sentence)
    message.task = task
    if place != place_of(message):
        raise OutdatedError
    if task.described is None:
        raise RefusedError(_("This question can only be answered on its page."))
    notice = read_notice(task, task.described)
    choice = next((one for one in notice.choices if one.name == name), None)
    if choice is None:
        raise RefusedError(_("This question has no such answer."))
    if choice.needs_page:
        raise RefusedError(_("This answer takes a form: %(url)s") % {"url": task_url(task, user)})
    return task, notice, choice


def _not_linked(channel: SlackChannel, request: Interaction) -> str:
    """Return the notice with a link, for which who presses must not be known to us yet."""
    name = request.user.username or request.user.name
    url = identities.make_link(channel.name, request.external_id, name)
    return _("Your Slack account is not linked to an account here. %(link)s and press again.") % {
        "link": f"<{url}|{slack_blocks.escape(_('Link it'))}>"
    }


def _report(task: HumanTask, verdict: Verdict) -> dict[str, Any] | None:
    """Return what the modal becomes; it closes when there is nothing to say."""
    match verdict:
        case Verdict.VOTED:
            text = _("Your answer counts. Others have to answer as well.")
            return _show(_("Noted"), text)
        case Verdict.LATE:
            outcome = read_outcome(task.pk)
            text = _("Your answer was not used.")
            return _show(_("Too late"), f"{outcome.sentence}. {text}" if outcome else text)
        case _:
            return {"response_action": "clear"}


def _show(title: str, text: str) -> dict[str, Any]:
    return {"response_action": "update", "view": slack_blocks.notice_view(title, text)}


def _refuse(sentence: str) -> dict[str, Any]:
    return {"response_action": "errors", "errors": {slack_blocks.COMMENT: sentence}}
