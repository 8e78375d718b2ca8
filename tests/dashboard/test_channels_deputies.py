"""Those who stand in for somebody hear of the questions that they may answer for them."""

from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dashboard.answering import Actor
from dashboard.channels.announcing import announce, conclude
from dashboard.channels.muting import Muting, change
from dashboard.claims import hand_over
from dashboard.delegations import delegate, revoke
from dashboard.models import AuditEntry, ChatIdentity, Delegation, Message, MessageEvent, SignIn
from durable.clock import now_ms
from durable.models import Promise
from tests.dashboard.outside import WebServer, web_server
from tests.dashboard.people import HOUR_MS, ask, child_of, make_user, start_run, unpack
from tests.dashboard.test_channels_mail import html_of, links_in, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mail_is_on")]
BASE = "https://signoff.example.com"
MIA, JON = "mia@example.com", "jon@example.com"


@pytest.fixture
def mia() -> User:
    return make_user(
        "mia", groups=("Finance", "Board"), email=MIA, first_name="Mia", last_name="Kern"
    )


@pytest.fixture
def jon() -> User:
    return make_user("jon", email=JON, first_name="Jon")


def go_away(principal: User, deputy: User, *, start: float = -1, end: float = 1, **scope):
    now = now_ms()
    return Delegation.objects.create(
        principal=principal,
        deputy=deputy,
        starts_at=now + int(start * HOUR_MS),
        ends_at=now + int(end * HOUR_MS),
        made_at=now,
        **scope,
    )


def told(event: str = "asked") -> list[str]:
    return sorted(Message.objects.filter(event=event).values_list("address", flat=True))


def test_a_deputys_mail_says_whom_it_is_for(server, mia, jon):
    go_away(mia, jon)
    ask("q", title="Pay Acme", groups=["Finance"])

    assert announce("q") == 2
    [own], [mail] = server.to(MIA), server.to(JON)
    assert own["Subject"] == "[Finance] Approve: Pay Acme"
    assert mail["Subject"] == "[Finance] Approve for Mia Kern: Pay Acme"
    assert "You answer for" not in text_of(own)
    assert text_of(mail).startswith("You answer for Mia Kern, who is away.\n")
    for part in (text_of(mail), html_of(mail)):
        assert "Why am I getting this? You answer for Mia Kern, who is away." in part
    assert all(link.startswith(BASE) for link in links_in(html_of(mail)))


def test_their_link_answers_on_behalf(server, mia, jon, settings):
    settings.SIGNOFF_LINKS = "bound"
    go_away(mia, jon)
    ask("q", users=["mia"])
    announce("q")
    [url] = [one for one in links_in(html_of(server.to(JON)[0])) if one.endswith("answer=approve")]
    path = urlsplit(url).path

    assert "You answer for Mia Kern, who is away." in Client().get(path).text
    assert Client().post(path, {"answer": "approve"}).status_code == 303
    conclude("q")

    value = unpack(Promise.objects.get(pk="q").value_data)
    assert (value["by"], value["on_behalf_of"]) == ("jon", "mia")
    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert (entry.actor, entry.on_behalf_of, entry.sign_in) == (jon, mia, SignIn.LINK)
    assert told("outcome") == [JON, MIA]


def test_a_deputys_link_is_worth_nothing_once_that_is_over(server, mia, jon, settings):
    settings.SIGNOFF_LINKS = "bound"
    one = delegate(Actor(mia), jon, starts_at=now_ms() - HOUR_MS, ends_at=now_ms() + HOUR_MS)
    ask("q", users=["mia"])
    announce("q")
    [url] = [one for one in links_in(html_of(server.to(JON)[0])) if one.endswith("answer=approve")]
    revoke(one, Actor(mia))

    assert Client().post(urlsplit(url).path, {"answer": "approve"}).status_code == 410


