import base64
import json
import re
from datetime import UTC, datetime

import pytest
import time_machine
from django.contrib.auth.models import User
from django.utils import timezone

from dashboard.channels.digest_contents import read_digest
from dashboard.claims import MOST
from dashboard.inbox_filters import end_of_day
from dashboard.inbox_order import Bucket, Cursor, bucket_of
from dashboard.inbox_queries import (
    PAGE_SIZE,
    Tab,
    deciders_of,
    join_names,
    read_page,
    settled_since,
)
from dashboard.models import NO_DUE, HumanTask
from durable.clock import now_ms
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    child_of,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    start_run,
    task_url,
)
from tests.dashboard.reading import HTMX

pytestmark = pytest.mark.django_db

TITLES = re.compile(r'<span class="card-title">(?:<span class="mark[^>]*>\w+</span> )?(.*?)</span>')


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", groups=("finance",)))


def titles(response):
    return TITLES.findall(response.text)


def headings(text):
    """Return the groups of a list."""
    return re.findall(r'<li class="bucket bucket-(\w+)">', text)


def counts(response):
    """Return the tabs with their counts."""
    return {
        link.tab.value: link.count for link in response.context["tabs"] if link.count is not None
    }


# --- The list ---


def test_inbox_shows_what_waits_for_the_person_and_nothing_else(mia):
    make_user("jon")
    ask("a", title="For Mia", users=["mia"])
    ask("b", title="For Finance", groups=["finance"])
    ask("c", title="For Jon", users=["jon"])
    ask("d", title="For nobody")
    ask_bare()

    response = mia.get("/inbox/")

    assert titles(response) == ["For Mia", "For Finance"]
    assert counts(response) == {
        "answer": 2,
        "mine": 1,
        "groups": 1,
        "unclaimed": 2,
        "waiting": 0,
    }
    assert titles(mia.get("/inbox/?tab=mine")) == ["For Mia"]
    assert titles(mia.get("/inbox/?tab=groups")) == ["For Finance"]


def test_those_who_may_settle_any_also_see_what_names_nobody():
    make_user("jon")
    olga = client_of(make_operator("olga"))
    ask("a", title="For Jon", users=["jon"])
    ask("b", title="For Olga", users=["olga"])
    ask("c", title="For a group with a typo", groups=["finanse"])
    ask_bare("hook/9")

    response = olga.get("/inbox/")

    assert titles(response) == ["For Olga", "For a group with a typo", "hook/9"]
    assert counts(response) == {
        "answer": 3,
        "mine": 1,
        "groups": 0,
        "unclaimed": 3,
        "waiting": 0,
        "unassigned": 2,
        "all": 4,
    }
    assert titles(olga.get("/inbox/?tab=unassigned")) == ["For a group with a typo", "hook/9"]
    assert len(titles(olga.get("/inbox/?tab=all"))) == 4


@pytest.mark.parametrize("tab", ["unassigned", "all", "no-such-tab"])
def test_tab_that_is_not_theirs_is_the_first_one(mia, tab):
    ask("a")

    response = mia.get(f"/inbox/?tab={tab}")

    assert response.context["tab"] == "answer"
    assert titles(response) == []


def test_deadlines_make_the_order_and_the_groups(mia):
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False):
        for promise_id, due in (
            ("none-2", None),
            ("later", "2026-05-21T00:00:00Z"),
            ("today", "2026-05-20T23:59:59Z"),
            ("overdue", "2026-05-20T11:59:59Z"),
            ("none-1", None),
        ):
            ask(promise_id, title=promise_id, users=["mia"], due=due)
    now = 1_779_278_400_000
    shown = [
        (task.pk, bucket_of(task.due_at, now))
        for task in HumanTask.objects.order_by("due_at", "created_at", "pk")
    ]

    assert shown[:3] == [
        ("overdue", Bucket.OVERDUE),
        ("today", Bucket.TODAY),
        ("later", Bucket.LATER),
    ]
    assert {name for name, bucket in shown if bucket is Bucket.NONE} == {"none-1", "none-2"}


