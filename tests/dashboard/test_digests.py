"""One message at set hours in place of one a question: sent by executions, once, whatever stops."""

import datetime as dt
import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

import durable
from dashboard.answering import Actor
from dashboard.channels import digests
from dashboard.channels.announcing import announce
from dashboard.channels.base import ChannelError
from dashboard.channels.digest_contents import MAX_ITEMS
from dashboard.channels.receivers import resume_digests
from dashboard.delegations import delegate
from dashboard.masking import MASK
from dashboard.models import Message, MessageEvent, NotificationPreference
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import HOUR_MS, answer, ask, client_of, make_user, unpack
from tests.dashboard.test_channels_mail import html_of, links_in, text_of
from tests.dashboard.timed import START, Days, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.once,
    pytest.mark.usefixtures("mail_is_on"),
]
BASE = "https://signoff.example.com"
PAGE = "/account/notifications/"
MIA = "mia@example.com"


@pytest.fixture
def mia(days: Days) -> User:
    return make_user("mia", groups=("Finance",), email=MIA)


def iso(hours: float) -> str:
    return dt.datetime.fromtimestamp((START + hours * HOUR_MS) / 1000, tz=dt.UTC).isoformat()


def preference() -> NotificationPreference:
    return NotificationPreference.objects.get()


def pending() -> list[str]:
    found = Promise.objects.filter(function=digests.FUNCTION, state=PromiseState.PENDING)
    return [one.pk for one in found if one.pk == one.origin]


def begun(before: str) -> None:
    """Wait until the digest after this one waits."""
    until(lambda: preference().digest_execution != before, "the next digest")


def send(user: User, channel: str = "mail") -> int:
    """Send what is due at any time, past the clock."""
    digests.choose(user, channel, [8])
    one = NotificationPreference.objects.get(user=user)
    return digests.send(one.pk, one.digest_execution)


def test_all_that_waits_comes_at_the_hours_chosen(server, days, mia):
    made = client_of(mia).post(
        PAGE, {"channel": "mail", "mail-way": "digest", "mail-hours": ["8", "17"]}, follow=True
    )
    assert "Saved." in made.text
    ask("later", title="Later", users=["mia"], due=iso(100))
    ask("late", title="Late", users=["mia"], due=iso(-1), facts={"Amount": "5 EUR"})
    ask("never", title="Never", groups=["Finance"])
    ask("today", title="Today", users=["mia"], due=iso(3))
    ask("others", title="Others", users=["jon"])
    assert announce("late") == 0
    days.work()
    first = preference().digest_execution

    days.pass_hours(1)
    [mail] = server.wait_for(1)
    begun(first)
    text, html = text_of(mail), html_of(mail)
    assert mail["To"] == MIA
    assert mail["Subject"] == "4 questions wait for you, 1 overdue"
    for part in (text, html):
        order = ["Overdue", "Late", "Due today", "Today", "Later", "No deadline", "Never"]
        assert re.search(".*".join(order), part, re.DOTALL)
        assert "Amount: 5 EUR" in part
        assert "overdue since 06:06" in part
        assert "Others" not in part
    assert "\n\n\n" not in text
    assert f"{BASE}/inbox/late/" in links_in(html)
    assert Promise.objects.get(pk="late").state == PromiseState.PENDING

    for one in ("later", "late", "never"):
        assert answer(client_of(mia), one).status_code == 303
    second = preference().digest_execution
    days.pass_hours(9)
    begun(second)
    assert [one["Subject"] for one in server.mails][1:] == ["1 question waits for you, 1 overdue"]
    answer(client_of(mia), "today")
    third = preference().digest_execution
    days.pass_hours(15)
    begun(third)
    assert len(server.mails) == 2
    assert not Message.objects.exists()


def test_it_survives_restarts_and_comes_once(server, days, mia):
    digests.choose(mia, "mail", [8])
    ask("q", users=["mia"])
    days.work()
    days.pass_hours(0.5)
    days.rest()
    first = preference().digest_execution

    days.pass_hours(3 * 24)
    assert server.mails == []
    days.work()
    begun(first)
    days.rest()
    days.work()
    days.pass_hours(0.1)

    assert len(server.mails) == 1
    assert server.mails[0]["Message-ID"].endswith("@signoff.example.com>")
    assert pending() == [preference().digest_execution]


def test_a_change_takes_the_place_of_what_was(server, days, mia):
    digests.choose(mia, "mail", [8])
    ask("q", users=["mia"])
    old = preference().digest_execution
    digests.choose(mia, "mail", [12])
    assert pending() == [preference().digest_execution] != [old]
    assert digests.send(preference().pk, old) == 0
    with transaction.atomic():
        assert not digests.go_on(preference().pk, old)
    days.work()

    days.pass_hours(2)
    assert server.mails == []
    digests.choose(mia, "mail", [])
    days.pass_hours(24)
    assert server.mails == []
    assert pending() == []
    assert announce("q") == 1


