import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

import durable
from dashboard import decisions
from dashboard.answering import NoSuchQuestionError
from dashboard.decisions import Actor, Answer, Verdict, decide
from dashboard.delegations import delegate, revoke
from dashboard.models import Action, AuditEntry, HumanTask
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError
from dashboard.votes import lock_questions
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from durable.workflow.decisions import read as read_decision
from durable.workflow.results import Result
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    ask_bare,
    client_of,
    create,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
    unpack,
)
from tests.dashboard.races import at_once, while_others
from tests.dashboard.reading import HTMX

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", last_name="Kern"))


def promise_of(promise_id):
    return Promise.objects.get(pk=promise_id)


# --- What is written ---


def test_approval_resolves_with_the_decision(mia):
    ask("q", users=["mia"])

    response = answer(mia, "q", comment="fine")

    assert (response.status_code, response["Location"]) == (303, "/inbox/q/")
    promise = promise_of("q")
    assert promise.state == PromiseState.RESOLVED
    assert unpack(promise.value_data) == {
        "approved": True,
        "answer": "approve",
        "values": {},
        "comment": "fine",
        "by": "mia",
    }


def test_rejection_rejects_with_an_error_that_any_sdk_can_raise(mia):
    ask("q", users=["mia"])

    answer(mia, "q", "reject", comment="too dear")

    promise = promise_of("q")
    assert promise.state == PromiseState.REJECTED
    assert unpack(promise.value_data) == {
        "__type": "error",
        "name": "Rejected",
        "message": "too dear",
        "approved": False,
        "answer": "reject",
        "values": {},
        "comment": "too dear",
        "by": "mia",
    }


@pytest.mark.parametrize(("choice", "outcome"), [("approve", "resolved"), ("reject", "rejected")])
def test_workflow_reads_the_same_decision(mia, choice, outcome):
    ask("q", users=["mia"])
    answer(mia, "q", choice, comment="why")
    record = durable.promises.get("q")

    assert read_decision(record) == Result(
        durable.Decision(
            outcome=outcome,
            approved=choice == "approve",
            answer=choice,
            values={},
            comment="why",
            by="mia",
            at=datetime.fromtimestamp(record.settled_at / 1000, tz=UTC),
        )
    )


def test_rejection_without_a_comment_has_a_message_all_the_same(mia):
    ask("q", users=["mia"])
    answer(mia, "q", "reject")

    assert unpack(promise_of("q").value_data)["message"] == "rejected by mia"


def test_result_says_who_answered_when_and_what_they_wrote(mia):
    jon = client_of(make_user("jon"))
    ask("q", users=["mia", "jon"])
    answer(mia, "q", comment="fine")

    assert "You approved this" in mia.get(task_url("q")).text
    for client in (jon, client_of(make_operator())):
        page = client.get(task_url("q")).text
        assert "Mia Kern approved this" in page
        assert "fine" in page


def test_htmx_gets_the_panel_alone_and_tells_the_rest_of_the_page(mia):
    ask("q", users=["mia"])
    ask("r", users=["mia"])

    response = mia.post(f"{task_url('q')}decide/", {"answer": "approve"}, headers=HTMX)

    assert response.status_code == 200
    assert json.loads(response["HX-Trigger"]) == {"inbox:changed": {}}
    assert "<html" not in response.text
    assert "You approved this" in response.text
    assert 'href="/inbox/r/"' in response.text


def test_plain_post_leads_back_to_the_page_that_the_panel_is_on(mia):
    ask("q", users=["mia"])

    assert answer(mia, "q", next="/executions/run-1/")["Location"] == "/executions/run-1/"


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:x"])
def test_plain_post_never_leads_elsewhere(mia, elsewhere):
    ask("q", users=["mia"])

    assert answer(mia, "q", next=elsewhere)["Location"] == "/inbox/q/"


# --- The plain form ---


def test_undescribed_wait_is_answered_with_the_decision_itself():
    ask_bare("bare")
    answer(client_of(make_operator()), "bare")

    assert unpack(promise_of("bare").value_data)["by"] == "olga"


@pytest.mark.parametrize("given", ["null", "17", '{"paid": [1, "€"]}'])
def test_undescribed_wait_may_be_given_any_json(given):
    ask_bare("bare")
    answer(client_of(make_operator()), "bare", value=given)

    assert unpack(promise_of("bare").value_data or "bnVsbA==") == json.loads(given)


