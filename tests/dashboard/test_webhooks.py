import json
import time
from collections import Counter

import pytest
from django.db import DatabaseError
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.models import (
    AuditEntry,
    HumanTask,
    SignIn,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)
from dashboard.views.hooks import hook
from dashboard.webhooks import keys, receiving, upkeep
from dashboard.webhooks.rehearsing import rehearse
from dashboard.webhooks.signatures import sign
from durable import promises
from durable.clock import now_ms
from durable.models import Promise, Task
from durable.protocol.states import PromiseState
from durable.signals import housekeeping
from tests.dashboard.hooks import SECRET, SETTLE, headers_of, make_endpoint, post, pull_request
from tests.dashboard.people import HOUR_MS, ask, ask_bare, create, past, settle, start_run, unpack
from tests.dashboard.races import at_once

pytestmark = pytest.mark.django_db

Outcome = WebhookDelivery.Outcome
PAYMENT = b'{"id": "evt_1", "amount": 199, "customer": "acme"}'


def said(response):
    return response.status_code, json.loads(response.content)


def last_delivery():
    return WebhookDelivery.objects.latest("pk")


def promise_of(promise_id):
    return Promise.objects.get(pk=promise_id)


# --- Settling ---


def test_event_does_not_confirm_in_place_of_a_person():
    endpoint = make_endpoint()
    ask("pr-7-review", users=["mia"], confirm={"password": True})

    refused = said(post(endpoint, pull_request()))

    problem = "this question has to be confirmed by a person"
    assert refused == (422, {"status": "does not fit the mapping", "problem": problem})
    rehearsed = rehearse(endpoint, {"X-GitHub-Delivery": "e"}, pull_request().decode())
    assert rehearsed.reading.effect.problem == problem
    assert promise_of("pr-7-review").state == PromiseState.PENDING
    no = pull_request(merged=False)
    assert said(post(endpoint, no, event="e-2")) == (200, {"status": "rejected"})
    late = said(post(endpoint, pull_request(), event="e-3"))
    assert late == (200, {"status": "already settled", "state": "rejected"})


def test_event_approves_nothing_that_cannot_be_read():
    endpoint = make_endpoint()
    ask("pr-7-review", users=["mia"], confirm={"password": True}, facts=[["only one"]])

    assert said(post(endpoint, pull_request()))[0] == 422
    assert promise_of("pr-7-review").state == PromiseState.PENDING
    no = pull_request(merged=False)
    assert said(post(endpoint, no, event="e-2")) == (200, {"status": "rejected"})


def test_event_confirms_nothing_where_no_answer_is_a_yes():
    endpoint = make_endpoint()
    later = [{"name": "later", "label": "Later", "approves": False}]
    ask("pr-7-review", users=["mia"], answers=later, confirm={"text": "later"})

    assert said(post(endpoint, pull_request(merged=False)))[0] == 422
    assert promise_of("pr-7-review").state == PromiseState.PENDING


def test_genuine_event_settles_the_promise_that_it_is_about():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    assert said(post(endpoint, pull_request())) == (200, {"status": "resolved"})

    promise = promise_of("pr-7-review")
    assert promise.state == PromiseState.RESOLVED
    assert unpack(promise.value_data) == {"merged_by": "octocat"}
    assert HumanTask.objects.get(pk="pr-7-review").settled_at is not None
    row = last_delivery()
    assert (row.outcome, row.status, row.promise_id) == (Outcome.RESOLVED, 200, "pr-7-review")
    assert (row.event_id, row.is_verified, row.raw) == ("e-1", True, pull_request())


def test_rejection_says_why_and_has_the_value_beside():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    assert said(post(endpoint, pull_request(merged=False))) == (200, {"status": "rejected"})

    assert promise_of("pr-7-review").state == PromiseState.REJECTED
    assert unpack(promise_of("pr-7-review").value_data) == {
        "__type": "error",
        "name": "Error",
        "message": "closed by octocat",
        "merged_by": "octocat",
    }


