"""Sends messages about a question and its outcome, so that a crash loses none.

Both functions may be called again and again, and at the same time: what was sent is not sent again,
and what an execution is sending no other sends. A crash between a send and its record costs one
message sent twice, by the execution that the crash has interrupted.
"""

import logging
from collections.abc import Collection, Iterable, Mapping

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import F, Q, QuerySet

from dashboard.channels.base import Channel, ChannelError, Recipient, channels, is_personal
from dashboard.channels.contents import UNUSED, Outcome, may_look, read_outcome, speaking_to
from dashboard.channels.digests import without_digests
from dashboard.channels.muting import muted_among
from dashboard.models import HumanTask, Message, MessageEvent
from dashboard.permissions import visible_to
from dashboard.policies import has_policy, whose_turn
from dashboard.rights import deputies_of, recipients_of
from durable.clock import now_ms
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol.states import PromiseState

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 40
_ENDS = frozenset({MessageEvent.EXPIRED, MessageEvent.OUTCOME})
_DIGESTED = frozenset({MessageEvent.ASKED, MessageEvent.ASSIGNED, MessageEvent.REMINDED})
"""What a digest says as well; the rest must not wait, or is about no question to answer."""
_FOR_READERS = frozenset({MessageEvent.ASSIGNED, MessageEvent.MENTIONED})
_FOR_DEPUTIES = _DIGESTED | {MessageEvent.ESCALATED}


class UnsentError(Exception):
    """Some messages could not be sent yet; the same call tries them again."""

    def __init__(self, number: int, problem: str) -> None:
        """``problem`` is that of the last one."""
        super().__init__(f"{number} not sent yet: {problem}")


def announce(
    promise_id: str,
    event: str = MessageEvent.ASKED,
    occasion: str = "",
    people: Mapping[str, Collection[str]] | None = None,
    *,
    sender: str = "",
) -> int:
    """Tell everybody whom an open question concerns; return how many messages were sent.

    ``occasion`` tells several events of a kind apart. ``people`` names the ``users`` and ``groups``
    to tell; else it is those who may answer now. Deputies hear of what they may answer for them.
    ``sender`` is the execution that does it. Raises ``UnsentError``.
    """
    task = _find_task(promise_id)
    if task is None:
        return 0
    if event in _ENDS or read_outcome(promise_id) is not None:
        return conclude(promise_id, sender=sender)
    concerned = recipients_of(task) if people is None else _named(people)
    if event in _FOR_READERS and not occasion.startswith(UNUSED):
        # They may have lost the right since somebody named them.
        concerned = [one for one in concerned if visible_to(one).filter(pk=task.pk).exists()]
    if event in _FOR_DEPUTIES:
        concerned += deputies_of(task, concerned)
    if people is None:
        concerned = _whose_turn(task, event, concerned)
    for channel in channels():
        recipients = channel.recipients(task, concerned)
        if event == MessageEvent.MENTIONED:  # that is for a person, and not for a room
            recipients = [one for one in recipients if one.user is not None]
        if channel.can_digest and event in _DIGESTED:
            recipients = without_digests(channel.name, recipients)
        _prepare(channel, task, MessageEvent(event), occasion, recipients)
    try:
        return _send_all(_messages(task).filter(event=event, occasion=occasion), sender)
    finally:
        # Whoever settled the question meanwhile may have found no message to change yet.
        if read_outcome(promise_id) is not None:
            conclude(promise_id, sender=sender)


def conclude(promise_id: str, *, sender: str = "") -> int:
    """Tell everybody who was asked how a question ended; return how many messages say so now.

    ``sender`` is the execution that does it. Raises ``UnsentError``.
    """
    task, outcome = _find_task(promise_id), read_outcome(promise_id)
    if task is None or outcome is None:
        return 0
    told, problems = 0, list[str]()
    for channel in channels():
        mine = _unended(task).filter(channel=channel.name)
        tell = _edit if channel.can_edit else _follow_up
        try:
            told += tell(channel, task, mine, outcome, sender)
        except UnsentError as error:
            problems.append(str(error))
    if problems:
        raise UnsentError(len(problems), problems[-1])
    return told