def test_value_is_not_used_for_a_rejection():
    ask_bare("bare")
    answer(client_of(make_operator()), "bare", "reject", value='{"x": 1}')

    assert unpack(promise_of("bare").value_data)["name"] == "Rejected"


def test_described_question_takes_no_value(mia):
    ask("q", users=["mia"])
    answer(mia, "q", value="17")

    assert unpack(promise_of("q").value_data)["approved"] is True


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{oops", "This is not JSON"),
        ("1e999", "This is not JSON"),
        ('"\\ud800"', "This is not JSON"),
        ("[" * 5000, "This is not JSON"),
        ('[{"a": {"__py_pickle": "gA=="}}]', "The key __py_pickle is not allowed."),
    ],
)
def test_wrong_value_is_said_beside_the_field_and_settles_nothing(value, problem):
    ask_bare("bare")

    response = answer(client_of(make_operator()), "bare", value=value, comment="kept")

    assert response.status_code == 422
    assert problem in response.text
    assert 'aria-invalid="true"' in response.text
    assert "kept" in response.text
    assert promise_of("bare").state == PromiseState.PENDING
    assert not AuditEntry.objects.exists()


# --- Wrong forms ---


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"answer": ""}, "Choose an answer."),
        ({"answer": "burn"}, "Choose one of the answers."),
        ({"comment": "x" * 10_001}, "Shorten the comment to 10000 characters at most."),
        ({"comment": "a\0b"}, "Null characters are not allowed."),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_wrong_form_comes_back_with_what_is_wrong(mia, data, problem, headers):
    ask("q", users=["mia"])
    form = {"answer": "approve", "comment": "kept"} | data

    response = mia.post(f"{task_url('q')}decide/", form, headers=headers)

    assert response.status_code == 422
    assert problem in response.text
    assert form["comment"].replace("\0", "") in response.text.replace("\0", "")
    assert promise_of("q").state == PromiseState.PENDING
    assert not AuditEntry.objects.exists()


def test_csrf_is_checked(mia):
    ask("q", users=["mia"])
    mia.handler.enforce_csrf_checks = True

    assert answer(mia, "q").status_code == 403
    assert promise_of("q").state == PromiseState.PENDING


# --- Too late ---


def test_second_answer_is_told_who_was_first_and_keeps_its_text(mia):
    jon = client_of(make_user("jon", first_name="Jon"))
    ask("q", users=["mia", "jon"])
    answer(mia, "q", comment="fine")

    response = answer(jon, "q", "reject", comment="I would rather <not>")

    assert response.status_code == 409
    assert "Mia Kern approved this" in response.text
    assert "Your answer came later and was not used." in response.text
    assert "I would rather &lt;not&gt;" in response.text
    assert promise_of("q").state == PromiseState.RESOLVED


def test_own_second_answer_is_late_too(mia):
    ask("q", users=["mia"])
    answer(mia, "q", request_key="1")

    response = answer(mia, "q", "reject", request_key="1")

    assert response.status_code == 409
    assert "You approved this" in response.text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PromiseState.RESOLVED, "Answered elsewhere"),
        (PromiseState.REJECTED, "Rejected elsewhere"),
        (PromiseState.REJECTED_CANCELED, "Withdrawn"),
    ],
)
def test_answer_after_another_way_is_late(mia, state, words):
    ask("q", users=["mia"])
    settle("q", state)

    response = answer(mia, "q")

    assert response.status_code == 409
    assert words in response.text
    assert not AuditEntry.objects.get(action="approve").is_effective


def test_answer_after_the_deadline_is_late(mia):
    ask("q", users=["mia"], timeout_at=now_ms() - 1)

    response = answer(mia, "q")

    assert response.status_code == 409
    assert "Expired without an answer" in response.text


def test_answer_after_its_own_expiry_is_refused_although_nobody_has_ended_it_yet(mia):
    ask("q", users=["mia"], expires=iso(1), on_expiry="approve")
    HumanTask.objects.update(expires_at=now_ms() - 1)

    refused = answer(mia, "q", "reject")

    assert refused.status_code == 403
    assert "the time to answer has run out" in refused.text
    assert promise_of("q").state == PromiseState.PENDING


def test_wrong_form_is_late_as_well(mia):
    ask("q", users=["mia"])
    settle("q")

    response = answer(mia, "q", "burn")

    assert response.status_code == 409
    assert "Answered elsewhere" in response.text


# --- Twice the same ---


