"""Who gets in, what is refused before anything is looked at, and how the API describes itself."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import get_resolver, resolve
from jsonschema import Draft202012Validator

from dashboard.api import tokens, urls
from dashboard.api.operations import MAX_BODY
from dashboard.api.routes import PARAMETERS, names_in
from dashboard.models import Action, ApiToken, AuditEntry, TargetKind
from tests.dashboard.calling import Program, token_of
from tests.dashboard.people import ask, client_of, iso, make_user, past

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PARTS = {
    "task_id": "q",
    "execution_id": "run",
    "step_id": "run:1",
    "job_id": "6f1c2a52-2f4f-4a6e-9a3f-0a3c64b1b2a1",
    "delegation_id": "7",
    "delivery_id": "7",
    "secret_id": "7",
    "account_id": "7",
    "token_id": "7",
    "view_id": "7",
    "channel": "mail",
    "slug": "shop",
}
CLOSED = [one for one in urls.OPERATIONS if not one.is_public]


def filled(path):
    return re.sub(r"\{(\w+)\}", lambda found: PARTS[found[1]], path)


def each(operations):
    return pytest.mark.parametrize("one", operations, ids=lambda one: one.name)


@pytest.fixture
def mia():
    return make_user("mia")


# --- Tokens ---


def test_a_token_acts_for_its_owner_and_is_kept_as_a_hash(mia):
    ask("q", users=["mia"])
    token = token_of(mia)

    assert Program(token=token).get("human-tasks/q").status_code == 200

    row = ApiToken.objects.get()
    assert token not in json.dumps([str(one) for one in ApiToken.objects.values_list()[0]])
    assert (row.hint, row.last_used_at is not None) == (token[-4:], True)
    entry = AuditEntry.objects.get(target_kind=TargetKind.TOKEN)
    assert (entry.action, entry.details["name"]) == (Action.ADD, "tests")
    assert token not in json.dumps(entry.details)


@pytest.mark.parametrize("why", ["unknown", "expired", "revoked", "inactive", "basic", "empty"])
def test_a_token_that_does_not_count_is_refused(mia, why):
    token = token_of(mia, hours=-1 if why == "expired" else 1)
    headers = {}
    match why:
        case "unknown":
            token = f"{token}x"
        case "revoked":
            tokens.revoke(ApiToken.objects.get(), tokens.Author())
        case "inactive":
            mia.is_active = False
            mia.save()
        case "basic":
            headers = {"Authorization": "Basic bWlhOm1pYQ=="}
        case "empty":
            headers = {"Authorization": "Bearer "}

    response = Program(token=token).call("GET", "human-tasks", headers=headers)

    assert response.status_code == 401
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_a_wrong_token_is_refused_though_somebody_is_signed_in(mia):
    client = client_of(mia)

    assert client.get("/api/human-tasks").status_code == 200
    bad = client.get("/api/human-tasks", headers={"Authorization": "Bearer nonsense"})
    assert bad.status_code == 401


def test_a_token_for_reading_changes_nothing(mia):
    ask("q", users=["mia"])
    program = Program(mia, is_read_only=True)

    assert program.get("human-tasks/q").status_code == 200
    refused = program.answer("q")
    assert refused.status_code == 403
    assert "reading only" in refused.json()["detail"]


def test_the_time_of_use_is_noted_once_a_minute(mia):
    program = Program(mia)
    program.get("human-tasks")
    ApiToken.objects.update(last_used_at=past(1))
    old = ApiToken.objects.get().last_used_at
    program.get("human-tasks")
    new = ApiToken.objects.get().last_used_at
    ApiToken.objects.update(last_used_at=new - 1000)
    program.get("human-tasks")

    assert new > old
    assert ApiToken.objects.get().last_used_at == new - 1000


def test_people_make_see_and_revoke_their_tokens(mia):
    client = client_of(mia)
    assert "You have no tokens." in client.get("/account/tokens/").text
    assert "API tokens" in client.get("/inbox/").text

    form = {"name": "shop", "days": "30", "is_read_only": "on"}
    made = client.post("/account/tokens/", form)

    assert made.status_code == 201
    token = re.search(r">(signoff_[\w-]+)<", made.text)[1]
    assert Program(token=token).get("human-tasks").status_code == 200
    page = client.get("/account/tokens/").text
    assert token not in page
    assert f"…{token[-4:]}" in page
    row = ApiToken.objects.get()
    assert (row.is_read_only, row.expires_at - row.made_at >= 29 * 86_400_000) == (True, True)
    address = f"/account/tokens/{row.pk}/revoke/"
    assert client.get(address).status_code == 405
    assert client_of(make_user("eve")).post(address).status_code == 404
    assert client.post(address).status_code == 303
    assert client.post(address).status_code == 404
    assert Program(token=token).get("human-tasks").status_code == 401
    assert list(
        AuditEntry.objects.filter(target_kind=TargetKind.TOKEN).values_list("action", flat=True)
    ) == [Action.ADD, Action.REMOVE]


def test_who_may_revokes_the_tokens_of_others(mia):
    token = token_of(mia)
    row = ApiToken.objects.get()
    boss = make_user("boss", rights=("manage_tokens",))
    client = client_of(boss)

    page = client.get("/account/tokens/").text
    assert "Tokens of others" in page
    assert "mia: <b>tests</b>" in page
    assert token not in page
    assert "Tokens of others" not in client_of(make_user("eve")).get("/account/tokens/").text
    assert client.post(f"/account/tokens/{row.pk}/revoke/").status_code == 303
    assert Program(token=token).get("human-tasks").status_code == 401
    entry = AuditEntry.objects.get(target_kind=TargetKind.TOKEN, action=Action.REMOVE)
    assert (entry.actor, entry.details["owner"]) == (boss, "mia")


def test_somebody_who_was_shut_out_gets_nothing_from_a_session_either(mia, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    client = client_of(mia)
    assert client.get("/api/preferences").status_code == 200
    mia.is_active = False
    mia.save()

    assert client.get("/api/preferences").status_code == 401


def test_a_token_needs_a_name_and_a_known_time(mia):
    response = client_of(mia).post("/account/tokens/", {"name": "", "days": "5"})

    assert response.status_code == 422
    assert not ApiToken.objects.exists()
    assert Client().get("/account/tokens/").status_code == 302


def test_operators_make_list_and_revoke_tokens(mia):
    out, err = StringIO(), StringIO()
    call_command("signoff_token", "make", "mia", "shop", "--read-only", stdout=out, stderr=err)
    token = out.getvalue().strip()
    assert "not shown again" in err.getvalue()
    assert Program(token=token).get("human-tasks").status_code == 200

    number = ApiToken.objects.get().pk
    call_command("signoff_token", "list", stdout=(listed := StringIO()))
    assert listed.getvalue().startswith(f"{number}  mia  shop …{token[-4:]}  reads  until 20")
    call_command("signoff_token", "revoke", str(number), stdout=StringIO())
    assert Program(token=token).get("human-tasks").status_code == 401
    with pytest.raises(CommandError, match="no token"):
        call_command("signoff_token", "revoke", str(number))
    with pytest.raises(CommandError, match="nobody who can sign in"):
        call_command("signoff_token", "make", "nobody", "shop")


# --- Sessions ---


def test_a_session_works_with_the_token_against_forgery(mia):
    ask("q", users=["mia"])
    client = Client(enforce_csrf_checks=True)
    client.force_login(mia)
    body = {"answer": "approve"}

    assert client.get("/api/human-tasks/q").status_code == 200
    forged = client.post("/api/human-tasks/q/answer", body, content_type="application/json")
    assert (forged.status_code, "CSRF" in forged.json()["detail"]) == (403, True)
    for kind, broken in (
        ("multipart/form-data; boundary=", b"x"),
        ("application/x-www-form-urlencoded", b"a=" + b"x" * (2 * MAX_BODY)),
    ):
        unread = client.post("/api/human-tasks/q/claim", broken, content_type=kind)
        assert (unread.status_code, unread.json()["status"]) == (403, 403)
    client.get("/inbox/")
    headers = {"X-CSRFToken": client.cookies["csrftoken"].value}
    sent = client.post(
        "/api/human-tasks/q/answer", body, content_type="application/json", headers=headers
    )
    assert sent.status_code == 200
    assert AuditEntry.objects.get(target="q").sign_in == "session"


# --- Every operation ---


@each(CLOSED)
def test_nobody_gets_in_without_a_token(one):
    response = Program().call(one.method, filled(one.path), {})

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


@each([one for one in CLOSED if names_in(one.path)])
def test_a_stranger_finds_nothing(one):
    make_user("mia")
    ask("q", users=["mia"])
    bodies = {
        "answer_task": {"answer": "approve"},
        "start_bulk_answer": {"answer": "approve"},
        "hand_over_task": {"to": "mia"},
        "add_comment": {"text": "x"},
        "write_draft": {"fields": {}},
        "cancel_execution": {"reason": "x"},
        "snooze_task": {"until": iso(1)},
        "describe_task": {"schema": 1, "title": "x"},
        "change_notifications": {"way": "each"},
    }

    stranger = Program(make_user("eve"))

    response = stranger.call(one.method, filled(one.path), bodies.get(one.name, {}))
    assert response.status_code == 404, response.content


@each([one for one in CLOSED if one.permission])
def test_without_the_permission_there_is_nothing(one):
    response = Program(make_user("eve")).call(one.method, filled(one.path), {})

    assert response.status_code == 404


@each([one for one in CLOSED if one.body is not None])
def test_bodies_are_json_and_not_too_large(one, mia):
    rights = (
        "view_executions",
        "cancel_executions",
        "manage_webhooks",
        "describe_tasks",
        "make_links",
    )
    program = Program(make_user("olga", rights=rights))
    path = filled(one.path)

    other = program.call(one.method, path, "x=1", content_type="application/x-www-form-urlencoded")
    assert other.status_code == 415
    for broken in (b"{", b"\xff", b"[" * 2000, b""):
        assert program.call(one.method, path, broken).status_code in {400, 415, 422}
    assert program.call(one.method, path, b'{"a": "\\u0000"}').status_code == 422
    assert program.call(one.method, path, b" " * (MAX_BODY + 1)).status_code == 413


def test_unknown_keys_and_wrong_types_are_named(mia):
    ask("q", users=["mia"])
    program = Program(mia)

    for body, path in (
        ({"answer": "approve", "comments": "x"}, ""),
        ({"answer": 1}, "answer"),
        ({}, ""),
        ([], ""),
        ({"answer": "approve", "values": []}, "values"),
    ):
        response = program.post("human-tasks/q/answer", body)
        [error] = response.json()["errors"]
        assert (response.status_code, error["path"]) == (422, path)
        assert error["message"]


@pytest.mark.parametrize("path", ["human-tasks", "human-tasks/q", "openapi.json"])
def test_other_methods_are_refused_with_those_that_there_are(mia, path):
    response = Program(mia).call("PATCH", path, {})

    assert response.status_code == 405
    assert {"GET", "HEAD"} <= set(response["Allow"].split(", "))


def test_what_is_no_path_is_not_found(mia):
    for path in ("", "nothing", "human-tasks/", "human-tasks/q/nothing/at/all", "executions/a%00b"):
        assert Program(mia).get(path).status_code == 404


def test_answers_are_not_kept_by_anybody(mia):
    response = Program(mia).get("human-tasks")

    assert "no-store" in response["Cache-Control"]
    assert {"Authorization", "Cookie"} <= set(response["Vary"].split(", "))
    head = Program(mia).call("HEAD", "human-tasks")
    assert (head.status_code, head.content) == (200, b"")


# --- What the pages have ---

OPERATION_OF_PAGE = {
    "audit": "list_audit_entries",
    "audit_download": "export_audit_entries",
    "away": "make_delegation",
    "bulk": "start_bulk_answer",
    "cancel": "cancel_execution",
    "choose_bulk": "gather_tasks",
    "claim": "claim_task",
    "claim_ticked": "claim_tasks",
    "comment": "add_comment",
    "decide": "answer_task",
    "delete_view": "delete_view",
    "deliver_webhook_again": "deliver_again",
    "download_bulk": "list_bulk_results",
    "draft": "write_draft",
    "edit_webhook": "change_webhook",
    "end_away": "end_delegation",
    "execution": "read_execution",
    "executions": "list_all_executions",
    "find_execution": "read_execution",
    "find_task": "read_task",
    "first_view": "begin_with_view",
    "hand_over": "hand_over_task",
    "inbox": "list_tasks",
    "inbox_badge": "list_tasks",
    "inbox_changes": "list_tasks",
    "language": "change_looks",
    "make_link": "make_link",
    "mute": "change_notifications",
    "new_webhook": "make_webhook",
    "notifications": "change_notifications",
    "preferences": "change_preferences",
    "release": "release_task",
    "retire_webhook_secret": "retire_webhook_secret",
    "reveal": "reveal_task",
    "revoke_links": "revoke_links",
    "revoke_token": "revoke_token",
    "rotate_webhook": "rotate_webhook_secret",
    "save_view": "keep_view",
    "search": "list_all_executions",
    "slack_account": "link_chat_account",
    "snooze": "snooze_task",
    "stop_bulk": "stop_bulk_answer",
    "take_back": "take_back_answer",
    "task": "read_task",
    "task_state": "read_task",
    "test_webhook": "rehearse_webhook",
    "theme": "change_looks",
    "tokens": "make_token",
    "view": "name_view",
    "views": "list_views",
    "wake": "wake_task",
    "webhook": "list_deliveries",
    "webhook_delivery": "read_delivery",
    "webhooks": "list_webhooks",
}
FOR_NO_PROGRAM = {
    "home",  # leads on
    "live",  # tells open pages to look again
    "link",  # is a sign-in of its own
    "hook",  # other systems post there,
    "slack_interactions",  # and Slack
}


def test_what_a_page_can_do_the_api_can_do():
    _prefix, pages = get_resolver().namespace_dict["signoff"]

    names = {name for name in pages.reverse_dict if isinstance(name, str)}
    assert names == OPERATION_OF_PAGE.keys() | FOR_NO_PROGRAM
    assert set(OPERATION_OF_PAGE.values()) <= {one.name for one in urls.OPERATIONS}


# --- The description ---


@pytest.fixture
def openapi():
    return Program().get("openapi.json").json()


def test_every_route_is_described(openapi):
    described = {
        (path.removeprefix("/"), method.upper())
        for path, methods in openapi["paths"].items()
        for method in methods
    }

    assert openapi["openapi"] == "3.1.0"
    assert described == {(one.path, one.method) for one in urls.OPERATIONS}
    named = [
        one["operationId"] for methods in openapi["paths"].values() for one in methods.values()
    ]
    assert len(named) == len(set(named))
    routed = {pattern.name for pattern in urls.urlpatterns if pattern.name}
    assert routed <= set(named)
    for one in urls.OPERATIONS:
        assert resolve(f"/api/{filled(one.path)}").namespace == "signoff_api"
        assert PARAMETERS.keys() >= set(names_in(one.path))
        assert one.summary.endswith(".")


def test_every_operation_says_what_it_takes_and_gives(openapi):
    for methods in openapi["paths"].values():
        for one in methods.values():
            assert {"200", "201", "204"} & one["responses"].keys()
            wanted = "401" not in one["responses"]
            assert (one.get("security") == []) is wanted
            for status, answer in one["responses"].items():
                assert answer["description"]
                if status >= "400":
                    assert answer["content"].keys() == {"application/problem+json"}
                elif status != "204":
                    assert answer["content"]


def test_it_keeps_the_rules_of_openapi(openapi):
    """Those of OpenAPI 3.1 that no schema of ours could check."""
    assert {"openapi", "info", "paths", "components"} <= openapi.keys()
    assert openapi["info"].keys() >= {"title", "version"}
    schemes = openapi["components"]["securitySchemes"].keys()
    shapes = set()
    for path, methods in openapi["paths"].items():
        assert path.startswith("/")
        shape = re.sub(r"\{\w+\}", "{}", path)
        assert shape not in shapes, "two paths that nobody can tell apart"
        shapes.add(shape)
        assert methods.keys() <= {"get", "put", "post", "delete", "patch"}
        for method, one in methods.items():
            keys = [(part["in"], part["name"]) for part in one["parameters"]]
            assert len(keys) == len(set(keys))
            named = [part for part in one["parameters"] if part["in"] == "path"]
            assert [part["name"] for part in named] == names_in(path)
            assert all(part["required"] and part["schema"] for part in named)
            assert all(re.fullmatch(r"[1-5]\d\d", status) for status in one["responses"])
            assert ("requestBody" in one) <= (method not in {"get", "delete"})
            for way in one.get("security", openapi["security"]):
                assert way.keys() <= schemes
    for name in openapi["components"]["schemas"]:
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
    assert Client().get(f"{openapi['servers'][0]['url']}/openapi.json").status_code == 200


def schemas_in(value):
    if isinstance(value, dict):
        if "schema" in value:
            yield value["schema"]
        for one in value.values():
            yield from schemas_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from schemas_in(one)


def refs_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from refs_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from refs_in(one)


def test_its_schemas_are_schemas_and_refer_to_what_is_there(openapi):
    components = openapi["components"]["schemas"]
    for schema in [*components.values(), *schemas_in(openapi["paths"])]:
        Draft202012Validator.check_schema(schema)
    refs = set(refs_in(openapi))
    outside = {"schemas/human-task.json"}
    assert refs - outside == {f"#/components/schemas/{one}" for one in components}
    for one in outside:  # relative to the document
        assert Client().get(f"/api/{one}").status_code == 200


def test_the_published_schemas_are_served():
    for name in ("human-task.json", "policy.json"):
        schema = Program().get(f"schemas/{name}").json()
        Draft202012Validator.check_schema(schema)
        with open(f"dashboard/schemas/{name}") as file:  # noqa: PTH123
            assert schema == json.load(file)


def test_the_description_is_for_everybody():
    assert Client().get("/api/openapi.json").status_code == 200