def test_what_somebody_else_cancelled_is_begun_anew(days, mia):
    digests.choose(mia, "mail", [8])
    resume_digests(using="default")
    first = preference().digest_execution
    assert pending() == [first]

    durable.cancel(first)
    resume_digests(using="default")

    assert pending() == [preference().digest_execution] != [first]


def test_a_server_that_is_away_is_tried_again(server, days, mia, settings):
    ask("q", users=["mia"])
    server.refused[MIA] = 451

    with pytest.raises(ChannelError):
        send(mia)
    server.refused.clear()
    assert send(mia) == 1


def test_an_address_that_is_refused_keeps_nothing_back(server, days, mia):
    digests.choose(mia, "mail", [8])
    ask("q", users=["mia"])
    server.refused[MIA] = 550
    first = preference().digest_execution
    days.work()

    days.pass_hours(1)
    begun(first)
    assert server.mails == []


def test_one_attempt_after_another_is_the_same_mail(server, days, mia):
    ask("q", users=["mia"])
    digests.choose(mia, "mail", [8])
    one = preference()

    digests.send(one.pk, one.digest_execution)
    digests.send(one.pk, one.digest_execution)

    first, second = server.mails
    assert first["Message-ID"] == second["Message-ID"]


def test_nothing_secret_leaves(server, days, mia):
    facts = {"Account": "DE44", "Amount": "5 EUR"}
    ask("q", title="Pay Acme", users=["mia"], facts=facts, secrets=["/title", "/facts/Account"])

    assert send(mia) == 1
    for part in (text_of(server.mails[0]), html_of(server.mails[0])):
        assert "DE44" not in part
        assert "Acme" not in part
        assert MASK in part
        assert "5 EUR" in part


def test_with_links_each_question_has_one(server, days, mia, settings):
    settings.SIGNOFF_LINKS = "bound"
    ask("q", users=["mia"])

    send(mia)
    [url] = [one for one in links_in(html_of(server.mails[0])) if "/link/" in one]
    assert url in text_of(server.mails[0])
    assert Client().post(urlsplit(url).path, {"answer": "approve"}).status_code == 303


def test_it_says_for_whom(server, days, mia):
    jon = make_user("jon", first_name="Jon", last_name="Berg")
    delegate(Actor(jon), mia, starts_at=START - 1, ends_at=START + HOUR_MS)
    ask("his", title="His", users=["jon"])
    ask("hers", title="Hers", users=["mia"])

    assert send(mia) == 2
    text = text_of(server.mails[0])
    assert "* His (for Jon Berg)\n" in text
    assert "* Hers\n" in text


def test_there_is_an_end_to_it(server, days, mia):
    for number in range(MAX_ITEMS + 1):
        ask(f"q{number}", users=["mia"])

    assert send(mia) == MAX_ITEMS + 1
    assert "And 1 more." in text_of(server.mails[0])


def test_what_others_answer_first_is_left_out(server, days, mia):
    make_user("ann")
    ask("q", policy={"stages": [{"user": "ann"}, {"user": "mia"}]})
    ask("r", policy={"all_of": [{"user": "ann"}, {"user": "mia"}]})

    assert send(mia) == 1
    [mail] = server.mails
    assert "1 question waits for you" in mail["Subject"]


def test_what_is_muted_or_for_nobody_by_name_is_left_out(server, days, mia):
    boss = make_user("boss", rights=("settle_any",), email="boss@example.com")
    ask("muted", title="Muted", users=["mia"], type="invoice")
    ask("other", title="Other", users=["mia"], type="offer")
    ask("nobody", title="Nobody")
    mia_wants = NotificationPreference.objects.create(user=mia, channel="mail")
    mia_wants.muted_types = ["invoice"]
    mia_wants.save()

    assert (send(mia), send(boss)) == (1, 0)
    assert "Muted" not in text_of(server.mails[0])


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"email": ""}], ids=["inactive", "without address"]
)
def test_who_cannot_get_it_gets_none(server, days, mia, change):
    ask("q", users=["mia"])
    User.objects.filter(pk=mia.pk).update(**change)

    send(mia)
    assert server.mails == []


def test_a_channel_that_was_closed_sends_none(server, days, mia, settings):
    ask("q", users=["mia"])
    settings.SIGNOFF_CHANNELS = []

    assert send(mia) == 0


def test_what_escalates_does_not_wait(server, days, mia):
    digests.choose(mia, "mail", [8])
    ask("q", users=["mia"])

    assert announce("q", MessageEvent.REMINDED, "1") == 0
    assert announce("q", MessageEvent.ESCALATED, "2", {"users": ["mia"]}) == 1


