"""A question that is put off leaves one person's lists for a while, and nobody else's."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.utils import timezone

from dashboard.models import HumanTask, Snooze
from dashboard.snoozing import Pause, end_of
from durable.clock import now_ms
from durable.protocol.states import PromiseState
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
)
from tests.dashboard.test_inbox import counts, titles
from tests.store.support import execute

pytestmark = [pytest.mark.django_db, pytest.mark.once]

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", groups=("finance",)))


@pytest.fixture
def jon():
    return client_of(make_user("jon", first_name="Jon", groups=("finance",)))


def snooze(client, promise_id="a", pause="hour", **data):
    return client.post(f"{task_url(promise_id)}snooze/", {"pause": pause} | data)


def wake(client, promise_id="a"):
    return client.post(f"{task_url(promise_id)}wake/")


def moment(year, month, day, hour=9):
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


def test_snoozed_question_leaves_ones_lists_and_no_others(mia, jon):
    ask("a", title="a", users=["mia"], groups=["finance"])
    ask("b", title="b", groups=["finance"])

    response = snooze(mia)

    assert (response.status_code, response["Location"]) == (303, "/inbox/")
    page = mia.get("/inbox/")
    assert titles(page) == ["b"]
    assert "“a” is snoozed." in page.text
    assert counts(page) == {
        "answer": 1,
        "mine": 0,
        "groups": 1,
        "unclaimed": 1,
        "waiting": 0,
        "snoozed": 1,
    }
    for tab in ("mine", "groups", "unclaimed"):
        assert "a" not in titles(mia.get(f"/inbox/?tab={tab}"))
    assert titles(mia.get("/inbox/?tab=snoozed")) == ["a"]
    assert ">1<span" in mia.get("/inbox/badge/").text
    assert titles(jon.get("/inbox/")) == ["a", "b"]
    assert "snoozed" not in counts(jon.get("/inbox/"))
    assert titles(jon.get("/inbox/?tab=snoozed")) == []


def test_operators_lists_leave_out_what_they_have_snoozed():
    olga = client_of(make_operator())
    ask("a", title="a")

    snooze(olga)

    assert [titles(olga.get(f"/inbox/?tab={tab}")) for tab in ("answer", "unassigned", "all")] == [
        [],
        [],
        [],
    ]
    assert titles(olga.get("/inbox/?tab=snoozed")) == ["a"]


def test_it_comes_back_at_its_time(mia):
    with time_machine.travel(NOON, tick=False) as clock:
        ask("a", title="a", users=["mia"])
        snooze(mia)
        clock.shift(3599)
        assert titles(mia.get("/inbox/")) == []
        clock.shift(1)
        assert titles(mia.get("/inbox/")) == ["a"]
        assert counts(mia.get("/inbox/"))["answer"] == 1
        assert "Wake it now" not in mia.get(task_url("a")).text


def test_it_comes_back_when_it_is_overdue(mia):
    with time_machine.travel(NOON, tick=False) as clock:
        ask("a", title="a", users=["mia"], due=iso(2))
        snooze(mia, pause="week")
        assert titles(mia.get("/inbox/")) == []
        page = mia.get(task_url("a"))
        assert '<time datetime="2026-05-20T14:00' in page.text.split("task-snoozed")[1]
        clock.shift(2 * 3600)
        assert titles(mia.get("/inbox/")) == ["a"]
        assert titles(mia.get("/inbox/?tab=snoozed")) == []


def test_wake_brings_it_back_now(mia):
    ask("a", title="a", users=["mia"])
    snooze(mia, pause="tomorrow")
    page = mia.get(task_url("a")).text
    assert "Wake it now" in page
    assert "For an hour" not in page

    response = wake(mia)

    assert (response.status_code, response["Location"]) == (303, task_url("a"))
    assert titles(mia.get("/inbox/")) == ["a"]
    assert not Snooze.objects.exists()
    assert "For an hour" in mia.get(task_url("a")).text


def test_one_that_is_snoozed_can_be_answered_and_leaves_nothing_behind(mia):
    ask("a", users=["mia"])
    snooze(mia)

    assert answer(mia, "a").status_code == 303

    assert not Snooze.objects.exists()


@pytest.mark.parametrize(
    "state", [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED]
)
def test_settling_it_in_any_way_leaves_nothing_behind(mia, jon, state):
    for promise_id in ("a", "b"):
        ask(promise_id, groups=["finance"])
        snooze(mia, promise_id)
        snooze(jon, promise_id)

    settle("a", state)

    assert set(Snooze.objects.values_list("task", flat=True)) == {"b"}


def test_snoozing_again_moves_the_time(mia):
    with time_machine.travel(NOON, tick=False):
        ask("a", users=["mia"])
        snooze(mia)
        snooze(mia, pause="tomorrow")

    assert Snooze.objects.get().until == moment(2026, 5, 21)


def test_new_question_that_is_snoozed_is_no_news(mia):
    page = mia.get("/inbox/")
    ask("a", users=["mia"])
    HumanTask.objects.update(created_at=page.context["now"] + 1)
    snooze(mia)

    query = {"since": page.context["now"], "known": page.context["counts"].recent}

    assert mia.get("/inbox/changes/", query).context["news"] == 0


def test_one_that_comes_back_is_news(mia):
    with time_machine.travel(NOON, tick=False) as clock:
        for promise_id in ("a", "b"):
            ask(promise_id, users=["mia"], due=iso(2))
        HumanTask.objects.update(created_at=now_ms())  # PostgreSQL has a clock of its own
        clock.shift(60)
        snooze(mia, "a")
        snooze(mia, "b", pause="week")
        page = mia.get("/inbox/")
        query = {"since": page.context["now"], "known": page.context["counts"].recent, "empty": 1}
        clock.shift(3599)
        assert mia.get("/inbox/changes/", query).context["news"] == 0
        clock.shift(1)
        assert mia.get("/inbox/changes/", query).context["news"] == 1
        clock.shift(3600)
        response = mia.get("/inbox/changes/", query)
        assert response.context["news"] == 2
        assert 'hx-trigger="load"' in response.text
        query["since"] += 3601 * 1000
        assert mia.get("/inbox/changes/", query).context["news"] == 1


@pytest.mark.parametrize(
    ("pause", "zone", "until"),
    [
        (Pause.HOUR, "UTC", moment(2026, 5, 20, 13)),
        (Pause.TOMORROW, "UTC", moment(2026, 5, 21)),
        (Pause.TOMORROW, "Pacific/Auckland", moment(2026, 5, 21, 21)),
        (Pause.WEEK, "UTC", moment(2026, 5, 25)),
        (Pause.WEEK, "America/New_York", moment(2026, 5, 25, 13)),
    ],
)
def test_pauses_end_in_the_morning_where_the_reader_is(pause, zone, until):
    now = int(NOON.timestamp() * 1000)
    with timezone.override(zone):
        assert end_of(pause, now) == until


def test_next_week_is_never_today():
    monday = moment(2026, 5, 25, 8)
    assert end_of(Pause.WEEK, monday) == moment(2026, 6, 1)


def test_until_a_date(mia):
    with time_machine.travel(NOON, tick=False):
        ask("a", users=["mia"])
        assert snooze(mia, pause="date", date="2026-06-03").status_code == 303

    assert Snooze.objects.get().until == moment(2026, 6, 3)


@pytest.mark.parametrize(
    "data",
    [
        {"pause": "date", "date": "2026-05-20"},
        {"pause": "date", "date": "2026-05-19"},
        {"pause": "date", "date": "2028-05-20"},
        {"pause": "date", "date": "9999-12-31"},
        {"pause": "date", "date": ""},
        {"pause": "date", "date": "tomorrow"},
        {"pause": "for ever"},
        {"pause": ""},
    ],
)
def test_time_that_is_none_is_refused(mia, data):
    with time_machine.travel(NOON, tick=False):
        ask("a", users=["mia"])
        response = snooze(mia, **data)

    assert response.status_code == 403
    assert "Choose a time to come, within a year." in response.text
    assert not Snooze.objects.exists()


def test_overdue_or_answered_question_cannot_be_put_off(mia):
    ask("late", users=["mia"], due=iso(-1))
    ask("over", users=["mia"])
    settle("over")

    assert "cannot be put off" in snooze(mia, "late").text
    assert "need not be put off" in snooze(mia, "over").text
    assert "Until a date" not in mia.get(task_url("late")).text
    assert not Snooze.objects.exists()


@pytest.mark.parametrize("act", [snooze, wake])
def test_stranger_learns_nothing(mia, act):
    make_user("eve")
    ask("secret", users=["eve"])

    assert act(mia, "secret").status_code == 404
    assert act(mia, "nothing").status_code == 404
    assert not Snooze.objects.exists()


@pytest.mark.parametrize("path", ["snooze/", "wake/"])
def test_looking_changes_nothing(mia, path):
    ask("a", users=["mia"])

    assert mia.get(f"{task_url('a')}{path}").status_code == 405


def test_it_leads_back_to_the_page_that_it_was_on(mia):
    ask("a", users=["mia"])

    assert snooze(mia, next="/executions/run-1/")["Location"] == "/executions/run-1/"
    assert snooze(mia, next="https://evil.example/")["Location"] == task_url("a")


def test_the_next_question_is_none_that_is_snoozed(mia):
    for promise_id in ("a", "b", "c"):
        ask(promise_id, users=["mia"])
    snooze(mia, "b")
    answer(mia, "a")

    assert mia.get(task_url("a")).context["panel"].next.pk == "c"


def test_nothing_of_it_outlives_the_question(mia):
    ask("a", users=["mia"])
    snooze(mia)
    execute("delete from durable_promise where id = 'a'")  # pruned, unseen
    with time_machine.travel((now_ms() + HOUR_MS / 2) / 1000, tick=False):
        ask("a", title="again", users=["mia"])
        assert titles(mia.get("/inbox/")) == ["again"]
    assert not Snooze.objects.exists()
