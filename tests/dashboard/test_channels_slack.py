"""Slack: what it is sent, what it may do here, and that only a confirmation decides."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client

from dashboard.answering import Actor, Answer
from dashboard.channels.announcing import UnsentError, announce, conclude
from dashboard.decisions import decide
from dashboard.models import AuditEntry, ChatIdentity, HumanTask, Message, MessageEvent
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.outside import WebServer, web_server
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    child_of,
    client_of,
    make_user,
    settle,
    start_run,
    unpack,
)

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
DESCRIBED = {
    "title": "Pay invoice 4711 <!channel>",
    "question": "Jon asks to pay 4 200.00 EUR.",
    "consequence": "The money is gone then.",
    "facts": {"Amount": "4 200.00 EUR"},
    "groups": ["Finance"],
}


@pytest.fixture
def slack() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _slack_is_on(settings, slack: WebServer) -> None:
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.SIGNOFF_CHANNELS = [
        {
            "channel": "slack",
            "token": "xoxb-1",
            "signing_secret": SECRET,
            "room": "#approvals",
            "base_url": slack.url,
        }
    ]


@pytest.fixture
def mia(db) -> User:
    return make_user("mia", groups=("Finance",), first_name="Mia")


def link(user: User, slack_id: str = "U1") -> None:
    ChatIdentity.objects.create(
        channel="slack", external_id=f"T1/{slack_id}", user=user, linked_at=1
    )


def signed(body: bytes, *, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age)
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256)
    return {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest.hexdigest()}",
    }


def post(payload: dict[str, Any], **how: Any) -> Any:
    body = urlencode({"payload": json.dumps(payload)}).encode()
    return Client(enforce_csrf_checks=True).post(
        "/slack/interactions/",
        body,
        content_type="application/x-www-form-urlencoded",
        headers=signed(body, **how),
    )


def who(slack_id: str = "U1") -> dict[str, Any]:
    return {"user": {"id": slack_id, "username": "mia.m"}, "team": {"id": "T1"}}


def press(button: dict[str, Any], slack_id: str = "U1", **how: Any) -> Any:
    action = {"action_id": button["action_id"], "value": button["value"], "type": "button"}
    return post(
        {
            "type": "block_actions",
            "trigger_id": "trigger-1",
            "channel": {"id": "C0FIN"},
            "actions": [action],
            **who(slack_id),
        },
        **how,
    )


def confirm(view: dict[str, Any], comment: str | None = None, slack_id: str = "U1") -> Any:
    return post(
        {
            "type": "view_submission",
            "view": {
                "id": "V1",
                "callback_id": view["callback_id"],
                "private_metadata": view["private_metadata"],
                "state": {"values": {"comment": {"comment": {"value": comment}}}},
            },
            **who(slack_id),
        }
    )


def posted(slack: WebServer) -> dict[str, Any]:
    return slack.to("/chat.postMessage")[-1].data


def buttons(slack: WebServer) -> list[dict[str, Any]]:
    return posted(slack)["blocks"][-1]["elements"]


def opened(slack: WebServer) -> dict[str, Any]:
    [call] = slack.to("/views.open")
    assert call.data["trigger_id"] == "trigger-1"
    return call.data["view"]


def state(promise_id: str = "q") -> str:
    return Promise.objects.get(pk=promise_id).state


def test_a_question_is_posted_with_buttons(slack, mia):
    ask("q", **DESCRIBED)

    assert announce("q") == 1
    message = posted(slack)
    assert slack.calls[0].headers["Authorization"] == "Bearer xoxb-1"
    assert message["channel"] == "#approvals"
    assert message["text"] == "Pay invoice 4711 &lt;!channel&gt;"
    assert message["blocks"][0]["text"]["text"] == DESCRIBED["title"]
    assert {block["text"]["type"] for block in message["blocks"] if "text" in block} == {
        "plain_text"
    }
    assert "4 200.00 EUR" in message["blocks"][2]["fields"][0]["text"]
    assert [one["text"]["text"] for one in buttons(slack)] == ["Approve", "Reject", "Open"]
    assert [one.get("style") for one in buttons(slack)] == ["primary", "danger", None]
    assert buttons(slack)[2]["url"] == "https://signoff.example.com/inbox/q/"
    assert Message.objects.get().reference == "C0FIN/17.1"


def test_pressing_opens_a_modal_and_its_confirmation_decides(slack, mia):
    link(mia)
    ask("q", **DESCRIBED)
    announce("q")

    assert press(buttons(slack)[0]).status_code == 200
    view = opened(slack)
    assert view["submit"]["text"] == "Approve"
    assert "The money is gone then." in view["blocks"][0]["text"]["text"]
    assert state() == PromiseState.PENDING
    assert confirm(view, "Go ahead").json() == {"response_action": "clear"}

    assert unpack(Promise.objects.get(pk="q").value_data) == {
        "approved": True,
        "answer": "approve",
        "values": {},
        "comment": "Go ahead",
        "by": "mia",
    }
    entry = AuditEntry.objects.get(target="q")
    assert (entry.actor, entry.sign_in, entry.reason) == (mia, "slack", "Go ahead")
    # The same confirmation, sent again because the answer got lost.
    assert confirm(view, "Go ahead").json()["response_action"] != "update"
    assert AuditEntry.objects.filter(target="q").count() == 1


def test_the_message_becomes_the_outcome(slack, mia):
    ask("q", **DESCRIBED)
    announce("q")
    announce("q", MessageEvent.REMINDED)
    assert posted(slack)["thread_ts"] == "17.1"
    answer(client_of(mia), "q", comment="By the web")

    assert conclude("q") == 2
    assert conclude("q") == 0
    first, second = slack.to("/chat.update")
    assert (first.data["channel"], first.data["ts"]) == ("C0FIN", "17.1")
    assert second.data["ts"] == "17.2"
    assert "Approved by Mia, " in first.data["blocks"][1]["text"]["text"]
    assert first.data["blocks"][2]["text"]["text"] == "By the web"
    assert "actions" not in {block["type"] for block in first.data["blocks"]}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 400),
        ({"age": 300}, 400),
        ({"age": 301}, 401),
        ({"body": b"&"}, 401),
        ({"X-Slack-Request-Timestamp": "now"}, 401),
        ({"X-Slack-Signature": "v0="}, 401),
    ],
)
def test_slack_signs_as_it_says_it_does(changed, status):
    """The example of Slack's documentation: known as Slack's, and none of what is of use here."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    sent_at = 1531420618 + changed.pop("age", 0)
    body += changed.pop("body", b"")
    with time_machine.travel(sent_at, tick=False):
        response = Client().post(
            "/slack/interactions/",
            body,
            content_type="application/x-www-form-urlencoded",
            headers=headers | changed,
        )
    assert response.status_code == status


