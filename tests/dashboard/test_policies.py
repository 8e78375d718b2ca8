import pytest
from django.contrib.auth.models import Permission

from dashboard.answering import Actor
from dashboard.delegations import delegate
from dashboard.models import HumanTask
from dashboard.policies import (
    could_help,
    person_of,
    policy_of,
    progress_of,
    progress_of_each,
    would_count,
)
from dashboard.rights import Capacity
from durable.clock import now_ms
from durable.models import Promise
from tests.dashboard.people import HOUR_MS, answer, ask, client_of, make_operator, make_user

pytestmark = pytest.mark.django_db

TWO_OF_FINANCE = {"group": "finance", "count": 2}
FINANCE_AND_LEGAL = {"all_of": [{"group": "finance"}, {"group": "legal"}]}


@pytest.fixture
def mia():
    return make_user(groups=("finance",))


@pytest.fixture
def jon():
    return make_user("jon", groups=("finance", "legal"))


@pytest.fixture
def ann():
    return make_user("ann", groups=("legal",))


def task(promise_id="question-1"):
    return HumanTask.objects.get(pk=promise_id)


def progress(promise_id="question-1"):
    return progress_of(task(promise_id), now_ms())


def state(promise_id="question-1"):
    return Promise.objects.get(pk=promise_id).state


def vote(user, choice="approve", **data):
    assert answer(client_of(user), "question-1", choice, **data).status_code == 303


def filled():
    return [[str(who) for who in one.filled_by] for one in progress().requirements]


def test_votes_are_counted_until_they_decide(mia, ann):
    ask(policy=FINANCE_AND_LEGAL)

    vote(mia, comment="Looks right")
    found = progress()
    assert (found.approved, found.needed, found.verdict) == (1, 2, None)
    [ballot] = found.requirements[1].filled_by
    assert (str(ballot), ballot.comment, ballot.user_id) == ("mia", "Looks right", mia.pk)
    assert state() == "pending"
    vote(ann)
    assert progress().verdict == "approved"
    assert state() == "resolved"


def test_people_are_called_by_their_names(mia):
    make_user("ida", first_name="Ida", last_name="Holm")
    ask(policy={"any_of": [{"user": "ida"}, {"user": "newcomer"}]})

    assert [one.label for one in progress().requirements] == [
        "any of these",
        "Ida Holm",
        "newcomer",
    ]


def test_a_vote_may_change_until_it_decides(mia, jon):
    ask(policy=TWO_OF_FINANCE | {"reject": {"count": 2}})

    vote(mia, "reject")
    assert [str(one) for one in progress().objections] == ["mia"]
    vote(mia)
    assert (progress().approved, progress().objections) == (1, ())
    vote(jon)
    assert state() == "resolved"


def test_one_person_in_two_groups_counts_once(jon, ann):
    ask(policy=FINANCE_AND_LEGAL)

    vote(jon)
    vote(jon)
    assert progress().approved == 1


def test_rejected_as_soon_as_nobody_is_left_to_approve(mia, jon):
    ask(policy=TWO_OF_FINANCE | {"reject": "impossible"})

    vote(mia, "reject")
    assert progress().verdict == "rejected"
    assert state() == "rejected"


def test_not_rejected_while_others_are_left(mia, jon):
    make_user("otto", groups=("finance",))
    ask(policy=TWO_OF_FINANCE | {"reject": "impossible"})

    vote(mia, "reject")
    assert state() == "pending"


def test_not_rejected_while_a_name_may_yet_appear(mia):
    policy = {"any_of": [{"group": "finance"}, {"user": "newcomer"}], "reject": "impossible"}
    ask(policy=policy)

    vote(mia, "reject")
    assert state() == "pending"
    newcomer = make_user("newcomer")
    vote(newcomer)
    assert state() == "resolved"


def test_people_are_who_they_were_when_asked(mia, jon):
    """Whoever takes over a user name does not take over what was asked of its owner."""
    ask(policy={"all_of": [{"user": "mia"}, TWO_OF_FINANCE]})
    mia.username = "maria"
    mia.save()
    mia.groups.clear()
    usurper = make_user("mia", groups=("finance",))

    vote(usurper)
    assert filled() == [[], [], ["mia"]]
    vote(mia)
    assert filled() == [[], ["maria"], ["mia"]]
    vote(jon)
    assert state() == "resolved"


