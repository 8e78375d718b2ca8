"""Who gets in, what is refused before anything is looked at, and how the API describes itself."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import resolve
from jsonschema import Draft202012Validator

from dashboard.api import tokens, urls
from dashboard.api.operations import MAX_BODY
from dashboard.api.routes import PARAMETERS, names_in
from dashboard.models import Action, ApiToken, AuditEntry, TargetKind
from tests.dashboard.calling import Program, token_of
from tests.dashboard.people import ask, child_of, client_of, iso, make_user, past, start_run

pytestmark = pytest.mark.django_db

PARTS = {
    "task_id": "q",
    "execution_id": "run",
    "step_id": "run:1",
    "job_id": "6f1c2a52-2f4f-4a6e-9a3f-0a3c64b1b2a1",
    "delegation_id": "7",
    "delivery_id": "7",
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
    rights = ("view_executions", "cancel_executions", "manage_webhooks", "describe_tasks")
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
                kind = "application/json" if status < "400" else "application/problem+json"
                assert status == "204" or kind in answer["content"]


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
    assert refs - {"schemas/human-task.json"} == {
        f"#/components/schemas/{one}" for one in components
    }


def test_answers_fit_their_schemas(openapi, mia):
    rights = ("settle_any", "view_executions", "view_auditentry", "manage_webhooks")
    operator = Program(make_user("olga", rights=rights))
    ask("q", users=["mia"], policy={"all_of": [{"user": "mia"}]}, facts={"A": 1})
    start_run("run")
    ask("run:1", tags=child_of("run"))
    done = Program(mia).answer("q").json()

    def check(name, document):
        schema = {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
        Draft202012Validator(schema).validate(document)

    check("Answered", done)
    for name, address in (
        ("TaskPage", "human-tasks?tab=all"),
        ("TaskPage", "human-tasks?tab=done"),
        ("Task", "human-tasks/q"),
        ("Remarks", "human-tasks/q/comments"),
        ("ExecutionPage", "executions"),
        ("ExecutionShown", "executions/run"),
        ("TreeShown", "executions/run/tree"),
        ("Step", "executions/run/steps/run:1"),
        ("HistoryPage", "executions/run/history"),
        ("AuditPage", "audit"),
        ("Delegations", "delegations"),
        ("Endpoints", "webhooks"),
    ):
        path, _mark, query = address.partition("?")
        response = operator.call("GET", path, QUERY_STRING=query)
        assert response.status_code == 200, path
        check(name, response.json())
    check("Problem", operator.get("human-tasks", tab="none").json())


def test_the_published_schemas_are_served():
    for name in ("human-task.json", "policy.json"):
        schema = Program().get(f"schemas/{name}").json()
        Draft202012Validator.check_schema(schema)
        with open(f"dashboard/schemas/{name}") as file:  # noqa: PTH123
            assert schema == json.load(file)


def test_the_description_is_for_everybody():
    assert Client().get("/api/openapi.json").status_code == 200