def _find_task(promise_id: str) -> HumanTask | None:
    task = HumanTask.objects.using(database_alias()).filter(pk=promise_id).first()
    return task if task is not None and task.is_described else None


def _named(people: Mapping[str, Collection[str]]) -> list[AbstractBaseUser]:
    model = get_user_model()
    by_name = Q(**{f"{model.USERNAME_FIELD}__in": people.get("users", ())})
    by_group = Q(groups__name__in=people.get("groups", ()))
    users = model._default_manager.using(database_alias())
    return list(users.filter(by_name | by_group, is_active=True).distinct().order_by("pk"))


def _whose_turn(
    task: HumanTask, event: str, people: list[AbstractBaseUser]
) -> list[AbstractBaseUser]:
    """Leave those whose answer is wanted now; what somebody has taken on they may give back."""
    is_first = event == MessageEvent.ASKED and not has_policy(task)
    if is_first or event not in {MessageEvent.ASKED, MessageEvent.REMINDED}:
        return people
    return whose_turn(task, people, now_ms())


def _messages(task: HumanTask) -> QuerySet[Message]:
    rows = Message.objects.using(database_alias())
    return rows.filter(task=task.pk, asked_at=task.created_at).order_by("pk")


def _unended(task: HumanTask) -> QuerySet[Message]:
    return _messages(task).filter(
        sent_at__isnull=False, outcome_shown_at__isnull=True, given_up_at__isnull=True
    )


def _prepare(
    channel: Channel,
    task: HumanTask,
    event: MessageEvent,
    occasion: str,
    recipients: Iterable[Recipient],
) -> None:
    now = now_ms()
    Message.objects.using(database_alias()).bulk_create(
        [
            Message(
                task_id=task.pk,
                asked_at=task.created_at,
                channel=channel.name,
                user_id=None if one.user is None else one.user.pk,
                recipient=one.key,
                address=one.address,
                event=event,
                occasion=occasion,
                created_at=now,
            )
            for one in recipients
        ],
        ignore_conflicts=True,
    )


def _send_all(messages: QuerySet[Message], sender: str) -> int:
    """Send what is not sent; one that fails does not keep back the others."""
    open_channels = {channel.name: channel for channel in channels()}
    todo = messages.filter(sent_at__isnull=True, given_up_at__isnull=True)
    for message in todo.select_related("task", "user"):
        if channel := open_channels.get(message.channel):
            _send(channel, message, sender)
    left = list(todo.filter(channel__in=open_channels).values_list("problem", flat=True))
    if left:
        raise UnsentError(len(left), left[-1] or "another execution is sending it")
    return messages.filter(sent_at__isnull=False).count()


def _send(channel: Channel, message: Message, sender: str) -> None:
    if not _begin_attempt(message, sender):
        return
    if problem := _why_not(message):
        _row(message).update(problem=problem, given_up_at=now_ms(), sender="")
        return
    first = (
        _messages(message.task)
        .filter(channel=message.channel, recipient=message.recipient, sent_at__isnull=False)
        .first()
    )
    message.thread = "" if first is None else first.reference
    message.subject = "" if first is None else first.subject
    try:
        sent = channel.send(message)
    except ChannelError as error:
        _note_failure(message, error)
        return
    except Exception as error:  # a channel of somebody else's must not keep back the others
        logger.exception("a channel failed", extra={"action": "message", "channel": channel.name})
        _note_failure(message, ChannelError(channel.name, f"{type(error).__name__}: {error}"))
        return
    now = now_ms()
    _row(message).update(
        sent_at=now,
        reference=sent.reference,
        subject=sent.subject,
        thread=message.thread,
        problem="",
        sender="",
        outcome_shown_at=now if message.ends else None,
    )