def test_whole_body_is_the_value_where_the_mapping_names_none():
    endpoint = make_endpoint(mapping={"promise_id": "{id}", "outcome": "resolve"})
    ask_bare("q")

    post(endpoint, b'{"id": "q", "n": [1, null]}')

    assert unpack(promise_of("q").value_data) == {"id": "q", "n": [1, None]}


def test_settlement_is_in_the_audit_trail():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    post(endpoint, pull_request())

    entry = AuditEntry.objects.get(target="pr-7-review")
    assert (entry.actor, entry.actor_name, entry.sign_in) == (None, "Reviews", SignIn.WEBHOOK)
    assert (entry.is_effective, entry.state_after) == (True, PromiseState.RESOLVED)
    assert entry.details == {"webhook": "reviews", "event": "e-1"}
    assert entry.ip == "127.0.0.1"


def test_event_that_no_rule_wants_is_ignored():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    assert said(post(endpoint, pull_request(action="opened"))) == (200, {"status": "ignored"})
    assert promise_of("pr-7-review").state == PromiseState.PENDING
    assert not WebhookEvent.objects.exists()


def test_form_with_json_in_it_is_read_as_its_sender_means_it():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    body = b"payload=" + b"".join(b"%%%02X" % byte for byte in pull_request())
    headers = headers_of(endpoint, body) | {"Content-Type": "application/x-www-form-urlencoded"}

    assert said(post(endpoint, body, headers))[0] == 200
    assert promise_of("pr-7-review").state == PromiseState.RESOLVED


def test_plain_form_is_an_object_of_texts():
    mapping = {"promise_id": "{text}", "outcome": "resolve", "value": "user_name"}
    endpoint = make_endpoint(preset="slack", mapping=mapping)
    ask_bare("q")
    body = b"command=%2Fapprove&text=q&user_name=mia&trigger_id=13.37"
    headers = headers_of(endpoint, body) | {"Content-Type": "application/x-www-form-urlencoded"}

    assert said(post(endpoint, body, headers)) == (200, {"status": "resolved"})
    assert unpack(promise_of("q").value_data) == "mia"
    assert last_delivery().event_id == "13.37"


# --- What is not done ---


def test_wrong_signature_is_401_and_in_the_log():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    headers = headers_of(endpoint, pull_request(), secret="another secret")

    assert said(post(endpoint, pull_request(), headers)) == (401, {"status": "wrong signature"})

    assert promise_of("pr-7-review").state == PromiseState.PENDING
    row = last_delivery()
    assert (row.outcome, row.status, row.is_verified) == (Outcome.UNSIGNED, 401, False)
    assert row.problem == "no live secret of this endpoint signed this body"


def test_missing_signature_is_401():
    endpoint = make_endpoint()
    assert post(endpoint, pull_request(), {}).status_code == 401
    assert last_delivery().outcome == Outcome.UNSIGNED


def test_signature_is_of_the_raw_bytes_and_not_of_what_they_mean():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    respelled = json.dumps(json.loads(pull_request()), indent=1).encode()

    assert post(endpoint, respelled, headers_of(endpoint, pull_request())).status_code == 401
    assert promise_of("pr-7-review").state == PromiseState.PENDING
    assert post(endpoint, respelled).status_code == 200


def test_nothing_is_parsed_before_the_signature_was_right():
    endpoint = make_endpoint()
    assert post(endpoint, b"{not json", {}).status_code == 401


@pytest.mark.parametrize("preset", ["stripe", "slack"])
@pytest.mark.parametrize("off", [-400, 400])
def test_stale_timestamp_is_401_and_in_the_log(preset, off):
    endpoint = make_endpoint(preset=preset)
    body = b'{"id": "evt_1", "event_id": "evt_1"}'

    response = post(endpoint, body, at=time.time() + off)

    assert said(response) == (401, {"status": "stale timestamp"})
    assert (last_delivery().outcome, last_delivery().is_verified) == (Outcome.STALE, False)


def test_window_is_the_endpoints_own():
    endpoint = make_endpoint(preset="stripe", tolerance_s=1000, mapping=SETTLE)
    assert post(endpoint, PAYMENT, at=time.time() - 900).status_code == 200


