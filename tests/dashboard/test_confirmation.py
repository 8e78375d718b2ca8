"""Answers that have to be confirmed, with a text or a password."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dashboard import confirming
from dashboard.answering import Actor, Answer, Verdict
from dashboard.bulk import answer_some
from dashboard.decisions import decide
from dashboard.links import url_for
from dashboard.models import (
    Action,
    AuditEntry,
    BulkItem,
    Draft,
    HeldAnswer,
    HumanTask,
    SignIn,
    Vote,
)
from dashboard.rights import CHANGED, RefusedError
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    client_of,
    make_operator,
    make_user,
    settle,
    task_url,
)

pytestmark = [pytest.mark.django_db, pytest.mark.once]

TEXT = {"text": "4711", "label": "The last four characters of the invoice"}
PASSWORD = {"password": True}


@pytest.fixture
def user():
    return make_user("mia")


@pytest.fixture
def mia(user):
    return client_of(user)


def state_of(promise_id="q"):
    return Promise.objects.get(pk=promise_id).state


def wrong_passwords():
    return AuditEntry.objects.filter(action=Action.WRONG_PASSWORD).count()


def test_a_yes_takes_the_text(mia):
    ask("q", users=["mia"], confirm=TEXT)
    page = mia.get(task_url("q")).text
    assert "The last four characters of the invoice" in page
    assert "4711" not in page

    for given, sentence in (("", "Fill this in."), ("4712", "not what is asked for")):
        refused = answer(mia, "q", confirmation=given, comment="typed")
        assert refused.status_code == 422
        assert sentence in refused.text
        assert "typed" in refused.text
    assert state_of() == PromiseState.PENDING

    assert answer(mia, "q", confirmation=" 4711 ").status_code == 303
    assert state_of() == PromiseState.RESOLVED
    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert entry.details == {"confirmed_with": "text"}
    assert "4711" not in str(Promise.objects.get(pk="q").value_data)


def test_a_no_does_not(mia):
    ask("q", users=["mia"], confirm=TEXT)

    assert answer(mia, "q", "reject").status_code == 303


def test_where_no_answer_is_a_yes_each_takes_it(mia):
    pick = {"name": "later", "label": "Later", "approves": False}
    ask("q", users=["mia"], answers=[pick], confirm={"text": "later"})
    assert "To confirm, type later" in mia.get(task_url("q")).text

    assert answer(mia, "q", "later").status_code == 422
    assert answer(mia, "q", "later", confirmation="LATER").status_code == 303


def test_a_secret_text_is_not_shown(mia):
    ask("q", users=["mia"], confirm={"text": "4711"}, secrets=["/confirm/text"])

    page = mia.get(task_url("q")).text

    assert "To confirm, type what was agreed on" in page
    assert "4711" not in page


def test_a_yes_takes_the_password(mia):
    ask("q", users=["mia"], confirm=PASSWORD)
    assert 'type="password"' in mia.get(task_url("q")).text

    assert "Enter your password" in answer(mia, "q").text
    assert wrong_passwords() == 0
    refused = answer(mia, "q", confirmation="jon", comment="typed")
    assert refused.status_code == 403
    assert "That is not your password." in refused.text
    assert "typed" in refused.text
    assert 'value="jon"' not in refused.text
    entry = AuditEntry.objects.get(action=Action.WRONG_PASSWORD)
    assert (entry.target, entry.actor.username) == ("q", "mia")
    assert state_of() == PromiseState.PENDING

    assert answer(mia, "q", confirmation="mia").status_code == 303
    entry = AuditEntry.objects.get(target="q", action=Action.APPROVE)
    assert entry.details == {"confirmed_with": "password"}


def test_few_passwords_may_be_wrong(mia, user):
    ask("q", users=["mia"], confirm=PASSWORD)
    ask("r", users=["mia"], confirm=PASSWORD)
    for number in range(confirming.MAX_WRONG):
        answer(mia, "qr"[number % 2], confirmation="wrong")

    refused = answer(mia, "q", confirmation="mia")

    assert refused.status_code == 403
    assert "Too many wrong passwords" in refused.text
    assert wrong_passwords() == confirming.MAX_WRONG
    assert answer(mia, "q", "reject").status_code == 303


def test_a_password_that_is_kept_elsewhere(mia, user, settings):
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "tests.dashboard.test_confirmation.Directory",
    ]
    user.set_unusable_password()
    user.save()
    mia.force_login(user, "django.contrib.auth.backends.ModelBackend")
    ask("q", users=["mia"], confirm=PASSWORD)

    assert answer(mia, "q", confirmation="mia").status_code == 403
    assert answer(mia, "q", confirmation="of the directory").status_code == 303


class Directory:
    """A backend that keeps passwords outside of the database."""

    def authenticate(self, request, username=None, password=None):
        if password == "of the directory":
            return User.objects.get(username=username)
        return None

    def get_user(self, user_id):
        return User.objects.filter(pk=user_id).first()


@pytest.mark.parametrize(
    ("confirm", "given", "sentence"),
    [
        (TEXT, "", "has to be confirmed"),
        (TEXT, "4712", "not what is asked for"),
        (PASSWORD, "", "takes your password"),
        (PASSWORD, "wrong", "not your password"),
    ],
)
def test_programs_are_refused_as_well(user, confirm, given, sentence):
    ask("q", users=["mia"], confirm=confirm)

    with pytest.raises(RefusedError, match=sentence):
        decide("q", Actor(user, SignIn.TOKEN), Answer("approve", confirmation=given))
    assert state_of() == PromiseState.PENDING


@pytest.mark.parametrize("sign_in", [SignIn.LINK, SignIn.SLACK])
def test_nobody_gives_a_password_elsewhere(user, sign_in):
    ask("q", users=["mia"], confirm=PASSWORD)

    with pytest.raises(RefusedError, match="sign in and open the question"):
        decide("q", Actor(user, sign_in), Answer("approve", confirmation="mia"))
    assert decide("q", Actor(user, sign_in), Answer("reject")) is Verdict.SETTLED


def test_what_is_over_takes_no_confirmation(mia):
    ask("q", users=["mia"], confirm=TEXT)
    settle("q")

    assert answer(mia, "q").status_code == 409


@pytest.fixture
def bound(settings):
    settings.SIGNOFF_BASE_URL = "https://signoff.example.org"
    settings.SIGNOFF_LINKS = "bound"


def test_the_page_of_a_link_takes_the_text(client, user, bound):
    ask("q", users=["mia"], confirm=TEXT)
    url = url_for(HumanTask.objects.get(), user)

    assert client.post(url, {"answer": "approve", "confirmation": "x"}).status_code == 422
    assert client.post(url, {"answer": "approve", "confirmation": "4711"}).status_code == 303
    assert state_of() == PromiseState.RESOLVED


def test_the_page_of_a_link_takes_no_password(client, user, bound):
    only = [{"name": "approve"}]
    ask("q", users=["mia"], confirm=PASSWORD, answers=only)
    url = url_for(HumanTask.objects.get(), user)

    assert "sign in and open the question" in client.get(url).text
    refused = client.post(url, {"answer": "approve", "confirmation": "mia"})
    assert refused.status_code == 403
    assert state_of() == PromiseState.PENDING


def test_many_at_once_are_not_confirmed(mia):
    ask("q", users=["mia"], type="invoice", confirm=TEXT)
    ask("r", users=["mia"], type="invoice", confirm=TEXT)

    refused = mia.post("/answers/", {"task": ["q", "r"]}, follow=True)

    assert "answer those one by one" in refused.text


# --- Every way to answer ---


def by_page(client, user):
    return answer(client, "q").status_code


def by_fragment(client, user):
    headers = {"HX-Request": "true", "HX-Request-Type": "partial"}
    data = {"answer": "approve", "next": "/executions/q/"}
    return client.post(f"{task_url('q')}decide/", data, headers=headers).status_code


def by_link(client, user):
    url = url_for(HumanTask.objects.get(pk="q"), user)
    return Client().post(url, {"answer": "approve"}).status_code


def by_program(client, user):
    return Program(user).answer("q").status_code


def in_bulk(client, user):
    return Program(user).post("bulk-answers", {"ids": ["q"]}).status_code


def in_bulk_all(client, user):
    return client.post("/answers/", {"all": "1"}, follow=True).redirect_chain[-1][1]


@pytest.mark.parametrize("undo", [{}, {"undo": 10}])
@pytest.mark.parametrize("confirm", [TEXT, PASSWORD])
@pytest.mark.parametrize(
    ("way", "status"),
    [
        (by_page, 422),
        (by_fragment, 422),
        (by_link, 422),
        (by_program, 422),
        (in_bulk, 403),
        (in_bulk_all, 303),
    ],
)
def test_no_way_leads_past_it(user, mia, bound, way, status, confirm, undo):
    """For Slack see ``test_channels_slack``, for events of others ``test_webhooks``."""
    ask("q", users=["mia"], type="invoice", confirm=confirm, **undo)

    assert way(mia, user) == status

    assert state_of() == PromiseState.PENDING
    assert not HeldAnswer.objects.exists()
    assert not BulkItem.objects.exists()
    assert not AuditEntry.objects.filter(is_effective=True, target="q").exists()


@pytest.mark.parametrize("confirm", [TEXT, PASSWORD])
def test_no_vote_without_it(mia, user, confirm):
    make_user("jon")
    ask("q", policy={"all_of": [{"user": "mia"}, {"user": "jon"}]}, confirm=confirm)

    assert answer(mia, "q").status_code == 422
    assert Program(user).answer("q").status_code == 422
    assert not Vote.objects.exists()
    assert answer(mia, "q", confirmation=confirm.get("text", "mia")).status_code == 303
    assert Vote.objects.get().approves


def test_a_job_of_many_does_not_approve_what_is_to_be_confirmed_since_then():
    olga = make_operator()
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    for one in ("q", "r"):
        ask_bare(one)
    job = Program(olga).post("bulk-answers", {"ids": ["q", "r"]}).json()["id"]
    started = Program(olga).post(f"bulk-answers/{job}/start", {"answer": "approve"})
    assert started.status_code == 200
    asker.describe("q", confirm=PASSWORD, users=["olga"])
    asker.describe("r", users=["olga"])

    answer_some(job)

    assert {one.problem for one in BulkItem.objects.all()} == {str(CHANGED)}
    assert state_of("q") == state_of("r") == PromiseState.PENDING


def test_a_draft_keeps_no_password(mia):
    ask("q", users=["mia"], confirm=PASSWORD)

    mia.post(f"{task_url('q')}draft/", {"comment": "x", "confirmation": "mia"})

    assert Draft.objects.get().fields == {"comment": ["x"]}
