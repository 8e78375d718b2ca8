"""Standing in for others."""

from random import Random

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError

from dashboard.answering import Actor
from dashboard.delegations import delegate, revoke
from dashboard.descriptions.policy import Kind, read_policy
from dashboard.descriptions.reading import DescriptionError
from dashboard.models import Action, AuditEntry, Delegation, HumanTask, Vote
from dashboard.policies import policy_of, progress_of, whose_turn
from dashboard.rights import deputies_of
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    child_of,
    client_of,
    make_user,
    start_run,
    task_url,
    unpack,
)
from tests.dashboard.policies import any_policy
from tests.dashboard.races import at_once, while_others

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return make_user("mia", groups=("finance",), first_name="Mia", last_name="Kern")


@pytest.fixture
def jon():
    return make_user("jon", first_name="Jon", last_name="Berg")


def go_away(principal, deputy, *, start=-1.0, end=1.0, **scope):
    now = now_ms()
    return delegate(
        Actor(principal),
        deputy,
        starts_at=now + int(start * HOUR_MS),
        ends_at=now + int(end * HOUR_MS),
        **scope,
    )


def test_a_deputy_answers_and_both_are_named(mia, jon):
    go_away(mia, jon)
    ask("q", users=["mia"])
    client = client_of(jon)

    assert "You answer for Mia Kern, who is away." in client.get(task_url("q")).text
    assert "Title of q" in client.get("/inbox/").text
    assert answer(client, "q", comment="in her place").status_code == 303

    value = unpack(Promise.objects.get(pk="q").value_data)
    assert (value["by"], value["on_behalf_of"]) == ("jon", "mia")
    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert (entry.actor, entry.on_behalf_of) == (jon, mia)
    assert "Jon Berg (for Mia Kern) approved" in client_of(mia).get(task_url("q")).text


@pytest.mark.parametrize(("start", "end"), [(1.0, 2.0), (-2.0, -1.0)])
def test_before_and_after_nobody_stands_in(mia, jon, start, end):
    now = now_ms()
    Delegation.objects.create(
        principal=mia,
        deputy=jon,
        starts_at=now + int(start * HOUR_MS),
        ends_at=now + int(end * HOUR_MS),
        made_at=now,
    )
    ask("q", users=["mia"])

    assert client_of(jon).get(task_url("q")).status_code == 404


def test_an_ended_delegation_ends_at_once(mia, jon):
    one = go_away(mia, jon)
    ask("q", users=["mia"])

    assert revoke(one, Actor(mia))

    assert client_of(jon).get(task_url("q")).status_code == 404
    assert not revoke(one, Actor(mia))
    acts = AuditEntry.objects.filter(target_kind="delegation").order_by("pk")
    assert [one.action for one in acts] == [Action.DELEGATE, Action.REVOKE]


def test_nobody_stands_in_for_who_can_no_longer_sign_in(mia, jon):
    go_away(mia, jon)
    ask("q", users=["mia"])
    User.objects.filter(pk=mia.pk).update(is_active=False)

    assert answer(client_of(jon), "q").status_code == 404


def test_who_is_asked_as_well_answers_for_themself(mia, jon):
    go_away(mia, jon)
    ask("q", users=["mia", "jon"])

    assert answer(client_of(jon), "q").status_code == 303

    assert "on_behalf_of" not in unpack(Promise.objects.get(pk="q").value_data)


def test_only_what_the_group_is_asked(mia, jon):
    go_away(mia, jon, group=mia.groups.get())
    ask("mine", users=["mia"])
    ask("ours", groups=["finance"])
    client = client_of(jon)

    assert client.get(task_url("mine")).status_code == 404
    assert client.get(task_url("ours")).status_code == 200


def test_only_questions_of_a_type(mia, jon):
    go_away(mia, jon, task_type="invoice")
    ask("invoice", users=["mia"], type="invoice")
    ask("other", users=["mia"], type="offer")
    client = client_of(jon)

    assert client.get(task_url("invoice")).status_code == 200
    assert client.get(task_url("other")).status_code == 404