def test_groups_are_in_order_of_priority_then_deadline_then_age(mia):
    at = datetime(2026, 5, 20, 12, tzinfo=UTC)
    with time_machine.travel(at, tick=False) as clock:
        for name, hours, priority in (
            ("none, low", None, "low"),
            ("none, old", None, "normal"),
            ("later, normal, soon", 24, "normal"),
            ("later, urgent, not soon", 240, "urgent"),
            ("today, high, soon", 2, "high"),
            ("today, high, not so soon", 3, "high"),
            ("today, normal, soonest", 1, "normal"),
            ("overdue, low", -99, "low"),
            ("overdue, normal", -1, "normal"),
            ("none, young", None, "normal"),
            ("none, urgent", None, "urgent"),
        ):
            clock.shift(1)
            ask(name, title=name, users=["mia"], priority=priority, due=hours and iso(hours))
        response = mia.get("/inbox/")

    assert titles(response) == [
        "overdue, normal",
        "overdue, low",
        "today, high, soon",
        "today, high, not so soon",
        "today, normal, soonest",
        "later, urgent, not soon",
        "later, normal, soon",
        "none, urgent",
        "none, old",
        "none, young",
        "none, low",
    ]
    assert headings(response.text) == ["overdue", "today", "later", "none"]


def test_today_ends_at_midnight_where_the_reader_is():
    noon, at_23_utc = 1_779_278_400_000, 1_779_278_400_000 + 11 * 3_600_000
    with timezone.override("Europe/Vienna"):
        assert bucket_of(at_23_utc, noon) is Bucket.LATER
    with timezone.override("America/New_York"):
        assert bucket_of(at_23_utc, noon) is Bucket.TODAY


def test_cards_say_what_is_needed_to_choose(mia):
    start_run("run-1", "pay_invoice")
    ask(
        "run-1:1",
        tags=child_of("run-1"),
        title="Pay <b>4711</b>",
        facts={"Amount": "4 200 EUR", "Paid": False, "Lines": [1], "Fourth": "unseen"},
        users=["mia"],
        groups=["finance"],
        due=iso(-3.5),
    )

    page = mia.get("/inbox/").text

    assert "Pay &lt;b&gt;4711&lt;/b&gt;" in page
    for text in ("4 200 EUR", "Overdue", "overdue 3 h", "you or finance", "Pay invoice"):
        assert text in page
    assert "unseen" not in page


def test_description_with_a_mistake_is_shown_with_the_path():
    ask("wrong", title="Pay?", facts=[["only one"]])
    olga = client_of(make_user("olga", rights=("settle_any", "override_separation")))

    assert "The description has a mistake" in olga.get("/inbox/").text
    page = olga.get(task_url("wrong")).text
    assert "human_task.facts[0]: must be a pair [label, value]" in page
    assert "Pay?" in page
    assert 'name="value"' in page


@pytest.mark.parametrize(
    "state", [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED]
)
def test_question_leaves_the_list_however_it_is_settled(mia, state):
    ask("a", users=["mia"])
    settle("a", state)

    assert titles(mia.get("/inbox/")) == []
    assert titles(mia.get("/inbox/?tab=done")) == ["Title of a"]


def test_who_asked_finds_it_among_what_others_have_to_answer(mia):
    make_user("jon")
    asker = User.objects.get(username="mia")
    start_run("run-1", by=asker)
    described = {"users": ["jon"], "separation": {"starter": False}}
    ask("run-1:1", tags=child_of("run-1"), title="For Jon", **described)

    response = mia.get("/inbox/")

    assert titles(response) == []
    assert counts(response) == {"answer": 0, "mine": 0, "groups": 0, "unclaimed": 0, "waiting": 1}
    assert titles(mia.get("/inbox/?tab=waiting")) == ["For Jon"]
    assert titles(mia.get("/inbox/?tab=unclaimed")) == []
    assert mia.get("/inbox/changes/?known=0").context["news"] == 0


