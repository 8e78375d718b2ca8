"""One answer to many questions."""

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard import bulk
from dashboard.answering import Actor, Answer
from dashboard.api import tokens
from dashboard.models import Action, AuditEntry, BulkItem, BulkJob, HumanTask, SignIn
from dashboard.rights import RefusedError
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from durable.signals import Latent, promises_settled
from durable.worker import Worker
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    answer,
    ask,
    child_of,
    client_of,
    make_user,
    settle,
    start_run,
    task_url,
)
from tests.processes import wait_until
from tests.store.support import execute

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return client_of(make_user("mia", groups=("finance",)))


def ask_many(count, **described):
    return [
        ask(f"q{number}", groups=["finance"], type="invoice", **described)
        for number in range(count)
    ]


def choose(client, ids=(), **data):
    return client.post("/answers/", {"task": list(ids)} | data)


def job_of(response):
    assert response.status_code == 303
    return BulkJob.objects.get(pk=response["Location"].strip("/").split("/")[-1])


def run(job):
    """Do what the worker's steps do, one after the other."""
    while bulk.answer_some(str(job.pk)):
        pass
    job.refresh_from_db()


def results(job):
    return dict(job.items.order_by("pk").values_list("task_id", "result"))


def test_each_is_answered_and_what_others_settled_stays(mia):
    ids = ask_many(5)
    job = job_of(choose(mia, ids))
    page = mia.get(f"/answers/{job.pk}/").text
    assert "Answer 5 questions" in page
    assert "Title of q0" in page
    assert Promise.objects.filter(pk__in=ids, state=PromiseState.PENDING).count() == 5

    begun = mia.post(f"/answers/{job.pk}/", {"answer": "approve", "comment": "all fine"})
    settle("q1")
    jon = client_of(make_user("jon", groups=("finance",)))
    answer(jon, "q2", "reject")
    User.objects.get(username="mia").groups.clear()
    User.objects.get(username="mia").groups.add(*User.objects.get(username="jon").groups.all())
    run(job)

    assert begun.status_code == 303
    assert results(job) == {
        "q0": "done",
        "q1": "settled",
        "q2": "settled",
        "q3": "done",
        "q4": "done",
    }
    assert job.ended_at is not None
    entries = AuditEntry.objects.filter(action=Action.APPROVE, is_effective=True)
    assert {(one.target, one.reason, one.sign_in) for one in entries} == {
        (name, "all fine", SignIn.SESSION) for name in ("q0", "q3", "q4")
    }
    assert AuditEntry.objects.get(action=Action.BULK).details == {"questions": 5}
    page = mia.get(f"/answers/{job.pk}/").text
    assert "Finished." in page
    assert "already settled" in page
    rows = list(csv.reader(io.StringIO(b"".join(mia.get(f"/answers/{job.pk}/results/")).decode())))
    assert rows[0] == ["question", "title", "result", "problem"]
    assert rows[2] == ["q1", "Title of q1", "settled", ""]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("count", "meanwhile"), [(60, 4), pytest.param(5000, 40, marks=pytest.mark.slow)]
)
def test_of_many_those_that_were_settled_meanwhile_are_told_apart(mia, count, meanwhile):
    ids = ask_many(count)
    job = job_of(choose(mia, all="1"))
    assert f"Answer {count} questions" in mia.get(f"/answers/{job.pk}/").text
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    bulk.answer_some(str(job.pk))
    for name in ids[-meanwhile:]:
        settle(name)

    run(job)

    assert bulk.results_of(job) == {"done": count - meanwhile, "settled": meanwhile}
    page = mia.get(f"/answers/{job.pk}/")
    assert page.status_code == 200
    assert "already settled" in page.text
    rows = b"".join(mia.get(f"/answers/{job.pk}/results/")).decode().splitlines()
    assert len(rows) == count + 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_does_it(mia, transactional_db):
    ids = ask_many(120)
    job = job_of(choose(mia, ids))
    worker = Worker(["default"], concurrency=4)
    worker.start()
    try:
        mia.post(f"/answers/{job.pk}/", {"answer": "reject", "comment": "none of these"})
        wait_until(
            lambda: BulkJob.objects.filter(pk=job.pk, ended_at__isnull=False).exists(),
            seconds=20,
            what="the end of the job",
        )
    finally:
        worker.stop()

    assert bulk.results_of(job) == {"done": 120}
    assert Promise.objects.filter(pk__in=ids, state=PromiseState.REJECTED).count() == 120