def test_groups_are_what_they_were_when_asked(mia, jon):
    ask(policy=TWO_OF_FINANCE)
    group = mia.groups.get()
    group.name = "accounting"
    group.save()

    vote(mia)
    vote(jon)
    assert state() == "resolved"


def test_whoever_left_does_not_count_any_more(mia, jon):
    ask(policy=TWO_OF_FINANCE)

    vote(mia)
    mia.is_active = False
    mia.save()
    assert progress().approved == 0
    vote(jon)
    assert state() == "pending"


@pytest.mark.parametrize("policy", [TWO_OF_FINANCE, {"anyone": True, "count": 2}])
def test_whoever_is_not_asked_any_more_does_not_count_either(mia, jon, policy):
    ask(policy=policy, groups=["finance"], permission="signoff.view_executions")
    boss = make_operator("boss")
    vote(mia)
    assert progress().approved == 1

    finance = mia.groups.get()
    mia.groups.clear()

    assert progress().approved == 0
    vote(jon)
    assert state() == "pending"
    if "anyone" in policy:  # a right, or that to answer any, does as well
        mia.user_permissions.set(Permission.objects.filter(codename="view_executions"))
        assert progress().approved == 2
        mia.user_permissions.clear()
        vote(boss)
    else:
        mia.groups.add(finance)
        vote(mia)
    assert state() == "resolved"


def test_whoever_has_the_right_counts(mia):
    olga = make_user("olga", rights=("view_executions",))
    ask(policy={"all_of": [{"permission": "signoff.view_executions"}, {"user": "mia"}]})

    vote(olga)
    assert filled() == [[], ["olga"], []]
    vote(mia)
    assert state() == "resolved"


def test_a_deputy_counts_as_whom_they_stand_in_for(mia, ann):
    deputy = make_user("deputy")
    ask(policy=FINANCE_AND_LEGAL)
    delegate(Actor(mia), deputy, starts_at=now_ms() - 1, ends_at=now_ms() + HOUR_MS)

    vote(deputy)
    assert filled() == [[], ["mia"], []]
    vote(ann)
    assert state() == "resolved"


def test_whose_turn_it_is(mia, jon, ann):
    ask(policy={"stages": [{"user": "ann"}, {"group": "finance"}], "veto": [{"user": "jon"}]})

    before = progress()
    for one, counts in ((mia, False), (jon, True), (ann, True)):
        assert could_help(task(), Capacity(one), before) is counts
        assert would_count(task(), Capacity(one), before) is counts
    vote(ann)
    after = progress()
    assert could_help(task(), Capacity(mia), after)
    assert would_count(task(), Capacity(mia), after)
    assert person_of(task(), Capacity(mia)).groups == {"finance"}


def test_questions_without_a_policy_have_no_progress(mia):
    ask(users=["mia"])
    ask("question-2", policy=TWO_OF_FINANCE)
    tasks = list(HumanTask.objects.all())

    assert policy_of(task()) is None
    assert list(progress_of_each(tasks, now_ms())) == ["question-2"]
    assert progress_of_each([task()], now_ms()) == {}
    assert not could_help(task(), Capacity(mia), progress("question-2"))
    with pytest.raises(ValueError, match=r"\A'question-1' has no policy\Z"):
        progress_of(task(), now_ms())


def test_a_mistake_in_a_policy_is_told(mia):
    ask(policy={"n_of": 3, "of": [{"user": "mia"}]}, users=["mia"])

    assert task().problem == "human_task.policy.n_of: must be a whole number from 1 to 1"
    assert policy_of(task()) is None


def test_many_questions_take_as_many_queries_as_one(mia, jon, django_assert_num_queries):
    for number in range(10):
        ask(f"question-{number}", policy=FINANCE_AND_LEGAL)
        for user in (mia, jon)[: number % 3]:
            answer(client_of(user), f"question-{number}")
    tasks = list(HumanTask.objects.filter(settled_at__isnull=True))

    with django_assert_num_queries(3):
        found = progress_of_each(tasks, now_ms())
    assert {one.approved for one in found.values()} == {0, 1}