def _why_not(message: Message) -> str:
    """Say why somebody is not to be told by now; empty for all others, and for rooms."""
    if not is_personal(message):
        return ""
    if message.user is None or not message.user.is_active:
        return "the account was switched off or deleted"
    if muted_among([message.user_id], message.channel, message.task):
        return "its reader has muted such messages"
    if _is_for_readers(message) and not may_look(message):
        return "its reader may not look at the question any more"
    return ""


def _is_for_readers(message: Message) -> bool:
    """Whether a message says what is asked to those who may look at it, and to nobody else."""
    is_named = message.event == MessageEvent.ESCALATED or message.occasion.startswith(UNUSED)
    return not (message.ends or is_named)


def _edit(
    channel: Channel,
    task: HumanTask,
    messages: QuerySet[Message],
    outcome: Outcome,
    sender: str,
) -> int:
    told, problems = 0, list[str]()
    for message in messages.select_related("task", "user"):
        if not _begin_attempt(message, sender):
            continue
        try:
            with speaking_to(message.user):
                channel.update(message, read_outcome(task.pk) or outcome)
        except ChannelError as error:
            if not _note_failure(message, error):
                problems.append(str(error))
        else:
            told += _row(message).update(outcome_shown_at=now_ms(), problem="", sender="")
    if problems:
        raise UnsentError(len(problems), problems[-1])
    return told


def _follow_up(
    channel: Channel,
    task: HumanTask,
    messages: QuerySet[Message],
    outcome: Outcome,
    sender: str,
) -> int:
    event = MessageEvent.EXPIRED if outcome.kind == "expired" else MessageEvent.OUTCOME
    asked = list(messages.select_related("user"))
    gone = [one for one in asked if is_personal(one) and one.user is None]
    _mark_told(gone, {one.recipient for one in gone})
    asked = [one for one in asked if one not in gone]
    recipients = {one.recipient: Recipient(one.address, one.user) for one in asked}
    _prepare(channel, task, event, "", recipients.values())
    ends = _messages(task).filter(channel=channel.name, event=event, recipient__in=recipients)
    try:
        return _send_all(ends, sender)
    finally:
        over = ends.exclude(sent_at__isnull=True, given_up_at__isnull=True)
        _mark_told(asked, set(over.values_list("recipient", flat=True)))


def _mark_told(messages: Collection[Message], recipients: Collection[str]) -> None:
    told = [one.pk for one in messages if one.recipient in recipients]
    Message.objects.using(database_alias()).filter(pk__in=told).update(outcome_shown_at=now_ms())


def _begin_attempt(message: Message, sender: str) -> bool:
    """Count an attempt; False when another execution is at it."""
    if message.sender not in {"", sender} and _is_running(message.sender):
        return False
    as_read = _row(message).filter(attempts=message.attempts, sender=message.sender)
    message.attempts += 1
    return bool(as_read.update(attempts=F("attempts") + 1, sender=sender))


def _is_running(execution: str) -> bool:
    found = Promise.objects.using(database_alias()).filter(pk=execution)
    return found.filter(state=PromiseState.PENDING).exists()


def _note_failure(message: Message, error: ChannelError) -> bool:
    """Write down why it failed; return whether nobody will try again."""
    limit = MAX_ATTEMPTS if message.sent_at is None else 2 * MAX_ATTEMPTS
    is_over = error.is_final or message.attempts >= limit
    given_up_at = now_ms() if is_over else None
    _row(message).update(problem=str(error), given_up_at=given_up_at, sender="")
    logger.log(
        logging.ERROR if is_over else logging.WARNING,
        "a message was not sent",
        extra={"action": "message", "channel": message.channel, "problem": str(error)},
    )
    return is_over


def _row(message: Message) -> QuerySet[Message]:
    return Message.objects.using(database_alias()).filter(pk=message.pk)