def test_what_was_voted_on_is_not_shown_to_those_it_is_no_longer_for(mia):
    ask("a", title="Secret", policy={"group": "finance", "count": 2})
    answer(mia, "a")
    assert titles(mia.get("/inbox/?tab=waiting")) == ["Secret"]

    User.objects.get(username="mia").groups.clear()

    assert titles(mia.get("/inbox/?tab=waiting")) == []
    assert counts(mia.get("/inbox/"))["waiting"] == 0


def test_a_week_ends_by_the_calendar():
    # In Vienna clocks are put back on 25 October 2026.
    with timezone.override("Europe/Vienna"):
        now = int(datetime(2026, 10, 20, 10, tzinfo=UTC).timestamp() * 1000)
        end = datetime.fromtimestamp(end_of_day(now, days=7) / 1000, tz=UTC)
    assert end == datetime(2026, 10, 26, 23, tzinfo=UTC)


def test_cards_lead_to_a_page_with_the_same_list(mia):
    ask("a", title="Pay & go", users=["mia"])
    ask("b", users=["mia"])

    page = mia.get("/inbox/?tab=mine&q=Pay+%26").text
    [address] = set(re.findall(r'href="(/inbox/a/[^"]*)"', page))
    question = mia.get(address.replace("&amp;", "&"))

    assert titles(question) == ["Pay &amp; go"]
    assert f'class="inbox-back" href="/inbox/{address.partition("a/")[2]}"' in question.text


def test_expired_question_leaves_the_list_before_the_engine_says_so(mia):
    ask("a", users=["mia"], timeout_at=now_ms() + 50)
    task = HumanTask.objects.get()

    with time_machine.travel((task.promise.timeout_at + 1) / 1000, tick=False):
        assert titles(mia.get("/inbox/")) == []
        assert "Expired without an answer" in mia.get(task_url("a")).text


def test_what_nobody_answered_in_time_is_not_left_to_answer_though_its_timer_is_late(mia):
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False) as clock:
        ask("a", users=["mia"], expires=iso(1))
        ask("b", users=["mia"])
        clock.shift(3600)

        page = mia.get("/inbox/")

        assert titles(page) == titles(mia.get("/inbox/?tab=unclaimed")) == ["Title of b"]
        assert counts(page) == {"answer": 1, "mine": 2, "groups": 0, "unclaimed": 1, "waiting": 0}
        assert "The time to answer has run out." in mia.get(task_url("a")).text
        assert answer(mia, "a").status_code == 403
        answer(mia, "b")
        assert mia.get(task_url("b")).context["panel"].next is None


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
def test_first_and_last_times_there_are_break_no_page(mia, zone):
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
    ask("a", users=["mia"], due=first, follow_up=first)
    ask("b", users=["mia"], due=last, follow_up=last, expires=last)
    user = User.objects.get(username="mia")

    with timezone.override(zone):
        assert headings(mia.get("/inbox/").text) == ["overdue", "later"]
        for promise_id in ("a", "b"):
            assert mia.get(task_url(promise_id)).status_code == 200
        assert len(read_digest(user, []).items) == 2
    assert len(Program(user).get("human-tasks").json()["items"]) == 2


def test_done_shows_how_each_ended_newest_first(mia):
    jon = client_of(make_user("jon", first_name="Jon", groups=("finance",)))
    for promise_id in ("mine", "his", "elsewhere", "withdrawn", "open"):
        ask(promise_id, title=promise_id, groups=["finance"])
    answer(mia, "mine")
    answer(jon, "his", "reject")
    settle("elsewhere")
    settle("withdrawn", PromiseState.REJECTED_CANCELED)

    response = mia.get("/inbox/?tab=done")

    assert set(titles(response)) == {"withdrawn", "elsewhere", "his", "mine"}
    for text in (
        "You approved this",
        "Jon rejected this",
        "Answered elsewhere",
        "Withdrawn",
    ):
        assert text in response.text


def test_done_of_those_who_may_settle_any_is_what_they_answered():
    make_user("jon")
    olga = client_of(make_operator("olga"))
    for promise_id in ("a", "b"):
        ask(promise_id, users=["jon"])
    answer(olga, "a")
    settle("b")

    assert titles(olga.get("/inbox/?tab=done")) == ["Title of a"]


