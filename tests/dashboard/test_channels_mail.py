"""Mails as a mail server gets them: what they say, where they lead, how they hang together."""

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from dashboard.channels.announcing import MAX_ATTEMPTS, UnsentError, announce, conclude
from dashboard.channels.mail import MAX_SUBJECT
from dashboard.channels.muting import Muting
from dashboard.masking import MASK
from dashboard.models import Delegation, Message, MessageEvent, NotificationPreference
from dashboard.project.mailers import mailer_from_url
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    child_of,
    client_of,
    make_user,
    settle,
    start_run,
    task_url,
)

pytestmark = [pytest.mark.usefixtures("mail_is_on"), pytest.mark.once]

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
INVOICE = {
    "title": "Pay invoice 4711 to Acme",
    "question": "Jon asks to pay 4 200.00 EUR.",
    "consequence": "Approving sends the money at once.",
    "facts": {"Amount": "4 200.00 EUR", "Requested by": "Jon", "Urgent": True},
    "groups": ["Finance"],
    "due": "2026-11-26T16:00:00Z",
}


@pytest.fixture
def mia(db) -> User:
    return make_user("mia", groups=("Finance",), email="mia@example.com", first_name="Mia")


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return part.get_content().replace("\r\n", "\n")


def html_of(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return part.get_content().replace("\r\n", "\n")


def links_in(html: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', html)]


def told(event: str = "outcome") -> list[str]:
    return list(Message.objects.filter(event=event).values_list("address", flat=True))


@time_machine.travel(NOON, tick=False)
def test_a_mail_says_all_in_both_parts(server, mia):
    ask("q", **INVOICE)

    assert announce("q") == 1
    [mail] = server.mails
    assert mail["Subject"] == "[Finance] Approve: Pay invoice 4711 to Acme, due today 16:00"
    assert mail["From"] == "Signoff <signoff@example.com>"
    assert mail["To"] == "mia@example.com"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = text_of(mail), html_of(mail)
    assert text.startswith("Jon asks to pay 4 200.00 EUR. Approving sends the money at once.\n")
    for part in (text, html):
        for said in ("4 200.00 EUR", "Requested by", "Jon", "yes", "Due today 16:00", "Finance"):
            assert said in part
        assert "Why am I getting this? You may answer this question as a member of Finance." in part
    assert "\n\n\n" not in text


def test_buttons_lead_to_pages_that_only_show(server, mia):
    ask("q", **INVOICE)
    announce("q")
    [mail] = server.mails
    buttons = [link for link in links_in(html_of(mail)) if "answer=" in link]

    assert [parse_qs(urlsplit(link).query)["answer"] for link in buttons] == [
        ["approve"],
        ["reject"],
    ]
    assert all(link in text_of(mail) for link in buttons)
    for link in links_in(html_of(mail)):
        assert link.startswith("https://signoff.example.com/")
        url = link.removeprefix("https://signoff.example.com")
        assert client_of(mia).get(url).status_code == 200
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING
    assert not NotificationPreference.objects.exists()


def test_headers_keep_robots_quiet_and_let_people_leave(server, mia):
    ask("q", **INVOICE)
    announce("q")
    [mail] = server.mails

    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Language"] == "en"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert re.fullmatch(r"<[0-9a-f]{32}@signoff\.example\.com>", mail["Message-ID"])
    url = mail["List-Unsubscribe"].strip("<>").removeprefix("https://signoff.example.com")

    # As a mail program posts: no cookies, no token of ours.
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(url, {"List-Unsubscribe": "One-Click"}).status_code == 200
    ask("q2", **INVOICE)
    assert announce("q2") == 0
    assert len(server.mails) == 1


def test_without_https_nobody_is_offered_one_click(server, mia, settings):
    settings.SIGNOFF_BASE_URL = "http://localhost:8001"
    ask("q", **INVOICE)
    announce("q")

    assert server.mails[0]["List-Unsubscribe"] is None


def test_reminder_and_outcome_stay_in_one_conversation(server, mia):
    make_user("jon", groups=("Finance",), email="jon@example.com")
    ask("q", **INVOICE)
    announce("q")
    announce("q", MessageEvent.REMINDED, "remind-1")
    announce("q", MessageEvent.REMINDED, "remind-2")
    assert answer(client_of(mia), "q", comment="Looks right").status_code == 303
    conclude("q")

    first, one, two, end = server.to("jon@example.com")
    for later in (one, two, end):
        assert later["In-Reply-To"] == later["References"] == first["Message-ID"]
        assert later["Subject"] == f"Re: {first['Subject']}"
    assert len({mail["Message-ID"] for mail in server.mails}) == len(server.mails) == 8
    assert text_of(one).startswith("A reminder: this still waits for an answer.\n")
    assert re.match(r"Approved by Mia, \d\d:\d\d: nothing left to do\n", text_of(end))
    assert "Looks right" in text_of(end)
    assert "answer=" not in html_of(end)
    assert not Message.objects.filter(outcome_shown_at=None).exists()


@pytest.mark.parametrize("act", [announce, conclude])
def test_what_was_sent_is_not_sent_again(server, mia, act):
    ask("q", **INVOICE)
    announce("q")
    if act is conclude:
        settle("q")
        conclude("q")
    before = len(server.mails)

    act("q")
    act("q")
    assert len(server.mails) == before


def test_nobody_is_asked_what_is_over_already(server, mia):
    ask("q", **INVOICE)
    settle("q")

    assert announce("q") == 0
    assert server.mails == []


def test_undescribed_waits_and_unknown_ids_are_told_to_nobody(server, mia):
    ask_bare("bare")

    assert announce("bare") == announce("unknown") == conclude("unknown") == 0
    assert server.mails == []


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (PromiseState.REJECTED_CANCELED, "Withdrawn, "),
        (PromiseState.REJECTED, "Rejected elsewhere, "),
        (PromiseState.RESOLVED, "Answered elsewhere, "),
    ],
)
def test_the_outcome_says_how_it_ended(server, mia, state, sentence):
    ask("q", **INVOICE)
    announce("q")
    settle("q", state)
    conclude("q")

    assert text_of(server.mails[-1]).startswith(sentence)


