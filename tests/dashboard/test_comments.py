"""Remarks, questions back to the requester, and what was begun to be written."""

import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client

from dashboard import bulk
from dashboard.answering import Actor, Answer
from dashboard.channels.announcing import announce
from dashboard.decisions import decide
from dashboard.delegations import delegate
from dashboard.drafts import keep_fields
from dashboard.links import make_link
from dashboard.models import Action, AuditEntry, BulkJob, Comment, Draft, HumanTask
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.outside import mail_server, mailers_of
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    child_of,
    client_of,
    iso,
    make_user,
    settle,
    start_run,
    task_url,
    unpack,
)
from tests.dashboard.races import at_once, while_others

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia"))


@pytest.fixture
def asker():
    """Somebody who started ``run-1``."""
    user = make_user("ann", first_name="Ann")
    start_run(by=user)
    return client_of(user)


def say(client, text, kind="remark", promise_id="q"):
    return client.post(f"{task_url(promise_id)}comment/", {"kind": kind, "text": text})


def test_a_remark_is_seen_by_all_who_see_the_question(mia):
    jon = client_of(make_user("jon"))
    ask("q", users=["mia", "jon"])

    assert say(mia, "Is <this> right?").status_code == 303

    page = jon.get(task_url("q")).text
    assert "Is &lt;this&gt; right?" in page
    assert AuditEntry.objects.get(target="q").action == Action.COMMENT


@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [("", "remark", 403), (" ", "remark", 403), ("x" * 10_001, "remark", 403), ("x", "joke", 400)],
)
def test_what_is_no_remark_is_refused(mia, text, kind, status):
    ask("q", users=["mia"])

    assert say(mia, text, kind).status_code == status
    assert not Comment.objects.exists()


def test_while_the_requester_is_asked_the_deadline_waits(mia, asker, monkeypatch):
    ask("q", tags=child_of("run-1"), users=["mia"], due=iso(2))
    before = HumanTask.objects.get(pk="q")
    say(mia, "Which order?", "asked")
    asked = HumanTask.objects.get(pk="q")
    assert asked.waits_for_requester_since is not None
    assert "Waits for the requester since" in mia.get(task_url("q")).text
    HumanTask.objects.filter(pk="q").update(
        waits_for_requester_since=asked.waits_for_requester_since - 60_000
    )

    assert "Your reply" in asker.get(task_url("q")).text
    assert say(asker, "Number 9", "replied").status_code == 303

    after = HumanTask.objects.get(pk="q")
    assert after.waits_for_requester_since is None
    assert 60_000 <= after.due_at - before.due_at < 90_000
    assert "Number 9" in mia.get(task_url("q")).text
    asked, replied = AuditEntry.objects.filter(target="q").order_by("pk")
    assert (asked.action, replied.action) == (Action.ASK, Action.REPLY)
    assert replied.details == {
        "paused_ms": after.due_at - before.due_at,
        "due_before": before.due_at,
        "due_after": after.due_at,
    }


def test_the_page_says_that_the_deadline_stands_still(mia, asker):
    ask("q", tags=child_of("run-1"), users=["mia"], due=iso(2))

    say(mia, "Which order?", "asked")

    page = mia.get(task_url("q")).text
    assert "until they reply the deadline stands still" in page
    assert "You asked the requester; the deadline stands still" in page
    say(asker, "Number 9", "replied")
    page = mia.get(task_url("q")).text
    assert "until they reply" not in page
    assert "Ann replied; the deadline goes on" in page


def test_list_and_api_say_that_the_deadline_stands_still(mia, asker):
    with time_machine.travel(datetime(2026, 5, 20, 10, tzinfo=UTC), tick=False) as clock:
        ask("q", tags=child_of("run-1"), users=["mia"], due="2026-05-20T12:00:00Z")
        ask("none", tags=child_of("run-1", 2), users=["mia"])
        say(mia, "Which order?", "asked")
        say(mia, "Which order?", "asked", "none")
        clock.shift(3 * 3600)

        page = mia.get("/inbox/").text
        program = Program(User.objects.get(username="mia"))
        [late, _] = program.get("human-tasks").json()["items"]
        alone = program.get("human-tasks/q").json()

    assert "2 h left, stands still" in page
    assert "is-overdue" not in page
    assert page.count("waits for the requester") == 2
    for found in (late, alone):
        assert (found["due_at"], found["waits_for_requester"]) == ("2026-05-20T15:00:00Z", True)