def test_repeat_is_200_already_applied():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    post(endpoint, pull_request())

    response = post(endpoint, pull_request(merged=False))

    assert said(response) == (200, {"status": "already applied"})
    assert promise_of("pr-7-review").state == PromiseState.RESOLVED
    assert last_delivery().outcome == Outcome.REPEATED
    assert WebhookDelivery.objects.count() == 2
    assert AuditEntry.objects.filter(target="pr-7-review").count() == 1


def test_event_ids_are_those_of_one_endpoint():
    first = make_endpoint("one")
    second = make_endpoint("two", mapping=SETTLE | {"promise_id": "two-{pull_request.number}"})
    ask_bare("pr-7-review")
    ask_bare("two-7")

    assert said(post(first, pull_request()))[1] == {"status": "resolved"}
    assert said(post(second, pull_request()))[1] == {"status": "resolved"}


def test_without_ids_the_same_body_is_the_same_event():
    mapping = {"promise_id": "{id}", "outcome": "resolve"}
    endpoint = make_endpoint(preset="generic", event_id="", mapping=mapping)
    ask_bare("q")

    assert said(post(endpoint, b'{"id": "q"}'))[1] == {"status": "resolved"}
    assert said(post(endpoint, b'{"id": "q"}'))[1] == {"status": "already applied"}
    assert said(post(endpoint, b'{"id": "q" }'))[0] == 409


def test_unknown_promise_is_404_and_may_come_again_when_it_is_there():
    endpoint = make_endpoint()

    assert said(post(endpoint, pull_request())) == (404, {"status": "unknown promise"})
    assert last_delivery().outcome == Outcome.UNKNOWN
    ask_bare("pr-7-review")
    assert said(post(endpoint, pull_request())) == (200, {"status": "resolved"})


@pytest.mark.parametrize(("preset", "status"), [("github", 200), ("generic", 409)])
def test_promise_that_others_settled_stays_as_it_is(preset, status):
    endpoint = make_endpoint(preset=preset, mapping=SETTLE)
    ask_bare("pr-7-review")
    settle("pr-7-review", PromiseState.REJECTED, "no")

    response = post(endpoint, pull_request())

    assert said(response) == (status, {"status": "already settled", "state": "rejected"})
    assert promise_of("pr-7-review").state == PromiseState.REJECTED
    assert last_delivery().outcome == Outcome.LATE
    entry = AuditEntry.objects.get(target="pr-7-review", is_effective=False)
    assert (entry.actor_name, entry.sign_in) == ("Reviews", SignIn.WEBHOOK)


def test_answer_after_the_deadline_is_late():
    endpoint = make_endpoint(preset="generic", mapping=SETTLE)
    create("pr-7-review", tags={"resonate:external": "true"}, timeout_at=past())

    response = post(endpoint, pull_request())

    assert said(response) == (409, {"status": "already settled", "state": "rejected_timedout"})


def test_executions_and_timers_are_not_for_others_to_end():
    endpoint = make_endpoint(mapping={"promise_id": "{id}", "outcome": "resolve"})
    start_run("run-1")
    create("timer-1", tags={"resonate:timer": "true"}, timeout_at=now_ms() + HOUR_MS)

    for number, promise_id in enumerate(("run-1", "timer-1")):
        body = json.dumps({"id": promise_id}).encode()
        assert post(endpoint, body, event=f"e-{number}").status_code == 404
        assert promise_of(promise_id).state == PromiseState.PENDING


def test_event_that_lacks_what_the_mapping_needs_is_422():
    endpoint = make_endpoint()
    body = b'{"action": "closed", "pull_request": {"merged": true}}'

    assert said(post(endpoint, body)) == (
        422,
        {"status": "does not fit the mapping", "problem": "pull_request.number is missing"},
    )
    assert last_delivery().outcome == Outcome.UNMAPPED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b"[" * 50_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)
def test_body_that_cannot_be_read_is_400(body):
    endpoint = make_endpoint()
    status, content = said(post(endpoint, body))
    assert (status, content["status"]) == (400, "not readable")
    assert last_delivery().outcome == Outcome.MALFORMED