def test_an_expired_question_says_so(server, mia):
    noon = NOON.replace(year=2100)  # on PostgreSQL the server's clock counts as well
    with time_machine.travel(noon, tick=False) as clock:
        ask("q", timeout_at=int(noon.timestamp() * 1000) + 60_000, **INVOICE)
        announce("q")
        clock.shift(120)
        conclude("q")

    assert text_of(server.mails[-1]).startswith("Expired without an answer, 12:01")
    assert told("expired") == ["mia@example.com"]


def test_everybody_reads_their_own_language_and_time(server, settings, db):
    # Django's user model has neither; any of its columns will do here.
    settings.SIGNOFF_USER_LANGUAGE = "first_name"
    settings.SIGNOFF_USER_TIME_ZONE = "last_name"
    for name, language, zone in (
        ("karl", "de", "Europe/Berlin"),
        ("ann", "en", "America/New_York"),
        ("odd", "xx", "Mars/Olympus"),
    ):
        address = f"{name}@example.com"
        fields = {"first_name": language, "last_name": zone, "email": address}
        make_user(name, groups=("Finance",), **fields)
    with time_machine.travel(NOON, tick=False):
        ask("q", **INVOICE | {"due": "2026-12-03T16:00:00Z"})
        announce("q")

    [karl], [ann], [odd] = (server.to(f"{name}@example.com") for name in ("karl", "ann", "odd"))
    assert karl["Content-Language"] == "de"
    assert '<html lang="de"' in html_of(karl)
    assert karl["Subject"].endswith("fällig am 3. Dezember 2026 17:00")
    assert "Genehmigen: https://" in text_of(karl)
    assert "Warum bekomme ich das?" in text_of(karl)
    assert ann["Subject"].endswith("due Dec. 3, 2026 11:00")
    assert odd["Content-Language"] == "en"
    assert odd["Subject"].endswith("due Dec. 3, 2026 16:00")