def test_only_the_requester_replies_and_only_when_asked(mia, asker):
    ask("q", tags=child_of("run-1"), users=["mia"])

    assert say(asker, "hello", "replied").status_code == 403
    say(mia, "Which?", "asked")
    assert say(mia, "myself", "replied").status_code == 403
    assert say(mia, "Which?", "asked").status_code == 403


def test_nobody_to_ask(mia):
    ask("q", users=["mia"])

    refused = say(mia, "Who?", "asked")

    assert refused.status_code == 403
    assert "Nobody is known to have asked for this." in refused.text


def test_who_may_not_answer_cannot_stop_the_deadline(mia, asker):
    """The requester sees the question as well, and so does who has to leave it to others."""
    jon = client_of(make_user("jon"))
    ask("q", tags=child_of("run-1"), users=["mia", "jon", "ann"], separation={"starter": False})
    mia.post(f"{task_url('q')}claim/")

    by_requester, by_jon = say(asker, "Wait", "asked"), say(jon, "Wait", "asked")

    assert (by_requester.status_code, by_jon.status_code) == (403, 403)
    assert "You asked for this yourself." in by_requester.text
    assert "has taken this on" in by_jon.text
    assert (
        Program(User.objects.get(username="jon"))
        .post("human-tasks/q/comments", {"kind": "asked", "text": "Wait"})
        .status_code
        == 403
    )
    assert HumanTask.objects.get().waits_for_requester_since is None
    assert say(mia, "Which?", "asked").status_code == 303


@pytest.mark.parametrize("who", ["token:shop", "worker:1", "gone", "inactive"])
def test_nobody_is_asked_who_could_never_reply(mia, asker, who):
    """The deadline would stand still for ever, and reminders and ladder with it."""
    ask("q", tags=child_of("run-1"), users=["mia"], due=iso(2))
    assert "Ask the requester" in mia.get(task_url("q")).text
    if ":" in who:
        HumanTask.objects.update(started_by=who)
    elif who == "inactive":
        User.objects.filter(username="ann").update(is_active=False)
    else:
        User.objects.filter(username="ann").delete()

    assert "Ask the requester" not in mia.get(task_url("q")).text
    refused = say(mia, "Which order?", "asked")

    assert refused.status_code == 403
    assert "Whoever asked for this cannot reply here." in refused.text
    assert HumanTask.objects.get().waits_for_requester_since is None
    assert not Comment.objects.exists()


def test_the_requester_sees_but_does_not_answer(mia, asker, settings):
    settings.SIGNOFF_BASE_URL, settings.SIGNOFF_LINKS = "https://signoff.example.org", "bound"
    ask("q", tags=child_of("run-1"), users=["mia", "ann"])
    ann = User.objects.get(username="ann")
    link = urlsplit(make_link(HumanTask.objects.get(), ann)).path

    page = asker.get(task_url("q")).text

    assert "it takes a second person" in page
    refused = answer(asker, "q")
    assert refused.status_code == 403
    assert "it takes a second person" in refused.text
    by_link = Client().post(link, {"answer": "approve"})
    assert by_link.status_code == 403
    assert "it takes a second person" in by_link.text
    by_program = Program(ann).answer("q")
    assert by_program.status_code == 403
    assert "it takes a second person" in by_program.json()["detail"]
    taken = asker.post(f"{task_url('q')}claim/")
    assert taken.status_code == 403
    assert "it takes a second person" in taken.text
    given = mia.post(f"{task_url('q')}hand-over/", {"to": "ann"})
    assert given.status_code == 403
    assert "Ann may not answer this." in given.text
    assert answer(mia, "q").status_code == 303


def test_nor_does_the_requester_among_many(mia, asker):
    ann, boss = User.objects.get(username="ann"), make_user("boss")
    ends_at = now_ms() + HOUR_MS
    delegate(Actor(ann), boss, starts_at=now_ms() - 1, ends_at=ends_at)
    ask("q", tags=child_of("run-1"), users=["ann", "mia"], type="x")
    with pytest.raises(RefusedError, match="None of these"):
        bulk.prepare(Actor(ann), ids=["q"])
    for user in (boss, ann):  # the second as if it had been gathered before
        job = bulk.prepare(Actor(boss), ids=["q"])
        BulkJob.objects.filter(pk=job.pk).update(user=user, answer="approve", started_at=1)

        assert bulk.answer_some(str(job.pk)) == 0

        assert "it takes a second person" in job.items.get(result="refused").problem
    assert answer(mia, "q").status_code == 303