@pytest.mark.parametrize(
    "body", [b"\xff=1", b"a=%FF", b"a=\x00", b"payload=%7B", b"&".join([b"a"] * 2000)]
)
def test_form_that_cannot_be_read_is_400(body):
    endpoint = make_endpoint()
    headers = headers_of(endpoint, body) | {"Content-Type": "application/x-www-form-urlencoded"}
    assert post(endpoint, body, headers).status_code == 400


@pytest.mark.parametrize("event_id", ["null", '""', "{}", '"' + "x" * 301 + '"', "[1]", "1.5"])
def test_event_without_an_id_is_400_and_starts_nothing(event_id):
    endpoint = make_endpoint(preset="stripe", action="start")
    body = f'{{"id": {event_id}, "amount": 1}}'.encode()
    before = Promise.objects.count()

    assert post(endpoint, body).status_code == 400
    assert Promise.objects.count() == before


@pytest.mark.parametrize(
    ("networks", "ip", "status"),
    [
        (["192.30.252.0/22"], "192.30.253.9", 200),
        (["192.30.252.0/22"], "::ffff:192.30.253.9", 200),
        (["192.30.252.0/22"], "192.30.251.9", 403),
        (["2001:db8::/32", "10.0.0.1/32"], "2001:db8::7", 200),
        (["2001:db8::/32"], "10.0.0.1", 403),
        (["10.0.0.1/32"], "", 403),
        ([], "", 200),
    ],
)
def test_only_listed_addresses_may_send(networks, ip, status):
    endpoint = make_endpoint(networks=networks)
    ask_bare("pr-7-review")

    response = post(endpoint, pull_request(), client=Client(REMOTE_ADDR=ip))

    assert response.status_code == status
    assert last_delivery().outcome == (Outcome.RESOLVED if status == 200 else Outcome.FORBIDDEN)


def test_body_that_is_too_large_is_413_and_not_kept():
    endpoint = make_endpoint(max_bytes=100)

    response = post(endpoint, b"x" * 101)

    assert said(response) == (413, {"status": "too large"})
    row = last_delivery()
    assert (row.outcome, row.size, row.raw) == (Outcome.TOO_LARGE, 101, b"")
    assert post(endpoint, b"x" * 100).status_code == 400


class Trickle:
    """A body whose length nobody announced; notes how much of it was asked for."""

    def __init__(self):
        self.given = 0

    def read(self, size=-1):
        self.given += size
        return b"x" * size


def test_no_more_of_a_body_is_read_than_is_allowed():
    make_endpoint(max_bytes=100_000)
    request = RequestFactory().post("/hooks/reviews/", content_type="application/json")
    request._stream = body = Trickle()
    del request.META["CONTENT_LENGTH"]

    assert hook(request, slug="reviews").status_code == 413
    assert body.given == 100_001


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "x", "٣"])
def test_length_that_is_announced_is_not_trusted(length):
    endpoint = make_endpoint()
    client = Client(CONTENT_LENGTH=length)
    assert post(endpoint, b"{}", {}, client=client).status_code in {401, 413}


def test_endpoint_that_is_switched_off_is_404_and_logs():
    endpoint = make_endpoint(is_active=False)
    ask_bare("pr-7-review")

    assert said(post(endpoint, pull_request())) == (404, {"status": "not found"})
    assert last_delivery().outcome == Outcome.INACTIVE
    assert promise_of("pr-7-review").state == PromiseState.PENDING


def test_there_is_no_other_endpoint():
    response = Client().post("/hooks/nobody/", data=b"{}", content_type="application/json")
    assert said(response) == (404, {"status": "not found"})


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_only_posts_are_taken(method):
    endpoint = make_endpoint()
    assert getattr(Client(), method)(f"/hooks/{endpoint.slug}/").status_code == 405
    assert not WebhookDelivery.objects.exists()


def test_slack_hears_its_challenge_again_when_it_is_signed():
    endpoint = make_endpoint(preset="slack")
    body = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'

    assert said(post(endpoint, body)) == (200, {"challenge": "3eZbrw1a"})
    assert last_delivery().outcome == Outcome.CHALLENGE
    assert post(endpoint, body, {}).status_code == 401


def test_others_have_no_challenge():
    endpoint = make_endpoint(preset="generic", mapping=SETTLE)
    body = b'{"type": "url_verification", "challenge": "x"}'
    assert said(post(endpoint, body)) == (200, {"status": "ignored"})


