"""Statements that are kept say what those say that are made for the moment."""

import pytest
from django.contrib.auth.models import Group, Permission, User

from dashboard import inbox_queries
from dashboard.answering import Actor
from dashboard.delegations import delegate
from dashboard.inbox_filters import Due, Filters
from dashboard.inbox_queries import Seen, Shown, Tab, count_open, read_page, tabs_of
from dashboard.models import SignIn, Snooze, Vote
from dashboard.statements import NOW, SINCE, filled
from durable.clock import now_ms
from tests.dashboard.people import HOUR_MS, ask, ask_bare, iso, make_operator, make_user, start_run
from tests.dashboard.people import child_of as child

pytestmark = pytest.mark.django_db

KEPT = (inbox_queries._kept_counting, inbox_queries._kept_selection)


def all_that_is_seen(user, now):
    """Counts and lists of all tabs, and what a page of two minutes ago hears."""
    user = User.objects.get(pk=user.pk)
    tabs = tabs_of(user)
    since = Seen(now - 120_000, 0)
    return [
        count_open(user, now, [Tab.ANSWER]),
        *(count_open(user, now, tabs, shown=Shown(tab)) for tab in (Tab.ANSWER, Tab.GROUPS)),
        *(count_open(user, now, tabs, shown=Shown(tab), seen=since) for tab in tabs[::4]),
        *([card.task.pk for card in read_page(user, tab, now).cards] for tab in tabs),
    ]


def all_that_is_seen_without_them(user, now):
    for kept in KEPT:
        kept.cache_clear()
    return all_that_is_seen(user, now)


@pytest.fixture
def people():
    """One of each kind, with questions that each of them sees others of."""
    mia, jon = make_user("mia", groups=("finance", "legal")), make_user("jon", groups=("finance",))
    sam, olga = make_user("sam"), make_operator()
    may_pay = make_user("pat", rights=("change_user",))
    times = {"starts_at": now_ms() - HOUR_MS, "ends_at": now_ms() + 9 * HOUR_MS}
    for deputy, extra in ((jon, {"task_type": "invoice"}), (sam, {"group": mia.groups.first()})):
        delegate(Actor(mia, SignIn.SESSION), deputy, **times, **extra)
    start_run(by=jon)
    ask("named", users=["mia"], type="invoice", due=iso(3))
    ask("grouped", groups=["finance"], tags=child("run-1"))
    ask("legal", groups=["legal"], due=iso(30))
    ask("permitted", permission="auth.change_user")
    ask("permitted later", permission="auth.delete_group")
    ask("of pat", users=["pat"])
    ask("unknown", users=["nobody-yet"], groups=["no-group-yet"])
    ask("soon over", users=["mia", "jon", "sam"], timeout_at=now_ms() + HOUR_MS)
    ask("voted", groups=["finance"], users=["pat"])
    Vote.objects.create(
        task_id="voted", user=jon, answer="approve", approves=True, voted_at=now_ms()
    )
    ask("asleep", users=["mia"], due=iso(20))
    Snooze.objects.create(
        task_id="asleep", user=mia, until=now_ms() + 5 * HOUR_MS, made_at=now_ms()
    )
    ask_bare()
    return [mia, jon, sam, olga, may_pay, make_user("stranger")]


def test_they_find_the_same_at_any_time(people):
    now = now_ms()
    times = [now, now + 6 * HOUR_MS]
    expected = {
        (user.pk, at): all_that_is_seen_without_them(user, at) for user in people for at in times
    }

    assert len({str(found) for found in expected.values()}) > len(people)
    for kept in KEPT:
        kept.cache_clear()
    for user, at in [(user, at) for at in times for user in people]:
        assert all_that_is_seen(user, at) == expected[user.pk, at], (user, at)
    assert all(kept.cache_info().hits for kept in KEPT)


@pytest.mark.parametrize(
    "change",
    [
        lambda mia: mia.groups.clear(),
        lambda mia: mia.user_permissions.add(Permission.objects.get(codename="settle_any")),
        lambda mia: Group.objects.get(name="legal").permissions.add(
            Permission.objects.get(codename="delete_group")
        ),
        lambda mia: User.objects.filter(pk=mia.pk).update(username="nobody-yet"),
        lambda mia: User.objects.filter(pk=mia.pk).update(is_superuser=True),
        lambda mia: User.objects.filter(pk=mia.pk).update(is_active=False),
        lambda mia: delegate(
            Actor(User.objects.get(username="pat"), SignIn.SESSION),
            mia,
            starts_at=now_ms() - 1,
            ends_at=now_ms() + HOUR_MS,
        ),
        lambda mia: mia.groups.add(Group.objects.create(name="no-group-yet")),
    ],
)
def test_a_change_of_rights_is_seen_at_once(people, change):
    [mia, *_others] = people
    now = now_ms()
    before = all_that_is_seen(mia, now)

    change(mia)

    after = all_that_is_seen(mia, now + 1)
    assert after != before
    assert after == all_that_is_seen_without_them(mia, now + 1)


def test_slots_are_filled_by_name():
    statement = ("%s %s %s %s", (NOW, "now", SINCE, NOW))

    assert filled(statement, {NOW: 1, SINCE: 2}) == ("%s %s %s %s", (1, "now", 2, 1))


@pytest.mark.parametrize("due", [Due.TODAY, Due.WEEK])
def test_no_slot_has_a_day(due):
    with pytest.raises(TypeError, match="slot"):
        Filters(due=due).condition(NOW)
