"""While the requester is asked a deadline stands still: lists, filters and counts agree on it."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.contrib.auth.models import User

from dashboard.channels.digest_contents import read_digest
from dashboard.inbox_filters import Filters
from dashboard.inbox_order import Bucket, Cursor
from dashboard.inbox_queries import Tab, read_page, tabs_of
from durable.clock import now_ms
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    answer,
    ask,
    child_of,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    start_run,
    task_url,
)
from tests.dashboard.test_comments import say
from tests.dashboard.test_inbox import counts, headings, titles
from tests.dashboard.test_snoozing import snooze

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)
DUES = {"late": -1, "soon": 2, "week": 48, "far": 900, "never": None}


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", groups=("finance",)))


@pytest.fixture
def asker():
    """Somebody who started ``run``."""
    user = make_user("ann", first_name="Ann")
    start_run("run", by=user)
    return client_of(user)


def asked(name, hours, place, **described):
    ask(name, tags=child_of("run", place), title=name, due=hours and iso(hours), **described)


def test_what_waits_for_the_requester_is_not_overdue_until_they_reply(clock, mia, asker):
    for place, (name, hours) in enumerate(DUES.items()):
        asked(name, hours, place, users=["mia"])
        asked(f"{name}, asked", hours, place + 10, users=["mia"], priority="urgent")
        say(mia, "Which order?", "asked", f"{name}, asked")
    clock.shift(3 * 3600)

    page = mia.get("/inbox/")

    assert headings(page.text) == ["overdue", "later", "none", "waiting"]
    assert titles(page) == [*DUES, *(f"{name}, asked" for name in DUES)]
    assert page.text.count("is-overdue") == 2
    assert "Waits for the requester</h2>" in page.text
    assert 'class="is-overdue"' not in mia.get(task_url("late, asked")).text
    assert 'class="is-overdue"' in mia.get(task_url("soon")).text
    for due, found in (("overdue", 2), ("today", 2), ("week", 3)):
        assert titles(mia.get(f"/inbox/?due={due}")) == [*DUES][:found]
    mia_program = Program(User.objects.get(username="mia"))
    lines = mia_program.get("human-tasks").json()["items"]
    assert [one["bucket"] for one in lines[-5:]] == ["waiting"] * 5
    late = mia_program.get("human-tasks", due="overdue").json()["items"]
    assert [one["id"] for one in late] == ["late", "soon"]
    digest = read_digest(User.objects.get(username="mia"), [])
    assert (digest.total, digest.overdue) == (10, 2)
    assert [item.bucket for item in digest.items][-6:] == [Bucket.NONE] + 5 * [Bucket.WAITING]
    assert [item.due for item in digest.items][-5:] == 4 * ["the deadline stands still"] + [""]

    assert "waits for your reply" not in page.text
    assert asker.get("/inbox/?tab=waiting").text.count("waits for your reply") == 5
    for name in ("soon, asked", "late, asked"):
        say(asker, "Number 9", "replied", name)

    page = mia.get("/inbox/")
    assert titles(page)[:4] == ["late, asked", "late", "soon", "soon, asked"]
    assert headings(page.text) == ["overdue", "today", "later", "none", "waiting"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_of_any_size_make_the_same_list_while_people_ask_back(clock, mia, asker, size):
    for place in range(12):
        hours, priority = (None, -2, 3, 30)[place % 4], ("low", "normal", "urgent")[place % 3]
        asked(f"q-{place:02}", hours, place, users=["mia"], priority=priority)
        if place % 2:
            say(mia, "Which order?", "asked", f"q-{place:02}")
    whole = titles(mia.get("/inbox/"))
    clock.shift(1)
    user = User.objects.get(username="mia")
    seen, groups, after = [], [], None
    while after is not None or not seen:
        page = read_page(user, Tab.ANSWER, now_ms(), after=after, limit=size)
        if not seen:
            clock.shift(60)
            for place in (0, 2, 4):  # moves nothing in a list that was begun
                assert say(mia, "Which order?", "asked", f"q-{place:02}").status_code == 303
        seen += [card.task.title for card in page.cards]
        groups += [card.bucket for card in page.cards if card.opens_bucket]
        after = Cursor.decode(page.next) if page.next else None

    assert len(whole) == 12
    assert seen == whole
    assert groups == [Bucket.TODAY, Bucket.NONE, Bucket.WAITING]


@pytest.mark.once
def test_what_is_put_off_stays_so_while_its_deadline_stands_still(clock, mia, asker):
    asked("a", 2, 1, users=["mia"])
    say(mia, "Which order?", "asked", "a")
    snooze(mia, pause="week")
    clock.shift(3 * 3600)

    page = mia.get("/inbox/")

    assert (titles(page), counts(page)["answer"], counts(page)["snoozed"]) == ([], 0, 1)
    snoozed = mia.get(task_url("a")).text.split("task-snoozed")[1]
    assert '<time datetime="2026-05-25T09:00' in snoozed
    say(asker, "Number 9", "replied", "a")
    assert titles(mia.get("/inbox/?tab=snoozed")) == ["a"]
    clock.shift(2 * 3600)
    assert titles(mia.get("/inbox/")) == ["a"]


@pytest.mark.once
def test_one_that_was_late_can_be_put_off_once_its_deadline_stands_still(clock, mia, asker):
    asked("a", -1, 1, users=["mia"])
    assert "cannot be put off" in snooze(mia).text
    say(mia, "Which order?", "asked", "a")

    assert "Until a date" in mia.get(task_url("a")).text
    assert snooze(mia).status_code == 303
    assert titles(mia.get("/inbox/")) == []
    say(asker, "Number 9", "replied", "a")
    assert titles(mia.get("/inbox/")) == ["a"]


@pytest.mark.once
def test_groups_filters_and_counts_agree_in_every_state(clock, mia, asker):
    """Every list is as long as its tab says, and what a filter finds is what its cards say."""
    jon, olga = client_of(make_user("jon", groups=("finance",))), client_of(make_operator())
    dues = {key: DUES[key] for key in ("late", "soon")}
    states = ("free", "asked", "taken", "given", "voted", "snoozed", "over", "nobody", "own")
    for place, (due, hours) in enumerate(dues.items()):
        for number, state in enumerate(states):
            name = f"{state}-{due}"
            said = {"groups": ["finance"], "users": ["mia"]}
            if state == "voted":
                said = {"policy": {"group": "finance", "count": 2}}
            if state == "nobody":
                said = {}
            if state == "own":
                said = {"users": ["ann", "mia"], "separation": {"starter": False}}
            asked(name, hours, place * 10 + number, **said)
        say(mia, "Which?", "asked", f"asked-{due}")
        mia.post(f"{task_url(f'taken-{due}')}claim/")
        jon.post(f"{task_url(f'given-{due}')}claim/")
        answer(mia, f"voted-{due}")
        snooze(mia, f"snoozed-{due}")
        settle(f"over-{due}")
        say(mia, "Which?", "asked", f"taken-{due}")
    clock.shift(1)
    for name, client in (("mia", mia), ("olga", olga)):
        user = User.objects.get(username=name)
        page = client.get("/inbox/")
        for tab in set(tabs_of(user)) - {Tab.DONE}:
            cards = read_page(user, tab, now_ms()).cards
            assert counts(page).get(tab, 0) == len(cards), (name, tab)
            order = [card.bucket for card in cards]
            assert order == sorted(order, key=list(Bucket).index)
            late = read_page(user, tab, now_ms(), Filters(due="overdue")).cards
            assert [card.task.pk for card in late] == [
                card.task.pk for card in cards if card.bucket is Bucket.OVERDUE
            ]
        assert f">{counts(page)['answer']}<span" in client.get("/inbox/badge/").text
    assert {"asked-late", "taken-late"} <= {*titles(mia.get("/inbox/"))}