def test_its_link_ends_it_with_one_click(server, days, mia):
    ask("q", users=["mia"])
    send(mia)
    mail = server.mails[0]
    url = mail["List-Unsubscribe"].strip("<>")
    assert url in links_in(html_of(mail))
    robot = Client(enforce_csrf_checks=True)
    page = robot.get(urlsplit(url).path).text
    assert "You get mails about questions." in page
    assert not preference().is_off

    assert robot.post(urlsplit(url).path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert preference().is_off
    assert digests.send(preference().pk, preference().digest_execution) == 0
    assert announce("q") == 0


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "hours", "expected"),
    [
        ("2026-06-01T07:59", [8, 17], "2026-06-01T08:00"),
        ("2026-06-01T08:00", [8, 17], "2026-06-01T17:00"),
        ("2026-06-01T17:00", [8, 17], "2026-06-02T08:00"),
        ("2026-03-28T02:30", [2], "2026-03-29T03:00"),  # there is no 2:00 on that day
        ("2026-03-29T01:59", [2, 3], "2026-03-29T03:00"),
        ("2026-10-25T01:00", [2], "2026-10-25T02:00"),
    ],
)
def test_the_next_hour_by_the_readers_clock(now, hours, expected):
    after = int(dt.datetime.fromisoformat(now).replace(tzinfo=BERLIN).timestamp() * 1000)

    found = digests.next_at(hours, after, BERLIN)

    local = dt.datetime.fromtimestamp(found / 1000, tz=BERLIN)
    assert local.isoformat(timespec="minutes").startswith(expected)


def test_the_hour_that_comes_twice_counts_once():
    first = dt.datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN)

    found = digests.next_at([2], int(first.timestamp() * 1000), BERLIN)

    assert dt.datetime.fromtimestamp(found / 1000, tz=BERLIN).day == 26


def test_the_page_changes_all_of_it(days, mia):
    browser = client_of(mia)
    NotificationPreference.objects.create(
        user=mia, channel="mail", muted_types=["invoice", "offer"]
    )
    assert "invoice" in browser.get(PAGE).text
    assert MIA in browser.get(PAGE).text

    given = {"channel": "mail", "mail-way": "digest", "mail-hours": ["7"], "mail-muted": "offer"}
    assert browser.post(PAGE, given).status_code == 303
    one = preference()
    assert (one.digest_hours, one.muted_types, one.is_off) == ([7], ["offer"], False)
    assert browser.post(PAGE, {"channel": "mail", "mail-way": "none"}).status_code == 303
    one = preference()
    assert (one.digest_hours, one.digest_execution, one.is_off) == ([], "", True)
    assert browser.post(PAGE, {"channel": "mail", "mail-way": "each"}).status_code == 303
    assert not preference().is_off
    assert pending() == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"mail-way": "digest"}, "Choose at least one hour."),
        ({"mail-way": "digest", "mail-hours": "24"}, "24 is not one of the available choices"),
        ({}, "This field is required."),
    ],
)
def test_the_page_says_what_is_wrong(days, mia, given, sentence):
    response = client_of(mia).post(PAGE, {"channel": "mail", **given})

    assert response.status_code == 422
    assert sentence in response.text
    assert not NotificationPreference.objects.exists()


def test_the_page_is_for_people_and_for_channels_that_are(days, mia, settings):
    assert Client().get(PAGE).status_code == 302
    assert client_of(mia).post(PAGE, {"channel": "fax"}).status_code == 404
    settings.SIGNOFF_CHANNELS = []
    assert "sends no mails" in client_of(mia).get(PAGE).text


def test_the_menu_leads_there(days, mia, settings):
    text = client_of(mia).get("/inbox/").text
    assert f'href="{PAGE}"' in text
    assert "/account/slack/" not in text
    settings.SIGNOFF_CHANNELS = [
        {"channel": "slack", "token": "x", "signing_secret": "s", "room": "#all"}
    ]
    assert 'href="/account/slack/"' in client_of(mia).get("/inbox/").text
    assert now_ms() == START


def test_a_clock_that_is_behind_makes_no_second_digest_of_an_hour(days, mia):
    """The timer fires by the database's clock, which may be ahead of a worker's."""
    digests.choose(mia, "mail", [8])
    first = preference()
    at = unpack(Promise.objects.get(pk=first.digest_execution).param_data)["args"][1]

    with transaction.atomic():
        assert digests.go_on(first.pk, first.digest_execution, at)
    second = Promise.objects.get(pk=preference().digest_execution)
    assert unpack(second.param_data)["args"][1] == at + 24 * HOUR_MS