def test_rights_are_those_of_the_moment(mia):
    ids = ask_many(2)
    job = job_of(choose(mia, ids))
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    User.objects.get(username="mia").groups.clear()

    run(job)

    assert results(job) == {"q0": "gone", "q1": "gone"}
    assert Promise.objects.filter(pk__in=ids, state=PromiseState.PENDING).count() == 2


def test_who_can_no_longer_sign_in_answers_nothing(mia):
    job = job_of(choose(mia, ask_many(2)))
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    User.objects.filter(username="mia").update(is_active=False)

    run(job)

    assert set(results(job).values()) == {"refused"}
    assert "can no longer sign in" in BulkItem.objects.first().problem


def test_a_token_that_was_revoked_meanwhile_answers_nothing_more(mia):
    """It counts that the token began it, however the questions were gathered."""
    user = User.objects.get(username="mia")
    job, program = job_of(choose(mia, ask_many(2))), Program(user)
    begun = program.post(f"bulk-answers/{job.pk}/start", {"answer": "approve"})
    assert begun.status_code == 200
    assert AuditEntry.objects.get(action=Action.BULK).sign_in == SignIn.TOKEN
    tokens.revoke(tokens.find(program.token), Actor(user))

    run(job)

    assert set(results(job).values()) == {"refused"}
    assert "was revoked" in BulkItem.objects.first().problem


def test_stopped_it_answers_no_more(mia):
    job = job_of(choose(mia, ask_many(3)))
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})

    for _twice in range(2):
        assert mia.post(f"/answers/{job.pk}/stop/").status_code == 303
    run(job)

    assert set(results(job).values()) == {"waiting"}
    assert "It was stopped" in mia.get(f"/answers/{job.pk}/").text
    entry = AuditEntry.objects.get(action="change")
    assert (entry.target_kind, entry.target, entry.actor_name) == ("bulk", str(job.pk), "mia")
    assert (entry.answer, entry.state_before, entry.state_after) == (
        *("approve", "running", "stopped"),
    )


def test_what_was_stopped_is_not_begun(mia):
    job = job_of(choose(mia, ask_many(1)))
    mia.post(f"/answers/{job.pk}/stop/")
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    actor = Actor(User.objects.get(username="mia"), SignIn.SESSION)
    bulk.start(job, Answer("approve"), actor)  # as if it had been stopped in between
    run(job)

    assert (job.started_at, results(job)) == (None, {"q0": "waiting"})
    assert not AuditEntry.objects.filter(action=Action.BULK).exists()


@pytest.mark.parametrize("then", ["waiting", "gone", "refused"])
def test_what_happens_while_it_runs_counts_for_the_next_question(mia, then):
    job, user = job_of(choose(mia, ask_many(3))), User.objects.get(username="mia")
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})

    def happens(**_kwargs):
        if then == "waiting":
            bulk.stop(job, Actor(user))
        elif then == "gone":
            user.groups.clear()
        else:
            User.objects.update(is_active=False)

    promises_settled.connect(happens, sender=Latent)
    try:
        run(job)
    finally:
        promises_settled.disconnect(happens, sender=Latent)

    assert results(job) == {"q0": "done", "q1": then, "q2": then}
    assert job.ended_at is not None


def test_its_page_takes_as_many_queries_when_much_of_it_is_gone(mia, django_assert_max_num_queries):
    job = job_of(choose(mia, ask_many(60)))
    HumanTask.objects.exclude(pk="q59").delete()

    with django_assert_max_num_queries(12):
        page = mia.get(f"/answers/{job.pk}/").text
    assert 'value="approve"' in page