def test_an_override_takes_a_right_and_a_reason(asker):
    ann = User.objects.get(username="ann")
    ann.user_permissions.add(Permission.objects.get(codename="override_separation"))
    ask("q", tags=child_of("run-1"), users=["ann"])

    assert answer(asker, "q").status_code == 403
    assert answer(asker, "q", comment="nobody else is here").status_code == 303

    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert entry.is_override
    assert "in spite of separation of duties" in asker.get(task_url("q")).text


def test_an_author_may_let_the_requester_answer(asker):
    ask("q", tags=child_of("run-1"), users=["ann"], separation={"starter": False})

    assert answer(asker, "q").status_code == 303


def test_another_step_takes_another_person(mia):
    jon = client_of(make_user("jon"))
    ask("first", users=["mia"])
    answer(mia, "first")
    ask("second", users=["mia", "jon"], separation={"others": ["first"]})

    assert answer(mia, "second").status_code == 403
    assert answer(jon, "second").status_code == 303


def test_a_step_takes_another_person_than_whom_a_deputy_answered_for(mia):
    herself, jon = User.objects.get(username="mia"), make_user("jon")
    delegate(Actor(herself), jon, starts_at=now_ms() - 1, ends_at=now_ms() + HOUR_MS)
    for name in ("first", "late"):
        ask(name, users=["mia"])
    settle("late")
    assert answer(client_of(jon), "first").status_code == 303
    assert answer(client_of(jon), "late").status_code == 409
    for name in ("first", "late"):
        ask(f"after {name}", users=["mia", "jon"], separation={"others": [name]})

    for client in (mia, client_of(jon)):
        assert answer(client, "after first").status_code == 403
    # What was not used binds nobody.
    assert answer(mia, "after late").status_code == 303


def test_a_requester_does_not_answer_for_another_either(mia, asker):
    herself, ann = User.objects.get(username="mia"), User.objects.get(username="ann")
    delegate(Actor(herself), ann, starts_at=now_ms() - 1, ends_at=now_ms() + HOUR_MS)
    ask("q", tags=child_of("run-1"), users=["mia"])

    refused = answer(asker, "q")

    assert refused.status_code == 403
    assert "it takes a second person" in refused.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_a_step_waits_for_an_answer_to_the_one_before():
    mia, jon = make_user("mia"), make_user("jon")
    delegate(Actor(mia), jon, starts_at=now_ms() - 1, ends_at=now_ms() + HOUR_MS)
    ask("first", users=["mia"])
    ask("second", users=["mia"], separation={"others": ["first"]})

    def try_it():
        with pytest.raises(RefusedError, match="takes another person"):
            decide("second", Actor(mia), Answer("approve"))

    while_others(lambda: decide("first", Actor(jon), Answer("approve")), try_it)

    assert Promise.objects.get(pk="second").state == PromiseState.PENDING


@pytest.mark.django_db(transaction=True)
def test_two_steps_at_the_same_time_take_two_people_as_well():
    user = make_user("mia")
    for number in range(5):
        first = ask(f"first{number}", users=["mia"])
        second = ask(f"second{number}", users=["mia"], separation={"others": [first]})

        def act(one, ids=(first, second)):
            try:
                return decide(ids[one], Actor(user), Answer("approve"))
            except RefusedError:
                return "refused"

        assert at_once(2, act)[0] == "settled"
        order = list(
            AuditEntry.objects.filter(target__in=[first, second])
            .order_by("pk")
            .values_list("target", flat=True)
        )
        # Who answers the later step first was not asked for another person yet.
        assert order in ([first], [second, first])


def test_a_draft_keeps_what_is_typed_beside_files(mia):
    doc = {"type": "string", "format": "binary"}
    ask("q", users=["mia"], form={"type": "object", "properties": {"doc": doc}})
    data = {"filled": "1", "comment": "typed"}
    kept = json.dumps({"name": "a.txt", "type": "text/plain", "base64": "AAAA" * 80_000})

    said = mia.post(f"{task_url('q')}draft/", data | {"values/doc~kept": kept})

    assert said.text == "Draft kept"
    page = mia.get(task_url("q")).text
    assert "typed" in page
    assert "a.txt is attached" in page
    keep_fields(
        HumanTask.objects.get(pk="q"),
        User.objects.get(username="mia"),
        {"filled": ["1"], "comment": ["later"], "values/doc~kept": [kept] * 13},
    )
    page = mia.get(task_url("q")).text
    assert "later" in page
    assert "is attached" not in page


