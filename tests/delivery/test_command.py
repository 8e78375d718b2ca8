"""``manage.py durable``: the reference's command line, on this database or on a server."""

import base64
import io
import json
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator

import pytest
from django.core.management import call_command

from durable.gateway import tokens
from durable.management import arguments
from durable.management.call_tree import draw
from durable.models import Promise, Task
from tests.interop.conftest import free_port, is_listening
from tests.processes import Process, running, wait_until


def run(*words: str) -> object:
    out = io.StringIO()
    call_command("durable", *words, stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


def error_of(*words: str) -> str:
    errors = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("durable", *words, stdout=io.StringIO(), stderr=errors)
    assert left.value.code == 1
    return errors.getvalue().strip()


def decoded(value: dict) -> object:
    return json.loads(base64.b64decode(value["data"]))


def test_invoke(transactional_db) -> None:
    before = time.time() * 1000
    words = ["--arg", "1", "--arg", "text", "--arg", '{"a": 2}', "--delay", "5s", "-t", "1m"]
    promise = run("invoke", "r", "-f", "hello", *words)["promise"]
    assert decoded(promise["param"]) == {
        "func": "hello",
        "args": [1, "text", {"a": 2}],
        "version": 1,
    }
    delay = int(promise["tags"].pop("resonate:delay"))
    assert promise["tags"] == {"resonate:target": "poll://any@default"}
    assert before + 5000 <= delay <= before + 15_000
    assert promise["timeoutAt"] - delay == 60_000
    assert Task.objects.get(promise_id="r").queue == "default"


def test_json_args_win(transactional_db) -> None:
    words = ["--json-args", "[1, 2]", "--arg", "3", "--target", "poll://any@x", "--version", "2"]
    promise = run("invoke", "r", "--func", "f", *words)["promise"]
    assert decoded(promise["param"]) == {"func": "f", "args": [1, 2], "version": 2}


def test_a_promise_from_its_making_to_its_end(transactional_db) -> None:
    made = run("promises", "create", "p", "--timeout", "1h", "--param", '{"data": {"a": 1}}')
    assert decoded(made["promise"]["param"]) == {"a": 1}
    assert made["promise"]["tags"] == {"resonate:external": "true"}
    assert run("promises", "register-listener", "p", "poll://uni@g/w")["promise"]["id"] == "p"
    settled = run("promises", "resolve", "p", "--value", '{"data": "ok", "headers": {"h": "1"}}')
    assert settled["promise"]["state"] == "resolved"
    assert settled["promise"]["value"] == {
        "headers": {"h": "1"},
        "data": base64.b64encode(b'"ok"').decode(),
    }
    assert run("promises", "get", "p") == settled
    assert run("promises", "search", "--state", "resolved") == {"promises": [settled["promise"]]}


@pytest.mark.parametrize(
    ("order", "state"), [("reject", "rejected"), ("cancel", "rejected_canceled")]
)
def test_other_ends(transactional_db, order, state) -> None:
    run("promises", "create", "p", "--timeout", "1h")
    promise = run("promises", order, "p", "--value", "[1]")["promise"]
    assert (promise["state"], decoded(promise["value"])) == (state, [1])


def test_a_task_from_its_making_to_its_end(transactional_db) -> None:
    word = ["--pid", "w", "--ttl", "10s"]
    made = run("tasks", "create", "t", "--timeout", "1h", *word)
    assert made["task"]["version"] == 1
    assert run("tasks", "heartbeat", "--pid", "w", "--tasks", '[{"id": "t", "version": 1}]') == {}
    assert run("tasks", "release", "t", "--version", "1") == {}
    assert run("tasks", "claim", "t", "--version", "1", *word)["task"]["version"] == 2
    create = {
        "kind": "promise.create",
        "data": {"id": "t:1", "timeoutAt": made["promise"]["timeoutAt"]},
    }
    create["data"]["tags"] = {"resonate:external": "true"}
    fenced = run("tasks", "fence", "t", "--version", "2", "--action", json.dumps(create))
    assert fenced["action"]["data"]["promise"]["id"] == "t:1"
    wait = [{"kind": "promise.register_callback", "data": {"awaited": "t:1", "awaiter": "t"}}]
    assert run("tasks", "suspend", "t", "--version", "2", "--actions", json.dumps(wait)) == {}
    assert run("tasks", "halt", "t") == {}
    assert run("tasks", "continue", "t") == {}
    run("tasks", "claim", "t", "--version", "2", *word)
    settle = {"kind": "promise.settle", "data": {"id": "t", "state": "resolved"}}
    done = run("tasks", "complete", "t", "--version", "3", "--action", json.dumps(settle))
    assert done["promise"]["state"] == "resolved"
    assert run("tasks", "get", "t")["task"]["state"] == "fulfilled"
    assert len(run("tasks", "search", "--limit", "5")["tasks"]) == 1


def test_schedules(transactional_db) -> None:
    words = ["--cron", "0 0 1 1 *", "--promise-id", "{{.id}}", "--promise-timeout", "1d"]
    more = ["--promise-param", '{"x": 1}', "--promise-tags", '{"a": "b"}']
    made = run("schedules", "create", "s", *words, *more)["schedule"]
    assert (made["promiseTimeout"], decoded(made["promiseParam"])) == (86_400_000, {"x": 1})
    assert run("schedules", "get", "s")["schedule"] == made
    assert run("schedules", "search", "--tags", '{"a": "b"}') == {"schedules": [made]}
    assert run("schedules", "delete", "s") == {}


def test_a_refusal_is_an_error(transactional_db) -> None:
    assert error_of("promises", "get", "nothing") == "Error: Promise not found"


def test_a_server_that_is_not_there_is_an_error() -> None:
    error = error_of("promises", "get", "p", "-S", "http://127.0.0.1:9")
    assert error.startswith("Error: http://127.0.0.1:9/ cannot be reached: ")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://127.0.0.1/x", "ftp://127.0.0.1/x/ is neither http nor https"),
        ("nonsense", "nonsense/ is neither http nor https"),
        ("http://[", "http://[/ is no URL"),
    ],
)
def test_what_is_no_server(url, text) -> None:
    assert error_of("promises", "get", "p", "-S", url) == f"Error: {text}"