def test_the_site_speaks_german(server, mia, settings):
    settings.LANGUAGE_CODE = "de"
    settings.TIME_ZONE = "Europe/Berlin"
    with time_machine.travel(NOON, tick=False):
        ask("q", **INVOICE)
        announce("q")
        answer(client_of(mia), "q")
        conclude("q")

    asked, end = server.mails
    assert asked["Subject"].endswith("fällig heute 17:00")
    first_line = text_of(end).partition("\n")[0]
    assert re.fullmatch(r"Genehmigt von Mia, \d\d:\d\d: nichts mehr zu tun", first_line)


def test_a_link_mutes_when_posted_and_only_then(server, mia):
    ask("q", type="invoice", **INVOICE)
    announce("q")
    [url] = [link for link in links_in(html_of(server.mails[0])) if "/account/mute/" in link]
    path = urlsplit(url).path
    visitor = Client()

    page = visitor.get(path)
    assert "invoice" in page.text
    assert page["Referrer-Policy"] == "no-referrer"
    assert not NotificationPreference.objects.exists()
    assert "No mails are sent about such questions" in visitor.post(path, {"act": "mute"}).text
    ask("q2", type="invoice", **INVOICE)
    ask("q3", type="travel", **INVOICE)
    assert announce("q2") == 0
    assert announce("q3") == 1

    visitor.post(path, {"act": "off"})
    ask("q4", type="travel", **INVOICE)
    assert announce("q4") == 0
    visitor.post(path, {"act": "on"})
    visitor.post(path, {"act": "unmute"})
    ask("q5", type="invoice", **INVOICE)
    assert announce("q5") == 1


def test_a_muting_link_is_nobodys_to_make(mia):
    token = Muting(str(mia.pk), "mail", "invoice").encode()
    other = Muting("999999", "mail", "invoice").encode()

    for wrong in (token[:-1], f"x{token}", other, "nonsense"):
        assert Client().post(f"/account/mute/{wrong}/").status_code == 404
    assert not NotificationPreference.objects.exists()


def test_one_bad_address_keeps_back_nobody_else(server, mia):
    make_user("gone", groups=("Finance",), email="gone@example.com")
    make_user("busy", groups=("Finance",), email="busy@example.com")
    make_user("none", groups=("Finance",))
    make_user("left", groups=("Finance",), email="left@example.com", is_active=False)
    server.refused = {"gone@example.com": 550, "busy@example.com": 451}
    ask("q", **INVOICE)

    with pytest.raises(UnsentError, match="1 not sent yet: mail: SMTPRecipientsRefused"):
        announce("q")
    assert [mail["To"] for mail in server.mails] == ["mia@example.com"]
    gone = Message.objects.get(address="gone@example.com")
    assert gone.given_up_at is not None
    assert "550" in gone.problem
    del server.refused["busy@example.com"]
    assert announce("q") == 2
    assert server.mails[-1]["To"] == "busy@example.com"


@pytest.mark.parametrize("address", ["mia@exa mple.com", "mia@x.com\nBcc: eve@x.com", "<@"])
def test_an_address_that_no_mail_can_have_is_given_up_at_once(server, mia, address):
    User.objects.update(email=address)
    make_user("jon", groups=("Finance",), email="jon@example.com")
    ask("q", **INVOICE)

    assert announce("q") == 1
    assert [mail["To"] for mail in server.mails] == ["jon@example.com"]
    assert Message.objects.exclude(given_up_at=None).get().attempts == 1


def test_a_sender_that_no_mail_can_have_may_be_mended(server, mia, settings):
    settings.SIGNOFF_CHANNELS = [{"channel": "mail", "from": "signoff@exa mple.com"}]
    ask("q", **INVOICE)
    with pytest.raises(UnsentError, match="Invalid address"):
        announce("q")
    settings.SIGNOFF_CHANNELS = [{"channel": "mail", "from": "signoff@example.com"}]

    assert announce("q") == 1


