"""Taking a question on, giving it back, handing it over."""

import re

import pytest

from dashboard import sweep
from dashboard.answering import Actor, Answer
from dashboard.claims import claim, hand_over
from dashboard.decisions import decide
from dashboard.models import Action, AuditEntry, Decider, Draft, HumanTask, Vote
from dashboard.rights import RefusedError
from durable import signals
from durable.models import Promise
from durable.protocol.states import PromiseState
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
)
from tests.dashboard.races import at_once, while_others

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


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_it_on_at_once_one_has_it_and_the_other_is_told_who():
    people = [make_user(name, first_name=name.title()) for name in ("mia", "jon")]
    for number in range(5):
        ask(f"q{number}", users=["mia", "jon"])

        def act(one, number=number):
            try:
                claim(f"q{number}", Actor(people[one]))
            except RefusedError as error:
                return str(error.sentence)
            return ""

        told = at_once(2, act)

        holder = HumanTask.objects.get(pk=f"q{number}").claimed_by
        first = people.index(holder)
        assert told[first] == ""
        assert told[1 - first] == f"{holder.first_name} was first to take this on."
        assert AuditEntry.objects.filter(target=f"q{number}", action="claim").count() == 1


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


def test_an_open_page_hears_that_it_was_handed_over_or_given_back(mia, jon):
    ask("q", users=["mia", "jon"])
    boss = client_of(make_user("boss", rights=("manage_tasks", "settle_any")))

    def watch(client):
        [address] = re.findall(r'hx-get="([^"]+/state/[^"]*)"', client.get(task_url("q")).text)
        return lambda: client.get(address.replace("&amp;", "&"))

    free = watch(jon)
    assert free().status_code == 204
    mia.post(f"{task_url('q')}claim/")
    assert "Mia has taken this on now." in free().text
    held, locked = watch(mia), watch(jon)
    assert (held().status_code, locked().status_code) == (204, 204)

    boss.post(f"{task_url('q')}hand-over/", {"to": "jon"})
    assert "Jon has taken this on now." in held().text
    assert "This is with you now." in locked().text
    assert "Show it as it is now" in locked().text
    held, locked = watch(jon), watch(mia)
    jon.post(f"{task_url('q')}release/")
    assert "Nobody has taken this on any more." in held().text
    assert "Nobody has taken this on any more." in locked().text


def test_others_cannot_give_it_back_but_managers(mia, jon):
    ask("q", groups=["finance"])
    mia.post(f"{task_url('q')}claim/")
    boss = client_of(make_user("boss", groups=("finance",), rights=("manage_tasks",)))

    assert jon.post(f"{task_url('q')}release/").status_code == 403
    assert holder_of("q") == "mia"
    assert boss.post(f"{task_url('q')}release/").status_code == 303
    assert holder_of("q") is None


def test_managers_hand_over_what_nobody_has_and_is_not_for_them(mia, people):
    ask("q", groups=["finance"])
    boss = make_user("boss", rights=("manage_tasks",))
    start_run(by=boss)
    ask("r", groups=["finance"], tags=child_of("run-1"))

    given = client_of(boss).post(f"{task_url('r')}hand-over/", {"to": "jon"})

    assert given.status_code == 303
    assert holder_of("r") == "jon"
    assert client_of(boss).post(f"{task_url('q')}hand-over/", {"to": "jon"}).status_code == 404
    asker = make_user("ann")
    start_run("run-2", by=asker)
    ask("s", groups=["finance"], tags=child_of("run-2"))
    assert client_of(asker).post(f"{task_url('s')}hand-over/", {"to": "jon"}).status_code == 403


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


def test_who_may_only_read_it_hands_over_nothing(mia):
    ann = make_user("ann")
    start_run(by=ann)
    ask("q", tags=child_of("run-1"), groups=["finance"])

    refused = client_of(ann).post(f"{task_url('q')}hand-over/", {"to": "mia"})

    assert refused.status_code == 403
    assert "for others to answer" in refused.text
    assert holder_of("q") is None


@pytest.mark.parametrize("why", ["cannot sign in", "is not asked any more"])
def test_what_somebody_has_who_cannot_answer_it_is_free_to_answer(mia, jon, people, why):
    ask("q", groups=["finance"])
    mia.post(f"{task_url('q')}claim/")
    assert answer(jon, "q").status_code == 403
    if why == "cannot sign in":
        people["mia"].is_active = False
        people["mia"].save()
    else:
        people["mia"].groups.clear()

    assert answer(jon, "q").status_code == 303


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


def test_repairing_its_rows_keeps_what_people_did(mia, jon, people):
    ask("q", groups=["finance"], due=iso(2))
    mia.post(f"{task_url('q')}claim/")
    Decider.objects.create(task_id="q", kind=Decider.Kind.USER, name="x", user=people["jon"])
    before = HumanTask.objects.get(pk="q")

    sweep.repair(["q"], using="default")

    after = HumanTask.objects.get(pk="q")
    assert (after.claimed_by, after.due_at) == (before.claimed_by, before.due_at)
    assert Decider.objects.filter(task="q").count() == 2


def test_a_pruned_id_that_comes_back_begins_anew(mia):
    ask("q", policy={"group": "finance", "count": 2}, groups=["finance"])
    answer(mia, "q")
    mia.post(f"{task_url('q')}draft/", {"comment": "old"})
    HumanTask.objects.filter(pk="q").update(created_at=1)  # as if it were of an earlier life

    sweep.repair(["q"], using="default")

    assert not Vote.objects.exists()
    assert not Draft.objects.exists()
    assert Decider.objects.filter(task="q").count() == 1