# On a server


@pytest.fixture
def server(process_env, tmp_path) -> Iterator[str]:
    """The URL of a server that asks for tokens."""
    port = free_port()
    env = {**process_env, "DURABLE_AUTH_REQUIRED": "true"}
    tokens.issue("first", prefix="", role="", groups=[], expires_at=None, using="default")
    with running(Process(env, tmp_path / "serve.log", "serve", "--port", str(port))):
        wait_until(lambda: is_listening(port), seconds=40, what="the server")
        yield f"http://127.0.0.1:{port}"


@pytest.mark.timeout(90)
def test_the_same_on_a_server(server, capsys) -> None:
    token = tokens.issue(
        "shop", prefix="shop/", role="", groups=[], expires_at=None, using="default"
    )
    there = ["--server", server, "--token", token]
    made = run("invoke", "shop/1", "-f", "sell", "--arg", '{"n": 1}', *there)["promise"]
    assert decoded(made["param"])["args"] == [{"n": 1}]
    assert Promise.objects.get(id="shop/1").started_by == "token:shop"
    assert run("tasks", "get", "shop/1", *there)["task"]["state"] == "pending"
    run("invoke", "theirs/1", "-f", "sell", "-S", server, "-T", issue_all())
    found = run("promises", "search", *there)["promises"]
    assert [one["id"] for one in found] == ["shop/1"]
    call_command("durable", "tree", "shop/1", *there)
    assert capsys.readouterr().out == "shop/1 (run sell) pending\n"
    assert error_of("promises", "resolve", "theirs/1", *there) == "Error: Forbidden"
    assert error_of("promises", "get", "shop/1", "-S", server) == "Error: Unauthorized"
    lost = error_of("promises", "get", "shop/1", "-S", f"{server}/accounts/login")
    assert lost == "Error: the answer is none of the protocol: is this the right URL?"


def issue_all() -> str:
    return tokens.issue("all", prefix="", role="", groups=[], expires_at=None, using="default")


def test_a_tree(transactional_db) -> None:
    def record(promise_id: str, parent: str, created_at: int, **more: object) -> dict:
        tags = {"resonate:parent": parent, "resonate:origin": "r", "resonate:scope": "local"}
        tags |= more.pop("tags", {})
        func = more.pop("func", None)
        param = {"data": arguments.encode({"func": func})} if func else {}
        return {
            "id": promise_id,
            "state": "pending",
            "param": param,
            "tags": tags,
            "createdAt": created_at,
        }

    remote = {"resonate:scope": "global"}
    root = record("r", "r", 0, func="main", tags=remote)
    records = [
        root,
        record("r:2", "r", 2, tags={**remote, "resonate:timer": "true"}),
        record("r:1", "r", 1, func="step"),
        record("r:1.1", "r:1", 3, func="ship", tags=remote),
        record("r:3", "r", 4),
    ]
    assert list(draw(root, records)) == [
        "r (rpc main) pending",
        "├── r:1 (run step) pending",
        "│   └── r:1.1 (rpc ship) pending",
        "├── r:2 (sleep) pending",
        "└── r:3 (run) pending",
    ]


def test_the_tree_of_an_execution(transactional_db, capsys) -> None:
    run("invoke", "r", "-f", "hello")
    call_command("durable", "tree", "r")
    assert capsys.readouterr().out == "r (run hello) pending\n"
    assert Promise.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 500), ("1m30s", 90_000), ("2h", 7_200_000), ("1d", 86_400_000)],
)
def test_durations(text, expected) -> None:
    assert arguments.duration(text) == expected


@pytest.mark.parametrize("text", ["5", "0s", "", "1x", "s", "1s 2m", "-1s", "1.5s"])
def test_what_is_no_duration(text) -> None:
    with pytest.raises(
        ArgumentTypeError, match="is no duration: write 500ms, 10s, 1m30s, 2h or 1d"
    ):
        arguments.duration(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        (5, {"headers": {}, "data": "NQ=="}),
        ({"data": "ok"}, {"headers": {}, "data": "Im9rIg=="}),
        ({"headers": {"a": "b"}}, {"headers": {"a": "b"}}),
        ({"other": 1}, {"headers": {}, "data": "eyJvdGhlciI6MX0="}),
        ({}, {"headers": {}, "data": "e30="}),
    ],
)
def test_values(given, expected) -> None:
    assert arguments.encoded_value(given) == expected