def test_who_lost_the_right_before_it_was_sent_hears_nothing(server, mia):
    """Where the mail server was away at first; who heard of it hears of its end, and no more."""
    jon = make_user("jon", groups=("Finance",), email="jon@example.com")
    server.refused = {"mia@example.com": 451}
    ask("q", **INVOICE)
    with pytest.raises(UnsentError):
        announce("q")
    server.refused = {}
    mia.groups.clear()

    assert announce("q") == 1
    assert Message.objects.get(user=mia).problem == (
        "its reader may not look at the question any more"
    )
    answer(client_of(jon), "q", comment="the account is theirs")
    jon.groups.clear()
    assert conclude("q") == 1
    [asked, ended] = server.mails
    assert (asked["To"], ended["To"]) == ("jon@example.com", "jon@example.com")
    assert ended["In-Reply-To"] == asked["Message-ID"]
    for part in (text_of(ended), html_of(ended)):
        assert "Approved by jon" in part
        assert INVOICE["title"] in part
        assert "the account is theirs" not in part
        assert INVOICE["question"] not in part


def test_what_authors_wrote_is_text_in_html(server, mia):
    evil = '<img src=x onerror="alert(1)">&'
    ask(
        "q",
        title=f"{evil} title",
        question=f"{evil} question",
        consequence=f"{evil} consequence",
        facts={f"{evil} label": f"{evil} fact"},
        groups=["Finance"],
        answers=[{"name": "approve", "label": f"{evil} answer", "consequence": evil}, "reject"],
    )
    announce("q")
    answer(client_of(mia), "q", "reject", comment=f"{evil} comment")
    conclude("q")

    [asked, ended] = server.mails
    for mail in (asked, ended):
        assert "<img" not in html_of(mail)
        assert evil in text_of(mail)
    for word in ("title", "question", "consequence", "label", "fact", "answer"):
        assert f"&amp; {word}" in html_of(asked)
    assert "&amp; comment" in html_of(ended)


def test_a_very_long_title_is_a_subject_that_ends(server, mia):
    ask("q", title="Überweisung 🎉 " * 20, groups=["Finance"], due="2100-01-01T12:00:00Z")
    announce("q")
    [mail] = server.mails

    assert mail["Subject"].startswith("[Finance] Approve: Überweisung 🎉 Überweisung")
    assert mail["Subject"].endswith("…, due Jan. 1, 2100 12:00")
    assert len(mail["Subject"]) < MAX_SUBJECT + 50


def test_a_server_that_is_away_is_tried_some_times(server, mia, settings):
    settings.MAILERS["default"]["OPTIONS"]["port"] = 1
    ask("q", **INVOICE)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(UnsentError, match="ConnectionRefusedError"):
            announce("q")

    assert announce("q") == 0
    message = Message.objects.get()
    assert message.attempts == MAX_ATTEMPTS
    assert message.given_up_at is not None


def test_people_who_are_only_told_get_no_links(server, mia):
    make_user("boss", groups=("Heads",), email="boss@example.com")
    Group.objects.create(name="Nobody")
    ask("q", **INVOICE)
    announce("q", MessageEvent.ESCALATED, "rung-1", {"groups": ["Heads", "Nobody"]})

    [mail] = server.mails
    assert mail["To"] == "boss@example.com"
    assert "Nobody has answered in time" in text_of(mail)
    assert task_url("q") not in text_of(mail) + html_of(mail)
    assert "Others answer this question; you are told." in text_of(mail)


def test_who_is_asked_back_gets_no_answers_to_choose_from(server, mia, settings):
    """Whoever asked may look at it, and may not answer: a button would be a promise that fails."""
    settings.SIGNOFF_LINKS = "bound"
    jon = make_user("jon", email="jon@example.com")
    start_run("run-1", by=jon)
    ask("q", tags=child_of("run-1"), **INVOICE)
    announce("q", MessageEvent.MENTIONED, "asked 1", {"users": ["jon"]})

    [mail] = server.mails
    assert "You are asked about this before it can be answered." in text_of(mail)
    assert "Others answer this question; you are told." in text_of(mail)
    assert "/link/" in text_of(mail)
    for part in (text_of(mail), html_of(mail)):
        assert "answer=" not in part
        assert "Each " not in part


