"""A description that comes by the API, for promises that cannot carry their own."""

import re

import pytest

from dashboard import sweep
from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from dashboard.models import Action, Attendance, AuditEntry, Decider, HumanTask, SignIn, Vote
from dashboard.recording import record_tasks
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    LATENT,
    answer,
    ask,
    ask_bare,
    client_of,
    create,
    iso,
    make_operator,
    make_user,
    past,
    settle,
    task_url,
)
from tests.dashboard.races import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def asker():
    """Somebody who may describe what waits, and see nothing of it."""
    return Program(make_user("robot", rights=("describe_tasks",)))


@pytest.fixture
def mia():
    return make_user("mia", first_name="Mia")


def problem(response, status):
    assert response.status_code == status, response.content
    return response.json()


def test_a_bare_promise_is_described_and_those_it_names_answer_it(asker, mia):
    ask_bare("bare")

    response = asker.describe("bare", title="Pay 4711?", users=["mia"], facts={"Amount": "42"})

    assert response.status_code == 201
    assert response.json() | {"described_at": ""} == {
        "id": "bare",
        "title": "Pay 4711?",
        "result": "added",
        "described_at": "",
    }
    client = client_of(mia)
    assert "Pay 4711?" in client.get("/inbox/").text
    page = client.get(task_url("bare")).text
    assert "Amount" in page
    assert "robot said what this asks" in page
    assert answer(client, "bare").status_code == 303
    assert Promise.objects.get(pk="bare").state == PromiseState.RESOLVED


def test_each_description_is_in_the_audit_trail_with_its_token(asker, mia):
    ask_bare("bare")
    asker.describe("bare", users=["mia"], facts={"Pay": 9}, secrets=["/facts/Pay"])

    entry = AuditEntry.objects.get(target="bare", action=Action.DESCRIBE)

    assert (entry.actor_name, entry.sign_in) == ("robot", SignIn.TOKEN)
    assert entry.details["description"]["facts"] == {"Pay": "••••••"}
    assert len(entry.payload_hash) == 64


def test_the_same_description_again_changes_nothing(asker):
    ask_bare("bare")
    first = asker.describe("bare", users=["mia"]).json()

    again = asker.describe("bare", users=["mia"])

    assert again.status_code == 200
    assert again.json() == first | {"result": "unchanged"}
    assert AuditEntry.objects.filter(action=Action.DESCRIBE).count() == 1


def test_the_same_description_again_is_fine_after_the_answer(asker, mia):
    ask_bare("bare")
    asker.describe("bare", users=["mia"])
    answer(client_of(mia), "bare")

    assert asker.describe("bare", users=["mia"]).status_code == 200


def test_another_description_replaces_one_that_nobody_has_answered(asker, mia):
    jon = make_user("jon")
    ask_bare("bare")
    asker.describe("bare", users=["mia"])
    client_of(mia).post(f"{task_url('bare')}claim/")

    response = asker.describe("bare", title="Another", users=["jon"])

    assert (response.status_code, response.json()["result"]) == (200, "replaced")
    assert client_of(mia).get(task_url("bare")).status_code == 404
    assert "Another" in client_of(jon).get(task_url("bare")).text
    assert answer(client_of(jon), "bare").status_code == 303
    assert AuditEntry.objects.filter(action=Action.DESCRIBE).count() == 2


def test_who_read_another_description_is_asked_to_read_again(asker, mia):
    ask_bare("bare")
    asker.describe("bare", users=["mia"], title="Pay 4")
    client = client_of(mia)

    def seen(text):
        return re.search(r'name="described_at" value="(\d+)"', text)[1]

    before = seen(client.get(task_url("bare")).text)
    asker.describe("bare", users=["mia"], title="Pay 4000")

    again = answer(client, "bare", described_at=before)
    assert again.status_code == 422
    assert "changed meanwhile" in again.text
    assert "Pay 4000" in again.text
    assert answer(client, "bare", described_at=seen(again.text)).status_code == 303


