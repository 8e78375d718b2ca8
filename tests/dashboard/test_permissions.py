import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import DatabaseError, connection
from django.test import Client

from dashboard import recording, sweep
from dashboard.models import Decider, HumanTask
from dashboard.permissions import is_open, names_nobody, visible_to
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import (
    ask,
    ask_bare,
    child_of,
    client_of,
    create,
    make_operator,
    make_user,
    pack,
    settle,
    start_run,
    task_url,
)

pytestmark = pytest.mark.django_db

TARGETED = {"resonate:target": "poll://any@nobody"}


def seen_by(user):
    return set(visible_to(user).values_list("pk", flat=True))


def open_ids():
    return set(HumanTask.objects.filter(is_open(now_ms())).values_list("pk", flat=True))


# --- Who sees what ---


def test_question_is_seen_by_those_it_names_and_by_nobody_else():
    mia, jon = make_user("mia"), make_user("jon", groups=("finance",))
    eve = make_user("eve", groups=("sales",))
    ask("for-mia", users=["mia"])
    ask("for-finance", groups=["finance"])
    ask("for-both", users=["mia"], groups=["finance"])

    assert seen_by(mia) == {"for-mia", "for-both"}
    assert seen_by(jon) == {"for-finance", "for-both"}
    assert seen_by(eve) == set()


def test_those_who_may_settle_any_see_all():
    make_user("mia")
    ask("for-mia", users=["mia"])
    ask("for-nobody")
    ask_bare("bare")
    ask("wrong", groups=[1])

    assert seen_by(make_operator()) == {"for-mia", "for-nobody", "bare", "wrong"}
    assert seen_by(make_user("root", is_superuser=True)) == {
        "for-mia",
        "for-nobody",
        "bare",
        "wrong",
    }


def test_neither_inactive_nor_anonymous_users_see_anything():
    ask("for-mia", users=["mia"])

    assert seen_by(AnonymousUser()) == set()
    assert seen_by(make_user("mia", is_active=False)) == set()
    assert seen_by(make_user("root", is_superuser=True, is_active=False)) == set()


def test_user_and_group_made_later_see_what_was_asked_before():
    ask("for-mia", users=["mia"], groups=["finance"])
    mia, jon = make_user("mia"), make_user("jon", groups=("finance",))

    assert seen_by(mia) == seen_by(jon) == {"for-mia"}


def test_sweep_binds_a_name_for_good():
    ask("for-mia", users=["mia"], groups=["finance"])
    mia, jon = make_user("mia"), make_user("jon", groups=("finance",))
    sweep.run_once()
    mia.username = "mia.kern"
    mia.save()
    Group.objects.filter(name="finance").update(name="money")
    make_user("joan", groups=("finance",))

    assert seen_by(mia) == seen_by(jon) == {"for-mia"}
    assert not Decider.objects.filter(is_unknown=True).exists()


def test_question_follows_the_user_and_not_the_name():
    mia = make_user("mia")
    ask("for-mia", users=["mia"])
    mia.username = "mia.kern"
    mia.save()
    namesake = make_user("mia")

    assert seen_by(mia) == {"for-mia"}
    assert seen_by(namesake) == set()


def test_name_of_a_deleted_user_gives_nothing_to_the_next_who_has_it():
    make_user("mia").delete()
    first = make_user("mia")
    ask("for-mia", users=["mia"])
    first.delete()

    assert seen_by(make_user("mia")) == set()
    assert sweep.run_once() == 1
    assert HumanTask.objects.filter(names_nobody()).get().pk == "for-mia"


# --- Rows follow promises ---


def test_row_says_what_is_asked_and_by_which_run():
    start_run("run-1", "pay_invoice")
    ask("run-1:1", tags=child_of("run-1"), title="Pay?", question="Now?", due="2026-05-31T14:00Z")

    task = HumanTask.objects.get()

    assert (task.title, task.question, task.due_at) == ("Pay?", "Now?", 1780236000000)
    assert (task.origin, task.function) == ("run-1", "pay_invoice")
    assert task.created_at == task.promise.created_at


def test_description_in_the_tag_counts():
    make_user("mia")
    tag = '{"schema": 1, "title": "From Go", "users": ["mia"]}'
    create("tagged", tags={"resonate:scope": "global", "signoff:task": tag})

    assert HumanTask.objects.get().title == "From Go"


@pytest.mark.parametrize(
    "tags",
    [
        {"resonate:target": "poll://any@g"},
        {"resonate:timer": "true", "resonate:external": "true"},
        {"resonate:scope": "local"},
        {},
    ],
)
def test_what_is_not_latent_is_no_question(tags):
    create("other", tags=tags, data=pack({"human_task": {"schema": 1, "title": "No"}}))

    assert not HumanTask.objects.exists()
    assert sweep.run_once() == 0