def test_what_slack_did_not_sign_is_refused(slack, mia):
    link(mia)
    ask("q", **DESCRIBED)
    announce("q")
    button = buttons(slack)[0]

    assert press(button, secret="wrong").status_code == 401
    assert press(button, age=301).status_code == 401
    assert Client().post("/slack/interactions/", {"payload": "{}"}).status_code == 401
    assert slack.to("/views.open") == []
    for body in (b"", b"payload=", b"payload=%7B%7D", b"payload=1&payload=2", b"\xff"):
        refused = Client().post(
            "/slack/interactions/",
            body,
            content_type="application/x-www-form-urlencoded",
            headers=signed(body),
        )
        assert refused.status_code == 400
    assert Client().get("/slack/interactions/").status_code == 405


def test_an_unknown_person_is_told_how_to_link_and_decides_nothing(slack, mia):
    ask("q", **DESCRIBED)
    announce("q")

    assert press(buttons(slack)[0]).status_code == 200
    [whisper] = slack.to("/chat.postEphemeral")
    assert (whisper.data["channel"], whisper.data["user"]) == ("C0FIN", "U1")
    assert "is not linked" in whisper.data["text"]
    assert slack.to("/views.open") == []

    url = whisper.data["text"].partition("<")[2].partition("|")[0]
    path = url.removeprefix("https://signoff.example.com")
    token = urlsplit(url).query.removeprefix("token=")
    assert Client().get(path).status_code == 302
    browser = client_of(mia)
    page = browser.get(path)
    assert "mia.m" in page.text
    assert "T1/U1" in page.text
    assert not ChatIdentity.objects.filter(user__isnull=False).exists()
    assert (
        "The account is linked"
        in browser.post("/account/slack/", {"token": token.replace("%3A", ":")}, follow=True).text
    )

    press(buttons(slack)[0])
    assert opened(slack)["callback_id"] == "signoff_decision"
    jon = client_of(make_user("jon"))
    assert jon.get(path).status_code == 410
    assert jon.post("/account/slack/", {"token": token.replace("%3A", ":")}).status_code == 410
    entry = AuditEntry.objects.get(action="add")
    assert (entry.target_kind, entry.target, entry.actor_id) == ("link", "slack:T1/U1", mia.pk)
    assert (entry.sign_in, entry.details) == ("session", {"account": "mia.m"})