def test_another_description_after_the_answer_is_a_conflict(asker, mia):
    ask_bare("bare")
    asker.describe("bare", users=["mia"])
    answer(client_of(mia), "bare")

    response = asker.describe("bare", title="Another", users=["mia"])

    assert "over" in problem(response, 409)["detail"]
    assert HumanTask.objects.get(pk="bare").title == "Title of bare"


def test_a_question_with_votes_keeps_its_description(asker, mia):
    make_user("jon")
    ask_bare("bare")
    policy = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    assert asker.describe("bare", policy=policy).status_code == 201
    answer(client_of(mia), "bare")
    assert Vote.objects.count() == 1

    assert "answered" in problem(asker.describe("bare", users=["mia"]), 409)["detail"]


def test_a_promise_that_describes_itself_keeps_its_own_words(asker):
    ask("own", users=["mia"])
    ask("wrong", groups=[1])

    for promise_id in ("own", "wrong"):
        response = asker.describe(promise_id, users=["jon"])
        assert "description of its own" in problem(response, 409)["detail"]


def test_what_is_over_cannot_be_described(asker):
    create("settled", tags=LATENT)
    settle("settled", PromiseState.RESOLVED)
    create("late", tags=LATENT, timeout_at=past(1))

    assert problem(asker.describe("settled"), 409)
    assert problem(asker.describe("late"), 409)


@pytest.mark.parametrize(
    ("wrong", "path", "message"),
    [
        ({"users": [1]}, "human_task.users[0]", "must be text"),
        ({"title": ""}, "human_task.title", "is empty"),
        ({"schema": 2}, "human_task.schema", "must be 1"),
        ({"form": {"type": "object", "properties": {"a": 1}}}, "human_task.form", ""),
        ({"policy": {"some_of": []}}, "human_task.policy", ""),
        ({"expires": "soon"}, "human_task.expires", "must be a time"),
        ({"deciders": ["boss"]}, "human_task.deciders", "not a rule"),
        ({"form": {"django": "nothing"}}, "human_task.form.django", "not listed"),
    ],
)
def test_a_wrong_description_is_refused_with_its_path_and_the_plain_form_stays(
    asker, wrong, path, message
):
    ask_bare("bare")

    [error] = problem(asker.describe("bare", **wrong), 422)["errors"]

    assert error["path"].startswith(path)
    assert message in error["message"]
    operator = client_of(make_operator())
    page = operator.get(task_url("bare")).text
    assert "Value to hand back" in page
    assert answer(operator, "bare", value="7").status_code == 303


def test_an_expiry_after_the_end_of_the_promise_is_refused(asker):
    create("bare", tags=LATENT, timeout_at=past(-1))

    [error] = problem(asker.describe("bare", expires=iso(2)), 422)["errors"]

    assert error["path"] == "human_task.expires"


def test_only_those_with_the_right_describe_and_others_learn_nothing(asker):
    ask_bare("bare")
    stranger, operator = Program(make_user("eve")), Program(make_operator())

    assert problem(stranger.describe("bare"), 404)
    assert "not say what it asks" in problem(operator.describe("bare"), 403)["detail"]
    assert problem(asker.describe("nothing"), 404)
    create("run", tags={"resonate:target": "poll://any@nobody"})
    assert problem(asker.describe("run"), 404)
    assert not HumanTask.objects.get(pk="bare").title


@pytest.mark.parametrize(
    "promise_id", ["run-1:2.3", "a b", "a/b/c", "50%", "ü", "tilde~1", "..", "x?y"]
)
def test_ids_are_taken_as_the_pages_write_them(asker, promise_id):
    ask_bare(promise_id)

    assert asker.describe(promise_id).json()["id"] == promise_id


@pytest.mark.parametrize("promise_id", ["run-1:2.3", "a b", "a/b/c", "50%", "ü"])
def test_ids_are_taken_percent_encoded_as_well(asker, promise_id):
    from urllib.parse import quote

    ask_bare(promise_id)
    body = {"schema": 1, "title": "Encoded"}

    assert asker.put(f"human-tasks/{quote(promise_id, safe='')}", body).status_code == 201


