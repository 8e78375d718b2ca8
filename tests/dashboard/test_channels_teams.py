"""Teams: cards that lead to pages, in the rooms of those who are asked."""

import json
from collections.abc import Iterator

import pytest

from dashboard.channels.announcing import UnsentError, announce, conclude
from dashboard.masking import MASK
from dashboard.models import Message, MessageEvent
from dashboard.question_ids import encode
from tests.dashboard.outside import WebServer, web_server
from tests.dashboard.people import answer, ask, client_of, make_user

PAGE = f"https://signoff.example.com/inbox/{encode('q')}/"


@pytest.fixture
def teams() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _teams_is_on(settings, teams: WebServer) -> None:
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    rooms = {"Finance": f"{teams.url}finance?sig=s3cret"}
    settings.SIGNOFF_CHANNELS = [
        {"channel": "teams", "url": f"{teams.url}all?sig=s3cret", "rooms": rooms}
    ]


def texts(card: dict[str, object]) -> list[str]:
    body: list[dict[str, list[dict[str, str]]]] = card["body"]  # type: ignore[assignment]
    return ["".join(run["text"] for run in block["inlines"]) for block in body]


def cards(teams: WebServer, path: str) -> list[dict[str, object]]:
    found = []
    for call in teams.to(path):
        assert call.data["type"] == "message"
        [attachment] = call.data["attachments"]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        found.append(attachment["content"])
    return found


def test_a_question_and_its_outcome_are_cards_that_lead_to_its_page(teams, db):
    mia = make_user("mia", first_name="Mia")
    ask(
        "q",
        users=["mia"],
        title="Pay [Acme](https://evil.example)",
        facts={"IBAN": "DE02", "Amount": 5},
        secrets=["/facts/IBAN"],
    )
    assert announce("q") == announce("q") == 1
    answer(client_of(mia), "q", comment="Fine")
    assert conclude("q") == 1

    asked, ended = cards(teams, "/all?sig=s3cret")
    assert texts(asked) == ["Pay [Acme](https://evil.example)", f"IBAN: {MASK}", "Amount: 5"]
    assert {block["type"] for block in asked["body"]} == {"RichTextBlock"}  # no markdown is read
    assert [(one["title"], one["url"]) for one in asked["actions"]] == [
        ("Approve", f"{PAGE}?answer=approve"),
        ("Reject", f"{PAGE}?answer=reject"),
        ("Open", PAGE),
    ]
    _title, sentence, comment = texts(ended)
    assert sentence.startswith("Approved by Mia, ")
    assert comment == "Fine"
    assert [one["url"] for one in ended["actions"]] == [PAGE]
    assert conclude("q") == 0


def test_groups_have_rooms_of_their_own_and_addresses_are_in_no_row(teams, db):
    make_user("mia", groups=("Finance", "Board"))
    ask("q", groups=["Finance", "Board"])
    announce("q")
    announce("q", MessageEvent.REMINDED, "1")

    assert len(cards(teams, "/finance?sig=s3cret")) == 2
    assert cards(teams, "/all?sig=s3cret") == []
    assert "s3cret" not in json.dumps(list(Message.objects.values()), default=str)


def test_what_fails_is_tried_again_unless_nobody_is_there_any_more(teams, settings, db):
    ask("q", users=["mia"])
    teams.answers["/all?sig=s3cret"] = (503, b"")
    with pytest.raises(UnsentError, match="teams: it answered 503"):
        announce("q")
    teams.answers["/all?sig=s3cret"] = (410, b"")
    assert announce("q") == 0
    assert Message.objects.get().given_up_at is not None

    settings.SIGNOFF_CHANNELS = [{"channel": "teams", "name": "t2", "url": "http://s3cret:x/"}]
    assert announce("q") == 0
    assert Message.objects.get(channel="t2").problem == "t2: the address is wrong"
