"""Settles a question with a person's answer: right, settlement and audit row in one transaction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from dashboard import confirming, links
from dashboard.answering import Actor, Answer, NoSuchQuestionError, Verdict
from dashboard.api import tokens
from dashboard.auditing import SYSTEM, acting, hash_of, record
from dashboard.channels.executions import tell_whose_turn
from dashboard.descriptions.answers import AnswerOption
from dashboard.descriptions.proposal import changes_of
from dashboard.models import Action, AuditEntry, HumanTask
from dashboard.people import hold_user, name_of
from dashboard.permissions import visible_to
from dashboard.policies import has_policy, has_stages, progress_of, would_count
from dashboard.rights import (
    ANSWERED_THEMSELF,
    CHANGED,
    COUNTS_ONCE,
    NOT_KNOWN,
    NOT_KNOWN_SO_WHY,
    Capacity,
    RefusedError,
    capacity_of,
    is_unclear,
    may_choose,
)
from dashboard.votes import (
    ballots_as_json,
    cast,
    decided_by,
    has_voted_themself,
    lock_questions,
    unlike,
    vote_in_another_place,
)
from durable import promises
from durable.clock import now_ms
from durable.conf import database_alias
from durable.exceptions import PromiseNotFoundError
from durable.models import Promise
from durable.protocol.states import PromiseState

_ACTIONS = {one.value: one for one in (Action.APPROVE, Action.REJECT)}
LEEWAY_MS = 120_000
"""Answers are not held when the question ends so soon after: whatever sends them may be late."""


class OutdatedError(RefusedError):
    """What a question asks was said anew since it was read."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(CHANGED)


type Hold = Callable[[HumanTask, Capacity], None]
"""Keeps an answer that its author may take back, in the transaction that has checked it."""


def decide(
    promise_id: str,
    actor: Actor,
    answer: Answer,
    *,
    is_confirmed: bool = False,
    hold: Hold | None = None,
) -> Verdict:
    """Answer a question in the name of a person, in one transaction with all that is kept of it.

    ``is_confirmed`` says that what the answer has to be confirmed with was checked before; ``hold``
    is called in place of settling where the question's author lets people take an answer back.
    Raises ``NoSuchQuestionError`` for those who may not see it, ``RefusedError`` for those who may
    not answer it so, ``DeadLinkError`` where the actor's link has ended.
    """
    try:
        return _decide(promise_id, actor, answer, is_confirmed=is_confirmed, hold=hold)
    except confirming.PasswordWantedError:
        confirming.check_password(promise_id, actor, answer.confirmation)
    return _decide(promise_id, actor, answer, is_confirmed=True, hold=hold)


def _decide(
    promise_id: str, actor: Actor, answer: Answer, *, is_confirmed: bool, hold: Hold | None
) -> Verdict:
    using = database_alias()
    with transaction.atomic(using=using):
        task, actor = _find_locked(promise_id, actor)
        option = option_of(task, answer.name)
        if _was_given_before(task, actor, answer):
            return Verdict.REPEATED
        try:
            if answer.asked_at not in {None, task.asked_at}:
                raise OutdatedError
            capacity = _check(task, option, actor, answer)
            confirming.check(task, option, answer.confirmation, is_confirmed=is_confirmed)
        except RefusedError:
            if (ended := _state_after(task)) is PromiseState.PENDING:
                raise
            return _note_late(task, option, actor, answer, Capacity(actor.user), ended=ended)
        if hold is not None and _may_wait(task):
            return _hold(task, option, actor, answer, capacity, hold=hold)
        if has_policy(task):
            return _vote(task, option, actor, answer, capacity)
        return _settle(task, option, actor, answer, capacity)


def _hold_actor(promise_id: str, actor: Actor) -> AbstractBaseUser:
    """Let who answers stay somebody who may sign in, and their link or token one that counts."""
    if actor.link:
        links.hold(actor.link)
    if actor.token is not None:
        tokens.hold(actor.token)
    if (user := hold_user(actor.user)) is None:
        raise NoSuchQuestionError(promise_id)
    return user


def _find_locked(promise_id: str, actor: Actor) -> tuple[HumanTask, Actor]:
    """Return a question that asks the same until it is answered, and nobody answers meanwhile.

    Nor any of those that take another person: somebody may be answering one of these just now. The
    question, and who answers with their rights, are as they are once there is nobody to wait for.
    """
    user = _hold_actor(promise_id, actor)
    found = HumanTask.objects.using(database_alias()).filter(pk=promise_id).first()
    asked = set() if found is None else _bound_together(found)
    lock_questions(asked)
    task = visible_to(user).filter(pk=promise_id).first()
    if task is None:
        raise NoSuchQuestionError(promise_id)
    if not _bound_together(task) <= asked:
        raise OutdatedError
    return task, replace(actor, user=user)


def _bound_together(task: HumanTask) -> set[str]:
    return {task.pk, *(task.described.separation.others if task.described is not None else ())}


