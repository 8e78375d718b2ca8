"""Reminders, ladder and expiry, done by real workers on a clock that moves at will."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.template.loader import render_to_string

import durable
from dashboard import attendance
from dashboard.answering import Actor, Answer, Verdict
from dashboard.claims import hand_over
from dashboard.comments import write
from dashboard.decisions import decide
from dashboard.models import Attendance, AuditEntry, Comment, Decider, HumanTask, TaskMoment
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError
from dashboard.timekeeping import Fired, end_overdue, fire, overdue
from dashboard.timetables import events_of, schedule_of, sentence
from durable import signals
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.crash.test_kill import free_port
from tests.dashboard.people import (
    LATENT,
    ask,
    child_of,
    client_of,
    create,
    make_user,
    settle,
    start_run,
    task_url,
    unpack,
)
from tests.dashboard.timed import HOUR, START, until
from tests.processes import Process, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

FUNCTION = "signoff.attend"


@durable.function(name="timed.ask")
async def ask_in_time(ctx: durable.Context, expires: str, on_expiry: object) -> dict[str, Any]:
    rest = {} if on_expiry is None else {"on_expiry": on_expiry}
    try:
        decision = await ctx.approval("In time?", users=["mia"], expires=expires, **rest)
    except durable.ApplicationError as error:
        return {"error": error.name, "message": str(error)}
    return {
        "outcome": decision.outcome,
        "approved": decision.approved,
        "answer": decision.answer,
        "by": decision.by,
        "values": dict(decision.values),
    }


def iso(hours: float) -> str:
    """A time after the start, as descriptions have it."""
    return datetime.fromtimestamp((START + hours * HOUR) / 1000, tz=UTC).isoformat()


LADDER = {
    "due": iso(4),
    "reminders": [{"at": "50%"}, {"at": "due"}],
    "ladder": [
        {"at": "due+PT2H", "add": {"groups": ["leads"]}},
        {"at": "due+PT8H", "tell": {"users": ["boss"]}},
    ],
}
RUN = {"resonate:origin": "run-1"}
KEYS = ["reminder1", "reminder2", "rung1", "rung2"]


def moments(promise_id: str = "q") -> list[str]:
    return list(
        TaskMoment.objects.filter(task=promise_id).order_by("pk").values_list("key", flat=True)
    )


def happened(key: str, promise_id: str = "q") -> None:
    until(lambda: key in moments(promise_id), f"{key} of {promise_id}")


def watching() -> list[Promise]:
    return list(Promise.objects.filter(function=FUNCTION, origin__startswith="signoff.attend."))


def roots() -> list[Promise]:
    return [one for one in watching() if one.pk == one.origin]


def promise_of(promise_id: str = "q") -> Promise:
    return Promise.objects.get(pk=promise_id)


def task_of(promise_id: str = "q") -> HumanTask:
    return HumanTask.objects.get(pk=promise_id)


# --- Reminders and ladder ---


def test_each_comes_at_its_time_and_once(days):
    ask("q", users=["mia"], **LADDER)
    days.work()

    for key, hours in zip(KEYS, [2, 2, 2, 6], strict=True):
        days.pass_hours(hours)
        happened(key)
    until(lambda: roots()[0].state == PromiseState.RESOLVED, "the end")

    assert moments() == KEYS
    times = [one.at - START for one in TaskMoment.objects.order_by("pk")]
    assert times == [2 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR]
    assert promise_of().state == PromiseState.PENDING


def test_nothing_comes_before_its_time(days):
    ask("q", users=["mia"], **LADDER)
    ask("r", users=["mia"], reminders=[{"after": "PT1H"}])
    days.work()

    days.pass_hours(1.99)
    happened("reminder1", "r")

    assert moments("q") == []


@pytest.mark.once
def test_with_business_hours_each_waits_for_them(days):
    # asked on a Tuesday at 7:06, so that nine hours of work end on Wednesday at 10:00
    calendar = {"hours": "09:00-17:00", "zone": "UTC"}
    ladder = [{"after": "PT9H", "add": {"groups": ["leads"]}}]
    ask("q", users=["mia"], ladder=ladder, calendar=calendar)
    ask("r", users=["mia"], ladder=ladder)
    days.work()

    days.pass_hours(26.8)
    happened("rung1", "r")
    assert moments() == []
    days.pass_hours(0.1)
    happened("rung1")


def test_those_added_can_see_and_answer_from_then_on(days):
    jon = make_user("jon", groups=("leads",))
    ask("q", users=["mia"], **LADDER)
    assert not visible_to(jon).exists()

    days.work()
    days.pass_hours(6)
    happened("rung1")

    assert visible_to(jon).filter(pk="q").exists()
    assert decide("q", Actor(jon), Answer("approve")) is Verdict.SETTLED


def test_those_told_get_no_right_by_it(days):
    boss = make_user("boss")
    ask("q", users=["mia"], **LADDER)
    days.work()
    days.pass_hours(12)
    happened("rung2")

    assert not visible_to(boss).exists()


@pytest.mark.once
def test_added_names_that_nobody_has_yet_wait_for_who_will_have_them(days):
    ask("q", ladder=[{"after": "PT1H", "add": {"users": ["mia", "new"], "groups": ["leads"]}}])
    mia = make_user("mia")
    assert task_of().is_unassigned
    days.work()
    days.pass_hours(1)
    happened("rung1")

    assert not task_of().is_unassigned
    rows = Decider.objects.filter(task="q").order_by("name").values_list("name", "is_unknown")
    assert list(rows) == [("leads", True), ("mia", False), ("new", True)]
    assert Decider.objects.get(name="mia").user_id == mia.pk
    assert visible_to(make_user("new")).filter(pk="q").exists()


def test_adding_who_may_answer_already_changes_nothing(days):
    mia = make_user("mia")
    ask("q", users=["mia"], ladder=[{"after": "PT1H", "add": {"users": ["mia"]}}])
    days.work()
    days.pass_hours(1)
    happened("rung1")

    assert Decider.objects.get(task="q").user_id == mia.pk


def test_what_was_missed_comes_once_when_somebody_works_again(days):
    ask("q", users=["mia"], **LADDER)
    days.work()
    days.pass_hours(2)
    happened("reminder1")
    days.rest()
    days.pass_hours(20)
    days.work()
    days.work()
    happened("rung2")
    until(lambda: roots()[0].state == PromiseState.RESOLVED, "the end")

    assert moments() == KEYS


def test_doing_it_again_does_nothing(days):
    ask("q", users=["mia"], **LADDER)
    days.pass_hours(6)
    for _ in range(2):
        with transaction.atomic():
            assert fire("q", START, START, "rung1") is Fired.DONE

    assert moments() == ["rung1"]
    assert Decider.objects.filter(task="q", name="leads").count() == 1


def test_what_is_undone_is_not_noted(days):
    ask("q", users=["mia"], **LADDER)
    with pytest.raises(RuntimeError), transaction.atomic():
        fire("q", START, START, "rung1")
        raise RuntimeError

    assert moments() == []
    assert not Decider.objects.filter(name="leads").exists()


def test_question_of_another_life_of_the_id_is_left_alone(days):
    ask("q", users=["mia"], **LADDER)

    with transaction.atomic():
        assert fire("q", START - 1, START - 1, "reminder1") is Fired.OVER
    assert moments() == []


def test_moment_that_the_question_has_not_is_passed_over(days):
    ask("q", users=["mia"], **LADDER)

    with transaction.atomic():
        assert fire("q", START, START, "reminder9") is Fired.DONE


@pytest.mark.once
def test_reminder_that_fails_is_given_up_and_keeps_nothing_else_from_coming(days, caplog):
    ask("q", users=["mia"], expires=iso(9), reminders=[{"after": "PT1H"}, {"after": "PT3H"}])
    described = task_of().description
    HumanTask.objects.update(description={"expires": "never"})
    days.work()
    days.pass_hours(1)
    for attempt in range(1, 5):
        retry = f"{roots()[0].pk}:2.r{attempt}"
        until(lambda retry=retry: Promise.objects.filter(pk=retry).exists(), retry)
        days.pass_hours(0.2)
    until(lambda: "cannot do what is due" in caplog.messages, "the end of patience")

    HumanTask.objects.update(description=described)
    days.pass_hours(2)
    happened("reminder2")
    days.pass_hours(6)
    happened("expiry")
    assert moments() == ["reminder2", "expiry"]


@pytest.mark.once
def test_who_is_concerned_gets_mail(days, settings, mailoutbox):
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    for name in ("mia", "boss", "jon"):
        groups = ("leads",) if name == "jon" else ()
        make_user(name, groups=groups, email=f"{name}@example.org")
    ask("q", users=["mia"], expires=iso(13), **LADDER)
    days.work()
    for key, hours in zip(KEYS, [2, 2, 2, 6], strict=True):
        days.pass_hours(hours)
        happened(key)
        until(lambda key=key: len(mailoutbox) > KEYS.index(key) + 1, f"the mail of {key}")
    days.pass_hours(1)
    until(lambda: len(mailoutbox) == 8, "the mails of the end")

    mails = [(mail.to[0].partition("@")[0], mail.body) for mail in mailoutbox]
    assert [name for name, _ in mails[:5]] == ["mia", "mia", "mia", "jon", "boss"]
    assert sorted(name for name, _ in mails[5:]) == ["boss", "jon", "mia"]
    assert "A reminder" in mails[1][1]
    assert "Nobody has answered in time" in mails[3][1]
    assert "Nobody answered in time" in mails[5][1]


def test_audit_trail_has_who_was_added_and_how_it_ended(days):
    ask("q", users=["mia"], expires=iso(13), on_expiry="approve", **LADDER)
    days.work()
    days.pass_hours(13)
    happened("expiry")

    rung, tell, end = AuditEntry.objects.filter(target="q").order_by("pk")
    assert (rung.action, rung.sign_in, rung.actor_id) == ("escalate", "system", None)
    assert rung.details["added"] == {"users": [], "groups": ["leads"]}
    assert tell.details["told"] == {"users": ["boss"], "groups": []}
    assert (end.action, end.sign_in, end.state_before, end.state_after) == (
        "expire",
        "system",
        "pending",
        "resolved",
    )
    assert end.details == {"on_expiry": "approve"}
    assert end.is_effective


# --- Who watches ---


def test_question_without_times_is_not_watched(days):
    ask("q", users=["mia"], due=iso(4))
    settle("q")

    assert watching() == []
    assert not Attendance.objects.exists()


def test_question_is_watched_from_its_own_transaction_on(days):
    with pytest.raises(RuntimeError), transaction.atomic():
        ask("q", users=["mia"], **LADDER)
        assert len(roots()) == 1
        raise RuntimeError

    assert watching() == []


def test_wrong_description_is_not_watched(days):
    ask("q", users=["mia"], **(LADDER | {"ladder": [{"at": "due"}]}))

    assert task_of().problem == (
        "human_task.ladder[0]: needs add or tell: whom to call in, or to tell"
    )
    assert watching() == []


def test_question_with_only_past_reminders_is_not_watched(days):
    ask("q", users=["mia"], due=iso(1), reminders=[{"before": "PT2H"}])

    assert watching() == []
    settle("q")
    assert schedule_of(task_of()) == []


def test_group_of_the_setting_watches(days, settings):
    settings.SIGNOFF_GROUP = "clerks"
    ask("q", users=["mia"], reminders=[{"after": "PT1H"}])
    days.work("default")
    days.pass_hours(1)
    assert roots()[0].tags["resonate:target"] == "poll://any@clerks"
    days.work("clerks")

    happened("reminder1")


@pytest.mark.parametrize("tag", [False, True], ids=["param", "tag"])
@pytest.mark.parametrize("state", [PromiseState.RESOLVED, PromiseState.REJECTED_CANCELED])
def test_watching_ends_with_the_question_however_it_ends(days, state, tag):
    if tag:
        described = '{"schema": 1, "title": "T", "reminders": [{"after": "PT1H"}]}'
        create("q", tags=LATENT | {"signoff:task": described})
    else:
        ask("q", users=["mia"], reminders=[{"after": "PT1H"}])
    days.work()
    until(lambda: Promise.objects.filter(pk__startswith=f"{roots()[0].pk}:").exists(), "the timer")

    settle("q", state)

    # In the transaction of the settlement, and with nothing left to fire.
    assert not Promise.objects.filter(state=PromiseState.PENDING).exists()
    assert roots()[0].state == PromiseState.REJECTED_CANCELED
    assert Attendance.objects.get().is_over
    days.pass_hours(2)
    with transaction.atomic():
        assert fire("q", START, START, "reminder1") is Fired.OVER
    assert moments() == []


def test_watching_ends_at_the_deadline_of_the_question(days):
    ask("q", users=["mia"], reminders=[{"after": "PT2H"}], timeout_at=START + HOUR)
    days.work()
    days.pass_hours(1)

    until(lambda: roots()[0].state == PromiseState.REJECTED_CANCELED, "the end")
    assert moments() == []


# --- Handing over ---


@pytest.mark.once
@pytest.mark.parametrize("is_configured", [False, True])
def test_handing_over_counts_anew_only_if_the_question_wants_it(days, is_configured):
    mia, jon = make_user("mia"), make_user("jon")
    ask("q", users=["mia", "jon"], restart_on_reassign=is_configured, **LADDER)
    days.work()
    days.pass_hours(2)
    happened("reminder1")
    days.pass_hours(1)

    hand_over("q", Actor(mia), jon)

    days.pass_hours(1)
    if not is_configured:
        happened("reminder2")
        assert len(roots()) == 1
        return
    started = START + 3 * HOUR
    assert sorted(one.state for one in roots()) == ["pending", "rejected_canceled"]
    days.pass_hours(1)
    happened(f"reminder1@{started}")
    for key, hours in [("reminder2", 2), ("rung1", 2), ("rung2", 6)]:
        days.pass_hours(hours)
        happened(f"{key}@{started}")
    assert moments() == [
        "reminder1",
        f"restart@{started}",
        *(f"{key}@{started}" for key in KEYS),
    ]
    assert [entry.is_done for entry in schedule_of(task_of())] == [True] * 4


def test_whoever_hands_a_question_to_themself_puts_nothing_off(days):
    mia = make_user("mia")
    ask("q", users=["mia"], restart_on_reassign=True, **LADDER)
    days.work()
    days.pass_hours(1)

    for _twice in range(2):
        hand_over("q", Actor(mia), mia)

    days.pass_hours(1)
    happened("reminder1")
    assert len(roots()) == 1


@pytest.mark.once
def test_counting_anew_keeps_the_expiry(days):
    ask("q", users=["mia"], restart_on_reassign=True, expires=iso(5), **LADDER)
    days.work()
    days.pass_hours(3)
    happened("reminder1")
    assert attendance.restart("q")
    days.pass_hours(2)
    until(lambda: promise_of().state != PromiseState.PENDING, "the expiry")

    assert moments()[-1] == "expiry"
    assert Attendance.objects.get().is_over
    assert not attendance.restart("q")


# --- While the requester is asked ---


@pytest.mark.once
def test_what_counts_from_the_question_waits_for_the_requester_and_the_expiry_does_not(days):
    ann, mia = make_user("ann"), make_user("mia")
    start_run("run-1", by=ann)
    last = {"at": "expires-PT2H"}
    times = {**LADDER, "reminders": [*LADDER["reminders"], last]}
    ask("q", users=["mia"], tags=RUN, expires=iso(14), **times)
    days.work()
    days.pass_hours(2)
    happened("reminder1")
    write("q", Actor(mia), "Which order?", Comment.Kind.ASKED)
    days.pass_hours(6)  # past the second reminder and the first rung
    assert "stands still" in client_of(mia).get(task_url("q")).text
    assert [one.at for one in schedule_of(task_of())][1:3] == [START + 10 * HOUR, START + 12 * HOUR]
    assert moments() == ["reminder1"]

    write("q", Actor(ann), "Number 9", Comment.Kind.REPLIED)

    assert task_of().due_at == START + 10 * HOUR
    assert sorted(one.state for one in roots()) == ["pending", "rejected_canceled"]
    for key, hours in [("reminder2", 2), ("reminder3", 2), ("rung1", 0)]:
        days.pass_hours(hours)
        happened(key)
    assert {one.key: one.at for one in TaskMoment.objects.all()} == {
        "reminder1": START + 2 * HOUR,
        "reminder2": START + 10 * HOUR,
        "reminder3": START + 12 * HOUR,
        "rung1": START + 12 * HOUR,
    }
    days.pass_hours(2)
    happened("expiry")
    until(lambda: not [one for one in roots() if one.state == "pending"], "the end")
    assert "rung2" not in moments()


def test_question_ends_though_its_requester_has_not_replied(days):
    ann, mia = make_user("ann"), make_user("mia")
    start_run("run-1", by=ann)
    ask("q", users=["mia"], tags=RUN, expires=iso(5), **LADDER)
    write("q", Actor(mia), "Which order?", Comment.Kind.ASKED)
    page = client_of(mia).get(task_url("q")).text
    assert "what happens without an answer comes at its time all the same" in page
    days.work()
    days.pass_hours(5)

    happened("expiry")
    assert moments() == ["expiry"]
    with pytest.raises(RefusedError, match="this is over"):
        write("q", Actor(ann), "Number 9", Comment.Kind.REPLIED)


def test_old_watch_does_nothing_before_the_time_that_was_put_off(days):
    ann, mia = make_user("ann"), make_user("mia")
    start_run("run-1", by=ann)
    ask("q", users=["mia"], tags=RUN, **LADDER)
    write("q", Actor(mia), "Which order?", Comment.Kind.ASKED)
    days.now += 3 * HOUR
    assert fire("q", START, START, "reminder1") is Fired.DONE
    write("q", Actor(ann), "Number 9", Comment.Kind.REPLIED)

    assert fire("q", START, START, "reminder1") is Fired.DONE
    assert moments() == []
    days.now += 2 * HOUR
    fire("q", START, START, "reminder1")
    assert moments() == ["reminder1"]


def test_handing_over_while_the_requester_is_asked_counts_from_then(days):
    ann, mia, jon = make_user("ann"), make_user("mia"), make_user("jon")
    start_run("run-1", by=ann)
    names = ["mia", "jon"]
    ask("q", users=names, tags=RUN, restart_on_reassign=True, **LADDER)
    write("q", Actor(mia), "Which order?", Comment.Kind.ASKED)
    days.now += HOUR
    hand_over("q", Actor(mia), jon)
    days.now += HOUR
    write("q", Actor(ann), "Number 9", Comment.Kind.REPLIED)

    assert [one.at for one in schedule_of(task_of())] == [
        START + hours * HOUR for hours in (4, 6, 8, 14)
    ]


# --- Expiry ---


@pytest.mark.once
@pytest.mark.parametrize(
    ("on_expiry", "seen"),
    [
        (
            None,
            {"outcome": "rejected", "approved": False, "answer": "expired", "by": "", "values": {}},
        ),
        (
            "reject",
            {"outcome": "rejected", "approved": False, "answer": "expired", "by": "", "values": {}},
        ),
        (
            "approve",
            {"outcome": "resolved", "approved": True, "answer": "expired", "by": "", "values": {}},
        ),
        (
            {
                "resolve": {
                    "approved": False,
                    "answer": "later",
                    "values": {"days": 3},
                    "by": "rule",
                }
            },
            {
                "outcome": "resolved",
                "approved": False,
                "answer": "later",
                "by": "rule",
                "values": {"days": 3},
            },
        ),
        (
            "raise",
            {"error": "Expired", "message": f"nobody answered until {iso(5)[:19]}Z"},
        ),
    ],
)
def test_workflow_sees_what_was_stated(days, on_expiry, seen):
    days.work()
    handle = durable.start("run", ask_in_time, iso(5), on_expiry)
    until(lambda: HumanTask.objects.filter(pk="run:1").exists(), "the question")
    days.pass_hours(4.9)
    assert promise_of("run:1").state == PromiseState.PENDING

    days.pass_hours(0.1)

    assert handle.result(timeout=20) == seen
    assert moments("run:1") == ["expiry"]
    until(lambda: roots()[0].state == PromiseState.RESOLVED, "the end of watching")
    assert not Promise.objects.filter(state=PromiseState.PENDING).exists()


def test_rejection_by_time_is_an_error_that_any_sdk_can_raise(days):
    ask("q", users=["mia"], expires=iso(1))
    days.work()
    days.pass_hours(1)
    until(lambda: promise_of().state == PromiseState.REJECTED, "the expiry")

    assert unpack(promise_of().value_data) == {
        "__type": "error",
        "name": "Rejected",
        "message": f"nobody answered until {iso(1)[:19]}Z",
        "approved": False,
        "answer": "expired",
        "values": {},
        "comment": "",
        "by": "",
    }


@pytest.mark.parametrize("deadline", [START + HOUR, START + HOUR // 2])
def test_expiry_not_before_the_deadline_is_refused_with_its_path(days, deadline):
    ask("q", users=["mia"], expires=iso(1), timeout_at=deadline)

    assert task_of().problem == (
        "human_task.expires: must be before the deadline of the wait itself"
    )
    assert task_of().title == "Title of q"
    assert watching() == []


def test_answer_after_the_expiry_is_refused_though_the_timer_is_late(days):
    mia = make_user("mia")
    ask("q", users=["mia"], expires=iso(1))
    days.pass_hours(1)

    with pytest.raises(RefusedError, match="too late"):
        decide("q", Actor(mia), Answer("approve"))
    assert promise_of().state == PromiseState.PENDING
    assert "The time to answer ran out" in sentence(task_of(), days.now)

    days.work()
    until(lambda: promise_of().state == PromiseState.REJECTED, "the expiry")


def test_answer_before_the_expiry_wins_over_a_timer_that_comes_later(days):
    mia = make_user("mia")
    ask("q", users=["mia"], expires=iso(1))
    assert decide("q", Actor(mia), Answer("approve")) is Verdict.SETTLED
    days.pass_hours(1)
    with transaction.atomic():
        assert fire("q", START, START, "expiry") is Fired.OVER

    assert unpack(promise_of().value_data)["by"] == "mia"
    assert moments() == []


def test_question_whose_expiry_is_past_ends_at_once(days):
    days.work()
    ask("q", users=["mia"], expires=iso(-1), on_expiry="approve")

    until(lambda: promise_of().state == PromiseState.RESOLVED, "the expiry")


def test_without_any_worker_the_house_ends_what_is_overdue(days):
    ask("q", users=["mia"], expires=iso(1))
    ask("r", users=["mia"], expires=iso(2))
    days.pass_hours(1)
    end_overdue(using="default")
    assert promise_of().state == PromiseState.PENDING  # a worker may be at it

    days.pass_hours(0.1)
    signals.housekeeping.send(None, using="default")

    assert promise_of("q").state == PromiseState.REJECTED
    assert promise_of("r").state == PromiseState.PENDING
    assert moments() == ["expiry"]
    assert sorted(one.state for one in roots()) == ["pending", "rejected_canceled"]


def test_house_forgets_what_is_gone_and_goes_on_after_what_it_cannot_end(days, caplog):
    ask("q", users=["mia"], expires=iso(1))
    ask("r", users=["mia"], expires=iso(1))
    Attendance.objects.create(
        task_id="gone", execution="e", asked_at=1, started_at=1, expires_at=START
    )
    HumanTask.objects.filter(pk="q").update(description={"expires": "never"})
    days.pass_hours(2)

    end_overdue(using="default")

    assert promise_of("q").state == PromiseState.PENDING
    assert promise_of("r").state == PromiseState.REJECTED
    assert [one.pk for one in Attendance.objects.filter(is_over=False)] == ["q"]
    assert "cannot end a question" in caplog.messages


@pytest.mark.once
def test_times_that_only_an_earlier_version_could_read_break_no_page(days):
    mia = client_of(make_user("mia"))
    ann = make_user("ann")
    start_run(by=ann)
    asked = {"expires": iso(1), "on_expiry": "approve"}
    ask("over", users=["mia"], **asked)
    ask("open", users=["mia", "jon"], tags=child_of("run-1"), **asked | {"expires": iso(9)})
    make_user("jon")
    days.pass_hours(2)
    end_overdue(using="default")
    said(mia, "Which?", "asked")
    HumanTask.objects.update(description={"schema": 1, "title": "Pay?", "expires": "never"})

    assert "Expired without an answer" in mia.get("/inbox/?tab=done").text
    assert "Expired without an answer" in mia.get(task_url("over")).text
    assert "human_task.expires" in mia.get(task_url("open")).text
    assert said(client_of(ann), "That one", "replied").status_code == 303
    assert mia.post(f"{task_url('open')}claim/").status_code == 303
    assert mia.post(f"{task_url('open')}hand-over/", {"to": "jon"}).status_code == 303


def said(client, text, kind):
    return client.post(f"{task_url('open')}comment/", {"kind": kind, "text": text})


def test_what_is_overdue_is_found_by_its_index(days):
    Attendance.objects.bulk_create(
        Attendance(
            task_id=f"old{n}",
            execution=f"e{n}",
            asked_at=n,
            started_at=n,
            expires_at=n,
            is_over=True,
        )
        for n in range(2000)
    )
    with connection.cursor() as cursor:
        cursor.execute("analyze")

    assert "signoff_attendance_expiry" in overdue("default", START).explain()


# --- What the page says ---


@pytest.mark.once
@pytest.mark.parametrize(
    ("on_expiry", "before", "after"),
    [
        (
            "reject",
            "If nobody answers by Wed 08:06, this is rejected.",
            "Nobody answered by Wed 08:06, so this was rejected.",
        ),
        (
            "approve",
            "If nobody answers by Wed 08:06, this is approved.",
            "Nobody answered by Wed 08:06, so this was approved.",
        ),
        (
            {"resolve": 1},
            "If nobody answers by Wed 08:06, this goes on with an answer set beforehand.",
            "Nobody answered by Wed 08:06, so this went on with an answer set beforehand.",
        ),
        (
            "raise",
            "If nobody answers by Wed 08:06, this fails as not answered.",
            "Nobody answered by Wed 08:06, so this failed as not answered.",
        ),
    ],
)
def test_sentence_says_what_will_happen_and_what_has(days, on_expiry, before, after):
    ask("q", users=["mia"], expires=iso(25), on_expiry=on_expiry)
    assert sentence(task_of(), START) == before
    page = client_of(make_user("mia")).get(task_url("q")).text
    assert before in page

    days.work()
    days.pass_hours(25)
    until(lambda: promise_of().state != PromiseState.PENDING, "the expiry")

    expected = after.replace("Wed 08:06", "08:06")
    assert sentence(task_of(), days.now) == expected
    client = client_of(make_user("eve", rights=("settle_any",)))
    assert expected in client.get(task_url("q")).text


def test_no_sentence_without_expiry_nor_after_an_answer(days):
    ask("q", users=["mia"], due=iso(2))
    ask("r", users=["mia"], expires=iso(2))
    settle("r")

    assert sentence(task_of("q"), START) == ""
    assert sentence(task_of("r"), START) == ""


@pytest.mark.parametrize(
    ("hours", "said"), [(1, "08:06"), (49, "Thu 08:06"), (24 * 9, "11 Oct, 07:06")]
)
def test_sentence_has_a_time_as_near_as_it_needs(days, hours, said):
    ask("q", users=["mia"], expires=iso(hours))

    assert f"by {said}," in sentence(task_of(), START)


@pytest.mark.once
def test_schedule_shows_what_is_done_and_what_is_next(days):
    ask("q", users=["mia"], expires=iso(20), **LADDER)
    days.work()
    days.pass_hours(4)
    happened("reminder2")

    entries = schedule_of(task_of())
    assert [(one.at - START) / HOUR for one in entries] == [4, 4, 6, 12, 20]
    assert [one.text for one in entries] == [
        "Reminder",
        "Reminder",
        "Also asked: leads",
        "Told: boss",
        "Rejected, if nobody has answered",
    ]
    assert [one.is_done for one in entries] == [True, True, False, False, False]
    assert [one.is_next for one in entries] == [False, False, True, False, False]

    html = render_to_string(
        "dashboard/inbox/timetable.html", {"schedule": entries, "is_open": True}
    )
    assert html.count("is-done") == 2
    assert html.count("is-next") == 1
    assert "Also asked: leads" in html
    page = client_of(make_user("mia")).get(task_url("q")).text
    assert "What happens when" in page
    assert "Told: boss" in page


@pytest.mark.once
def test_schedule_of_a_question_that_is_over_shows_what_has_happened(days):
    ask("q", users=["mia"], **LADDER)
    days.work()
    days.pass_hours(2)
    happened("reminder1")
    settle("q")

    assert [one.text for one in schedule_of(task_of(), is_open=False)] == ["Reminder"]


@pytest.mark.once
def test_history_tells_what_happened_by_itself(days):
    ask("q", users=["mia"], expires=iso(13), **LADDER)
    days.work()
    days.pass_hours(13)
    happened("expiry")

    assert [one.text for one in events_of(task_of())] == [
        "Reminded",
        "Reminded",
        "Also asked: leads",
        "Told: boss",
    ]
    page = client_of(make_user("eve", rights=("settle_any",))).get(task_url("q")).text
    assert page.count("Reminded") == 2
    assert "Nobody answered in time: rejected" in page


# --- Workers that are killed ---


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rungs", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_each_rung_comes_once_though_workers_are_killed(process_env, tmp_path, rungs):
    """On the real clock, in processes of their own, killed all the time until the end."""
    env = {**process_env, "DURABLE_LEASE_MS": "1500", "DURABLE_HEARTBEAT_MS": "300"}
    seconds = [f"PT{n + 1}S" for n in range(1, rungs + 1)]
    make_user("jon", groups=("leads",))
    for name in ("q", "r"):
        ask(
            name,
            users=["mia"],
            reminders=[{"after": one} for one in seconds],
            ladder=[{"after": one, "add": {"groups": [f"leads{one}"]}} for one in seconds],
            # Later than the last rung, though a busy machine takes seconds to ask.
            expires=(datetime.now(UTC) + timedelta(seconds=rungs + 5)).isoformat(),
            on_expiry="approve",
        )
    workers = [Process(env, tmp_path / f"{n}.log", "worker") for n in range(2)]
    serve = Process(env, tmp_path / "serve.log", "serve", "--port", str(free_port()))
    keys = {f"{kind}{n}" for kind in ("reminder", "rung") for n in range(1, rungs + 1)}
    keys |= {"expiry"}
    victims = itertools.cycle(workers)
    killed = [0]

    def kill_after_each_rung() -> bool:
        """Kill a worker whenever something has happened: often within what comes next."""
        count = TaskMoment.objects.count()
        if count >= killed[-1] + 3:
            killed.append(count)
            victim = next(victims)
            victim.kill()
            victim.start()
        return not Promise.objects.filter(state=PromiseState.PENDING).exists()

    with running(*workers, serve):
        wait_until(kill_after_each_rung, seconds=90, what="the end")

    assert len(killed) > rungs // 2
    for name in ("q", "r"):
        assert sorted(moments(name)) == sorted(keys)
        assert Decider.objects.filter(task=name).count() == 1 + rungs
        assert unpack(promise_of(name).value_data)["answer"] == "expired"
    assert {one.state for one in roots()} == {"resolved"}
    call_command("durable_fsck")