def test_a_deputys_deputy_has_no_part_in_it(mia, jon):
    ann = make_user("ann")
    go_away(mia, jon)
    go_away(jon, ann)
    ask("q", users=["mia"])

    assert client_of(ann).get(task_url("q")).status_code == 404


def test_no_loops_and_no_nonsense(mia, jon):
    go_away(mia, jon)
    gone = make_user("gone", is_active=False)

    for deputy, start, end, sentence in (
        (mia, -1, 1, "has chosen you as deputy"),
        (jon, -1, 1, "Choose somebody else"),
        (gone, -1, 1, "can no longer sign in"),
        (make_user("x"), 2, 1, "The end must come after"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            go_away(jon, deputy, start=start, end=end)
    with pytest.raises(ValidationError, match="not a member"):
        go_away(jon, make_user("y"), group=mia.groups.get())


def test_no_loops_of_more_than_two(mia, jon):
    ann, bob = make_user("ann"), make_user("bob")
    go_away(mia, jon, start=0, end=3)
    go_away(jon, ann, start=2, end=5)
    go_away(jon, bob, start=4, end=5)
    go_away(ann, bob, start=0, end=5)

    for deputy in (mia, jon, ann):
        sentence = "has chosen you" if deputy == ann else "those who stand in for them lead back"
        with pytest.raises(ValidationError, match=sentence):
            go_away(bob, deputy, start=1, end=3)
    # At no one time is everybody of the circle away.
    go_away(bob, mia, start=0, end=1.5)
    go_away(bob, mia, start=3.5, end=3.9)
    one, two, three = (make_user(name) for name in ("one", "two", "three"))
    go_away(one, two, start=0, end=2)
    go_away(two, three, start=3, end=5)
    go_away(three, one, start=0, end=5)
    ended = go_away(ann, make_user("x"))
    revoke(ended, Actor(ann))
    go_away(User.objects.get(username="x"), ann)


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [2, 3])
def test_no_loop_comes_of_many_who_go_away_at_once(size):
    people = [make_user(f"user{number}") for number in range(size)]

    def act(number):
        try:
            return go_away(people[number], people[(number + 1) % size])
        except ValidationError:
            return None

    made = at_once(size, act)

    assert sum(one is not None for one in made) == Delegation.objects.count() == size - 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_a_delegation_that_is_just_made_is_seen_by_the_next(mia, jon):
    def try_it():
        with pytest.raises(ValidationError, match="has chosen you as deputy"):
            go_away(jon, mia)

    while_others(lambda: go_away(mia, jon), try_it)

    assert Delegation.objects.get().principal == mia


def test_a_deputy_of_the_requester_may_not_answer_either(mia, jon):
    start_run(by=mia)
    go_away(mia, jon)
    ask("q", tags=child_of("run-1"), users=["mia"])

    refused = answer(client_of(jon), "q")

    assert refused.status_code == 403
    assert "it takes a second person" in refused.text


def test_the_page(mia, jon):
    client = client_of(mia)

    made = client.post(
        "/away/", {"deputy": "jon", "starts": "2026-01-01T08:00", "ends": "2099-01-01T08:00"}
    )

    assert made.status_code == 303
    assert "Jon Berg answers for you" in client.get("/away/").text
    assert "You answer for Mia Kern" in client_of(jon).get("/away/").text
    one = Delegation.objects.get()
    assert client_of(jon).post(f"/away/{one.pk}/end/").status_code == 404
    assert client.post(f"/away/{one.pk}/end/").status_code == 303
    assert "Nobody stands in for you" in client.get("/away/").text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"deputy": "nobody"}, "There is nobody of this name."),
        ({"deputy": "mia"}, "Choose somebody else than yourself."),
        ({"ends": "2020-01-01T08:00"}, "The end must come after the beginning"),
        ({"starts": ""}, "This field is required."),
    ],
)
def test_the_page_says_what_is_wrong(mia, jon, given, sentence):
    data = {"deputy": "jon", "starts": "2026-01-01T08:00", "ends": "2099-01-01T08:00"} | given

    response = client_of(mia).post("/away/", data)

    assert response.status_code == 422
    assert sentence in response.text
    assert not Delegation.objects.exists()


