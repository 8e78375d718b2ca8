"""Events posted elsewhere, signed, to hosts that are allowed only."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dashboard.channels.announcing import UnsentError, announce, conclude
from dashboard.channels.webhook import sign
from dashboard.masking import MASK
from dashboard.models import HumanTask, Message
from tests.dashboard.outside import WebServer, web_server
from tests.dashboard.people import answer, ask, client_of, make_user

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _webhook_is_on(settings, receiver: WebServer) -> None:
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["127.0.0.1"]
    url = f"{receiver.url}hook"
    settings.SIGNOFF_CHANNELS = [{"channel": "webhook", "url": url, "secret": SECRET}]


def iso_of(instant: int | None) -> str:
    return datetime.fromtimestamp((instant or 0) / 1000, tz=UTC).isoformat()


def test_a_question_and_its_outcome_are_posted(receiver, db):
    mia = make_user("mia", first_name="Mia")
    ask(
        "q",
        users=["mia"],
        title="Pay?",
        type="invoice",
        facts={"IBAN": "DE02", "Amount": 5},
        secrets=["/facts/IBAN"],
        due="2026-11-26T16:00:00Z",
    )
    announce("q")
    answer(client_of(mia), "q", "reject", comment="No")
    conclude("q")

    task = HumanTask.objects.get()
    asked, ended = (call.data for call in receiver.to("/hook"))
    assert asked == {
        "type": "task.asked",
        "timestamp": iso_of(Message.objects.get(event="asked").created_at),
        "data": {
            "occasion": "",
            "task": {
                "id": "q",
                "type": "invoice",
                "title": "Pay?",
                "question": "",
                "consequence": "",
                "facts": [["IBAN", MASK], ["Amount", "5"]],
                "answers": ["approve", "reject"],
                "priority": 0,
                "workflow": "",
                "asked_at": iso_of(task.created_at),
                "due": "2026-11-26T16:00:00+00:00",
                "url": "https://signoff.example.com/inbox/q/",
            },
            "outcome": None,
        },
    }
    assert ended["type"] == "task.outcome"
    assert ended["data"]["outcome"] == {
        "kind": "rejected",
        "by": "Mia",
        "comment": "No",
        "at": iso_of(task.settled_at),
    }


def test_a_body_is_signed_so_that_libraries_can_check_it(receiver, db):
    """The first is the example of the Standard Webhooks specification."""
    example = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert example["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    ask("q")
    announce("q")
    [call] = receiver.calls
    sent = {name.lower(): value for name, value in call.headers.items()}
    again = sign(SECRET, sent["webhook-id"], int(sent["webhook-timestamp"]), call.body)
    assert sent["webhook-signature"] == again["webhook-signature"]
    assert Message.objects.get().reference == sent["webhook-id"]


@pytest.mark.parametrize("secret", ["plain words", "whsec_*"])
def test_any_text_may_be_the_secret(secret):
    assert sign(secret, "m", 1, b"{}")["webhook-signature"].startswith("v1,")


def test_hosts_that_are_not_allowed_are_never_asked(receiver, settings, db):
    settings.DURABLE_PUSH_ALLOWED_HOSTS = []
    ask("q")

    assert announce("q") == 0
    assert receiver.calls == []
    message = Message.objects.get()
    assert message.given_up_at is not None
    assert message.problem == "webhook: 127.0.0.1: the host is not allowed"


def test_a_name_that_leads_inside_is_not_asked(receiver, settings, db):
    settings.DURABLE_PUSH_ALLOWED_HOSTS = []
    url = receiver.url.replace("127.0.0.1", "localhost")
    settings.SIGNOFF_CHANNELS = [{"channel": "webhook", "url": url, "secret": "s"}]
    ask("q")

    assert announce("q") == 0
    assert receiver.calls == []
    assert Message.objects.get().problem == "webhook: localhost: the host is not allowed"


def test_what_it_answers_decides_whether_to_try_again(receiver, db):
    ask("q")
    for status in (500, 302):
        receiver.answers["/hook"] = (status, b"")
        with pytest.raises(UnsentError, match=f"it answered {status}"):
            announce("q")
    receiver.answers["/hook"] = (410, b"")

    assert announce("q") == 0
    assert Message.objects.get().given_up_at is not None