def test_double_click_is_one_decision(mia):
    ask("q", users=["mia"])
    first = answer(mia, "q", request_key="key-1", comment="fine")
    second = answer(mia, "q", request_key="key-1", comment="fine")

    assert first.status_code == second.status_code == 303
    assert AuditEntry.objects.count() == 1


def test_form_brings_a_new_request_key_each_time(mia):
    ask("q", users=["mia"])
    keys = {mia.get(task_url("q")).context["panel"].form["request_key"].value() for _ in range(2)}

    assert len(keys) == 2


def test_key_of_somebody_else_is_no_repetition(mia):
    ask("q", users=["mia", "jon"])
    jon = client_of(make_user("jon"))
    answer(mia, "q", request_key="key-1")

    assert answer(jon, "q", request_key="key-1").status_code == 409


# --- One transaction ---


@pytest.mark.django_db(transaction=True)
def test_nothing_is_settled_when_the_audit_row_cannot_be_written(mia, monkeypatch):
    def fail(*_args, **_kwargs):
        raise DatabaseError

    ask("q", users=["mia"])
    monkeypatch.setattr(decisions, "_record", fail)
    mia.raise_request_exception = False

    assert answer(mia, "q").status_code == 500
    assert promise_of("q").state == PromiseState.PENDING
    assert not AuditEntry.objects.exists()


def test_decide_refuses_whom_the_question_is_not_for():
    ask("q")
    eve = make_user("eve")

    with pytest.raises(decisions.NoSuchQuestionError):
        decide("q", Actor(eve), Answer(Action.APPROVE))


def test_decide_asks_for_a_comment_that_is_needed_whatever_came_before_it():
    user = make_user("mia")
    ask("q", users=["mia"], answers=["approve", {"name": "reject", "comment": "required"}])

    with pytest.raises(RefusedError, match="needs a comment"):
        decide("q", Actor(user), Answer("reject"))
    assert decide("q", Actor(user), Answer("reject", "wrong amount")) is Verdict.SETTLED


def test_promise_that_is_no_question_cannot_be_settled_here():
    create("run", tags={"resonate:target": "poll://any@g"})

    assert answer(client_of(make_operator()), "run").status_code == 404
    assert promise_of("run").state == PromiseState.PENDING


# --- A description that cannot be read ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": {"n_of": 3, "of": [{"user": "mia"}, {"user": "jon"}]}},
        {"confirm": {"password": True}, "facts": [["only one"]]},
    ],
)
def test_nobody_says_yes_to_what_cannot_be_read_as_if_nothing_were_asked(wrong):
    for name in ("q", "r"):
        ask(name, users=["mia"], undo=10, **wrong)
    user = make_operator()
    olga = client_of(user)
    page = olga.get(task_url("q")).text
    assert 'value="reject"' in page
    assert 'value="approve"' not in page
    assert "nobody knows what a yes takes" in page

    refused = answer(olga, "q", comment="it is fine")

    assert refused.status_code == 403
    assert "nobody knows what a yes takes" in refused.text
    assert Program(user).answer("q", comment="it is fine").status_code == 403
    many = olga.post("/answers/", {"task": ["q", "r"]}, follow=True)
    assert "answer those one by one" in many.text
    assert promise_of("q").state == PromiseState.PENDING
    assert answer(olga, "q", "reject").status_code == 303
    assert promise_of("q").state == PromiseState.REJECTED


def test_a_yes_to_what_cannot_be_read_takes_a_right_and_a_reason_and_is_marked():
    ask("q", policy={"n_of": 3, "of": [{"user": "mia"}]})
    olga = client_of(make_user("olga", rights=("settle_any", "override_separation")))
    assert "say why" in olga.get(task_url("q")).text

    assert answer(olga, "q").status_code == 403
    assert answer(olga, "q", comment="agreed on the phone").status_code == 303

    assert promise_of("q").state == PromiseState.RESOLVED
    entry = AuditEntry.objects.get(target="q")
    assert (entry.is_override, entry.reason) == (True, "agreed on the phone")
    assert "in spite of a mistake in the description" in olga.get(task_url("q")).text