def test_started_twice_is_once(mia):
    job = job_of(choose(mia, ask_many(1)))
    for _ in range(2):
        assert mia.post(f"/answers/{job.pk}/", {"answer": "approve"}).status_code == 303
    run(job)
    run(job)

    assert AuditEntry.objects.filter(action=Action.BULK).count() == 1
    assert AuditEntry.objects.filter(target="q0", action=Action.APPROVE).count() == 1


def test_all_that_match(mia):
    ask_many(3)
    ask("other", title="Something else", groups=["finance"])

    job = job_of(mia.post("/answers/?tab=answer&type=invoice", {"all": "1"}))

    assert set(results(job)) == {"q0", "q1", "q2"}


def test_all_that_match_are_those_that_are_left_to_the_reader(mia):
    jon = client_of(make_user("jon", groups=("finance",)))
    two = {"group": "finance", "count": 2}
    for promise_id in ("free", "own", "his", "snoozed"):
        ask(promise_id, groups=["finance"], type="invoice")
    ask("voted", type="invoice", policy=two)
    ask("late", type="invoice", groups=["finance"], timeout_at=now_ms() + 3_600_000)
    start_run("run", by=User.objects.get(username="mia"))
    for number, excluded in ((1, True), (2, False)):
        described = {"users": ["jon"], "separation": {"starter": excluded}}
        ask(f"run:{number}", tags=child_of("run", number), type="invoice", **described)
    mia.post(f"{task_url('own')}claim/")
    jon.post(f"{task_url('his')}claim/")
    answer(mia, "voted")
    mia.post(f"{task_url('snoozed')}snooze/", {"pause": "hour"})
    settle("late")

    def gathered(tab):
        response = mia.post(f"/answers/?tab={tab}&type=invoice", {"all": "1"})
        return set(results(job_of(response))) if "/answers/" in response["Location"] else None

    assert gathered("answer") == gathered("groups") == {"free", "own"}
    assert gathered("unclaimed") == {"free"}
    assert gathered("snoozed") == {"snoozed"}
    assert gathered("waiting") == gathered("done") == gathered("mine") is None
    assert gathered("all") == {"free", "own"}  # a list that is not theirs is the first


def test_operators_answer_what_they_ticked_in_any_list():
    olga = client_of(make_user("olga", rights=("settle_any",)))
    make_user("jon", groups=("finance",))
    ids = ask_many(2)

    job = job_of(olga.post("/answers/?tab=all", {"task": ids}))

    assert set(results(job)) == {"q0", "q1"}


def test_ticked_ones_that_are_left_out_are_told(mia):
    ids = ask_many(4)
    jon = client_of(make_user("jon", groups=("finance",)))
    jon.post(f"{task_url('q1')}claim/")
    settle("q2")
    ask("secret", users=["jon"])

    response = mia.post("/answers/", {"task": [*ids, "q0", "secret", "x\0"]}, follow=True)

    assert "Answer 2 questions" in response.text
    assert "4 of those you ticked are left out" in response.text


def test_one_that_fails_keeps_no_other_from_its_answer(mia, caplog):
    job = job_of(choose(mia, ask_many(3)))
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    execute("update durable_promise set tags = '[1]' where id = 'q1'")  # nothing of ours

    run(job)

    assert results(job) == {"q0": "done", "q1": "failed", "q2": "done"}
    assert "cannot answer" in caplog.text
    assert "The log of the server says why." in mia.get(f"/answers/{job.pk}/").text


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({}, "None of these questions can be answered by you any more."),
        (
            {"type": "offer"},
            "These questions differ in type, answers or form: choose some of one kind.",
        ),
        (
            {"type": "invoice", "answers": ["approve"]},
            "These questions differ in type, answers or form: choose some of one kind.",
        ),
    ],
)
def test_what_cannot_be_answered_together_is_refused(mia, made, sentence):
    ids = []
    if made:
        ask_many(1)
        ask("x", groups=["finance"], **made)
        ids = ["q0", "x"]

    response = mia.post("/answers/?tab=groups&q=t&x=1", {"task": ids}, follow=True)

    assert response.redirect_chain == [("/inbox/?tab=groups&q=t", 303)]
    assert sentence in response.text
    assert not BulkJob.objects.exists()