# --- Several answer together, and a deputy stands in for a part of somebody ---

BOTH = {"all_of": [{"user": "mia"}, {"group": "finance"}], "reject": {"count": 2}}


def filled(client, promise_id="q"):
    """Who fills which requirement, as the page has it."""
    lines = client.get(task_url(promise_id)).context["panel"].requirements.requirements
    return [[ballot.name for ballot in one.filled_by] for one in lines]


def test_a_deputy_for_a_group_fills_what_the_group_is_asked_and_no_more(mia, jon):
    make_user("ann", groups=("finance",), first_name="Ann", last_name="Lund")
    go_away(mia, jon, group=mia.groups.get())
    ask("alone", policy={"all_of": [{"user": "mia"}, {"user": "ann"}]})
    ask("q", policy=BOTH)

    assert client_of(jon).get(task_url("alone")).status_code == 404
    assert answer(client_of(jon), "q").status_code == 303
    assert filled(client_of(mia)) == [[], [], ["Mia Kern"]]
    page = client_of(mia).get(task_url("q")).text
    assert "(answered by Jon Berg, deputy)" in page
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING


def test_a_deputy_for_all_fills_whatever_is_asked_of_the_person(mia, jon):
    go_away(mia, jon)
    ask("q", policy=BOTH)

    answer(client_of(jon), "q")

    assert filled(client_of(mia)) == [[], ["Mia Kern"], []]


def test_a_deputy_for_two_groups_fills_either(mia, jon):
    mia.groups.add(Group.objects.create(name="legal"))
    for group in mia.groups.all():
        go_away(mia, jon, group=group)
    ask("q", policy={"all_of": [{"user": "mia"}, {"group": "legal"}, {"user": "ann"}]})

    answer(client_of(jon), "q")

    assert filled(client_of(mia)) == [[], [], ["Mia Kern"], []]


def test_a_deputy_for_a_group_objects_only_for_it(mia, jon):
    make_user("ann")
    go_away(mia, jon, group=mia.groups.get())
    policy = {"all_of": [{"user": "ann"}, {"group": "finance"}], "veto": [{"user": "mia"}]}
    ask("q", policy=policy | {"reject": {"count": 2}})

    answer(client_of(jon), "q", "reject", comment="no")

    assert Promise.objects.get(pk="q").state == PromiseState.PENDING


def test_what_the_person_said_stays_before_what_a_deputy_for_a_part_says(mia, jon):
    go_away(mia, jon, group=mia.groups.get())
    ask("q", policy={"all_of": [{"user": "mia"}, {"group": "finance"}, {"user": "x"}]})
    answer(client_of(mia), "q")

    page = client_of(jon).get(task_url("q"))
    refused = answer(client_of(jon), "q", "reject")

    assert "Mia Kern has answered this themself." in page.text
    assert refused.status_code == 403
    assert Vote.objects.get().approves


def test_one_person_counts_once_whoever_they_stand_in_for(mia, jon):
    ann, eve = make_user("ann", first_name="Ann"), make_user("eve")
    first = go_away(mia, jon)
    go_away(ann, jon)
    ask("q", policy={"all_of": [{"user": "mia"}, {"user": "ann"}, {"user": "eve"}]})
    client = client_of(jon)
    assert answer(client, "q").status_code == 303
    revoke(first, Actor(mia))

    page = client_of(jon).get(task_url("q")).text
    refused = answer(client_of(jon), "q")

    assert "You have answered this already for Mia Kern: one person counts once." in page
    assert refused.status_code == 403
    assert Vote.objects.get().user == mia
    answer(client_of(mia), "q")  # in person, which frees the deputy
    assert answer(client_of(jon), "q").status_code == 303
    assert answer(client_of(eve), "q").status_code == 303
    assert Promise.objects.get(pk="q").state == PromiseState.RESOLVED