def test_empty_inbox_says_so_and_where_else_to_look(mia):
    assert "Nothing waits for you." in mia.get("/inbox/").text
    assert 'href="/inbox/?tab=done"' in mia.get("/inbox/").text
    ask("a", groups=["finance"])
    page = mia.get("/inbox/?tab=mine").text
    assert "1 question waits for you in another list" in page
    assert "1 question has been taken on by nobody" in page
    page = mia.get("/inbox/?tab=mine&due=today").text
    assert "No question matches." in page
    assert 'href="/inbox/?tab=mine">Clear the filters' in page


def test_empty_inbox_tells_of_what_is_with_others(mia):
    make_user("jon", groups=("finance",))
    ask("a", groups=["finance"])
    client_of(User.objects.get(username="jon")).post(f"{task_url('a')}claim/")
    start_run("run-1", by=User.objects.get(username="mia"))
    ask("run-1:1", tags=child_of("run-1"), users=["jon"])

    page = mia.get("/inbox/").text

    assert "1 question of your groups is with others" in page
    assert "You wait for others with 1 question" in page


@pytest.mark.parametrize("tab", ["waiting", "snoozed", "done", "unassigned"])
def test_every_empty_list_says_what_it_is_for(tab):
    page = client_of(make_operator()).get(f"/inbox/?tab={tab}")

    assert page.context["tab"] == tab
    assert len(re.findall(r'<div class="empty">.*?<p><strong>', page.text, re.DOTALL)) == 1


def test_card_says_who_has_taken_it_on(mia):
    jon = client_of(make_user("jon", first_name="Jon", groups=("finance",)))
    ask("a", groups=["finance"])
    ask("b", groups=["finance"])
    jon.post(f"{task_url('a')}claim/")
    mia.post(f"{task_url('b')}claim/")

    page = mia.get("/inbox/?tab=groups").text

    assert "taken on by Jon" in page
    assert "taken on by you" in page


def test_low_cards_are_a_preference(mia):
    ask("a", users=["mia"])
    assert "is-compact" not in mia.get("/inbox/").text
    mia.post("/preferences/", {"is_compact": "on"})
    assert 'class="cards is-compact"' in mia.get("/inbox/").text


# --- Follow-up ---


def test_follow_up_is_on_the_card_and_a_filter(mia):
    ask("past", title="past", users=["mia"], follow_up=iso(-1))
    ask("coming", title="coming", users=["mia"], follow_up=iso(48))
    ask("without", title="without", users=["mia"])

    page = mia.get("/inbox/").text
    response = mia.get("/inbox/?follow_up=reached")

    assert len(re.findall(r'class="is-reached"', page)) == 1
    assert len(re.findall(r"</svg> Follow-up <time", page)) == 1
    assert titles(response) == ["past"]
    assert "Follow-up: reached" in response.text
    assert len(titles(mia.get("/inbox/?follow_up=other"))) == 3


def test_workflow_stands_in_words_and_is_found_by_them(mia):
    start_run("run", "pay_invoice")
    ask("run:1", title="that", users=["mia"], tags=child_of("run"))
    ask("other", title="other", users=["mia"])

    page = mia.get("/inbox/").text

    assert "<span>Pay invoice</span>" in page
    assert "pay_invoice" not in page
    for name in ("pay_invoice", "Pay invoice", "pay invoice"):
        assert titles(mia.get("/inbox/", {"workflow": name})) == ["that"]


# --- Ticked ---


def test_ticked_questions_are_taken_on_each_by_itself(mia):
    jon = client_of(make_user("jon", first_name="Jon", groups=("finance",)))
    for promise_id in ("a", "b", "his", "over"):
        ask(promise_id, groups=["finance"])
    ask("secret", users=["jon"])
    jon.post(f"{task_url('his')}claim/")
    settle("over")
    ticked = ["a", "b", "a", "his", "over", "secret", "nothing", "x\0"]

    response = mia.post("/answers/claim/?tab=groups", {"task": ticked}, follow=True)

    assert response.redirect_chain == [("/inbox/?tab=groups", 303)]
    said = [str(one) for one in response.context["messages"]]
    assert said[0] == "You took on 2 questions."
    assert "3 were left: It is not there any more." in said
    assert len(said) == 4
    holders = dict(HumanTask.objects.values_list("pk", "claimed_by__username"))
    assert holders == {"a": "mia", "b": "mia", "his": "jon", "over": None, "secret": None}


