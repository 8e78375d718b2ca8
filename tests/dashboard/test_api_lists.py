"""Lists and what operators do, by the API."""

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from dashboard.bulk import answer_some
from dashboard.models import Action, AuditEntry, BulkJob, Delegation, WebhookDelivery
from durable.models import Promise
from tests.dashboard.calling import Program
from tests.dashboard.factories import ask as ask_in_run
from tests.dashboard.factories import call, running, start, step
from tests.dashboard.hooks import SECRET, make_endpoint, post, pull_request
from tests.dashboard.people import (
    ask,
    ask_bare,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return make_user("mia", groups=("finance",), first_name="Mia")


@pytest.fixture
def program(mia):
    return Program(mia)


@pytest.fixture
def operator():
    rights = ("view_executions", "cancel_executions", "view_auditentry", "manage_webhooks")
    return Program(make_user("olga", rights=rights))


def ids(response):
    assert response.status_code == 200, response.content
    return [one["id"] for one in response.json()["items"]]


def paths(response, status=422):
    assert response.status_code == status, response.content
    return [one["path"] for one in response.json()["errors"]]


# --- Questions ---


def test_lists_are_those_of_the_inbox(program):
    ask("mine", users=["mia"])
    ask("ours", groups=["finance"])
    ask("other", users=["jon"])
    ask("over", users=["mia"])
    settle("over")

    assert set(ids(program.get("human-tasks"))) == {"mine", "ours"}
    assert ids(program.get("human-tasks", tab="mine")) == ["mine"]
    assert ids(program.get("human-tasks", tab="groups")) == ["ours"]
    done = program.get("human-tasks", tab="done").json()["items"]
    assert [(one["id"], one["outcome"]["kind"]) for one in done] == [("over", "answered")]
    page = program.get("human-tasks").json()
    assert (page["counts"]["answer"], page["counts"]["mine"]) == (2, 1)
    assert "all" not in page["counts"]
    assert paths(program.get("human-tasks", tab="all")) == ["tab"]
    everything = Program(make_operator()).get("human-tasks", tab="all")
    assert set(ids(everything)) == {"mine", "ours", "other"}


def test_filters_narrow_and_nonsense_is_refused(program):
    ask("a", users=["mia"], type="pay", priority="urgent", due=iso(-1), title="Rent")
    ask("b", users=["mia"], type="ship", due=iso(400))

    for query in ({"type": "pay"}, {"q": "rent"}, {"due": "overdue"}, {"priority": "urgent"}):
        assert ids(program.get("human-tasks", **query)) == ["a"]
    for query in (
        {"due": "soon"},
        {"priority": "some"},
        {"after": "nonsense"},
        {"limit": "0"},
        {"limit": "x"},
        {"tab": "none"},
    ):
        assert paths(program.get("human-tasks", **query)) == list(query)
    assert program.get("human-tasks", unknown="1").status_code == 422
    assert program.get("human-tasks", q="\0").status_code == 422


def test_pages_follow_each_other(program):
    for number in range(5):
        ask(f"q{number}", users=["mia"], due=iso(number + 1))

    found, after = [], ""
    for _turn in range(3):
        page = program.get("human-tasks", limit="2", **({"after": after} if after else {})).json()
        found.append([one["id"] for one in page["items"]])
        after = page["next"]

    assert (found, after) == ([["q0", "q1"], ["q2", "q3"], ["q4"]], "")


def test_secrets_are_masked_in_lists(program):
    ask("q", users=["mia"], facts={"Salary": 123456}, secrets=["/facts/Salary"])

    assert "123456" not in program.get("human-tasks").text
    assert "123456" not in program.get("human-tasks/q").text


# --- Delegations ---


def test_going_away_and_coming_back(mia, program):
    jon = make_user("jon", first_name="Jon")
    now = datetime.now(UTC)
    body = {
        "deputy": "jon",
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(days=1)).isoformat(),
        "group": "finance",
    }

    made = program.post("delegations", body)

    assert made.status_code == 201, made.content
    assert made.json() | {"starts_at": "", "ends_at": "", "id": 0} == {
        "id": 0,
        "principal": "mia",
        "deputy": "jon",
        "starts_at": "",
        "ends_at": "",
        "group": "finance",
        "type": "",
        "revoked_at": None,
    }
    ask("q", groups=["finance"])
    assert Program(jon).answer("q").status_code == 200
    assert ids(Program(jon).get("delegations")) == ids(program.get("delegations"))
    path = f"delegations/{made.json()['id']}/end"
    assert Program(jon).post(path).status_code == 404
    assert program.post(path).json()["revoked_at"]
    assert ids(program.get("delegations")) == []
    manager = Program(make_user("max", rights=("manage_delegations",)))
    assert manager.post(path).status_code == 200
    assert list(
        AuditEntry.objects.filter(target_kind="delegation").values_list("action", flat=True)
    ) == [Action.DELEGATE, Action.REVOKE]


