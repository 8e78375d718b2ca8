"""Where several answer, people hear of a question when it is their turn, and not before."""

import pytest
from django.contrib.auth.models import User

from dashboard.answering import Actor
from dashboard.channels.announcing import announce
from dashboard.claims import claim
from dashboard.models import Message, MessageEvent
from durable.models import Promise
from tests.dashboard.people import answer, ask, client_of, make_user
from tests.dashboard.timed import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("mail_is_on")]


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    return {
        name: make_user(name, email=f"{name}@example.com") for name in ("ann", "bob", "mia", "cfo")
    }


def told(event: str = "asked") -> list[str]:
    sent = Message.objects.filter(event=event, sent_at__isnull=False)
    return sorted(sent.values_list("user__username", flat=True))


def executions(function: str) -> int:
    return Promise.objects.filter(function=function).count()


def test_a_later_stage_hears_of_it_when_it_opens(people):
    ask("q", policy={"stages": [{"any_of": [{"user": "ann"}, {"user": "bob"}]}, {"user": "mia"}]})
    assert announce("q") == 2
    assert told() == ["ann", "bob"]
    before = executions("signoff.announce")

    assert answer(client_of(people["ann"]), "q").status_code == 303
    assert executions("signoff.announce") == before + 1
    announce("q")
    assert told() == ["ann", "bob", "mia"]
    announce("q", MessageEvent.REMINDED, "1")
    assert told("reminded") == ["mia"]


def test_who_has_answered_is_not_reminded(people):
    ask("q", policy={"all_of": [{"user": "ann"}, {"user": "bob"}]})
    announce("q")
    assert answer(client_of(people["ann"]), "q").status_code == 303

    announce("q", MessageEvent.REMINDED, "1")
    assert told() == ["ann", "bob"]
    assert told("reminded") == ["bob"]


def test_who_has_taken_it_on_is_reminded_alone(people):
    ask("q", users=["ann", "bob"])
    announce("q")
    claim("q", Actor(people["ann"]))

    announce("q", MessageEvent.REMINDED, "1")
    assert told("reminded") == ["ann"]
    User.objects.filter(username="ann").update(is_active=False)
    announce("q", MessageEvent.REMINDED, "2")
    assert told("reminded") == ["ann", "bob"]


def test_who_may_stop_it_hears_of_it_at_once(people):
    stages = [{"user": "ann"}, {"user": "bob"}]
    ask("q", policy={"stages": stages, "veto": [{"user": "mia"}]})

    announce("q")
    assert told() == ["ann", "mia"]


def test_a_fallback_hears_of_it_at_its_time(server, days, people):
    late = {"any_of": [{"user": "mia"}, {"user": "cfo", "after": "PT4H"}]}
    ask("q", policy=late)
    ask("answered", policy=late)
    days.work()
    server.wait_for(2)
    until(lambda: told() == ["mia", "mia"], "those whose turn it is")
    until(lambda: executions("signoff.opening") == 2, "somebody to wait for the fallback")
    assert answer(client_of(people["mia"]), "answered").status_code == 303
    server.wait_for(3)

    days.pass_hours(5)
    until(lambda: told() == ["cfo", "mia", "mia"], "the fallback")
    assert [mail["To"] for mail in server.mails].count("cfo@example.com") == 1
    assert not Promise.objects.filter(function="signoff.opening", state="pending").exists()