# --- Races ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("people", [12, pytest.param(50, marks=pytest.mark.slow)])
def test_of_many_mixed_answers_one_settles_and_the_others_are_told_who_was_first(people):
    names = [f"user{number:02}" for number in range(people)]
    clients = [client_of(make_user(name, first_name=name.title())) for name in names]
    ask("q", users=names)

    def act(number):
        choice = "approve" if number % 2 else "reject"
        response = answer(clients[number], "q", choice, comment=f"text of {names[number]}")
        return response.status_code, response.text

    responses = at_once(people, act)

    assert Counter(status for status, _ in responses) == {303: 1, 409: people - 1}
    winner = next(number for number, (status, _) in enumerate(responses) if status == 303)
    entry = AuditEntry.objects.get(is_effective=True)
    assert entry.actor_name == names[winner].title()
    assert AuditEntry.objects.filter(is_effective=False).count() == people - 1
    assert AuditEntry.objects.values("actor").distinct().count() == people

    promise = promise_of("q")
    assert unpack(promise.value_data)["by"] == names[winner]
    verb = "approved" if promise.state == PromiseState.RESOLVED else "rejected"
    for number, (_status, text) in enumerate(responses):
        if number != winner:
            assert f"{names[winner].title()} {verb} this" in text
            assert f"text of {names[number]}" in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_same_click_sent_twice_at_once_is_one_decision_and_no_conflict():
    user = make_user("mia")
    for round_ in range(5):
        ask(f"q{round_}", users=["mia"])
        clients = [client_of(user) for _ in range(4)]

        def act(number, round_=round_, clients=clients):
            return answer(clients[number], f"q{round_}", request_key="same").status_code

        assert at_once(4, act) == [303] * 4
    assert AuditEntry.objects.count() == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_race_with_another_way_leaves_one_truth():
    user = make_user("mia")
    for round_ in range(5):
        ask(f"q{round_}", users=["mia"])
        actor = Actor(user)

        def act(number, round_=round_, actor=actor):
            if number:
                return settle(f"q{round_}", PromiseState.REJECTED_CANCELED)
            return decide(f"q{round_}", actor, Answer(Action.APPROVE)) is Verdict.SETTLED

        ours, theirs = at_once(2, act)

        assert ours is not theirs
        entries = AuditEntry.objects.filter(target=f"q{round_}")
        assert entries.get(action="approve").is_effective is ours
        assert entries.filter(is_effective=True).count() == 1
        expected = PromiseState.RESOLVED if ours else PromiseState.REJECTED_CANCELED
        assert promise_of(f"q{round_}").state == expected


@pytest.mark.parametrize(
    ("old", "path"),
    [
        ({"priority": "of old", "reminders": [{"after": "PT1H"}]}, "human_task.priority"),
        ({"reminders": ["of old"], "on_expiry": "approve"}, "human_task.on_expiry"),
    ],
)
def test_what_the_rules_of_today_refuse_breaks_no_page_and_can_only_be_rejected(mia, old, path):
    ask("q", users=["mia"], expires="2100-01-01T00:00:00Z", on_expiry="approve")
    HumanTask.objects.update(description={"schema": 1, "title": "Pay?"} | old)

    assert mia.get("/inbox/").status_code == 200
    page = mia.get(task_url("q")).text
    assert path in page
    assert "has a mistake:" in page
    assert "only those who may answer any question see it" not in page
    assert 'name="value"' not in page, "a no hands nothing back"
    refused = answer(mia, "q")
    assert refused.status_code == 403
    assert "it can only be rejected" in refused.text
    assert answer(mia, "q", "reject").status_code == 303
    assert promise_of("q").state == PromiseState.REJECTED


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("lost", ["right", "group", "delegation"])
def test_rights_are_those_of_the_moment_at_which_nobody_is_waited_for(lost):
    jon = make_user("jon", rights=("settle_any",) if lost == "right" else ())
    mia = make_user("mia", groups=("finance",))
    ask("q", users=["mia"] if lost == "delegation" else [], groups=["finance"])
    if lost == "group":
        jon.groups.set(mia.groups.all())
    elif lost == "delegation":
        away = delegate(Actor(mia), jon, starts_at=now_ms() - 1, ends_at=now_ms() + HOUR_MS)
    assert visible_to(jon).exists()  # what a request looked up before is not what counts

    def take_away():
        lock_questions(["q"])
        if lost == "right":
            User.objects.get(username="jon").user_permissions.clear()
        elif lost == "group":
            User.objects.get(username="jon").groups.clear()
        else:
            revoke(away, Actor(mia))

    def try_it():
        with pytest.raises(NoSuchQuestionError):
            decide("q", Actor(jon), Answer("approve"))

    while_others(take_away, try_it)

    assert promise_of("q").state == PromiseState.PENDING
    assert not AuditEntry.objects.filter(target="q").exists()