def test_taking_on_nothing_says_so(mia):
    response = mia.post("/answers/claim/", follow=True)

    assert [str(one) for one in response.context["messages"]] == ["Tick some questions first."]
    assert mia.get("/answers/claim/").status_code == 405


def test_too_many_are_not_taken_on_at_once(mia):
    ids = [f"x{place}" for place in range(MOST + 1)]

    response = mia.post("/answers/claim/", {"task": ids}, follow=True)

    said = [str(one) for one in response.context["messages"]]
    assert f"1 was left: Take on {MOST} at most at a time." in said


def test_ticks_of_one_kind_have_one_mark(mia):
    ask("a", users=["mia"], type="invoice")
    ask("b", users=["mia"], type="invoice", facts={"Amount": 1})
    ask("c", users=["mia"], type="offer")
    ask("d", users=["mia"], type="invoice", answers=["approve", "rework"])

    marks = re.findall(r'value="(\w)" form="bulk" data-tick="(\w+)"', mia.get("/inbox/").text)

    by_id = dict(marks)
    assert by_id["a"] == by_id["b"]
    assert len(set(by_id.values())) == 3


# --- Pages of a long list ---


def ask_many(number, **description):
    for place in range(number):
        ask(f"q-{place:03}", title=f"q-{place:03}", **description)


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("due", [None, "2030-01-01T00:00:00Z"])
def test_more_follows_without_gap_or_repetition_while_the_list_changes(mia, headers, due):
    ask_many(2 * PAGE_SIZE + 3, users=["mia"], due=due)

    seen, url = [], "/inbox/"
    while url:
        response = mia.get(url, headers=headers if seen else {})
        seen += titles(response)
        settle("q-000")
        more = response.context["page"].next
        url = f"/inbox/?tab=answer&after={more}" if more else ""

    assert seen == [f"q-{place:03}" for place in range(2 * PAGE_SIZE + 3)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_of_any_size_make_the_same_list_while_others_come_and_go(mia, size, monkeypatch):
    with time_machine.travel(datetime(2026, 5, 20, 12, tzinfo=UTC), tick=False) as clock:
        dues = (None, -30, -2, 1, 3, 30, 300)
        for place in range(21):
            hours, priority = dues[place % 7], ("low", "normal", "urgent")[place % 3]
            text = f"q-{place:02}"
            ask(text, title=text, users=["mia"], priority=priority, due=hours and iso(hours))
        whole = titles(mia.get("/inbox/"))
        user = User.objects.get(username="mia")
        seen, after = [], None
        while after is not None or not seen:
            page = read_page(user, Tab.ANSWER, now_ms(), after=after, limit=size)
            seen += [card.task.title for card in page.cards]
            after = Cursor.decode(page.next) if page.next else None
            # What comes before is not shown again; nor does a deadline that passes move anything.
            ask(f"new-{len(seen)}", title="new", users=["mia"], priority="urgent", due=iso(-100))
            settle(seen[0])
            clock.shift(3600)

    assert len(whole) == 21
    assert seen == whole


def test_more_goes_on_as_the_list_began(mia):
    with time_machine.travel(datetime(2026, 5, 20, 23, 50, tzinfo=UTC), tick=False) as clock:
        ask_many(PAGE_SIZE + 1, users=["mia"], due="2026-05-21T10:00:00Z")
        more = mia.get("/inbox/").context["page"].next
        clock.shift(3600)
        rest = mia.get(f"/inbox/?after={more}", headers=HTMX)

    assert titles(rest) == [f"q-{PAGE_SIZE:03}"]
    assert "<h2>" not in rest.text


def test_next_question_is_the_next_of_the_list(mia):
    ask("a", title="a", users=["mia"])
    ask("b", title="b", users=["mia"], priority="urgent")
    ask("c", title="c", users=["mia"], due=iso(2))
    ask("d", title="d", users=["mia"], due=iso(2), priority="high")
    assert titles(mia.get("/inbox/")) == ["d", "c", "b", "a"]

    nexts = []
    for promise_id in ("c", "b", "d", "a"):
        answer(mia, promise_id)
        following = mia.get(task_url(promise_id)).context["panel"].next
        nexts.append(following and following.pk)

    assert nexts == ["b", "a", "a", None]


def test_next_question_is_of_the_list_that_one_came_from(mia):
    for name, kind in (("a", "offer"), ("b", "invoice"), ("c", "offer"), ("d", "offer")):
        ask(name, title=name, users=["mia"], type=kind)
    ask("taken", title="taken", users=["mia", "jon"], type="offer")
    client_of(make_user("jon")).post(f"{task_url('taken')}claim/")
    listed = "?tab=mine&type=offer"
    suffix = listed.replace("&", "&amp;")
    page = mia.get(f"{task_url('a')}{listed}").text
    assert f'action="{task_url("a")}decide/{suffix}"' in page
    assert f'action="{task_url("a")}claim/{suffix}"' in page

    sent = mia.post(f"{task_url('a')}decide/{listed}", {"answer": "approve"})
    assert sent["Location"] == f"{task_url('a')}{listed}"
    page = mia.get(sent["Location"]).text
    assert f'href="{task_url("c")}{suffix}"' in page
    assert titles(mia.get(sent["Location"])) == ["c", "d", "taken"]
    part = mia.post(f"{task_url('c')}decide/{listed}", {"answer": "approve"}, headers=HTMX).text
    assert f'href="{task_url("d")}{suffix}"' in part
    part = mia.post(f"{task_url('d')}decide/{listed}", {"answer": "approve"}, headers=HTMX).text
    assert "That was the last one of this list." in part
    mia.post("/preferences/", {"advances": "on"})
    ask("e", title="e", users=["mia"], type="offer")
    ask("f", title="f", users=["mia"], type="offer")
    sent = mia.post(f"{task_url('e')}decide/{listed}", {"answer": "approve"})
    assert sent["Location"] == f"{task_url('f')}{listed}"
    kept = mia.post(f"{task_url('f')}snooze/{listed}", {"pause": "hour"})
    assert kept["Location"] == f"/inbox/{listed}"


@pytest.mark.parametrize("tab", ["waiting", "done", "snoozed"])
def test_from_a_list_of_others_the_next_question_is_of_those_to_answer(mia, tab):
    ask("a", users=["mia"])
    ask("b", users=["mia"])

    mia.post(f"{task_url('a')}decide/?tab={tab}", {"answer": "approve"})

    assert mia.get(f"{task_url('a')}?tab={tab}").context["panel"].next.pk == "b"


def test_button_for_all_says_how_many_they_are(mia):
    ask_many(PAGE_SIZE + 2, users=["mia", "jon"])
    ask("other", users=["mia"], type="offer")
    jon = client_of(make_user("jon"))
    jon.post(f"{task_url('q-000')}claim/")

    for query, count in (
        ("", PAGE_SIZE + 2),
        ("?tab=mine", PAGE_SIZE + 2),
        ("?tab=unclaimed", PAGE_SIZE + 2),
        ("?tab=mine&q=q-", PAGE_SIZE + 1),
    ):
        assert f"All {count} that match…" in mia.get(f"/inbox/{query}").text
    assert "that match…" not in mia.get("/inbox/?type=offer").text


def test_long_context_is_folded_and_the_address_can_be_copied(mia):
    ask("short", users=["mia"], context="a\n" * 20)
    for name, context in (("lines", "a\n" * 21), ("long", "b" * 2000)):
        ask(name, users=["mia"], context=context)
        assert "Show all" in mia.get(task_url(name)).text

    page = mia.get(task_url("short")).text
    assert "Show all" not in page
    assert 'data-copy-text="http://testserver/inbox/short/"' in page


def test_more_of_what_is_done(mia):
    ask_many(PAGE_SIZE + 2, users=["mia"])
    for place in range(PAGE_SIZE + 2):
        settle(f"q-{place:03}")

    first = mia.get("/inbox/?tab=done")
    rest = mia.get(f"/inbox/?tab=done&after={first.context['page'].next}")

    assert len(titles(first)) == PAGE_SIZE
    assert len(set(titles(first)) | set(titles(rest))) == PAGE_SIZE + 2


def test_group_goes_on_without_a_second_heading(mia):
    ask_many(PAGE_SIZE + 1, users=["mia"])
    more = mia.get("/inbox/").context["page"].next

    fragment = mia.get(f"/inbox/?after={more}", headers=HTMX).text

    assert "<html" not in fragment
    assert "<h2>" not in fragment


def packed(*keys):
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "bm8=", "W10=", "é", "[1,2]"),
        packed(1, 2, 3),
        packed(1, 2, 3, 4, 5),
        packed(1, 2, 3, "a"),
        packed(1, 0, 0, 0, "\0"),
        packed(1, 0, 0, 0, "\ud800"),
        base64.urlsafe_b64encode(b"[" * 20_000).decode(),
        packed(-1, 0, 0, 0, "a"),
        packed(2**60, 0, 0, 0, "a"),
        packed(1, 0, 2**63, 0, "a"),
        packed(1, True, 0, 0, "a"),
    ],
)
def test_cursor_that_was_not_made_here_is_none(mia, text):
    ask("a", users=["mia"])

    assert Cursor.decode(text) is None
    assert titles(mia.get("/inbox/", {"after": text})) == ["Title of a"]
    more = mia.get("/inbox/", {"after": text, "q": "a"}, headers=HTMX)
    assert more["HX-Redirect"] == "/inbox/?tab=answer&q=a"


