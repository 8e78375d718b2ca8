"""Nobody answers a question that was described anew since they read it, whatever way they take."""

import re
from urllib.parse import urlsplit

import pytest

from dashboard import bulk, links
from dashboard.answering import Actor, Answer
from dashboard.api.values import epoch_ms, moment
from dashboard.decisions import OutdatedError, decide
from dashboard.forms import form_for
from dashboard.models import BulkItem, HumanTask
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import ask_bare, client_of, make_operator, make_user, settle
from tests.dashboard.races import at_once, while_others

pytestmark = pytest.mark.django_db


@pytest.fixture
def asker():
    return Program(make_user("robot", rights=("describe_tasks",)))


@pytest.fixture
def mia():
    return make_user("mia")


@pytest.fixture
def described(asker):
    """A question that the API describes."""
    ask_bare("bare")
    asker.describe("bare", users=["mia"], title="Pay 4")
    return "bare"


def state(promise_id="bare"):
    return Promise.objects.get(pk=promise_id).state


def test_a_program_says_which_description_it_answers(asker, mia, described):
    program = Program(mia)
    seen = program.get("human-tasks/bare").json()["described_at"]
    asker.describe(described, users=["mia"], title="Pay 4000")

    for given in ({"described_at": seen}, {}, {"described_at": None}):
        refused = program.answer(described, **given)
        assert refused.status_code == 409
        assert "read it again" in refused.json()["detail"]
    assert state() == PromiseState.PENDING
    read = program.get("human-tasks/bare").json()
    assert read["title"] == "Pay 4000"
    key = {"described_at": read["described_at"], "request_key": "k"}
    assert program.answer(described, **key).json()["verdict"] == "settled"
    assert program.answer(described, **key).json()["verdict"] == "repeated"
    late = program.answer(described)
    assert "not used" in late.json()["detail"]


def test_a_program_that_read_it_before_it_was_described(asker, mia):
    operator = Program(make_operator())
    ask_bare("bare")
    assert operator.get("human-tasks/bare").json()["described_at"] is None
    asker.describe("bare", users=["mia"])

    assert operator.answer("bare").status_code == 409
    assert state() == PromiseState.PENDING


@pytest.mark.parametrize("at", [0, 1, 1_764_150_123_457, 1_764_150_123_999])
def test_instants_come_back_as_they_were_sent(at):
    assert epoch_ms(moment(at)) == at


def test_a_personal_link(asker, mia, described, settings):
    settings.SIGNOFF_LINKS = "login"
    url = links.make_link(HumanTask.objects.get(pk=described), mia)
    client, path = client_of(mia), urlsplit(url).path

    def seen(text):
        return re.search(r'name="described_at" value="(\d+)"', text)[1]

    before = seen(client.get(path).text)
    asker.describe(described, users=["mia"], title="Pay 4000")
    again = client.post(path, {"answer": "approve", "described_at": before})

    assert (again.status_code, "Pay 4000" in again.text) == (422, True)
    assert state() == PromiseState.PENDING
    sent = client.post(path, {"answer": "approve", "described_at": seen(again.text)})
    assert sent.status_code == 303
    assert state() == PromiseState.RESOLVED


def test_many_at_once_leave_it_out_and_take_the_form_of_the_others(asker, mia):
    form = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for one in ("a", "b"):
        ask_bare(one)
        asker.describe(one, users=["mia"], type="pay", form=form)
    job = bulk.prepare(Actor(mia), ids=["a", "b"])
    asker.describe("a", users=["mia"], type="pay", title="Pay 4000")
    path = f"bulk-answers/{job.pk}"
    program = Program(mia)

    assert program.post(f"{path}/start", {"answer": "approve"}).status_code == 422
    started = program.post(f"{path}/start", {"answer": "approve", "values": {"n": 1}})
    assert started.status_code == 200
    while bulk.answer_some(str(job.pk)):
        pass

    assert dict(job.items.values_list("task_id", "result")) == {"a": "refused", "b": "done"}
    assert "changed meanwhile" in BulkItem.objects.get(task_id="a").problem
    assert (state("a"), state("b")) == (PromiseState.PENDING, PromiseState.RESOLVED)
    both = bulk.prepare(Actor(mia), ids=["a"])
    asker.describe("a", users=["mia"], type="pay", title="Pay 40000")
    gone = program.post(f"bulk-answers/{both.pk}/start", {"answer": "approve"})
    assert gone.status_code == 409


def test_true_is_another_description_than_1(asker):
    ask_bare("bare")
    asker.describe("bare", proposal={"paid": 1}, editable=["/paid"])

    again = asker.describe("bare", proposal={"paid": True}, editable=["/paid"])

    assert again.json()["result"] == "replaced"


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_was_checked_before_counts_only_for_what_it_was_checked_with():
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    mia = make_user("mia")

    for number in range(6):
        promise_id = ask_bare(f"bare-{number}")
        asker.describe(promise_id, users=["mia"], title="Pay 4")
        task = HumanTask.objects.get(pk=promise_id)
        form = form_for(task)

        def act(one, promise_id=promise_id, seen=form.asked_at):
            if one:
                try:
                    return decide(promise_id, Actor(mia), Answer("approve", asked_at=seen))
                except OutdatedError:
                    return "outdated"
            return asker.describe(promise_id, users=["mia"], title="Pay 4000").status_code

        status, verdict = at_once(2, act)

        assert (status, verdict) in {(409, "settled"), (200, "outdated")}
        title = HumanTask.objects.get(pk=promise_id).title
        assert title == ("Pay 4" if verdict == "settled" else "Pay 4000")


@pytest.mark.postgres_only(reason="on SQLite nothing is read before others have ended")
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_what_takes_another_person_since_a_moment_is_read_again(asker, mia):
    for name in ("first", "second"):
        ask_bare(name)
    asker.describe("second", users=["mia"])

    def try_it():
        with pytest.raises(OutdatedError):
            decide("second", Actor(mia), Answer("approve"))

    others = {"others": ["first"]}
    while_others(lambda: asker.describe("second", users=["mia"], separation=others), try_it)

    assert state("second") == PromiseState.PENDING


@pytest.mark.django_db(transaction=True)
def test_two_that_name_each_other_are_answered_at_once_and_neither_waits_for_the_other(asker, mia):
    users = [mia, make_user("jon")]
    for number in range(5):
        ids = [ask_bare(f"{name}{number}") for name in ("a", "b")]
        for one, other in (ids, ids[::-1]):
            people = ["mia", "jon"]
            given = asker.describe(one, users=people, separation={"others": [other]})
            assert given.status_code == 201

        def act(place, ids=ids):
            return decide(ids[place], Actor(users[place]), Answer("approve"))

        assert at_once(2, act) == ["settled", "settled"]


@pytest.mark.django_db(transaction=True)
def test_an_answer_and_another_way_to_settle_do_not_wait_for_each_other(asker, mia):
    for number in range(5):
        first, second = ask_bare(f"a{number}"), ask_bare(f"b{number}")
        asker.describe(second, users=["mia"], separation={"others": [first]})

        def act(place, ids=(first, second)):
            if place == 0:
                return decide(ids[1], Actor(mia), Answer("approve"))
            return settle(ids[place - 1], PromiseState.REJECTED)

        ours, _first, theirs = at_once(3, act)

        assert ours == ("late" if theirs else "settled")