def test_the_limits_of_a_delegation_hold(mia, jon):
    by_group = mia.groups.get(name="Board")
    ann, bob = (make_user(name, email=f"{name}@example.com") for name in ("ann", "bob"))
    go_away(mia, jon, group=by_group)
    go_away(mia, ann, task_type="invoice")
    go_away(mia, bob, group=by_group, task_type="invoice")
    ask("mine", users=["mia"])
    ask("board", groups=["Board"])
    ask("invoice", users=["mia"], type="invoice")
    ask("both", groups=["Board"], type="invoice")

    for promise_id, deputies in (
        ("mine", []),
        ("board", [JON]),
        ("invoice", ["ann@example.com"]),
        ("both", ["ann@example.com", "bob@example.com", JON]),
    ):
        Message.objects.all().delete()
        announce(promise_id)
        assert told() == sorted([*deputies, MIA])


def test_who_stands_in_for_nobody_now_hears_nothing(mia, jon):
    gone, later, before = (make_user(name, email=f"{name}@x.com") for name in ("g", "l", "b"))
    go_away(mia, gone)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    go_away(mia, later, start=1, end=2)
    go_away(mia, before, start=-2, end=-1)
    revoke(go_away(mia, jon), Actor(mia))
    ask("q", users=["mia"])

    announce("q")
    assert told() == [MIA]


def test_a_deputy_of_the_requester_hears_nothing(mia, jon):
    start_run(by=mia)
    go_away(mia, jon)
    ask("q", tags=child_of("run-1"), groups=["Finance"])

    assert announce("q") == 0


def test_who_is_named_themself_is_told_once_and_in_their_own_name(server, mia, jon):
    go_away(mia, jon)
    ask("q", users=["mia", "jon"])

    assert announce("q") == 2
    assert "You answer for" not in text_of(server.to(JON)[0])


def test_a_deputys_deputy_hears_nothing(mia, jon):
    go_away(mia, jon)
    go_away(jon, make_user("ann", email="ann@example.com"))
    ask("q", users=["mia"])

    announce("q")
    assert told() == [JON, MIA]


def test_what_is_handed_to_somebody_away_goes_on(server, mia, jon, settings):
    settings.SIGNOFF_LINKS = "bound"
    kim = make_user("kim", groups=("Finance",))
    go_away(mia, jon)
    ask("q", groups=["Finance"])
    hand_over("q", Actor(kim), mia)

    announce("q", MessageEvent.ASSIGNED, "1", {"users": ["mia"]})
    [mail] = server.to(JON)
    assert text_of(mail).startswith("This was handed over to Mia Kern. You answer for Mia Kern,")
    assert text_of(server.to(MIA)[0]).startswith("This was handed over to you.\n")
    [url] = [one for one in links_in(html_of(mail)) if one.endswith("answer=approve")]
    assert Client().post(urlsplit(url).path, {"answer": "approve"}).status_code == 303
    assert AuditEntry.objects.get(target="q", is_effective=True, answer="approve").actor == jon


def test_who_is_only_told_has_nobody_told_for_them(mia, jon):
    go_away(mia, jon)
    ask("q", users=["kim"])
    announce("q", MessageEvent.ESCALATED, "rung1/tell", {"users": ["mia"]})

    assert told("escalated") == [MIA]


def test_a_deputy_may_mute_it(mia, jon):
    go_away(mia, jon)
    ask("q", users=["mia"], type="invoice")
    change(Muting(str(jon.pk), "mail", "invoice"), is_muted=True)

    announce("q")
    assert told() == [MIA]


def test_slack_tells_deputies_directly(mia, jon, settings):
    with web_server() as slack:
        settings.SIGNOFF_CHANNELS = [slack_entry(slack)]
        ChatIdentity.objects.create(
            channel="slack", external_id="T1/U7", user=jon, linked_at=now_ms()
        )
        go_away(mia, jon)
        ask("q", users=["mia"])

        announce("q")
        [post] = [one for one in slack.to("/chat.postMessage") if one.data["channel"] == "U7"]
    assert "You answer for Mia Kern, who is away." in str(post.data["blocks"])


def slack_entry(slack: WebServer) -> dict[str, object]:
    options = {"token": "x", "signing_secret": "s", "room": "#all", "base_url": slack.url}
    return {"channel": "slack", "direct": True, **options}