def option_of(task: HumanTask, name: str) -> AnswerOption:
    """Return the answer of a question that has a name; raises ``RefusedError`` if it has none."""
    for option in task.options:
        if option.name == name:
            return option
    raise RefusedError(_("This question has no such answer."))


def value_of(option: AnswerOption, answer: Answer, username: str, **more: Any) -> Any:
    """Return what is written: the decision, and for a rejection an error that any SDK can raise."""
    if option.settles == "resolve" and answer.given is not msgspec.UNSET:
        return answer.given
    decision = {
        "approved": option.approves,
        "answer": option.name,
        "values": dict(answer.values),
        "comment": answer.comment,
        "by": username,
        **more,
    }
    if option.settles == "resolve":
        return decision
    message = answer.comment or (f"rejected by {username}" if username else "rejected")
    return {"__type": "error", "name": "Rejected", "message": message, **decision}


def _check(task: HumanTask, option: AnswerOption, actor: Actor, answer: Answer) -> Capacity:
    """Return how the person answers; raises ``RefusedError`` when they may not."""
    capacity = capacity_of(task, actor.user)
    if task.expires_at is not None and now_ms() >= task.expires_at:
        raise RefusedError(_("It is too late: the time to answer has run out."))
    if is_unclear(task, option):
        if not may_choose(task, option, actor.user):
            raise RefusedError(NOT_KNOWN)
        if not answer.comment:
            raise RefusedError(NOT_KNOWN_SO_WHY)
        return capacity._replace(overrides=True)
    if capacity.overrides and not answer.comment:
        raise RefusedError(
            _("Whoever asked for this may not answer it. To do so all the same, say why.")
        )
    if option.needs_comment and not answer.comment:
        raise RefusedError(_("This answer needs a comment."))
    return capacity


def _state_after(task: HumanTask) -> PromiseState:
    """Return the state that the promise itself is in, by now."""
    promise = Promise.objects.using(database_alias()).filter(pk=task.pk).first()
    if promise is None:
        raise NoSuchQuestionError(task.pk)
    state = PromiseState(promise.state)
    is_late = state is PromiseState.PENDING and promise.timeout_at <= now_ms()
    return PromiseState.REJECTED_TIMEDOUT if is_late else state


def _note_late(
    task: HumanTask,
    option: AnswerOption,
    actor: Actor,
    answer: Answer,
    capacity: Capacity,
    *,
    ended: PromiseState,
) -> Verdict:
    """Note an answer to a question that was over; nothing is settled by it."""
    value = value_of(option, answer, actor.username)
    _record(task, actor, option, answer, capacity, value=value, after=ended, is_effective=False)
    return Verdict.LATE


def _vote(
    task: HumanTask, option: AnswerOption, actor: Actor, answer: Answer, capacity: Capacity
) -> Verdict:
    """Count a vote, and settle once the policy says so."""
    if (ended := _state_after(task)) is not PromiseState.PENDING:
        return _note_late(task, option, actor, answer, capacity, ended=ended)
    _check_turn(task, actor, capacity)
    _check_agreement(task, option, answer, capacity)
    cast(task, option, answer, actor.user, capacity)
    progress = progress_of(task, now_ms())
    if progress.verdict is None:
        _record(task, actor, option, answer, capacity, is_effective=True, is_vote=True)
        if has_stages(task):
            tell_whose_turn(task, now_ms())
        return Verdict.VOTED
    if option.approves is not (progress.verdict == "approved"):
        option, values = decided_by(task, progress, approves=not option.approves)
        answer = replace(answer, values=values)
    return _settle(task, option, actor, answer, capacity, votes=ballots_as_json(task))


def _check_turn(task: HumanTask, actor: Actor, capacity: Capacity) -> None:
    """Refuse a vote that would not count; raises ``RefusedError``."""
    if (said := vote_in_another_place(task, actor.user, capacity.principal)) is not None:
        raise RefusedError(COUNTS_ONCE % {"name": name_of(said.user)})
    if not would_count(task, capacity, progress_of(task, now_ms())):
        raise RefusedError(_("It is not your turn: this takes the answers of others first."))
    if capacity.only_groups is not None and has_voted_themself(task, capacity.principal):
        raise RefusedError(ANSWERED_THEMSELF % {"name": name_of(capacity.principal)})


def _check_agreement(
    task: HumanTask, option: AnswerOption, answer: Answer, capacity: Capacity
) -> None:
    """Refuse a yes to other changes of a proposal than others said yes to."""
    if task.described is None or task.described.proposal is None or not option.approves:
        return
    if (other := unlike(task, answer.values, capacity.principal)) is not None:
        raise RefusedError(
            _("%(name)s has approved other changes, see the history: make the same, or say no.")
            % {"name": name_of(other.user)}
        )