def test_cursor_survives_any_id():
    cursor = Cursor(17, 1, -1, NO_DUE, 18, "a/ü~\n")

    assert Cursor.decode(cursor.encode()) == cursor


# --- Queries ---


@pytest.mark.parametrize("tab", ["answer", "mine", "groups", "done"])
def test_first_page_takes_six_queries_at_most(mia, django_assert_max_num_queries, tab):
    ask_many(20, users=["mia"], groups=["finance"], due=iso(3))
    for place in range(10):
        answer(mia, f"q-{place:03}")

    with django_assert_max_num_queries(6):
        response = mia.get(f"/inbox/?tab={tab}")
    assert len(titles(response)) == 10


def test_operators_take_no_more(django_assert_max_num_queries):
    olga = client_of(make_operator())
    ask_many(20)

    with django_assert_max_num_queries(6):
        assert len(titles(olga.get("/inbox/"))) == 20


# --- Fresh without a reload ---


def slot(client, page, **extra):
    """What the list's slot fetches, for a page that was shown."""
    context = page.context
    query = {
        "tab": context["tab"].value,
        "since": context["now"],
        "known": context["counts"].recent,
        "empty": "0" if context["page"].cards else "1",
    }
    return client.get("/inbox/changes/", query | extra, headers=HTMX)