def test_a_deputy_of_two_answers_for_the_one_who_may(mia, jon):
    ann = make_user("ann", first_name="Ann")
    go_away(mia, jon)
    go_away(ann, jon)
    start_run(by=mia)
    ask("asked", users=["mia", "ann"], tags=child_of("run-1"))
    ask("taken", users=["mia", "ann"])
    client_of(ann).post(f"{task_url('taken')}claim/")

    for name in ("asked", "taken"):
        assert answer(client_of(jon), name).status_code == 303
        entry = AuditEntry.objects.get(target=name, action=Action.APPROVE)
        assert entry.on_behalf_of == ann
    task = HumanTask.objects.get(pk="asked")
    assert deputies_of(task, [ann]) == [jon]
    assert deputies_of(task, [mia]) == []


@pytest.mark.parametrize("end", ["deactivated", "deleted"])
def test_what_a_deputy_said_counts_no_longer_once_they_are_gone(mia, jon, end):
    go_away(mia, jon)
    policy = {"all_of": [{"user": "mia"}, {"user": "ann"}]}
    ask("q", policy=policy, proposal={"sum": 1}, editable=["/sum"])
    answer(client_of(jon), "q", filled="1", **{"values/sum": "5"})
    assert progress_of(HumanTask.objects.get(), now_ms()).approved == 1

    if end == "deactivated":
        User.objects.filter(pk=jon.pk).update(is_active=False)
    else:
        jon.delete()

    assert progress_of(HumanTask.objects.get(), now_ms()).approved == 0
    assert whose_turn(HumanTask.objects.get(), [mia], now_ms()) == [mia]
    answer(client_of(make_user("ann")), "q")
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING
    answer(client_of(mia), "q")
    assert Promise.objects.get(pk="q").state == PromiseState.RESOLVED


@pytest.mark.parametrize("named", [["mia"], ["mia", "jon"]])
def test_what_somebody_has_taken_on_is_their_deputys_to_answer(mia, jon, named):
    go_away(mia, jon, task_type="invoice")
    for name, kind, holder in (
        ("q", "invoice", mia),
        ("other", "offer", mia),
        ("taken", "invoice", make_user("eve")),
    ):
        ask(name, users=[*named, "eve"], type=kind)
        client_of(holder).post(f"{task_url(name)}claim/")
    client = client_of(jon)

    page = client.get("/inbox/").text
    assert "Title of q" in page
    assert "taken on by Mia Kern" in page
    assert "Title of other" not in page
    assert "Title of taken" not in page
    assert 'tab-count">1<' in page
    assert "You answer for Mia Kern, who is away." in client.get(task_url("q")).text
    assert answer(client, "q").status_code == 303
    entry = AuditEntry.objects.get(target="q", action=Action.APPROVE)
    assert (entry.actor, entry.on_behalf_of) == (jon, mia)
    for name in ("other", "taken"):
        assert answer(client, name).status_code in {403, 404}


@pytest.mark.parametrize("seed", range(25))
def test_nobody_fills_a_requirement_that_they_may_not(mia, seed):
    """Whatever the policy: what a deputy for a group fills is for the group, or for anyone."""
    random = Random(seed)
    mia.user_permissions.set(Permission.objects.filter(codename="reveal_secrets"))
    policy = any_policy(random)
    while problem_of(policy):
        policy = any_policy(random)
    deputy = make_user("deputy")
    go_away(mia, deputy, group=mia.groups.get())
    ask("q", policy=policy | {"reject": "impossible"}, groups=["finance"])

    answer(client_of(deputy), "q", random.choice(["approve", "reject"]), comment="so")

    task = HumanTask.objects.get(pk="q")
    lines = zip(policy_of(task).nodes, progress_of(task, now_ms()).requirements, strict=True)
    for node, line in lines:
        if line.filled_by or line.rejected_by:
            assert node.kind is Kind.ANYONE or (node.kind, node.name) == (Kind.GROUP, "finance")


def problem_of(policy):
    try:
        read_policy(policy, "policy")
    except DescriptionError as error:
        return str(error)
    return ""