def test_what_signs_or_signs_in_is_not_in_the_log():
    endpoint = make_endpoint(preset="generic", signature_header="X-Proof", mapping=SETTLE)
    headers = headers_of(endpoint, b"{}") | {
        "Authorization": "Bearer top",
        "Cookie": "sessionid=top",
        "X-Gitlab-Token": "top",
        "X-Api-Key": "top",
        "X-Event": "kept",
    }

    post(endpoint, b"{}", headers)

    kept = last_delivery().headers
    assert kept["X-Event"] == "kept"
    hidden = {"Authorization", "Cookie", "X-Gitlab-Token", "X-Api-Key", "X-Proof"}
    assert {name for name, text in kept.items() if text == receiving.MASKED} == hidden
    assert "top" not in json.dumps(kept)


def test_of_what_nobody_signed_only_the_beginning_is_kept():
    endpoint = make_endpoint()
    post(endpoint, b"x" * 50_000, {})
    row = last_delivery()
    assert (len(row.raw), row.size, row.is_whole) == (4096, 50_000, False)


@pytest.mark.django_db(transaction=True)
def test_settlement_and_log_are_one_transaction(monkeypatch):
    def fail(*_args, **_kwargs):
        raise DatabaseError

    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    with monkeypatch.context() as patched:
        patched.setattr(receiving._Log, "write", fail)
        client = Client(raise_request_exception=False)
        assert post(endpoint, pull_request(), client=client).status_code == 500

    assert promise_of("pr-7-review").state == PromiseState.PENDING
    assert not WebhookEvent.objects.exists()
    assert not AuditEntry.objects.exists()
    assert said(post(endpoint, pull_request())) == (200, {"status": "resolved"})


@pytest.mark.django_db(transaction=True)
def test_what_fails_here_is_500_logged_and_may_come_again(monkeypatch):
    def fail(*_args, **_kwargs):
        raise DatabaseError

    endpoint = make_endpoint()
    ask_bare("pr-7-review")
    with monkeypatch.context() as patched:
        patched.setattr(promises, "resolve", fail)
        assert said(post(endpoint, pull_request())) == (500, {"status": "failed"})
    assert last_delivery().outcome == Outcome.FAILED
    assert said(post(endpoint, pull_request())) == (200, {"status": "resolved"})


# --- Starting ---


def test_event_starts_an_execution_under_its_id():
    endpoint = make_endpoint("payments", preset="stripe", action="start")

    assert said(post(endpoint, PAYMENT)) == (200, {"status": "started"})

    root = promise_of("webhook/evt_1")
    assert unpack(root.param_data) == {
        "func": "handle_payment",
        "args": [199],
        "kwargs": {"customer": "acme"},
        "version": 1,
    }
    assert root.tags["resonate:target"] == "poll://any@nobody"
    assert root.started_by == "webhook:payments"
    assert last_delivery().promise_id == "webhook/evt_1"


def test_first_of_several_deliveries_of_an_event_stands():
    endpoint = make_endpoint(preset="stripe", action="start")
    post(endpoint, PAYMENT)

    response = post(endpoint, PAYMENT.replace(b"199", b"500"))

    assert said(response) == (200, {"status": "already applied"})
    assert unpack(promise_of("webhook/evt_1").param_data)["args"] == [199]


def test_events_of_one_execution_start_it_once():
    mapping = {"function": "f", "execution_id": "customer/{customer}", "target": "nobody"}
    endpoint = make_endpoint(preset="stripe", action="start", mapping=mapping)

    assert said(post(endpoint, PAYMENT)) == (200, {"status": "started"})
    response = post(endpoint, PAYMENT.replace(b"evt_1", b"evt_2"))
    assert said(response) == (200, {"status": "already started"})