def test_a_draft_survives_until_the_answer(mia):
    ask("q", users=["mia"])

    kept = mia.post(f"{task_url('q')}draft/", {"comment": "not yet", "request_key": "k"})

    assert kept.text == "Draft kept"
    assert "not yet" in mia.get(task_url("q")).text
    answer(mia, "q", comment="now")
    assert not Draft.objects.exists()


def test_an_empty_draft_is_none(mia):
    ask("q", users=["mia"])
    mia.post(f"{task_url('q')}draft/", {"comment": "x"})

    assert mia.post(f"{task_url('q')}draft/", {"comment": ""}).text == ""
    assert not Draft.objects.exists()


def test_a_draft_that_is_too_long_leaves_the_last_that_was_not(mia):
    ask("q", users=["mia"])
    mia.post(f"{task_url('q')}draft/", {"comment": "so far"})

    assert mia.post(f"{task_url('q')}draft/", {"comment": "x" * 200_001}).text == ""
    assert Draft.objects.get().fields == {"comment": ["so far"]}


def test_remarks_end_with_the_question(mia):
    ask("q", users=["mia"])
    settle("q")

    assert "Add the remark" not in mia.get(task_url("q")).text


# --- Who hears of it ---

SENTENCES = (
    "You are mentioned in a remark on this.",
    "You are asked about this before it can be answered.",
    "There is a reply to what was asked about this.",
)


@pytest.fixture
def mails(settings):
    """What a mail server gets, once ``deliver`` has done what the workers do."""
    with mail_server() as server:
        settings.SIGNOFF_CHANNELS = [{"channel": "mail", "from": "signoff@example.org"}]
        settings.SIGNOFF_BASE_URL = "https://signoff.example.org"
        settings.MAILERS = mailers_of(server)
        yield server.mails


def deliver(event="mentioned"):
    """Send the messages of an event."""
    begun = Promise.objects.filter(function="signoff.announce").order_by("created_at", "pk")
    for one in begun:
        args = unpack(one.param_data)["args"]
        if args[1:2] == [event]:
            announce(*args)


def told(mails):
    bodies = [mail.get_body(("plain",)).get_content() for mail in mails]
    return [
        (mail["To"], next((one for one in SENTENCES if one in body), ""))
        for mail, body in zip(mails, bodies, strict=True)
    ]


def test_who_is_mentioned_is_told(mia, mails):
    make_user("jon", email="jon@example.org", first_name="Jon")
    ask("q", users=["mia", "jon"])

    say(mia, "Have you seen this, @jon? And @jon, what of a@jon.example?")
    deliver()

    assert told(mails) == [("jon@example.org", SENTENCES[0])]
    assert AuditEntry.objects.get(target="q").details == {"mentioned": ["jon"]}


def test_who_may_not_see_it_any_more_when_it_is_sent_hears_nothing(mia, mails):
    jon = make_user("jon", email="jon@example.org", groups=("finance",))
    ask("q", users=["mia"], groups=["finance"])
    say(mia, "Have you seen this, @jon?")
    mia.post(f"{task_url('q')}hand-over/", {"to": "jon"})
    jon.groups.clear()

    deliver()
    deliver("assigned")

    assert told(mails) == []


def test_names_end_where_sentences_do(mia, mails):
    make_user("jon.b", email="jon@example.org")
    ask("q", users=["mia", "jon.b"])

    say(mia, "Ask @jon.b.")
    deliver()

    assert [to for to, _text in told(mails)] == ["jon@example.org"]


@pytest.mark.parametrize("name", ["eve", "nobody", "gone", "mia"])
def test_strangers_hear_nothing(mia, mails, name):
    make_user("eve", email="eve@example.org")
    make_user("gone", email="gone@example.org", is_active=False)
    ask("q", users=["mia", "gone"])

    assert say(mia, f"What does @{name} say?").status_code == 303
    deliver()

    assert told(mails) == []
    assert AuditEntry.objects.get(target="q").details == {}


def test_the_requester_hears_that_they_are_asked_and_the_asker_of_the_reply(asker, mails):
    User.objects.filter(username="ann").update(email="ann@example.org")
    mia = client_of(make_user("mia", email="mia@example.org"))
    ask("q", tags=child_of("run-1"), users=["mia"])

    say(mia, "Which order?", "asked")
    say(asker, "Number 9", "replied")
    deliver()

    assert told(mails) == [
        ("ann@example.org", SENTENCES[1]),
        ("mia@example.org", SENTENCES[2]),
    ]