def test_no_text_of_an_author_becomes_a_header(server, db):
    evil = "Finance\r\nBcc: evil@example.com"
    mia = make_user("mia", groups=(evil,), email="mia@example.com", first_name="Mia\nTo: x@y.z")
    ask(
        "q",
        title="Pay Acme\r\nBcc: evil@example.com\r\n\r\nAll is well",
        groups=[evil],
        answers=[{"name": "approve", "label": "Pay\nReply-To: evil@example.com"}, "reject"],
    )
    Delegation.objects.create(
        principal=mia,
        deputy=make_user("jon", email="jon@example.com"),
        starts_at=0,
        ends_at=2**50,
        made_at=0,
    )

    assert announce("q") == 2
    for mail in server.mails:
        assert (mail["Bcc"], mail["Reply-To"]) == (None, None)
        assert mail["To"] in {"mia@example.com", "jon@example.com"}
        assert "Pay Acme Bcc: evil@example.com All is well" in mail["Subject"]


def test_no_secret_leaves(server, mia):
    secret = "DE02-1203-0000"
    described = INVOICE | {
        "facts": {"IBAN": secret, "a/b": {"inner": secret}, "Amount": "1"},
        "question": secret,
        "secrets": ["/facts/IBAN", "/facts/a~1b/inner", "/question"],
        "context": f"hidden {secret}",
    }
    ask("q", **described)
    ask("q2", **described | {"facts": [["IBAN", secret]], "secrets": ["/facts/0/1", "/question"]})
    for one in ("q", "q2"):
        announce(one)
        announce(one, MessageEvent.REMINDED)
        settle(one)
        conclude(one)

    assert len(server.mails) == 6
    for mail in server.mails:
        assert secret not in text_of(mail) + html_of(mail) + str(mail)
        assert (
            "Amount: 1" in text_of(mail) or f"IBAN: {MASK}" in text_of(mail) or mail["In-Reply-To"]
        )


def test_operators_see_what_was_not_sent(server, mia):
    server.refused = {"mia@example.com": 550}
    ask("q", **INVOICE)
    announce("q")
    admin = client_of(User.objects.create_superuser("root"))

    assert "550" in admin.get("/admin/signoff/message/").text
    row = Message.objects.get()
    assert admin.get(f"/admin/signoff/message/{row.pk}/change/").status_code == 200


def test_with_personal_links_mails_have_them(server, mia, settings):
    settings.SIGNOFF_LINKS = "bound"
    ask("q", **INVOICE)
    announce("q")
    pages = [link for link in links_in(html_of(server.mails[0])) if "/account/mute/" not in link]

    assert len(pages) == 3
    for link in pages:
        url = link.removeprefix("https://signoff.example.com")
        shown = Client().get(url)
        assert shown.status_code == 200
        assert INVOICE["title"] in shown.text
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING
    settle("q")
    conclude("q")
    [page, _mute] = links_in(html_of(server.mails[1]))
    assert page == "https://signoff.example.com/inbox/q/"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 25, "", "", False, False)),
        ("smtp://a%40b:p%2Fw@host:2525?tls=1", ("host", 2525, "a@b", "p/w", True, False)),
        ("smtp://host?tls=yes", ("host", 587, "", "", True, False)),
        ("smtps://host", ("host", 465, "", "", False, True)),
    ],
)
def test_the_mail_server_is_a_url(url, expected):
    names = ("host", "port", "username", "password", "use_tls", "use_ssl")
    options = mailer_from_url(url)["OPTIONS"]

    assert tuple(options[name] for name in names) == expected
    assert options["timeout"] == 30


@pytest.mark.parametrize("url", ["mail.example.com", "http://host", "smtp://"])
def test_a_wrong_mail_server_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL"):
        mailer_from_url(url)
