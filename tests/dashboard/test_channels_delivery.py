"""Messages are sent by executions: begun with the question, once, whatever crashes."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

import durable
from dashboard.channels.announcing import UnsentError, announce, conclude
from dashboard.channels.base import Channel
from dashboard.channels.executions import begin_telling
from dashboard.channels.muting import Muting, change
from dashboard.channels.receivers import conclude_forgotten
from dashboard.models import HumanTask, Message, MessageEvent
from dashboard.sweep import keep_house
from durable.background.runner import BackgroundRunner
from durable.models import Promise
from durable.protocol.states import PromiseState
from durable.signals import Latent, promises_created
from durable.store import get_store
from durable.worker import Worker
from tests.dashboard.calling import Program
from tests.dashboard.factories import pass_time
from tests.dashboard.outside import MailServer, WebServer, mailers_of, web_server
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    client_of,
    iso,
    make_user,
    settle,
    task_url,
)
from tests.processes import Process, running, wait_until

LEASE = {"DURABLE_LEASE_MS": "1500", "DURABLE_HEARTBEAT_MS": "300"}


@pytest.fixture
def slack() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def mia(transactional_db) -> User:
    return make_user("mia", groups=("Finance",), email="mia@example.com", first_name="Mia")


@pytest.fixture
def open_channels(settings, server: MailServer, slack: WebServer) -> list[dict[str, Any]]:
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.MAILERS = mailers_of(server)
    settings.SIGNOFF_CHANNELS = [
        {"channel": "mail"},
        {
            "channel": "slack",
            "token": "xoxb-1",
            "signing_secret": "s",
            "room": "#approvals",
            "base_url": slack.url,
        },
    ]
    return settings.SIGNOFF_CHANNELS


@pytest.fixture
def worker(transactional_db) -> Iterator[Callable[[], None]]:
    """Start a worker in this process when it is called."""
    started: list[Any] = []

    def start() -> None:
        runner = BackgroundRunner(get_store())
        runner.start()
        worker = Worker(["default"], concurrency=4)
        worker.start()
        started.extend((worker, runner))

    yield start
    for one in started:
        one.stop()


def executions(function: str = "signoff.") -> list[str]:
    found = Promise.objects.filter(function__startswith=function).order_by("function")
    return list(found.values_list("function", flat=True))


def is_told() -> bool:
    messages = Message.objects.all()
    return bool(messages) and all(one.outcome_shown_at is not None for one in messages)


def test_a_decision_on_the_web_shows_in_every_channel(worker, open_channels, server, slack, mia):
    worker()
    ask("q", groups=["Finance"])
    server.wait_for(1)
    slack.wait_for("/chat.postMessage")
    wait_until(lambda: Message.objects.filter(sent_at=None).count() == 0, seconds=10, what="sent")

    assert answer(client_of(mia), "q").status_code == 303
    server.wait_for(2)
    [update] = slack.wait_for("/chat.update")
    assert "Approved by Mia" in update.data["text"]
    assert server.mails[1]["In-Reply-To"] == server.mails[0]["Message-ID"]
    wait_until(is_told, seconds=10, what="the outcome noted")
    assert executions() == ["signoff.announce", "signoff.conclude"]


def test_without_channels_nothing_is_begun(mia):
    ask("q", groups=["Finance"])
    settle("q")

    assert executions() == []


def test_a_question_that_never_was_is_told_to_nobody(open_channels, mia):
    with pytest.raises(RuntimeError), transaction.atomic():
        ask("q", groups=["Finance"])
        assert executions() == ["signoff.announce"]
        raise RuntimeError
    assert executions() == []


def test_only_described_questions_are_told(open_channels, mia):
    ask_bare("bare")
    ask("wrong", groups=3)
    settle("bare")

    assert executions() == []


def test_a_question_that_the_api_describes_is_told_with_each_description(
    worker, open_channels, server, mia
):
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    ask_bare("bare")
    assert asker.describe("bare", title="").status_code == 422
    assert executions() == []
    worker()

    for title in ("Pay 4", "Pay 4", "Pay 4000"):
        asker.describe("bare", title=title, users=["mia"])
    server.wait_for(2)
    wait_until(lambda: Message.objects.filter(sent_at=None).count() == 0, seconds=10, what="sent")
    told = Message.objects.filter(channel="mail").order_by("pk")
    assert [one.user for one in told] == [mia, mia]
    assert executions() == ["signoff.announce"] * 2


def test_a_question_that_comes_back_is_told_anew(open_channels, mia):
    ask("q", groups=["Finance"])
    with connection.cursor() as cursor:  # pruned
        cursor.execute("delete from durable_promise where id = 'q'")
    pass_time()
    ask("q", groups=["Finance"])

    assert executions() == ["signoff.announce"] * 2


def test_events_of_a_question_are_told_once_each(worker, open_channels, server, mia):
    ask("q", groups=["Finance"])
    task = HumanTask.objects.get()
    for occasion in ("remind-1", "remind-1", "remind-2"):
        with transaction.atomic():
            begin_telling(task, MessageEvent.REMINDED, occasion)
    begin_telling(task, MessageEvent.ESCALATED, "rung-1", {"users": ("mia",)})
    worker()

    server.wait_for(4)
    wait_until(lambda: Message.objects.filter(sent_at=None).count() == 0, seconds=10, what="sent")
    sent = Message.objects.filter(channel="mail").values_list("event", "occasion")
    assert sorted(sent) == [
        ("asked", ""),
        ("escalated", "rung-1"),
        ("reminded", "remind-1"),
        ("reminded", "remind-2"),
    ]


def test_what_a_failed_receiver_missed_is_begun_later(open_channels, mia):
    def fail(**_kwargs: Any) -> None:
        raise RuntimeError

    promises_created.connect(fail, sender=Latent)
    try:
        ask("q", groups=["Finance"])
    finally:
        promises_created.disconnect(fail, sender=Latent)

    assert HumanTask.objects.get(pk="q").title
    assert executions() == ["signoff.announce"]


def test_what_the_sweep_describes_is_told(open_channels, settings, mia):
    """As after an upgrade, or a crash between a commit and its repair."""
    settings.SIGNOFF_CHANNELS = []
    ask("q", groups=["Finance"])
    HumanTask.objects.filter(pk="q").delete()

    settings.SIGNOFF_CHANNELS = open_channels
    keep_house()
    assert executions() == ["signoff.announce"]


def test_an_end_that_nobody_was_told_of_is_told_later(worker, open_channels, server, mia):
    ask("q", groups=["Finance"])
    worker()
    server.wait_for(1)
    wait_until(lambda: Message.objects.filter(sent_at=None).count() == 0, seconds=10, what="sent")
    settle("q")
    wait_until(is_told, seconds=10, what="the first end")
    Message.objects.filter(event="outcome").delete()
    Message.objects.update(outcome_shown_at=None)

    conclude_forgotten(using="default")
    server.wait_for(3)
    wait_until(is_told, seconds=10, what="the end told again")
    conclude_forgotten(using="default")
    assert executions("signoff.conclude") == ["signoff.conclude"] * 2


def test_a_closed_channel_keeps_nobody_waiting(open_channels, server, mia):
    ask("q", groups=["Finance"])
    announce("q")
    settle("q")
    [mail] = [one for one in open_channels if one["channel"] == "mail"]
    open_channels[:] = [mail | {"name": "other"}]
    before = executions("signoff.conclude")

    conclude_forgotten(using="default")
    assert executions("signoff.conclude") == before
    open_channels[:] = [mail]
    conclude_forgotten(using="default")
    assert len(executions("signoff.conclude")) == len(before) + 1


class BrokenChannel(Channel):
    """A channel of somebody else's, with a mistake in it."""

    def recipients(self, task, people):
        from dashboard.channels.base import Recipient

        return [Recipient("somewhere")]

    def send(self, message):
        raise KeyError("oops")


