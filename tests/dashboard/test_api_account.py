"""What people set up for themselves and others, by the API: links, views, preferences, tokens."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from dashboard import links
from dashboard.channels import identities
from dashboard.models import (
    Action,
    ApiToken,
    AuditEntry,
    DecisionLink,
    HumanTask,
    NotificationPreference,
    SavedView,
    TargetKind,
)
from tests.dashboard.calling import Program, token_of
from tests.dashboard.people import ask, client_of, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return make_user("mia", groups=("finance",))


@pytest.fixture
def program(mia):
    return Program(mia)


def paths(response, status=422):
    assert response.status_code == status, response.content
    return [one["path"] for one in response.json()["errors"]]


# --- Personal links ---


def test_links_are_made_listed_and_taken_back(mia, settings):
    settings.SIGNOFF_LINKS = "bound"
    ask("q", users=["mia", "max"])
    maker = Program(make_user("max", rights=("make_links",)))
    links.make_link(HumanTask.objects.get(pk="q"), mia)  # as a mail has it

    made = maker.post("human-tasks/q/links", {"to": "mia"})

    assert (made.status_code, made.json()["recipient"]) == (201, "mia")
    path = urlsplit(made.json()["url"]).path
    assert Client().get(path).status_code == 302  # somebody else saw it: it takes a sign-in
    assert client_of(mia).get(path).status_code == 200
    listed = maker.get("human-tasks/q/links")
    assert [one["recipient"] for one in listed.json()["items"]] == ["mia", "mia"]
    assert path.strip("/").split("/")[-1] not in listed.text
    assert maker.post("human-tasks/q/links/revoke").json() == {"items": []}
    assert maker.post("human-tasks/q/links/revoke").json() == {"items": []}
    assert client_of(mia).get(path).status_code == 410
    entries = AuditEntry.objects.filter(target_kind=TargetKind.LINK).order_by("pk")
    assert [(one.action, one.sign_in) for one in entries] == [
        (Action.LINK, "token"),
        (Action.UNLINK, "token"),
    ]


def test_links_are_for_those_who_may_answer_and_by_those_with_the_right(mia, program, settings):
    settings.SIGNOFF_LINKS = "login"
    ask("q", users=["mia", "max"])
    ask("other", users=["mia"])
    make_user("eve")
    maker = Program(make_user("max", rights=("make_links",)))

    for name in ("eve", "nobody"):
        assert paths(maker.post("human-tasks/q/links", {"to": name})) == ["to"]
    for method, path in (
        ("POST", "links"),
        ("GET", "links"),
        ("POST", "links/revoke"),
    ):
        body = {"to": "mia"} if path == "links" else {}
        assert program.call(method, f"human-tasks/q/{path}", body).status_code == 404
        assert maker.call(method, f"human-tasks/other/{path}", body).status_code == 404
    settings.SIGNOFF_LINKS = None
    assert maker.post("human-tasks/q/links", {"to": "mia"}).status_code == 404
    assert not DecisionLink.objects.exists()


# --- Saved views ---


def test_views_are_kept_named_shared_and_deleted(mia, program):
    jon = Program(make_user("jon", groups=("finance",)))
    wanted = {"place": "inbox", "query": "?tab=mine&q=rent&junk=1".lstrip("?"), "name": "Rents"}

    kept = program.post("views", wanted | {"is_first": True})

    assert kept.status_code == 201, kept.content
    view = kept.json()
    assert (view["query"], view["is_first"], view["is_mine"]) == ("tab=mine&q=rent", True, True)
    assert client_of(mia).get("/inbox/")["Location"] == "/inbox/?tab=mine&q=rent"
    assert jon.get("views").json()["items"] == []
    [group] = [one for one in program.get("views").json()["audiences"] if "finance" in one["label"]]
    path = f"views/{view['id']}"
    shared = program.patch(path, {"audience": group["audience"]}).json()
    assert (shared["group"], shared["name"]) == ("finance", "Rents")
    [seen] = jon.get("views").json()["items"]
    assert (seen["name"], seen["is_mine"], seen["is_first"]) == ("Rents", False, False)
    assert jon.post(f"{path}/first").json()["is_first"]
    assert not jon.delete(f"{path}/first").json()["is_first"]
    assert jon.delete(f"{path}/first").status_code == 404
    for refused in (jon.patch(path, {"name": "x"}), jon.delete(path)):
        assert refused.status_code == 404
    assert program.patch(path, {"name": "Rent"}).json()["group"] == "finance"
    assert program.delete(path).status_code == 204
    assert program.delete(path).status_code == 404
    assert jon.post(f"{path}/first").status_code == 404
    assert program.post(f"views/{2**63}/first").status_code == 404


def test_a_view_that_cannot_be_is_refused(program):
    good = {"place": "inbox", "query": "tab=mine", "name": "Mine"}
    assert program.post("views", good).status_code == 201

    for wrong, path in (
        ({}, "name"),  # there is one of this name
        ({"name": " "}, "name"),
        ({"name": "All", "query": ""}, "name"),
        ({"name": "All", "audience": "all"}, "audience"),
        ({"place": "executions", "query": "status=failed"}, "place"),
        ({"place": "somewhere"}, "place"),
    ):
        assert paths(program.post("views", good | wrong)) == [path]
    view = SavedView.objects.get()
    assert paths(program.patch(f"views/{view.pk}", {"audience": "all"})) == ["audience"]
    assert (view.query, view.is_for_all) == ("tab=mine", False)


# --- Preferences ---


def test_preferences_are_read_and_changed(mia, program):
    assert program.get("preferences").json() == {
        "has_single_keys": True,
        "advances": False,
        "is_compact": False,
    }

    changed = program.patch("preferences", {"is_compact": True})

    assert changed.json() == {"has_single_keys": True, "advances": False, "is_compact": True}
    assert program.patch("preferences", {"has_single_keys": False}).json()["is_compact"] is True
    assert paths(program.patch("preferences", {"advances": "yes"})) == ["advances"]
    assert Program(make_user("jon")).get("preferences").json()["has_single_keys"] is True


def test_a_browser_keeps_theme_and_language(mia):
    client = client_of(mia)

    def patch(body):
        return client.patch("/api/looks", body, content_type="application/json")

    looks = client.get("/api/looks").json()
    assert (looks["theme"], looks["language"]) == ("system", "en")
    assert {"code": "de", "name": "Deutsch"} in looks["languages"]
    changed = patch({"theme": "dark", "language": "de"})
    assert (changed.json()["theme"], changed.json()["language"]) == ("dark", "de")
    assert '<html lang="de" data-theme="dark">' in client.get("/inbox/").text
    assert patch({"theme": "system"}).json()["language"] == "de"
    assert '<html lang="de">' in client.get("/inbox/").text
    for wrong, path in (({"theme": "blue"}, "theme"), ({"language": "xx"}, "language")):
        assert paths(patch(wrong)) == [path]
    assert client.get("/api/looks").json()["language"] == "de"


# --- Accounts in a chat ---


def test_a_slack_account_is_linked_and_unlinked(mia, program):
    client, jon = client_of(mia), Program(make_user("jon"))

    def post(token):
        body = {"token": token}
        return client.post("/api/chat-accounts", body, content_type="application/json")

    address = identities.make_link("slack", "T1/U1", "mia.k")
    token = parse_qs(urlsplit(address).query)["token"][0]
    asked = program.get("chat-accounts", token=token).json()
    assert (asked["items"], asked["asked"]["name"]) == ([], "mia.k")
    assert program.post("chat-accounts", {"token": token}).status_code == 403
    assert identities.user_of("slack", "T1/U1") is None

    linked = post(token)

    assert linked.status_code == 201, linked.content
    assert identities.user_of("slack", "T1/U1") == mia
    assert [post(one).status_code for one in (token, "forged")] == [409, 409]
    listed = program.get("chat-accounts", token=token).json()
    assert ([one["account"] for one in listed["items"]], listed["asked"]) == (["T1/U1"], None)
    path = f"chat-accounts/{linked.json()['id']}"
    assert [jon.delete(one).status_code for one in (path, f"chat-accounts/{2**63}")] == [404, 404]
    assert program.delete(path).status_code == 204
    assert identities.user_of("slack", "T1/U1") is None
    assert program.delete(path).status_code == 404
    entries = AuditEntry.objects.filter(target="slack:T1/U1").order_by("pk")
    assert [(one.action, one.sign_in) for one in entries] == [
        (Action.ADD, "session"),
        (Action.REMOVE, "token"),
    ]


def test_when_messages_come(mia, program, settings):
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    NotificationPreference.objects.create(user=mia, channel="mail", muted_types=["a", "b"])

    assert program.get("notifications").json()["items"] == [
        {"channel": "mail", "way": "each", "hours": [], "muted": ["a", "b"]}
    ]
    digest = {"way": "digest", "hours": [17, 8], "muted": ["a"]}
    assert program.put("notifications/mail", digest).json() == {
        "channel": "mail",
        "way": "digest",
        "hours": [8, 17],
        "muted": ["a"],
    }
    other = {"way": "each", "muted": ["b", "rent"]}
    assert program.put("notifications/mail", other).json()["muted"] == ["b", "rent"]
    assert program.put("notifications/mail", {"way": "none"}).json()["way"] == "none"
    for wrong, path in (
        ({"way": "digest"}, "hours"),
        ({"way": "digest", "hours": [24]}, "hours"),
        ({"way": "each", "muted": ["z" * 1025]}, "muted[0]"),
        ({"way": "some"}, "way"),
    ):
        assert paths(program.put("notifications/mail", wrong)) == [path]
    assert program.put("notifications/slack", {"way": "none"}).status_code == 404


# --- Tokens ---


def test_a_token_makes_no_other_and_a_session_does(mia, program):
    assert program.post("tokens", {"name": "more"}).status_code == 403
    assert ApiToken.objects.count() == 1
    client = client_of(mia)

    def post(body):
        return client.post("/api/tokens", body, content_type="application/json")

    made = post({"name": "shop", "days": 30, "is_read_only": True})

    assert made.status_code == 201
    reader = Program(token=made.json()["token"])
    assert reader.get("tokens").json()["items"][0]["name"] == "shop"
    assert made.json()["token"] not in reader.get("tokens").text
    assert post({"name": ""}).status_code == 422
    assert post({"name": "x", "days": 5}).status_code == 422


def test_tokens_are_revoked_by_their_owners_and_those_with_the_right(mia, program, monkeypatch):
    other = token_of(make_user("jon"))
    theirs = ApiToken.objects.get(owner__username="jon")
    boss = Program(make_user("boss", rights=("manage_tokens",)))

    assert [one["owner"] for one in program.get("tokens").json()["items"]] == ["mia"]
    assert program.post(f"tokens/{theirs.pk}/revoke").status_code == 404
    monkeypatch.setattr("dashboard.api.own_tokens.PAGE_SIZE", 2)
    first = boss.get("tokens").json()
    second = boss.get("tokens", before=first["older"]).json()
    owners = [[one["owner"] for one in page["items"]] for page in (first, second)]
    assert (owners, second["older"]) == ([["boss", "jon"], ["mia"]], None)
    assert boss.post(f"tokens/{theirs.pk}/revoke").json()["owner"] == "jon"
    assert boss.post(f"tokens/{theirs.pk}/revoke").status_code == 404
    assert Program(token=other).get("tokens").status_code == 401