def test_a_null_character_breaks_nothing(mia):
    ask("q", title="Pay?", groups=["finance"])

    assert mia.get("/inbox/?q=%00").status_code == 404
    mia.post(f"{task_url('q')}comment/", {"kind": "remark", "text": "a\0b"})
    assert "ab" in mia.get(task_url("q")).text
    refused = mia.post(f"{task_url('q')}hand-over/", {"to": "j\0x", "note": "\0"})
    assert "There is nobody of this name." in refused.text


# --- Silence, and what was begun to be written ---


def silent(promise_id="q"):
    """Let nobody have done anything for too long."""
    HumanTask.objects.filter(pk=promise_id).update(released_at=1)
    signals.housekeeping.send(None, using="default")


def test_after_much_silence_it_is_free_again(mia, jon):
    ask("q", groups=["finance"], release_after="PT4H")
    mia.post(f"{task_url('q')}claim/")
    signals.housekeeping.send(None, using="default")
    assert holder_of("q") == "mia"
    task = HumanTask.objects.get(pk="q")
    assert task.released_at == task.claimed_at + 4 * HOUR_MS
    assert "free again without a sign of life" in jon.get(task_url("q")).text

    silent()

    assert holder_of("q") is None
    entry = AuditEntry.objects.get(target="q", action=Action.RELEASE)
    assert (entry.actor, entry.state_before) == (None, "mia")
    assert "mia has not done anything with it for a while" in jon.get(task_url("q")).text
    assert jon.post(f"{task_url('q')}claim/").status_code == 303


@pytest.mark.parametrize(
    ("act", "data"),
    [("draft", {"comment": "half"}), ("comment", {"kind": "remark", "text": "I am on it"})],
)
def test_whoever_does_something_keeps_it(mia, jon, act, data):
    ask("q", groups=["finance"], release_after="PT4H")
    mia.post(f"{task_url('q')}claim/")
    HumanTask.objects.update(released_at=1)

    jon.post(f"{task_url('q')}{act}/", data)
    assert HumanTask.objects.get().released_at == 1
    mia.post(f"{task_url('q')}{act}/", data)
    signals.housekeeping.send(None, using="default")

    assert holder_of("q") == "mia"


def test_without_a_limit_it_stays(mia):
    ask("q", groups=["finance"])

    mia.post(f"{task_url('q')}claim/")

    assert HumanTask.objects.get().released_at is None


def test_handed_over_the_silence_begins_anew_and_given_back_it_ends(mia, jon):
    ask("q", groups=["finance"], release_after="PT4H")
    mia.post(f"{task_url('q')}claim/")
    HumanTask.objects.update(released_at=1)

    mia.post(f"{task_url('q')}hand-over/", {"to": "jon"})
    assert HumanTask.objects.get().released_at > 1
    jon.post(f"{task_url('q')}release/")
    assert HumanTask.objects.get().released_at is None


def test_what_is_over_is_not_given_back(mia):
    ask("q", groups=["finance"], release_after="PT4H")
    mia.post(f"{task_url('q')}claim/")
    answer(mia, "q")

    silent()

    assert holder_of("q") == "mia"
    assert not AuditEntry.objects.filter(action=Action.RELEASE).exists()


@pytest.mark.parametrize("follows", [True, False])
def test_the_draft_goes_along_or_is_discarded(mia, jon, follows):
    ask("q", groups=["finance"], draft_follows=follows)
    mia.post(f"{task_url('q')}claim/")
    mia.post(f"{task_url('q')}draft/", {"comment": "half a thought"})

    mia.post(f"{task_url('q')}hand-over/", {"to": "jon"})

    assert Draft.objects.exists() is follows
    assert ("half a thought" in jon.get(task_url("q")).text) is follows


@pytest.mark.parametrize("follows", [True, False])
def test_the_draft_of_who_gave_it_back(mia, jon, follows):
    ask("q", groups=["finance"], draft_follows=follows)
    mia.post(f"{task_url('q')}claim/")
    mia.post(f"{task_url('q')}draft/", {"comment": "half a thought"})
    mia.post(f"{task_url('q')}release/")

    jon.post(f"{task_url('q')}claim/")

    assert Draft.objects.get().user.username == ("jon" if follows else "mia")


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["claim", "hand over"])
def test_nobody_answers_what_another_has_just_taken_on(way):
    mia, jon, ann = (make_user(name, groups=("finance",)) for name in ("mia", "jon", "ann"))
    ask("q", groups=["finance"])

    def take():
        return claim("q", Actor(mia)) if way == "claim" else hand_over("q", Actor(ann), mia)

    def try_it():
        with pytest.raises(RefusedError, match="has taken this on"):
            decide("q", Actor(jon), Answer("approve"))

    while_others(take, try_it)

    assert holder_of("q") == "mia"
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_nobody_takes_on_what_another_has_just_answered():
    mia, jon = (make_user(name, groups=("finance",)) for name in ("mia", "jon"))
    ask("q", groups=["finance"])

    def try_it():
        with pytest.raises(RefusedError, match="This is over"):
            claim("q", Actor(jon))

    while_others(lambda: decide("q", Actor(mia), Answer("approve")), try_it)

    assert holder_of("q") is None