def test_a_delegation_that_cannot_be_is_refused(program):
    make_user("jon")
    good = {"deputy": "jon", "starts_at": "2026-05-31T10:00:00Z", "ends_at": "2999-01-01T00:00:00Z"}

    for wrong, path in (
        ({"deputy": "nobody"}, "deputy"),
        ({"deputy": "mia"}, ""),
        ({"group": "sales"}, "group"),
        ({"ends_at": "2026-01-01T00:00:00Z"}, ""),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"starts_at": "2026-05-31T10:00:00"}, "starts_at"),
    ):
        assert paths(program.post("delegations", good | wrong)) == [path]
    assert not Delegation.objects.exists()


# --- Many at once ---


def test_many_questions_are_answered_at_once(mia, program):
    for one in ("a", "b", "c"):
        ask(one, users=["mia"], type="pay")

    job = program.post("bulk-answers", {"ids": ["a", "b"]})
    assert job.status_code == 201, job.content
    path = f"bulk-answers/{job.json()['id']}"
    assert (job.json()["total"], job.json()["results"]) == (2, {"waiting": 2})
    assert paths(program.post(f"{path}/start", {"answer": "maybe"})) == ["answer"]
    started = program.post(f"{path}/start", {"answer": "approve", "comment": "all"})
    assert started.json()["started_at"]
    settle("b")
    while answer_some(job.json()["id"]):
        pass

    assert program.get(path).json()["results"] == {"done": 1, "settled": 1}
    found = program.get(f"{path}/results").json()["items"]
    assert {one["task"]: one["result"] for one in found} == {"a": "done", "b": "settled"}
    only = program.get(f"{path}/results", result="settled").json()["items"]
    assert [one["task"] for one in only] == ["b"]
    entry = AuditEntry.objects.get(target="a", action=Action.APPROVE)
    assert (entry.sign_in, entry.reason) == ("token", "all")
    assert Program(make_user("eve")).get(path).status_code == 404


def test_all_of_a_list_is_gathered_and_a_job_can_be_stopped(program):
    ask("a", users=["mia"], type="pay")
    ask("b", users=["mia"], type="ship")

    differ = program.post("bulk-answers", {"all": {"tab": "mine"}})
    assert (differ.status_code, "one kind" in differ.json()["detail"]) == (403, True)
    job = program.post("bulk-answers", {"all": {"tab": "mine", "type": "pay"}}).json()
    assert job["total"] == 1
    path = f"bulk-answers/{job['id']}"
    program.post(f"{path}/start", {"answer": "approve"})
    assert program.post(f"{path}/stop").json()["stopped_at"]
    assert answer_some(job["id"]) == 0
    assert Promise.objects.get(pk="a").state == "pending"
    assert paths(program.post("bulk-answers", {"ids": ["a"], "all": {}})) == ["ids"]
    assert paths(program.post("bulk-answers", {"all": {"tab": "all"}})) == ["tab"]
    assert program.post("bulk-answers", {"ids": []}).status_code == 403
    assert program.get(f"bulk-answers/{uuid.uuid4()}").status_code == 404
    assert BulkJob.objects.count() == 1


# --- Operators ---


def test_executions_are_listed_and_shown(operator):
    running("run-1", "pay", 42)
    step("run-1", "run-1:1", "charge", 7)
    call("run-1", "run-1:2", "ship")
    ask_in_run("run-1", "run-1:3", "Pay?")
    start("run-2", "mail")

    assert set(ids(operator.get("executions"))) == {"run-1", "run-2"}
    assert ids(operator.get("executions", function="mail")) == ["run-2"]
    assert ids(operator.get("executions", prefix="run-1")) == ["run-1"]
    assert ids(operator.get("executions", status=["running", "failed"])) == ["run-1"]
    assert paths(operator.get("executions", status="some")) == ["status"]
    assert paths(operator.get("executions", older="some")) == ["older"]
    shown = operator.get("executions/run-1").json()
    assert (shown["function"], shown["status"]) == ("pay", "running")
    tree = operator.get("executions/run-1/tree").json()["lines"]
    assert [(one["depth"], one["name"]) for one in tree] == [
        (0, "pay"),
        (1, "charge"),
        (1, "ship"),
        (1, "Pay?"),
    ]
    shut = operator.get("executions/run-1/tree", shut="run-1").json()["lines"]
    assert len(shut) == 1
    detail = operator.get("executions/run-1/steps/run-1:1").json()
    assert (detail["kind"], detail["value"]["value"]) == ("step", 7)
    assert operator.get("executions/run-1/steps/run-2").status_code == 404
    history = operator.get("executions/run-1/history").json()
    assert {"run-1:1", "run-1:2"} <= {one["promise"] for one in history["items"]}
    only = operator.get("executions/run-1/history", step="run-1:1").json()["items"]
    assert {one["promise"] for one in only} == {"run-1:1"}
    assert paths(operator.get("executions/run-1/history", before="some")) == ["before"]
    assert operator.get("executions/run-1:1").status_code == 404