def test_a_comment_that_is_needed_is_asked_for(mia):
    answers = ["approve", {"name": "reject", "comment": "required"}]
    job = job_of(choose(mia, ask_many(2, answers=answers)))

    refused = mia.post(f"/answers/{job.pk}/", {"answer": "reject"})

    assert refused.status_code in {403, 422}
    job.refresh_from_db()
    assert job.started_at is None


def test_what_follows_is_read_before_it_is_answered(mia):
    yes = {"name": "approve", "consequence": "The money leaves today."}
    ids = [
        ask(
            f"q{number}",
            groups=["finance"],
            type="invoice",
            consequence=f"Pays {number} EUR to <Acme>.",
            answers=[yes, "reject"],
            secrets=["/consequence"] if number == 1 else [],
        )
        for number in range(12)
    ]
    job = job_of(choose(mia, ids))

    with CaptureQueriesContext(connection) as few:
        page = mia.get(f"/answers/{job.pk}/").text
    first, _more, rest = page.partition("2 more questions")
    assert "Pays 0 EUR to &lt;Acme&gt;." in first
    assert "Pays 9 EUR to" in first
    assert "Pays 1 EUR" not in page  # that is secret
    assert "Pays 10 EUR to" not in first
    assert "Pays 11 EUR to" in rest
    assert 'aria-describedby="consequence-approve"' in rest
    assert rest.count("The money leaves today.") == 1
    assert "not shown here" not in page

    with CaptureQueriesContext(connection) as fewer:
        mia.get(f"/answers/{job_of(choose(mia, ids[:1])).pk}/")
    assert len(few) <= len(fewer)


def test_its_page_shows_what_its_reader_may_see_by_now(mia):
    ids = ask_many(2, consequence="Pays Acme.", form={"type": "object", "title": "Form"})
    mine = ask("mine", users=["mia"], type="invoice", form={"type": "object", "title": "Form"})
    job = job_of(choose(mia, [*ids, mine]))
    User.objects.get(username="mia").groups.clear()

    page = mia.get(f"/answers/{job.pk}/").text
    assert "Title of mine" in page
    assert "Title of q0" not in page
    assert "Pays Acme." not in page
    assert "2 questions are not shown here." in page

    HumanTask.objects.get(pk=mine).deciders.all().delete()
    for response in (
        mia.get(f"/answers/{job.pk}/"),
        mia.post(f"/answers/{job.pk}/", {"answer": "approve"}),
    ):
        assert "None of these questions can be answered by you any more." in response.text
        assert 'value="approve"' not in response.text
    program = Program(User.objects.get(username="mia"))
    gone = program.post(f"bulk-answers/{job.pk}/start", {"answer": "approve"})
    assert gone.status_code == 409
    with pytest.raises(RefusedError, match="None of these"):
        bulk.start(job, Answer("approve"), Actor(User.objects.get(username="mia"), SignIn.SESSION))
    job.refresh_from_db()
    assert job.started_at is None


def test_others_do_not_see_it(mia):
    job = job_of(choose(mia, ask_many(1)))
    eve = client_of(make_user("eve", rights=("settle_any",)))

    for act in ("", "stop/", "results/"):
        method = eve.post if act == "stop/" else eve.get
        assert method(f"/answers/{job.pk}/{act}").status_code == 404


def test_the_same_item_is_answered_once_after_a_crash(mia):
    job = job_of(choose(mia, ask_many(1)))
    mia.post(f"/answers/{job.pk}/", {"answer": "approve"})
    run(job)
    BulkItem.objects.update(result=BulkItem.Result.WAITING)  # as if its note had been lost

    run(job)

    assert results(job) == {"q0": "done"}
    assert AuditEntry.objects.filter(target="q0").count() == 1