def test_wrong_description_is_kept_with_the_path():
    ask("wrong", title="Pay?", users=["mia"], facts=[["only one"]])
    mia = make_user("mia")

    task = HumanTask.objects.get()

    assert task.problem == "human_task.facts[0]: must be a pair [label, value]"
    assert (task.title, task.is_described) == ("Pay?", False)
    assert seen_by(mia) == set()


@pytest.mark.parametrize(
    "state",
    [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED],
)
def test_settled_question_is_not_open_whoever_settled_it(state):
    ask("q")
    settle("q", state)

    assert open_ids() == set()
    assert HumanTask.objects.get().settled_at is not None


def test_question_whose_deadline_has_passed_is_not_open_though_nobody_settled_it():
    ask("q", timeout_at=now_ms() + 300)
    stored = HumanTask.objects.get()

    assert stored.promise.state == PromiseState.PENDING
    assert set(HumanTask.objects.filter(is_open(stored.promise.timeout_at))) == set()


def test_question_born_expired_is_not_open():
    ask("q", timeout_at=now_ms() - 1000)

    assert open_ids() == set()


# --- What receivers miss ---


def test_failing_receiver_fails_no_promise_and_the_row_is_made_after_the_commit(
    monkeypatch, django_capture_on_commit_callbacks
):
    def fail(*_args, **_kwargs):
        with connection.cursor() as cursor:
            cursor.execute("select * from no_such_table")

    make_user("mia")
    with django_capture_on_commit_callbacks(execute=True):
        with monkeypatch.context() as patch:
            patch.setattr(recording, "_read_lineages", fail)
            ask("q", users=["mia"])
        assert not HumanTask.objects.exists()

    assert HumanTask.objects.get().deciders.get().name == "mia"


def test_sweep_describes_what_was_missed_and_notes_what_was_settled():
    make_user("mia")
    ask("missed", users=["mia"])
    ask("settled")
    settle("settled")
    HumanTask.objects.filter(pk="missed").delete()
    HumanTask.objects.filter(pk="settled").update(settled_at=None)
    assert open_ids() == set()

    assert sweep.run_once() == 2
    assert open_ids() == {"missed"}
    assert HumanTask.objects.get(pk="settled").settled_at is not None
    assert sweep.run_once() == 0


def test_one_bad_promise_spoils_no_other(monkeypatch):
    ask("good")
    ask("bad")
    HumanTask.objects.all().delete()
    real = sweep.record_tasks

    def record(promises, *, using):
        if any(promise.id == "bad" for promise in promises):
            raise DatabaseError
        real(promises, using=using)

    monkeypatch.setattr(sweep, "record_tasks", record)
    sweep.run_once()

    assert set(HumanTask.objects.values_list("pk", flat=True)) == {"good"}


@pytest.mark.parametrize("is_root", [True, False])
def test_question_of_a_call_that_has_ended_is_withdrawn(is_root):
    root = start_run("run-1")
    asker = root if is_root else create("run-1:1", tags=TARGETED | child_of(root))
    question = ask(f"{asker}.1", tags=child_of(root) | {"resonate:branch": asker})
    assert sweep.run_once() == 0

    settle(asker)

    assert question in open_ids()
    assert sweep.run_once() == 1
    assert open_ids() == set()
    assert Promise.objects.get(pk=question).state == PromiseState.REJECTED_CANCELED


# --- The matrix ---

VERBS = ("get", "post", "put", "patch", "delete", "head")


@pytest.fixture
def question():
    make_user("mia", groups=("finance",))
    return ask("order/42:1", users=["mia"])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("page", ["", "decide/", "state/"])
def test_stranger_gets_the_same_as_for_nothing_at_all(question, page, verb):
    eve = client_of(make_user("eve", rights=("view_executions", "cancel_executions")))

    real = getattr(eve, verb)(f"{task_url(question)}{page}", {"answer": "approve"})
    none = getattr(eve, verb)(f"{task_url('nothing')}{page}", {"answer": "approve"})

    assert real.status_code == none.status_code
    assert real.status_code in {404, 405}
    assert question in open_ids()


def test_stranger_gets_404_for_another_spelling_of_the_address(question):
    assert client_of(make_user("eve")).get("/inbox/order%2F42:1/").status_code == 404


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("page", ["", "decide/", "state/"])
def test_nobody_gets_anywhere_without_signing_in(question, page, verb):
    response = getattr(Client(), verb)(f"{task_url(question)}{page}", {"answer": "approve"})

    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/?next=")
    assert question in open_ids()


@pytest.mark.parametrize("verb", ["get", "head"])
@pytest.mark.parametrize("page", ["", "decide/", "state/"])
def test_no_get_settles(question, page, verb):
    mia = client_of(make_user("mia2", groups=("finance",), rights=("settle_any",)))
    for _ in range(5):
        getattr(mia, verb)(f"{task_url(question)}{page}?answer=approve")

    assert question in open_ids()