@pytest.mark.parametrize(
    ("execution_id", "problem"),
    [
        ("a:b", "a:b"),
        ("x" * 1000 + "{customer}" + "y" * 30, "must not exceed"),
        ("taken", "taken"),
    ],
)
def test_execution_that_cannot_be_is_422(execution_id, problem):
    start_run("taken", function="other")
    mapping = {"function": "f", "execution_id": execution_id[:990], "target": "nobody"}
    body = PAYMENT
    if len(execution_id) > 990:
        mapping["execution_id"] = "{customer}"
        body = PAYMENT.replace(b"acme", b"x" * 2000)
    endpoint = make_endpoint(preset="stripe", action="start", mapping=mapping)

    status, content = said(post(endpoint, body))

    assert status == 422
    assert problem in content["problem"]
    assert not WebhookEvent.objects.exists()


def test_arguments_that_a_known_function_does_not_take_are_422():
    mapping = {"function": "publish", "execution_id": "w/{event:id}", "kwargs": {"headline": "id"}}
    endpoint = make_endpoint(preset="stripe", action="start", mapping=mapping)

    status, content = said(post(endpoint, PAYMENT))

    assert status == 422
    assert content["problem"].startswith("publish(): ")
    assert not Promise.objects.filter(pk="w/evt_1").exists()


# --- Races ---


@pytest.mark.django_db(transaction=True)
def test_of_the_same_delivery_many_times_at_once_one_settles():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    answers = at_once(12, lambda _number: said(post(endpoint, pull_request())))

    words = Counter((status, content["status"]) for status, content in answers)
    assert words == {(200, "resolved"): 1, (200, "already applied"): 11}
    assert AuditEntry.objects.filter(target="pr-7-review").count() == 1
    assert WebhookDelivery.objects.count() == 12


@pytest.mark.django_db(transaction=True)
def test_of_different_events_for_one_promise_at_once_one_settles():
    endpoint = make_endpoint()
    ask_bare("pr-7-review")

    answers = at_once(
        12,
        lambda number: said(
            post(endpoint, pull_request(merged=number % 2 == 0), event=f"e-{number}")
        ),
    )

    words = Counter(content["status"] for _status, content in answers)
    assert words["resolved"] + words["rejected"] == 1
    assert words["already settled"] == 11
    assert AuditEntry.objects.filter(target="pr-7-review", is_effective=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_fifty_deliveries_of_an_event_one_starts():
    endpoint = make_endpoint(preset="stripe", action="start")

    answers = at_once(50, lambda _number: said(post(endpoint, PAYMENT)))

    words = Counter((status, content["status"]) for status, content in answers)
    assert words == {(200, "started"): 1, (200, "already applied"): 49}
    assert Task.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_unknown_promise_many_times_at_once_blocks_nobody():
    endpoint = make_endpoint()

    answers = at_once(8, lambda _number: post(endpoint, pull_request()).status_code)

    assert answers == [404] * 8
    assert not WebhookEvent.objects.exists()


# --- Anything at all ---


@pytest.mark.slow
@pytest.mark.timeout(180)
@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=300), signature=st.none() | st.text(max_size=40), is_form=...)
def test_a_thousand_bodies_never_fail_here(body: bytes, signature: str | None, is_form: bool):
    endpoint = WebhookEndpoint.objects.filter(slug="reviews").first() or make_endpoint()
    headers = headers_of(endpoint, body)
    if signature is not None:
        headers["X-Hub-Signature-256"] = signature.encode().decode("latin-1")
    if is_form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    assert post(endpoint, body, headers).status_code < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("examples", [80, pytest.param(600, marks=pytest.mark.slow)])
def test_any_json_that_is_signed_never_fails_here(examples):
    limited = settings(max_examples=examples, deadline=None)
    limited(given(number=JSON, event=JSON, rest=JSON)(_send_signed))()


def _send_signed(number, event, rest):
    mapping = {"promise_id": "pr-{n}", "outcome": "resolve"}
    endpoint = WebhookEndpoint.objects.filter(slug="any").first() or make_endpoint(
        "any", preset="generic", event_id="{e}", mapping=mapping
    )
    body = json.dumps({"n": number, "e": event, "rest": rest}).encode()
    response = post(endpoint, body)
    assert response.status_code in {200, 400, 404, 422}


# --- Secrets ---


