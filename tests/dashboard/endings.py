"""All ways in which a question ends, and what people do with it before; driven from outside."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.db import connection, transaction
from django.test import Client

import durable
from dashboard import bulk, links, sweep
from dashboard.channels.slack_blocks import VIEW
from dashboard.descriptions.timing import EXPIRY
from dashboard.models import (
    Attendance,
    BulkJob,
    ChatIdentity,
    HumanTask,
    Message,
    MessageEvent,
)
from dashboard.timekeeping import end_overdue, fire
from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.signatures import sign
from durable import promises
from durable.background.sweeper import Sweeper
from durable.clock import now_ms
from durable.protocol.requests import PromiseSettle, TaskFence
from durable.protocol.states import PromiseState
from durable.store import get_store
from tests.dashboard import factories, hooks
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
)
from tests.gateway.clients import Clients

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SOON_MS = 3
KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "grouped": {"users": [], "groups": ["finance"]},
    "voted": {"policy": {"all_of": [{"user": "mia"}, {"user": "jon"}]}},
    "expiring": {"on_expiry": "approve"},
    "taken": {},
}
"""Questions by kind, with what their descriptions say besides."""


class Stage:
    """People, and the ways in from outside, for questions that each have a run of their own."""

    def __init__(self, gateway: Clients) -> None:
        self.mia = make_user("mia", groups=("finance",))
        self.jon = make_user("jon", groups=("finance",))
        self.vera = make_user("vera", rights=("view_executions", "cancel_executions"))
        self.olga = make_operator()
        self.people = (self.mia, self.jon, self.vera, self.olga)
        self.clients = {user.username: client_of(user) for user in self.people}
        self.outsider = Client()
        self.gateway = gateway.make(has_debug_surface=False)
        mapping = {
            "promise_id": "{id}",
            "outcome": [{"when": {"done": True}, "outcome": "resolve"}],
            "value": {"by": "id"},
        }
        self.endpoint = hooks.make_endpoint("any", mapping=mapping)
        ChatIdentity.objects.create(
            channel="slack", external_id="T1/U1", user=self.mia, linked_at=1
        )
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Client:
        return self.clients[name]

    def ask(self, kind: str = "plain") -> str:
        """Ask a question of a kind, of a run that a worker holds."""
        run = factories.running(f"run-{kind}-{len(self.asked)}")
        described = {"users": ["mia"], "groups": ["finance"], "type": kind} | KINDS[kind]
        if kind == "expiring":
            described["expires"] = iso(1)
        question = factories.ask(run, f"{run}:1", "Really?", **described)
        self.asked.append(question)
        if kind == "taken":
            assert self["mia"].post(f"{task_url(question)}claim/").status_code == 303
        return question


def run_of(question: str) -> str:
    return question.rpartition(":")[0]


# --- People ---


def by_button(stage: Stage, question: str) -> None:
    answer(stage["mia"], question, "approve")


def by_rejecting(stage: Stage, question: str) -> None:
    answer(stage["mia"], question, "reject", comment="No.")


def by_votes(stage: Stage, question: str) -> None:
    for name in ("mia", "jon"):
        answer(stage[name], question)


def by_an_operator(stage: Stage, question: str) -> None:
    answer(stage["olga"], question)


def by_link(stage: Stage, question: str) -> None:
    url = links.make_link(HumanTask.objects.get(pk=question), stage.mia)
    stage.outsider.post(urlsplit(url).path, {"answer": "approve"})


def by_slack(stage: Stage, question: str) -> None:
    task = HumanTask.objects.get(pk=question)
    message, _is_new = Message.objects.get_or_create(
        task=task,
        asked_at=task.asked_at,
        channel="slack",
        recipient="#a",
        event=MessageEvent.ASKED,
        defaults={"address": "#a", "created_at": 1, "sent_at": 1},
    )
    view = {"id": "V1", "callback_id": VIEW, "private_metadata": f"{message.pk}:approve"}
    who = {"user": {"id": "U1"}, "team": {"id": "T1"}}
    payload = json.dumps({"type": "view_submission", "view": view} | who)
    body = urlencode({"payload": payload}).encode()
    at = str(int(time.time()))
    signature = sign(PRESETS["slack"].scheme, SIGNING_SECRET, body, at)
    response = stage.outsider.post(
        "/slack/interactions/",
        body,
        content_type="application/x-www-form-urlencoded",
        headers={"X-Slack-Request-Timestamp": at, "X-Slack-Signature": signature},
    )
    assert response.status_code == 200


def in_bulk(stage: Stage, question: str) -> None:
    chosen = stage["jon"].post("/answers/", {"task": [question]})
    if not chosen["Location"].startswith("/answers/"):
        return  # it was over, or another has it
    stage["jon"].post(chosen["Location"], {"answer": "reject", "comment": "None of these."})
    job = BulkJob.objects.latest("made_at")
    while bulk.answer_some(str(job.pk)):
        pass


def by_cancelling(stage: Stage, question: str) -> None:
    stage["vera"].post(f"/executions/{run_of(question)}/cancel/", {"reason": "a mistake"})


# --- Other systems and code ---


def by_webhook(stage: Stage, question: str) -> None:
    body = json.dumps({"id": question, "done": True}).encode()
    hooks.post(stage.endpoint, body, event=f"{question} {time.time_ns()}")


def by_gateway(stage: Stage, question: str) -> None:
    value = {"headers": {}, "data": "MQ=="}
    stage.gateway.call("promise.settle", {"id": question, "state": "resolved", "value": value})


def by_a_worker(_stage: Stage, question: str) -> None:
    """A worker settles it below its lease, if it still has that."""
    request = PromiseSettle(question, PromiseState.REJECTED)
    get_store().run(TaskFence(run_of(question), 1, request))


def by_code(_stage: Stage, question: str) -> None:
    promises.resolve(question, 1)


def by_code_in_a_transaction(_stage: Stage, question: str) -> None:
    with transaction.atomic():
        promises.reject(question, "no")


def by_withdrawing(_stage: Stage, question: str) -> None:
    promises.cancel(question, "not needed")


def by_cancelling_in_code(_stage: Stage, question: str) -> None:
    durable.cancel(run_of(question), "obsolete")


def unheard(_stage: Stage, question: str) -> None:
    """It is settled while receivers fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.receivers.record_settled", lambda *_args, **_kwargs: None)
        settle(question)


