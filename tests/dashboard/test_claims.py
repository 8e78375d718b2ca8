"""Taking a question on, giving it back, handing it over."""

import pytest

from dashboard.answering import Actor
from dashboard.claims import claim
from dashboard.models import Action, AuditEntry, Draft, HumanTask
from dashboard.rights import RefusedError
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import answer, ask, client_of, make_user, settle, task_url

pytestmark = pytest.mark.django_db


@pytest.fixture
def people():
    return {
        name: make_user(name, groups=("finance",), first_name=name.title())
        for name in ("mia", "jon")
    }


@pytest.fixture
def mia(people):
    return client_of(people["mia"])


@pytest.fixture
def jon(people):
    return client_of(people["jon"])


def holder_of(promise_id):
    holder = HumanTask.objects.get(pk=promise_id).claimed_by
    return holder and holder.username


def test_who_takes_it_on_has_it_alone(mia, jon):
    ask("q", groups=["finance"])

    assert mia.post(f"{task_url('q')}claim/").status_code == 303

    assert holder_of("q") == "mia"
    second = jon.post(f"{task_url('q')}claim/")
    assert second.status_code == 403
    assert "Mia was first to take this on." in second.text
    refused = answer(jon, "q")
    assert refused.status_code == 403
    assert "Mia has taken this on." in refused.text
    assert "q" not in [card.task.pk for card in jon.get("/inbox/").context["page"].cards]
    assert answer(mia, "q").status_code == 303


def test_taking_it_on_twice_is_once(people):
    ask("q", groups=["finance"])
    claim("q", Actor(people["mia"]))

    claim("q", Actor(people["mia"]))

    assert AuditEntry.objects.filter(target="q", action=Action.CLAIM).count() == 1


def test_giving_it_back_frees_it(mia, jon):
    ask("q", groups=["finance"])
    mia.post(f"{task_url('q')}claim/")

    mia.post(f"{task_url('q')}release/", {"note": "no time"})

    assert holder_of("q") is None
    entry = AuditEntry.objects.get(target="q", action=Action.RELEASE)
    assert (entry.reason, entry.state_before) == ("no time", "mia")
    assert answer(jon, "q").status_code == 303


def test_others_cannot_give_it_back_but_managers(mia, jon):
    ask("q", groups=["finance"])
    mia.post(f"{task_url('q')}claim/")
    boss = client_of(make_user("boss", groups=("finance",), rights=("manage_tasks",)))

    assert jon.post(f"{task_url('q')}release/").status_code == 403
    assert holder_of("q") == "mia"
    assert boss.post(f"{task_url('q')}release/").status_code == 303
    assert holder_of("q") is None


def test_handing_it_over(mia, jon):
    ask("q", groups=["finance"], draft_follows=True)
    mia.post(f"{task_url('q')}claim/")
    mia.post(f"{task_url('q')}draft/", {"comment": "half a thought"})

    mia.post(f"{task_url('q')}hand-over/", {"to": "jon", "note": "yours"})

    assert holder_of("q") == "jon"
    assert Draft.objects.get(task="q").user.username == "jon"
    assert "half a thought" in jon.get(task_url("q")).text
    assert "Mia handed this to jon" in jon.get(task_url("q")).text
    assert answer(mia, "q").status_code == 403


@pytest.mark.parametrize(
    ("to", "sentence"),
    [("nobody", "There is nobody of this name."), ("eve", "eve may not answer this.")],
)
def test_handing_it_to_who_may_not_answer_is_refused(mia, to, sentence):
    make_user("eve")
    ask("q", groups=["finance"])
    mia.post(f"{task_url('q')}claim/")

    refused = mia.post(f"{task_url('q')}hand-over/", {"to": to})

    assert refused.status_code == 403
    assert sentence in refused.text
    assert holder_of("q") == "mia"


def test_what_is_over_is_not_taken_on(people):
    ask("q", groups=["finance"])
    settle("q")

    with pytest.raises(RefusedError, match="This is over"):
        claim("q", Actor(people["mia"]))
    assert Promise.objects.get(pk="q").state == PromiseState.RESOLVED


@pytest.mark.parametrize("act", ["claim", "release", "hand-over", "comment", "draft", "reveal"])
def test_strangers_find_nothing(act):
    ask("q", users=["mia"])
    eve = client_of(make_user("eve"))

    response = eve.post(f"{task_url('q')}{act}/", {"kind": "remark", "text": "x", "to": "eve"})

    assert response.status_code == 404
    assert eve.get(f"{task_url('q')}{act}/").status_code == 405