def test_nothing_new_is_an_empty_slot(mia):
    ask("a", users=["mia"])
    page = mia.get("/inbox/")

    response = slot(mia, page)

    assert response.context["news"] == 0
    assert "new question" not in response.text


def test_new_questions_are_counted_and_not_put_into_the_list(mia):
    ask("old", users=["mia"])
    page = mia.get("/inbox/")
    ask("new-1", users=["mia"])
    ask("new-2", groups=["finance"])
    ask("new-3")

    response = slot(mia, page)

    assert "Show 2 new questions" in response.text
    assert titles(response) == []
    assert counts(response)["answer"] == 3


def test_news_of_a_filtered_list_is_what_matches_and_leads_back_to_it(mia):
    ask("old", users=["mia"], type="invoice")
    page = mia.get("/inbox/?type=invoice")
    ask("new-1", users=["mia"], type="offer")
    assert slot(mia, page, type="invoice").context["news"] == 0
    ask("new-2", users=["mia"], type="invoice")
    ask("late", users=["mia"], type="offer")
    HumanTask.objects.filter(pk="late").update(created_at=page.context["now"] - 200)

    response = slot(mia, page, type="invoice")

    assert "Show 1 new question<" in response.text
    assert 'href="/inbox/?tab=answer&amp;type=invoice"' in response.text
    assert "/inbox/changes/?tab=answer&amp;type=invoice&amp;since=" in page.text