def test_a_broken_channel_keeps_back_no_other(worker, open_channels, settings, server, mia):
    settings.SIGNOFF_CHANNELS = [
        {"channel": f"{__name__}.BrokenChannel", "name": "broken"},
        {"channel": "mail"},
    ]
    ask("q", groups=["Finance"])
    worker()

    server.wait_for(1)
    wait_until(
        lambda: Message.objects.filter(channel="broken").exclude(problem="").exists(),
        seconds=10,
        what="the problem noted",
    )
    assert Message.objects.get(channel="broken").problem == "broken: KeyError: 'oops'"


@pytest.mark.timeout(90)
def test_a_kill_between_send_and_record_sends_twice_and_never_nothing(
    process_env, tmp_path, open_channels, settings, server, mia
):
    """The server has the mail, and the worker dies before it hears so."""
    env = {
        **process_env,
        **LEASE,
        "EMAIL_URL": f"smtp://127.0.0.1:{server.port}",
        "SIGNOFF_BASE_URL": "https://signoff.example.com",
        "SIGNOFF_CHANNELS": json.dumps([{"channel": "mail"}]),
    }
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    worker = Process(env, tmp_path / "worker.log", "worker", "--concurrency", "2")
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            killed.set()
            worker.kill()

    server.before_reply = kill
    ask("q", groups=["Finance"])
    with running(worker):
        server.wait_for(1, seconds=30)
        assert killed.wait(10)
        message = Message.objects.get()
        assert (message.sent_at, message.attempts) == (None, 1)
        worker.start()
        server.wait_for(2, seconds=30)
        wait_until(
            lambda: Message.objects.filter(sent_at__isnull=False).exists(),
            seconds=15,
            what="the record",
        )
        announced = Promise.objects.get(function="signoff.announce")
        assert durable.get(announced.pk).result(timeout=15) == 1
    first, second = server.mails
    assert first["Message-ID"] == second["Message-ID"] == Message.objects.get().reference