def test_a_link_ends_with_time_and_with_the_next_one(slack, mia):
    ask("q", **DESCRIBED)
    announce("q")
    for _ in range(2):
        press(buttons(slack)[0])
    first, second = (
        call.data["text"].partition("example.com")[2].partition("|")[0]
        for call in slack.to("/chat.postEphemeral")
    )

    browser = client_of(mia)
    assert browser.get(first).status_code == 410
    assert browser.get(second).status_code == 200
    with time_machine.travel(time.time() + 901):
        assert client_of(mia).get(second).status_code == 410
    assert browser.get("/account/slack/?token=forged").status_code == 410


def test_people_unlink_their_own_accounts_only(mia):
    link(mia)
    identity = ChatIdentity.objects.get()

    jon = client_of(make_user("jon"))
    for number in (identity.pk, "x", "9" * 5000):
        page = jon.post("/account/slack/", {"unlink": number}, follow=True)
        assert (page.status_code, "not linked any more" in page.text) == (200, False)
    assert ChatIdentity.objects.exists()
    assert not AuditEntry.objects.exists()
    browser = client_of(mia)
    assert "T1/U1" in browser.get("/account/slack/").text
    for _twice in range(2):
        browser.post("/account/slack/", {"unlink": identity.pk})
    assert not ChatIdentity.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target, entry.actor_id) == ("remove", "slack:T1/U1", mia.pk)


def test_the_requester_does_not_answer_here_either(slack, mia):
    link(mia)
    start_run(by=mia)
    ask("q", tags=child_of("run-1"), **DESCRIBED)
    announce("q")
    view = {"callback_id": "signoff_decision", "private_metadata": buttons(slack)[0]["value"]}

    press(buttons(slack)[0])
    refused = confirm(view).json()

    assert "it takes a second person" in slack.to("/chat.postEphemeral")[-1].data["text"]
    assert "it takes a second person" in refused["errors"]["comment"]
    assert state() == PromiseState.PENDING


@pytest.mark.parametrize("who_asks", ["stranger", "inactive"])
def test_the_linked_user_needs_the_right(slack, mia, who_asks):
    person = make_user("eve", groups=("Finance",) if who_asks == "inactive" else ())
    link(person, "U2")
    ask("q", **DESCRIBED)
    announce("q")
    press(buttons(slack)[0], "U2")
    User.objects.filter(pk=person.pk).update(is_active=who_asks != "inactive")
    view = {"callback_id": "signoff_decision", "private_metadata": buttons(slack)[0]["value"]}

    assert confirm(view, slack_id="U2").json()["response_action"] == "errors"
    assert state() == PromiseState.PENDING
    if who_asks == "stranger":
        assert "not for you" in slack.to("/chat.postEphemeral")[-1].data["text"]


def test_a_rejection_without_its_comment_is_refused_in_the_modal(slack, mia):
    link(mia)
    ask("q", answers=["approve", {"name": "reject", "comment": "required"}], **DESCRIBED)
    announce("q")
    press(buttons(slack)[1])
    view = opened(slack)

    assert view["blocks"][1]["optional"] is False
    assert confirm(view, " ").json() == {
        "response_action": "errors",
        "errors": {"comment": "This answer needs a comment."},
    }
    assert confirm(view, "Wrong amount").json() == {"response_action": "clear"}
    assert state() == PromiseState.REJECTED