def test_a_row_that_could_not_be_written_is_written_then(asker):
    ask_bare("bare")
    HumanTask.objects.all().delete()

    assert asker.describe("bare").status_code == 201


# --- The rest follows ---


def test_what_the_engine_says_again_leaves_the_description(asker, mia):
    ask_bare("bare")
    asker.describe("bare", users=["mia"])
    sweep.repair(["bare"], using="default")
    sweep.run_once()

    task = HumanTask.objects.get(pk="bare")

    assert (task.title, Decider.objects.get().user) == ("Title of bare", mia)


def test_a_new_life_of_the_id_begins_without_it(asker):
    ask_bare("bare")
    asker.describe("bare", users=["mia"])
    [record] = sweep.records_of(Promise.objects.filter(pk="bare"))
    from msgspec.structs import replace

    record_tasks([replace(record, created_at=record.created_at + 1)], using="default")

    task = HumanTask.objects.get(pk="bare")
    assert (task.title, task.described_at, task.is_unassigned) == ("", None, True)
    assert not Decider.objects.exists()


def test_its_times_are_watched_from_then_on_and_no_more_when_it_is_over(asker, mia):
    ask_bare("bare")
    times = {"due": iso(4), "expires": iso(8), "reminders": [{"at": "50%"}], "on_expiry": "approve"}
    asker.describe("bare", users=["mia"], **times)
    first = Attendance.objects.get(pk="bare")

    assert Promise.objects.get(pk=first.execution).state == PromiseState.PENDING
    assert "Reminder" in client_of(mia).get(task_url("bare")).text

    asker.describe("bare", users=["mia"], title="Later", **times | {"expires": iso(9)})
    second = Attendance.objects.get(pk="bare")
    assert Promise.objects.get(pk=first.execution).state == PromiseState.REJECTED_CANCELED
    assert Promise.objects.get(pk=second.execution).state == PromiseState.PENDING

    answer(client_of(mia), "bare")
    assert Promise.objects.get(pk=second.execution).state == PromiseState.REJECTED_CANCELED
    assert Attendance.objects.get(pk="bare").is_over


def test_a_description_without_times_ends_the_watching(asker):
    ask_bare("bare")
    asker.describe("bare", expires=iso(8))
    asker.describe("bare", title="No times")

    assert Attendance.objects.get(pk="bare").is_over


def test_what_it_says_happens_when_nobody_answers(asker, mia):
    from dashboard.timekeeping import Fired, fire

    ask_bare("bare")
    asker.describe("bare", users=["mia"], expires=iso(1), on_expiry="approve")
    attendance = Attendance.objects.get(pk="bare")

    fired = fire("bare", attendance.asked_at, attendance.started_at, "expiry")

    assert fired is Fired.OVER
    assert Promise.objects.get(pk="bare").state == PromiseState.RESOLVED
    assert fire("bare", attendance.asked_at - 1, attendance.started_at, "expiry") is Fired.OVER


@pytest.mark.django_db(transaction=True)
def test_a_description_and_an_answer_at_the_same_time_come_one_after_the_other():
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    operator = make_operator()
    make_user("mia")

    for number in range(4):
        promise_id = ask_bare(f"bare-{number}")

        def act(one, promise_id=promise_id):
            if one:
                return decide(promise_id, Actor(operator), Answer("approve"))
            return asker.describe(promise_id, users=["mia"], expires=iso(1)).status_code

        status, verdict = at_once(2, act)

        assert (verdict, status in {201, 409}) == ("settled", True)
        task = HumanTask.objects.get(pk=promise_id)
        assert task.settled_at is not None
        assert (task.described_at is not None) == (status == 201)
        assert not Decider.objects.filter(task=promise_id, is_open=True).exists()
        assert not Attendance.objects.filter(pk=promise_id, is_over=False).exists()