def test_question_asked_before_the_page_and_committed_after_it_is_news(mia):
    page = mia.get("/inbox/")
    ask("late", users=["mia"])
    HumanTask.objects.update(created_at=page.context["now"] - 200)

    assert slot(mia, page).context["news"] == 1


def test_new_question_that_is_already_answered_is_no_news(mia):
    ask("old", users=["mia"])
    page = mia.get("/inbox/")
    ask("new", users=["mia"])
    settle("new")
    settle("old")

    assert slot(mia, page).context["news"] == 0


def test_empty_list_fills_itself(mia):
    page = mia.get("/inbox/")
    ask("a", users=["mia"])

    response = slot(mia, page)

    assert 'hx-trigger="load"' in response.text
    assert 'hx-select="#inbox-list"' in response.text


def test_what_was_answered_elsewhere_is_greyed_in_place(mia):
    ask("a", users=["mia"])
    page = mia.get("/inbox/")
    settle("a")

    response = slot(mia, page)

    assert 'id="card-a" hx-swap-oob="outerMorph"' in response.text
    assert "Answered elsewhere" in response.text


def test_changes_tell_nothing_of_what_is_not_for_the_reader(mia):
    make_user("jon")
    page = mia.get("/inbox/")
    ask("secret", title="Secret", users=["jon"])
    settle("secret")

    assert "Secret" not in slot(mia, page).text
    assert settled_since(make_user("eve"), now_ms(), 0) == []


@pytest.mark.parametrize("wrong", ["", "x", "-1", "9" * 40, "²"])
def test_changes_bear_any_number(mia, wrong):
    assert mia.get("/inbox/changes/", {"since": wrong, "known": wrong}).status_code == 200


def test_open_form_is_told_when_it_is_over(mia):
    ask("a", users=["mia", "jon"])
    jon = client_of(make_user("jon", first_name="Jon"))
    assert mia.get(f"{task_url('a')}state/", headers=HTMX).status_code == 204
    answer(jon, "a")

    assert "Jon approved this" in mia.get(f"{task_url('a')}state/", headers=HTMX).text


def test_polls_take_six_queries_at_most(mia, django_assert_max_num_queries):
    ask_many(3, users=["mia"])
    page = mia.get("/inbox/")
    settle("q-000")

    with django_assert_max_num_queries(6):
        slot(mia, page)
    with django_assert_max_num_queries(5):
        mia.get("/inbox/badge/")


def test_badge_counts_what_waits(mia):
    assert "hidden" in mia.get("/inbox/badge/").text
    ask("a", users=["mia"])
    ask("b", groups=["finance"])
    ask("c")

    badge = mia.get("/inbox/badge/").text

    assert ">2<span" in badge
    assert " hidden" not in badge


# --- For other pages ---


def test_deciders_of_names_people_and_groups(mia):
    make_user("jon")
    make_user("long", first_name="Long", last_name="Name")
    ask("a", users=["mia"], groups=["finance"])
    ask("b", users=["jon", "long", "ghost"], groups=["finance"])
    ask("c")

    assert deciders_of(["a", "b", "c"]) == {
        "a": "Mia or finance",
        "b": "jon, Long Name or 2 others",
    }
    assert deciders_of([]) == {}


@pytest.mark.parametrize(
    ("people", "phrase"),
    [
        ([], ""),
        (["Mia"], "Mia"),
        (["Mia", "Jon"], "Mia or Jon"),
        (["Mia", "Jon", "Eve"], "Mia, Jon or Eve"),
        (["Mia", "Jon", "Eve", "Ann"], "Mia, Jon or 2 others"),
    ],
)
def test_names_make_one_phrase(people, phrase):
    assert join_names(people) == phrase