def test_who_comes_late_is_told_so(slack, mia):
    link(mia)
    ask("q", **DESCRIBED)
    announce("q")
    button = buttons(slack)[0]
    press(button)
    settle("q")

    refused = confirm(opened(slack))
    assert "Answered elsewhere" in refused.json()["errors"]["comment"]
    press(button)
    assert "Answered elsewhere" in slack.to("/chat.postEphemeral")[-1].data["text"]
    assert not AuditEntry.objects.filter(actor=mia).exists()


def test_a_question_that_was_described_anew_is_not_answered_from_an_old_message(slack, mia):
    link(mia)
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    ask_bare("q")
    asker.describe("q", title="Pay 4", groups=["Finance"])
    announce("q")
    old = buttons(slack)[0]
    press(old)
    modal = opened(slack)
    asker.describe("q", title="Pay 4000", groups=["Finance"])
    announce("q", MessageEvent.ASKED, "described")

    assert "changed meanwhile" in confirm(modal).json()["errors"]["comment"]
    press(old)
    assert "changed meanwhile" in slack.to("/chat.postEphemeral")[-1].data["text"]
    assert state() == PromiseState.PENDING
    press(buttons(slack)[0])
    view = slack.to("/views.open")[-1].data["view"]
    assert "Pay 4000" in view["blocks"][0]["text"]["text"]
    assert confirm(view).json() == {"response_action": "clear"}
    assert state() == PromiseState.RESOLVED


def test_answers_with_a_form_are_given_on_the_page(slack, mia):
    link(mia)
    form = {"type": "object", "properties": {"amount": {"type": "integer"}}}
    ask("q", form=form, **DESCRIBED)
    announce("q")

    assert [one["text"]["text"] for one in buttons(slack)] == ["Reject", "Open"]
    forged = {
        "callback_id": "signoff_decision",
        "private_metadata": f"{Message.objects.get().pk}:approve",
    }
    assert "takes a form" in confirm(forged).json()["errors"]["comment"]
    assert state() == PromiseState.PENDING


@pytest.mark.parametrize("asked", [{"text": "4711"}, {"password": True}])
def test_what_has_to_be_confirmed_is_not_approved_here(slack, mia, asked):
    link(mia)
    ask("q", confirm=asked, **DESCRIBED)
    announce("q")

    assert [one["text"]["text"] for one in buttons(slack)] == ["Reject", "Open"]
    task, message = HumanTask.objects.get(), Message.objects.get()
    value = f"{message.pk}:approve"
    press({"action_id": "signoff_answer:approve", "value": value})
    assert not slack.to("/views.open")
    forged = {
        "callback_id": "signoff_decision",
        "private_metadata": f"{task.asked_at}:{value}",
    }
    assert confirm(forged).json()["response_action"] == "errors"
    assert state() == PromiseState.PENDING


def test_what_was_described_anew_meanwhile_is_read_again(slack, mia):
    link(mia)
    ask_bare("q")
    asker = Program(make_user("robot", rights=("describe_tasks",)))
    asker.describe("q", groups=["Finance"], title="Pay 10 EUR")
    announce("q")
    press(buttons(slack)[0])
    view = opened(slack)
    asker.describe("q", groups=["Finance"], title="Pay 10 000 EUR")

    refused = confirm(view)

    assert "was changed meanwhile" in refused.json()["errors"]["comment"]
    assert state() == PromiseState.PENDING


@pytest.mark.parametrize("metadata", ["", "x:approve", "999999:approve", "{}:burn", "{}"])
def test_forged_metadata_decides_nothing(slack, mia, metadata):
    link(mia)
    ask("q", **DESCRIBED)
    announce("q")
    forged = metadata.replace("{}", str(Message.objects.get().pk))

    view = {"callback_id": "signoff_decision", "private_metadata": forged}
    assert confirm(view).json()["response_action"] == "errors"
    assert state() == PromiseState.PENDING


def test_other_interactions_are_acknowledged(slack, mia):
    link(mia)
    opens = {"type": "block_actions", "actions": [{"action_id": "x", "type": "button"}], **who()}

    assert post(opens).status_code == 200
    assert post({"type": "shortcut", **who()}).status_code == 200
    foreign = {"callback_id": "of_somebody_else", "private_metadata": ""}
    assert confirm(foreign).content == b""