def _may_wait(task: HumanTask) -> bool:
    """Whether an answer may be held: its author wants that, and the question does not end first."""
    if task.described is None or not task.described.undo:
        return False
    promise = Promise.objects.using(database_alias()).filter(pk=task.pk)
    ends = [*promise.values_list("timeout_at", flat=True), task.expires_at]
    sent = now_ms() + task.described.undo * 1000 + LEEWAY_MS
    return all(one is None or sent < one for one in ends)


def _hold(
    task: HumanTask,
    option: AnswerOption,
    actor: Actor,
    answer: Answer,
    capacity: Capacity,
    *,
    hold: Hold,
) -> Verdict:
    """Keep an answer that would count, for as long as it may be taken back."""
    if (ended := _state_after(task)) is not PromiseState.PENDING:
        return _note_late(task, option, actor, answer, capacity, ended=ended)
    if has_policy(task):
        _check_turn(task, actor, capacity)
        _check_agreement(task, option, answer, capacity)
    hold(task, capacity)
    return Verdict.HELD


def recount(task: HumanTask) -> bool:
    """Settle a question whose votes decide it now, since a part of its policy has opened.

    Return whether they do. What opens when it has expired decides nothing, however late its timer.
    """
    with transaction.atomic(using=database_alias()):
        lock_questions([task.pk])
        now = now_ms()
        at = now if task.expires_at is None else min(now, task.expires_at - 1)
        progress = progress_of(task, at)
        verdict = progress.verdict
        if verdict is None or _state_after(task) is not PromiseState.PENDING:
            return False
        option, values = decided_by(task, progress, approves=verdict == "approved")
        answer = Answer(option.name, values=values)
        value = value_of(option, answer, "", votes=ballots_as_json(task))
        with acting(SYSTEM):
            if option.settles == "resolve":
                return promises.resolve(task.pk, value).applied
            return promises.reject(task.pk, value["message"], value).applied


def _settle(
    task: HumanTask,
    option: AnswerOption,
    actor: Actor,
    answer: Answer,
    capacity: Capacity,
    **more: Any,
) -> Verdict:
    if capacity.is_deputy:
        more["on_behalf_of"] = capacity.principal.get_username()
    value = value_of(option, answer, actor.username, **more)
    try:
        with acting(actor, recorded=[task.pk]):
            if option.settles == "resolve":
                settlement = promises.resolve(task.pk, value)
            else:
                settlement = promises.reject(task.pk, value["message"], value)
    except PromiseNotFoundError:
        raise NoSuchQuestionError(task.pk) from None
    applied = settlement.applied
    if not applied and _was_given_before(task, actor, answer):
        # The same click, sent twice at once: the other request held the lock.
        return Verdict.REPEATED
    after = settlement.promise.state
    _record(task, actor, option, answer, capacity, value=value, after=after, is_effective=applied)
    return Verdict.SETTLED if applied else Verdict.LATE


def _was_given_before(task: HumanTask, actor: Actor, answer: Answer) -> bool:
    if not answer.request_key:
        return False
    return AuditEntry.objects.filter(
        target=task.pk,
        actor=actor.user.pk,
        answer=answer.name,
        request_key=_click(task, answer),
        is_effective=True,
    ).exists()


def _click(task: HumanTask, answer: Answer) -> str:
    """Return what a click has in common with its repetitions; not with one on an earlier question.

    That may have had the same id.
    """
    return f"{answer.request_key} {task.created_at}" if answer.request_key else ""


def action_of(answer: str) -> Action:
    """Return what the audit trail calls an answer of this name."""
    return _ACTIONS.get(answer, Action.ANSWER)


def _record(
    task: HumanTask,
    actor: Actor,
    option: AnswerOption,
    answer: Answer,
    capacity: Capacity,
    *,
    value: Any = None,
    after: PromiseState = PromiseState.PENDING,
    is_effective: bool,
    is_vote: bool = False,
) -> None:
    record(
        Action.VOTE if is_vote else action_of(option.name),
        task.pk,
        actor,
        on_behalf_of=capacity.principal if capacity.is_deputy else None,
        answer=answer.name,
        reason=answer.comment,
        before=PromiseState.PENDING if is_effective else after,
        after=after,
        details=_details(task, option, answer),
        is_effective=is_effective,
        is_override=capacity.overrides,
        payload_hash="" if is_vote else hash_of(value),
        request_key=_click(task, answer),
    )


def _details(task: HumanTask, option: AnswerOption, answer: Answer) -> dict[str, Any]:
    """Return what the audit trail says besides: another outcome, and how a proposal was edited."""
    details: dict[str, Any] = {}
    if option.name != answer.name:
        details["outcome"] = option.name
    described = task.described
    if described is not None:
        changes = changes_of(described.proposal, answer.values, described.secrets)
        details |= {"changes": changes} if changes else {}
        given = described.answer(answer.name)
        if given is not None and (confirmation := described.confirmation_of(given)) is not None:
            details["confirmed_with"] = "password" if confirmation.is_password else "text"
    return details