# --- Time, and what others end ---


def by_deadline(_stage: Stage, question: str) -> None:
    """The deadline of the promise passes; nobody has looked yet."""
    soon = now_ms() + SOON_MS
    with connection.cursor() as cursor:
        cursor.execute(
            "update durable_promise set timeout_at = %s where id = %s and state = 'pending'",
            [soon, question],
        )
    factories.pass_time(soon)


def by_the_clock(stage: Stage, question: str) -> None:
    """The same, and somebody looks."""
    by_deadline(stage, question)
    Sweeper(get_store()).sweep()


def by_expiry(_stage: Stage, question: str) -> None:
    """What the execution does that watches it, when its time has come."""
    for one in Attendance.objects.filter(task=question):
        with transaction.atomic():
            fire(question, one.asked_at, one.started_at, EXPIRY)


def by_late_expiry(_stage: Stage, _question: str) -> None:
    """There was no worker when the time came."""
    later = now_ms() + 2 * HOUR_MS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.timekeeping.now_ms", lambda: later)
        end_overdue(using="default")


def by_the_end_of_its_run(_stage: Stage, question: str) -> None:
    """The call that asked ends: the sweep withdraws what it asked."""
    settle(run_of(question))
    sweep.run_once()


def by_pruning(_stage: Stage, question: str) -> None:
    """The promise is deleted, without the pages knowing."""
    with connection.cursor() as cursor:
        cursor.execute("delete from durable_promise where id = %s", [question])


ENDINGS: Mapping[str, Callable[[Stage, str], None]] = {
    one.__name__: one
    for one in (
        *(by_button, by_rejecting, by_votes, by_an_operator, by_link, by_slack, in_bulk),
        *(by_cancelling, by_webhook, by_gateway, by_a_worker, by_code, by_code_in_a_transaction),
        *(by_withdrawing, by_cancelling_in_code, unheard, by_deadline, by_the_clock, by_expiry),
        *(by_late_expiry, by_the_end_of_its_run, by_pruning),
    )
}
LIMITED: Mapping[str, tuple[str, ...]] = {
    "by_expiry": ("expiring",),
    "by_late_expiry": ("expiring",),
}
"""Ways that end questions of some kinds only."""


# --- What ends nothing ---


def claiming(stage: Stage, question: str) -> None:
    stage["mia"].post(f"{task_url(question)}claim/")


def releasing(stage: Stage, question: str) -> None:
    stage["mia"].post(f"{task_url(question)}release/")


def commenting(stage: Stage, question: str) -> None:
    data = {"kind": "remark", "text": "Hm."}
    stage["jon"].post(f"{task_url(question)}comment/", data)


def drafting(stage: Stage, question: str) -> None:
    stage["jon"].post(f"{task_url(question)}draft/", {"comment": "We"})


def one_vote(stage: Stage, question: str) -> None:
    if HumanTask.objects.get(pk=question).type == "voted":
        answer(stage["jon"], question)


def keeping_house(_stage: Stage, _question: str) -> None:
    sweep.run_once()


def rolling_back(_stage: Stage, question: str) -> None:
    with transaction.atomic():
        promises.resolve(question)
        transaction.set_rollback(True)


OTHERS: Mapping[str, Callable[[Stage, str], None]] = {
    one.__name__: one
    for one in (claiming, releasing, commenting, drafting, one_vote, keeping_house, rolling_back)
}