def test_who_is_handed_a_question_hears_of_it(worker, open_channels, server, mia):
    make_user("jon", groups=("Finance",), email="jon@example.com")
    ask("q", groups=["Finance"])
    path = f"{task_url('q')}hand-over/"
    assert client_of(mia).post(path, {"to": "jon"}).status_code == 303
    worker()

    server.wait_for(3)
    wait_until(lambda: Message.objects.filter(sent_at=None).count() == 0, seconds=10, what="sent")
    [message] = Message.objects.filter(event="assigned", channel="mail")
    assert message.address == "jon@example.com"


def test_an_expired_question_says_what_then_happened(worker, open_channels, server, slack, mia):
    ask("q", groups=["Finance"], expires=iso(0.001), on_expiry="approve")
    worker()

    server.wait_for(2, seconds=18)
    wait_until(is_told, seconds=10, what="the outcome noted")
    assert set(Message.objects.filter(channel="mail").values_list("event", flat=True)) == {
        "asked",
        "expired",
    }
    assert "Nobody answered in time" in slack.to("/chat.update")[0].data["text"]


def test_what_one_execution_is_sending_no_other_sends(open_channels, server, mia):
    """An answer comes while the question is still being told: both tell of the end."""
    only_mail(open_channels)
    ask("q", groups=["Finance"])
    ask_bare("one")
    refused: list[str] = []

    def meanwhile() -> None:
        try:
            announce("q", sender="two")
        except UnsentError as error:
            refused.append(str(error))
        finally:
            connection.close()

    server.before_reply = meanwhile
    assert announce("q", sender="one") == 1
    assert refused == ["1 not sent yet: another execution is sending it"]
    assert len(server.mails) == 1
    assert announce("q", sender="two") == 1
    assert len(server.mails) == 1


def test_what_an_execution_that_is_no_more_was_sending_is_sent(open_channels, server, mia):
    only_mail(open_channels)
    ask("q", groups=["Finance"])
    ask_bare("one")
    server.refused = {"mia@example.com": 451}
    with pytest.raises(UnsentError):
        announce("q", sender="one")
    Message.objects.update(sender="one")  # it was killed in the middle of the next attempt
    server.refused = {}
    with pytest.raises(UnsentError, match="1 not sent yet"):
        announce("q", sender="two")
    assert server.mails == []

    settle("one", PromiseState.REJECTED_CANCELED)
    assert announce("q", sender="two") == 1
    assert (len(server.mails), Message.objects.get().sender) == (1, "")


def test_who_is_gone_or_muted_it_meanwhile_hears_no_more(open_channels, server, mia):
    only_mail(open_channels)
    for name in ("gone", "off", "quiet"):
        make_user(name, groups=("Finance",), email=f"{name}@example.com")
    ask("q", type="invoice", groups=["Finance"])
    assert announce("q") == 4
    User.objects.get(username="gone").delete()
    User.objects.filter(username="off").update(is_active=False)
    quiet = User.objects.get(username="quiet")
    change(Muting(str(quiet.pk), "mail", "invoice"), is_muted=True)

    settle("q")
    assert conclude("q") == 1
    assert [mail["To"] for mail in server.mails[4:]] == ["mia@example.com"]
    unsent = Message.objects.filter(event="outcome", sent_at=None).order_by("address")
    assert list(unsent.values_list("address", "problem")) == [
        ("off@example.com", "the account was switched off or deleted"),
        ("quiet@example.com", "its reader has muted such messages"),
    ]
    assert conclude("q") == 0
    assert not Message.objects.filter(event="asked", outcome_shown_at=None).exists()


def only_mail(open_channels: list[dict[str, Any]]) -> None:
    """Leave the mails alone."""
    del open_channels[1:]
