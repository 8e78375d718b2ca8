"""Answers that can be taken back for some seconds."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import F
from django.test import Client

from dashboard import holding, links
from dashboard.answering import Actor, Answer, Verdict
from dashboard.api import tokens
from dashboard.bulk import answer_some
from dashboard.channels.announcing import announce
from dashboard.decisions import decide
from dashboard.delegations import delegate
from dashboard.links import url_for
from dashboard.models import (
    Action,
    ApiToken,
    AuditEntry,
    DecisionLink,
    Draft,
    HeldAnswer,
    HumanTask,
    Message,
    SignIn,
    Vote,
)
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from durable.store.registry import close_store
from tests.crash.test_kill import free_port
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    client_of,
    iso,
    make_user,
    past,
    settle,
    task_url,
    unpack,
)
from tests.dashboard.races import at_once
from tests.dashboard.reading import HTMX
from tests.dashboard.test_channels_mail import html_of, text_of
from tests.dashboard.timed import Days, until
from tests.processes import Process, running, wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia() -> Client:
    return client_of(make_user("mia", first_name="Mia"))


@pytest.fixture
def jon() -> Client:
    return client_of(make_user("jon", first_name="Jon"))


def go_away(principal: str, deputy: str) -> None:
    people = User.objects.in_bulk([principal, deputy], field_name="username")
    ends_at = now_ms() + HOUR_MS
    delegate(Actor(people[principal]), people[deputy], starts_at=now_ms() - 1, ends_at=ends_at)


def state_of(promise_id: str = "q") -> str:
    return Promise.objects.get(pk=promise_id).state


def held() -> HeldAnswer:
    return HeldAnswer.objects.get()


def send() -> str:
    """What the execution does once the time is over."""
    return holding.send(str(held().pk))


def test_an_answer_is_held_and_nothing_is_settled(mia):
    ask("q", users=["mia"], undo=10)

    assert answer(mia, "q", comment="fine").status_code == 303

    assert state_of() == PromiseState.PENDING
    page = mia.get(task_url("q")).text
    assert "Your answer: Approve." in page
    assert "Sending in" in page
    assert "Undo" in page
    assert 'name="answer"' not in page
    assert not AuditEntry.objects.filter(target="q").exists()
    assert Promise.objects.filter(function=holding.FUNCTION, state=PromiseState.PENDING).exists()

    assert send() == "sent"
    assert state_of() == PromiseState.RESOLVED
    assert AuditEntry.objects.get(target="q").reason == "fine"
    assert not HeldAnswer.objects.exists()
    assert "You approved this" in mia.get(task_url("q")).text


def test_htmx_gets_the_panel_with_a_clock(mia):
    ask("q", users=["mia"], undo=10)

    panel = mia.post(f"{task_url('q')}decide/", {"answer": "reject"}, headers=HTMX)

    assert panel.status_code == 200
    assert "<html" not in panel.text
    assert "Your answer: Reject." in panel.text
    assert 'hx-trigger="every 1s"' in panel.text


def test_taking_it_back_returns_what_was_typed(mia):
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"amount": {"type": "integer"}, "doc": file}}
    ask("q", users=["mia"], undo=30, form=form)
    doc = SimpleUploadedFile("a.txt", b"abc", "text/plain")
    fields = {"values/amount": "42", "values/doc": doc}
    answer(mia, "q", comment="a long text", filled="1", **fields)
    execution = Promise.objects.get(function=holding.FUNCTION).pk

    assert mia.post(f"{task_url('q')}take-back/").status_code == 303

    page = mia.get(task_url("q")).text
    assert "a long text" in page
    assert 'value="42"' in page
    assert "a.txt is attached" in page
    assert "Undo" not in page
    assert state_of() == PromiseState.PENDING
    assert state_of(execution) == PromiseState.REJECTED_CANCELED
    assert AuditEntry.objects.get(target="q").action == Action.TAKE_BACK
    assert "took an answer back" in page
    assert answer(mia, "q", "reject").status_code == 303
    assert send() == "sent"
    assert state_of() == PromiseState.REJECTED
    assert not Draft.objects.exists()


def test_what_was_sent_is_not_taken_back(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    held_id = str(held().pk)
    send()

    refused = mia.post(f"{task_url('q')}take-back/")

    assert refused.status_code == 409
    assert "There is nothing to take back" in refused.text
    assert holding.send(held_id) == "gone"


def test_others_see_what_is_about_to_happen(mia, jon):
    ask("q", users=["mia", "jon"], undo=10)
    state_url = f"{task_url('q')}state/"
    assert jon.get(state_url).status_code == 204
    answer(mia, "q")

    assert "Mia is about to answer “Approve”" in jon.get(task_url("q")).text
    assert "Mia is about to answer" in jon.get(state_url).text
    mia.post(f"{task_url('q')}take-back/")
    assert jon.get(f"{state_url}?watched=1").text.strip() == ""


def test_who_is_first_wins_and_the_other_is_told(mia, jon):
    ask("q", users=["mia", "jon"], undo=10)
    answer(mia, "q", comment="my reasons")
    settle("q", PromiseState.REJECTED)

    assert send() == "late"

    page = mia.get(task_url("q")).text
    assert "Your answer came later and was not used." in page
    assert "my reasons" in page
    late = AuditEntry.objects.get(target="q", actor__username="mia")
    assert not late.is_effective
    assert "came later" not in jon.get(task_url("q")).text


def test_two_held_answers_settle_once(mia, jon):
    ask("q", users=["mia", "jon"], undo=10)
    answer(mia, "q")
    answer(jon, "q", "reject", comment="no")
    first, second = HeldAnswer.objects.order_by("held_at")

    assert [holding.send(str(one.pk)) for one in (first, second)] == ["sent", "late"]
    assert state_of() == PromiseState.RESOLVED
    assert "came later and was not used" in jon.get(task_url("q")).text


def test_what_may_not_be_said_any_more_is_given_back(mia, jon):
    ask("q", users=["mia", "jon"], undo=10)
    answer(mia, "q", comment="my reasons")
    jon.post(f"{task_url('q')}claim/")

    assert send() == "refused"

    page = mia.get(task_url("q")).text
    assert "Your answer was not used. Jon has taken this on." in page
    assert "You wanted to answer “Approve”, which was not used. Jon has taken this on." in page
    entry = AuditEntry.objects.get(target="q", action=Action.APPROVE)
    assert (entry.reason, entry.is_effective) == ("my reasons", False)
    assert entry.details["refused"].startswith("Jon has taken this on.")
    others = jon.get(task_url("q")).text
    assert "Mia wanted to answer “Approve”, which was not used" in others
    assert "Your answer was not used" not in others
    assert Draft.objects.get().fields["comment"] == ["my reasons"]
    jon.post(f"{task_url('q')}release/")
    assert "my reasons" in mia.get(task_url("q")).text
    answer(mia, "q")
    assert send() == "sent"


def test_who_can_no_longer_sign_in_says_nothing(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    held().user.__class__.objects.update(is_active=False)

    assert send() == "refused"
    assert state_of() == PromiseState.PENDING
    assert not AuditEntry.objects.get(target="q").is_effective


def test_what_was_not_used_is_said_as_well_when_another_has_answered(mia, jon):
    ask("q", users=["mia", "jon"], undo=10)
    answer(mia, "q")
    jon.post(f"{task_url('q')}claim/")
    assert send() == "refused"
    assert answer(jon, "q", "reject", comment="no").status_code == 303
    assert holding.send(str(HeldAnswer.objects.get(user__username="jon").pk)) == "sent"

    page = mia.get(task_url("q")).text
    assert "Jon rejected this" in page
    assert "Your answer was not used. Jon has taken this on." in page


def test_a_question_that_is_for_others_now(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    HumanTask.objects.get().deciders.all().delete()

    assert send() == "refused"
    assert held().problem == "This question is no longer for you."


def test_one_answer_at_a_time(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q", request_key="one")

    assert answer(mia, "q", request_key="one").status_code == 303
    refused = answer(mia, "q", "reject", request_key="two")
    assert refused.status_code == 403
    assert "Your answer is on its way" in refused.text
    assert HeldAnswer.objects.count() == 1


def test_what_would_be_refused_is_not_held(mia):
    ask("q", users=["mia"], undo=10, answers=["approve", "rework"], confirm={"text": "4711"})

    assert answer(mia, "q").status_code == 422
    assert answer(mia, "q", "rework").status_code == 422
    assert not HeldAnswer.objects.exists()
    assert answer(mia, "q", confirmation="4711").status_code == 303
    assert send() == "sent"


def test_a_vote_is_held_as_well(mia, jon):
    ask("q", undo=10, policy={"stages": [{"user": "mia"}, {"user": "jon"}]})
    assert answer(jon, "q").status_code == 403

    answer(mia, "q")

    assert not Vote.objects.exists()
    assert send() == "sent"
    assert Vote.objects.get().approves


def test_another_step_takes_another_person_while_the_answer_is_on_its_way(mia, jon):
    ask("first", users=["mia"], undo=10)
    ask("second", users=["mia", "jon"], separation={"others": ["first"]})
    answer(mia, "first")

    refused = answer(mia, "second")

    assert refused.status_code == 403
    assert "it takes another person here" in refused.text
    mia.post(f"{task_url('first')}take-back/")
    assert answer(mia, "second").status_code == 303


def test_so_it_does_of_whom_a_deputy_is_about_to_answer_for(mia, jon):
    ask("first", users=["mia"], undo=10)
    ask("second", users=["mia", "jon"], separation={"others": ["first"]})
    go_away("mia", "jon")
    assert answer(jon, "first").status_code == 303
    assert state_of("first") == PromiseState.PENDING

    for person in (mia, jon):
        refused = answer(person, "second")
        assert refused.status_code == 403
        assert "it takes another person here" in refused.text
    jon.post(f"{task_url('first')}take-back/")
    assert answer(mia, "second").status_code == 303


def test_the_word_of_a_person_stands_before_one_of_their_deputy_that_was_on_its_way(mia, jon):
    ask("q", undo=10, policy={"all_of": [{"user": "mia"}, {"user": "ann"}]})
    make_user("ann")
    go_away("mia", "jon")
    answer(jon, "q")
    HeldAnswer.objects.update(held_at=F("held_at") - 1)
    herself = User.objects.get(username="mia")
    decide("q", Actor(herself, SignIn.SLACK), Answer("approve", comment="mine"))

    assert send() == "refused"

    vote = Vote.objects.get()
    assert (vote.comment, vote.cast_by) == ("mine", None)
    assert "Mia has answered this themself." in jon.get(task_url("q")).text


def test_late_is_late_at_once(mia):
    ask("q", users=["mia"], undo=10)
    settle("q")

    assert answer(mia, "q").status_code == 409
    assert not HeldAnswer.objects.exists()


def test_a_later_word_of_the_same_person_stands(mia):
    policy = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    ask("q", undo=10, policy=policy)
    answer(mia, "q")
    mia_herself = User.objects.get(username="mia")
    HeldAnswer.objects.update(held_at=F("held_at") - 1)
    said = decide("q", Actor(mia_herself, SignIn.SLACK), Answer("reject", comment="no"))
    assert said is Verdict.SETTLED

    ask("r", undo=10, policy=policy | {"reject": {"count": 2}})
    answer(mia, "r")
    HeldAnswer.objects.filter(task="r").update(held_at=F("held_at") - 1)
    decide("r", Actor(mia_herself, SignIn.SLACK), Answer("reject", comment="no"))

    assert holding.send(str(HeldAnswer.objects.get(task="r").pk)) == "refused"
    assert not Vote.objects.get(task="r").approves
    assert "You have answered otherwise since then." in mia.get(task_url("r")).text


@pytest.mark.parametrize("end", ["expires", "timeout"])
def test_what_ends_before_it_would_be_sent_is_answered_at_once(mia, end):
    for name, seconds in (("soon", 60), ("later", 600)):
        hours = seconds / 3600
        ends = {"expires": iso(hours)} if end == "expires" else {"timeout_at": past(-hours)}
        ask(name, users=["mia"], undo=30, **ends)

    assert answer(mia, "soon").status_code == answer(mia, "later").status_code == 303

    assert state_of("soon") == PromiseState.RESOLVED
    assert state_of("later") == PromiseState.PENDING
    assert held().task_id == "later"


def test_without_a_worker_others_send_it(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    holding.send_overdue(using="default")
    assert state_of() == PromiseState.PENDING
    HeldAnswer.objects.update(sends_at=1)

    holding.send_overdue(using="default")

    assert state_of() == PromiseState.RESOLVED


def test_many_at_once_are_not_held(mia):
    ids = [ask(name, users=["mia"], type="x", undo=10) for name in ("q", "r")]
    made = mia.post("/answers/", {"task": ids})
    mia.post(made["Location"], {"answer": "approve"})

    answer_some(made["Location"].strip("/").split("/")[-1])

    assert {state_of(one) for one in ids} == {PromiseState.RESOLVED}


def test_the_page_of_a_link(client, settings):
    settings.SIGNOFF_BASE_URL = "https://signoff.example.org"
    settings.SIGNOFF_LINKS = "bound"
    user = make_user("mia")
    ask("q", users=["mia"], undo=10)
    url = url_for(HumanTask.objects.get(), user)

    assert client.post(url, {"answer": "approve", "comment": "typed"}).status_code == 303
    page = client.get(url).text
    assert "Sending in" in page
    assert f'action="{url.removeprefix(settings.SIGNOFF_BASE_URL)}"' in page
    assert client.post(url, {"take_back": "1"}).status_code == 303
    assert "typed" in client.get(url).text
    assert client.post(url, {"take_back": "1"}).status_code == 409
    client.post(url, {"answer": "approve"})
    send()
    assert AuditEntry.objects.get(target="q", action=Action.APPROVE).sign_in == "link"


@pytest.mark.parametrize("end", ["taken back", "run out"])
def test_a_link_that_ends_while_its_answer_is_held(client, settings, end, monkeypatch):
    settings.SIGNOFF_BASE_URL = "https://signoff.example.org"
    settings.SIGNOFF_LINKS = "bound"
    user = make_user("mia")
    ask("q", users=["mia"], undo=10)
    client.post(url_for(HumanTask.objects.get(), user), {"answer": "approve", "comment": "typed"})
    link = DecisionLink.objects.get()

    if end == "taken back":
        links.revoke(links.links_to(HumanTask.objects.get()))
    else:  # what was given in time counts
        monkeypatch.setattr("dashboard.links.now_ms", lambda: link.expires_at + 1)
        links.forget_expired(using="default")

    assert send() == ("refused" if end == "taken back" else "sent")
    assert state_of() == (PromiseState.PENDING if end == "taken back" else PromiseState.RESOLVED)
    page = client_of(user).get(task_url("q")).text
    assert ("Your answer was not used. This link was taken back." in page) is (end == "taken back")
    assert ("typed" in page) is True


def test_a_token_that_is_revoked_while_its_answer_is_held(mia, server, mail_is_on):
    user = User.objects.get(username="mia")
    User.objects.update(email="mia@example.com")
    for name in ("q", "r"):
        ask(name, users=["mia"], question="What is it?", undo=10)
    program = Program(user)
    assert program.answer("q", comment="typed").status_code == 202
    assert Program(user, hours=1).answer("r").status_code == 202

    tokens.revoke(ApiToken.objects.earliest("pk"), Actor(user))
    ApiToken.objects.filter(revoked_at=None).update(expires_at=1)

    sent = {one.task_id: holding.send(str(one.pk)) for one in HeldAnswer.objects.all()}
    assert sent == {"q": "refused", "r": "sent"}  # what came in time counts
    assert (state_of("q"), state_of("r")) == (PromiseState.PENDING, PromiseState.RESOLVED)
    why = "Your answer was not used. The token with which this was answered was revoked."
    page = mia.get(task_url("q")).text
    assert why in page
    assert "typed" in page
    entry = AuditEntry.objects.get(target="q")
    assert (entry.sign_in, entry.is_effective, entry.reason) == ("token", False, "typed")

    assert Program(user).get("human-tasks/q").json()["not_used"] == why

    [told] = told_of("q")
    assert announce("q", **told) == 1
    [mail] = server.mails
    assert why in text_of(mail)
    assert "What is it?" in text_of(mail)


def test_who_lost_the_right_is_told_and_learns_no_more(mia, server, mail_is_on):
    User.objects.update(email="mia@example.com")
    ask("q", users=["mia"], title="Pay", question="How much?", facts={"Sum": "99"}, undo=10)
    answer(mia, "q")
    HumanTask.objects.get().deciders.all().delete()
    assert send() == "refused"

    [told] = told_of("q")
    assert announce("q", **told) == 1
    [mail] = server.mails
    text = text_of(mail)
    assert text.startswith("Your answer was not used. This question is no longer for you.")
    assert "Pay" in text
    assert all(word not in f"{text}{html_of(mail)}" for word in ("How much?", "99", "/inbox/"))

    User.objects.update(is_active=False)
    Message.objects.update(sent_at=None)
    assert announce("q", **told) == 0


def told_of(promise_id: str) -> list[dict[str, Any]]:
    """What the executions were begun with that tell who gave an answer that it was not used."""
    begun = Promise.objects.filter(function="signoff.announce").order_by("pk")
    calls = [unpack(one.param_data)["args"] for one in begun]
    return [
        {"event": call[1], "occasion": call[2], "people": call[3]}
        for call in calls
        if call[0] == promise_id and len(call) > 1
    ]


def test_strangers_take_nothing_back(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    eve = client_of(make_user("eve"))

    assert eve.post(f"{task_url('q')}take-back/").status_code == 404
    assert eve.get(f"{task_url('q')}take-back/").status_code == 405
    assert HeldAnswer.objects.exists()


@pytest.fixture
def days(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Days]:
    close_store()
    days = Days()
    monkeypatch.setattr("durable.clock.time", days)
    yield days
    days.end()


def test_a_worker_sends_it_in_time(days, mia):
    """One that begins after the answer was given: nothing of it was in a process."""
    ask("q", users=["mia"], undo=10)
    answer(mia, "q")
    days.work()
    days.pass_hours(5 / 3600)
    assert state_of() == PromiseState.PENDING
    days.pass_hours(6 / 3600)

    until(lambda: state_of() == PromiseState.RESOLVED, "the answer")
    assert not HeldAnswer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_sending_and_taking_back_at_once_do_one_of_both(mia):
    user = User.objects.get(username="mia")
    for number in range(4):
        name = ask(f"q{number}", users=["mia"], undo=10)
        answer(mia, name)
        held_id = str(HeldAnswer.objects.get(task=name).pk)

        def act(one, name=name, held_id=held_id):
            if one < 2:  # a worker and the house
                return holding.send(held_id)
            try:
                return holding.take_back(name, Actor(user))
            except RefusedError:
                return "refused"

        first, second, back = at_once(3, act)

        is_sent = state_of(name) == PromiseState.RESOLVED
        assert sorted([first, second]) == (["gone", "sent"] if is_sent else ["gone", "gone"])
        assert back == ("refused" if is_sent else None)
        assert AuditEntry.objects.filter(target=name).count() == 1
        assert not HeldAnswer.objects.exists()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.django_db(transaction=True)
def test_an_answer_survives_that_its_worker_is_killed(process_env, tmp_path, mia):
    """In processes of their own, on the real clock: one is killed while it waits to send."""
    env = {**process_env, "DURABLE_LEASE_MS": "1500", "DURABLE_HEARTBEAT_MS": "300"}
    ask("q", users=["mia"], undo=4)
    serve = Process(env, tmp_path / "serve.log", "serve", "--port", str(free_port()))
    worker = Process(env, tmp_path / "worker.log", "worker")
    with running(serve, worker):
        answer(mia, "q", comment="fine")
        begun = Promise.objects.filter(function=holding.FUNCTION)
        sleeping = Promise.objects.filter(origin__in=begun.values("pk")).exclude(
            function=holding.FUNCTION
        )
        wait_until(sleeping.exists, seconds=60, what="the worker that waits")
        worker.kill()
        worker.start()
        wait_until(lambda: state_of() == PromiseState.RESOLVED, seconds=60, what="the answer")

    assert AuditEntry.objects.get(target="q").reason == "fine"
    call_command("durable_fsck")