def test_the_room_of_a_later_stage_hears_of_it_when_it_opens(slack, mia, settings):
    rooms = {"Finance": "C-FIN", "Legal": "C-LAW"}
    settings.SIGNOFF_CHANNELS = [settings.SIGNOFF_CHANNELS[0] | {"rooms": rooms}]
    Group.objects.get_or_create(name="Finance")[0].user_set.add(mia)
    ask("q", policy={"stages": [{"group": "Finance"}, {"group": "Legal"}, {"user": "jon"}]})

    def told():
        return [call.data["channel"] for call in slack.to("/chat.postMessage")]

    announce("q")
    assert told() == ["C-FIN"]
    decide("q", Actor(mia), Answer("approve"))
    announce("q")
    announce("q")
    assert told() == ["C-FIN", "C-LAW"]


def test_rooms_by_group_and_people_who_linked(slack, mia, settings):
    link(mia)
    channel = settings.SIGNOFF_CHANNELS[0] | {"rooms": {"Finance": "C-FIN"}, "direct": True}
    settings.SIGNOFF_CHANNELS = [channel]
    ask("q", **DESCRIBED)

    assert announce("q") == 2
    rooms = [call.data["channel"] for call in slack.to("/chat.postMessage")]
    assert rooms == ["C-FIN", "U1"]


def test_what_is_for_one_person_is_said_so_that_a_room_understands(slack, mia, settings):
    jon = make_user("jon", first_name="Jon")
    link(jon, "U2")
    settings.SIGNOFF_CHANNELS = [settings.SIGNOFF_CHANNELS[0] | {"direct": True}]
    start_run("run-1", by=jon)
    ask("run-1:1", tags=child_of("run-1"), **DESCRIBED)
    occasion = f"{jon.pk}@1"

    assert announce("run-1:1", MessageEvent.ASSIGNED, occasion, {"users": ["jon"]}) == 2
    calls = slack.to("/chat.postMessage")
    said = {call.data["channel"]: json.dumps(call.data["blocks"]) for call in calls}
    assert "This was handed over to Jon." in said["#approvals"]
    assert "This was handed over to you." in said["U2"]
    assert announce("run-1:1", MessageEvent.MENTIONED, "remark 1", {"users": ["jon"]}) == 1
    assert Message.objects.get(event="mentioned").address == "U2"
    # Jon may read it, and is nobody who may answer it: there is nothing to press.
    assert [one["text"]["text"] for one in buttons(slack)] == ["Open"]


def test_failures_are_kept_and_tried_again_unless_they_are_final(slack, mia):
    ask("q", **DESCRIBED)
    slack.answers["/chat.postMessage"] = (429, b'{"ok": false, "error": "ratelimited"}')
    with pytest.raises(UnsentError, match=r"chat\.postMessage answered ratelimited"):
        announce("q")
    slack.answers["/chat.postMessage"] = (502, b"<html>")
    with pytest.raises(UnsentError, match=r"chat\.postMessage answered 502"):
        announce("q")
    del slack.answers["/chat.postMessage"]
    assert announce("q") == 1

    settle("q")
    slack.answers["/chat.update"] = (200, b'{"ok": false, "error": "internal_error"}')
    with pytest.raises(UnsentError, match="internal_error"):
        conclude("q")
    slack.answers["/chat.update"] = (200, b'{"ok": false, "error": "message_not_found"}')
    assert conclude("q") == 0
    message = Message.objects.get()
    assert message.given_up_at is not None
    assert "message_not_found" in message.problem


def test_slack_that_is_away_is_no_error_of_ours(slack, mia):
    link(mia)
    ask("q", **DESCRIBED)
    announce("q")
    slack.answers["/views.open"] = (200, b'{"ok": false, "error": "expired_trigger_id"}')

    assert press(buttons(slack)[0]).status_code == 502
    assert state() == PromiseState.PENDING


def test_no_secret_leaves(slack, mia):
    secret = "DE02-1203-0000"
    link(mia)
    ask(
        "q",
        **DESCRIBED
        | {
            "facts": {"IBAN": secret},
            "consequence": secret,
            "secrets": ["/facts/IBAN", "/consequence"],
        },
    )
    announce("q")
    press(buttons(slack)[0])
    confirm(opened(slack))
    conclude("q")

    assert len(slack.calls) == 3
    assert all(secret.encode() not in call.body for call in slack.calls)