def test_an_execution_is_cancelled_with_a_reason(operator):
    running("run-1")
    call("run-1", "run-1:1")

    assert operator.get("executions/run-1/effects").json()["functions"] == 1
    assert paths(operator.post("executions/run-1/cancel", {"reason": " "})) == ["reason"]
    done = operator.post("executions/run-1/cancel", {"reason": "by mistake"})
    assert done.json()["status"] == "cancelled"
    again = operator.post("executions/run-1/cancel", {"reason": "by mistake"})
    assert again.status_code == 409
    entry = AuditEntry.objects.get(action=Action.CANCEL, is_effective=True)
    assert (entry.reason, entry.sign_in) == ("by mistake", "token")
    viewer = Program(make_user("vic", rights=("cancel_executions",)))
    assert viewer.post("executions/run-1/cancel", {"reason": "x"}).status_code == 404


def test_the_audit_trail_is_listed(mia, operator):
    ask("a", users=["mia"])
    ask("b", users=["mia"])
    client_of(mia).post(f"{task_url('a')}decide/", {"answer": "approve"})
    Program(mia).answer("b", "reject", comment="no")

    page = operator.get("audit", about="b").json()

    [entry] = page["items"]
    assert (entry["actor"], entry["action"], entry["sign_in"]) == ("Mia", "reject", "token")
    assert [one["target"] for one in operator.get("audit", action="approve").json()["items"]] == [
        "a"
    ]
    assert operator.get("audit", how="session", about="a").json()["items"][0]["target"] == "a"
    assert operator.get("audit", late="true").json()["items"] == []
    for query in (
        {"since": "then"},
        {"since": "9999-12-31T23:59:59-23:00"},
        {"action": "some"},
        {"older": "x"},
        {"late": "perhaps"},
    ):
        assert paths(operator.get("audit", **query)) == list(query)


def test_the_audit_trail_is_exported_as_the_page_does(mia, operator):
    for one in ("a", "b"):
        ask(one, users=["mia"])
        Program(mia).answer(one, comment="=1+1")
    auditor = client_of(operator.user)

    for form, kind in (("jsonl", "application/jsonl"), ("csv", "text/csv")):
        sent = operator.get("audit/export", format=form, about="b")
        assert sent["Content-Type"].startswith(kind)
        assert f'filename="audit.{form}"' in sent["Content-Disposition"]
        content = sent.getvalue().decode()
        assert ",task,b," in content or '"target":"b"' in content
        assert ("'=1+1" in content) is (form == "csv")
        page = auditor.get(f"/audit/audit.{form}", {"about": "b"})
        assert page.getvalue().decode() == content
    assert paths(operator.get("audit/export", format="xml")) == ["format"]
    assert paths(operator.get("audit/export", since="then")) == ["since"]
    assert Program(mia).get("audit/export").status_code == 404


@pytest.mark.parametrize(
    ("path", "name", "forged"),
    [
        ("human-tasks", "after", "[" * 3000),
        ("human-tasks", "after", '[1, 0, 1, 1, "a\\u0000"]'),
        ("human-tasks", "after", '[1, 0, 1, 1, "\\ud800"]'),
        ("human-tasks", "after", "[1, 0, 1, " + "9" * 5000 + ', "a"]'),
        ("executions/run-1/history", "before", f"1~1~{'9' * 5000}"),
        ("executions/run-1/history", "before", "1~9~x"),
        ("executions", "older", f"{'9' * 30}~x"),
        ("audit", "newer", f"1~{'9' * 30}"),
    ],
)
def test_forged_places_of_a_list_are_refused(operator, path, name, forged):
    running("run-1")
    if path == "human-tasks":
        forged = base64.urlsafe_b64encode(forged.encode()).decode().rstrip("=")

    assert paths(operator.get(path, **{name: forged})) == [name]


def test_webhooks_are_shown_without_their_secrets(operator):
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    post(endpoint, pull_request())

    [listed] = operator.get("webhooks").json()["items"]
    shown = operator.get("webhooks/reviews")
    [delivery] = operator.get("webhooks/reviews/deliveries").json()["items"]

    assert (listed["slug"], listed["last_at"] is not None) == ("reviews", True)
    assert shown.json()["mapping"] == endpoint.mapping
    assert SECRET not in shown.text
    assert (delivery["outcome"], delivery["promise"]) == ("resolved", "pr-7-review")
    path = f"webhooks/reviews/deliveries/{delivery['id']}"
    assert "octocat" in operator.get(path).json()["body"]
    assert SECRET not in operator.get(path).text
    again = operator.post(f"{path}/again")
    assert again.status_code == 201
    assert again.json()["redelivery_of"] == delivery["id"]
    assert ids(operator.get("webhooks/reviews/deliveries", outcome="failed")) == []
    assert paths(operator.get("webhooks/reviews/deliveries", outcome="some")) == ["outcome"]
    assert operator.get("webhooks/nothing").status_code == 404
    assert operator.get("webhooks/reviews/deliveries/99999").status_code == 404
    WebhookDelivery.objects.update(is_verified=False)
    assert operator.post(f"{path}/again").status_code == 409