def test_secrets_are_sealed_in_the_database():
    endpoint = make_endpoint()
    row = WebhookSecret.objects.get()
    assert SECRET not in row.sealed
    assert keys.live_secrets(endpoint) == [SECRET]
    assert row.hint == SECRET[-4:]


def test_two_secrets_are_live_while_they_turn():
    endpoint = make_endpoint(secrets=("first secret", "second secret"))
    ask_bare("pr-7-review")

    for number, secret in enumerate(("first secret", "second secret")):
        assert post(endpoint, pull_request(), event=f"e-{number}", secret=secret).status_code == 200
    keys.add_secret(endpoint, "third secret")

    assert keys.live_secrets(endpoint) == ["third secret", "second secret"]
    assert post(endpoint, pull_request(), secret="first secret").status_code == 401


def test_secrets_survive_a_new_secret_key_with_the_old_one_as_fallback(settings):
    endpoint = make_endpoint()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"
    assert keys.live_secrets(endpoint) == [SECRET]
    settings.SECRET_KEY_FALLBACKS = []
    assert keys.live_secrets(endpoint) == []
    assert post(endpoint, pull_request()).status_code == 401


# --- Upkeep ---


def aged(days, **rows):
    """Move a row into the past."""
    then = now_ms() - days * 24 * HOUR_MS
    for model, field in ((WebhookDelivery, "received_at"), (WebhookEvent, "seen_at")):
        model.objects.filter(**rows).update(**{field: then})


def tidy():
    housekeeping.send(sender=None, using="default")


def test_deliveries_are_forgotten_after_a_while(settings):
    endpoint = make_endpoint()
    for number in range(3):
        post(endpoint, pull_request(), event=f"e-{number}")
    aged(31, event_id="e-0")
    aged(29, event_id="e-1")

    tidy()
    assert set(WebhookDelivery.objects.values_list("event_id", flat=True)) == {"e-1", "e-2"}
    settings.SIGNOFF_WEBHOOK_DAYS = 5
    tidy()
    assert set(WebhookDelivery.objects.values_list("event_id", flat=True)) == {"e-2"}


def test_event_ids_are_kept_as_long_as_the_event_could_come_again():
    undated, dated = make_endpoint(), make_endpoint("payments", preset="stripe", action="start")
    ask_bare("pr-7-review")
    post(undated, pull_request())
    post(dated, PAYMENT)
    aged(3650)

    tidy()

    assert WebhookEvent.objects.get().endpoint == undated
    assert said(post(undated, pull_request())) == (200, {"status": "already applied"})
    assert said(post(dated, PAYMENT)) == (200, {"status": "already started"})


def test_event_ids_outlive_a_log_that_is_kept_for_a_day(settings):
    """Who repeats an event signs it anew, so that it is never stale."""
    settings.SIGNOFF_WEBHOOK_DAYS = 1
    endpoint = make_endpoint("payments", preset="stripe", action="start")
    post(endpoint, PAYMENT)
    aged(6)
    tidy()

    assert not WebhookDelivery.objects.exists()
    assert said(post(endpoint, PAYMENT)) == (200, {"status": "already applied"})
    aged(8)
    tidy()
    assert not WebhookEvent.objects.exists()


def test_of_what_nobody_signed_no_more_than_a_number_is_kept(monkeypatch):
    monkeypatch.setattr(upkeep, "KEPT_REFUSED", 3)
    monkeypatch.setattr(upkeep, "BATCH", 2)
    endpoint = make_endpoint()
    post(endpoint, pull_request())
    for _ in range(8):
        post(endpoint, b"{}", {})

    tidy()

    assert WebhookDelivery.objects.filter(is_verified=False).count() == 3
    assert WebhookDelivery.objects.filter(is_verified=True).count() == 1


def test_undescribed_and_described_questions_are_settled_alike():
    endpoint = make_endpoint()
    ask("pr-7-review", users=["mia"])
    assert said(post(endpoint, pull_request())) == (200, {"status": "resolved"})
    assert HumanTask.objects.get().settled_at is not None


def test_signature_helper_and_sender_agree():
    endpoint = make_endpoint()
    headers = headers_of(endpoint, b"x")
    assert headers["X-Hub-Signature-256"] == sign(endpoint.scheme, SECRET, b"x")
