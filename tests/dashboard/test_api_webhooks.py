"""Webhooks set up by the API: with the rights, the checks and the audit rows of the page."""

import json

import pytest

from dashboard.models import Action, AuditEntry, TargetKind, WebhookEndpoint
from dashboard.webhooks.keys import live_secrets
from tests.dashboard.calling import Program
from tests.dashboard.hooks import SECRET, SETTLE, make_endpoint, pull_request
from tests.dashboard.people import ask_bare, make_user

pytestmark = pytest.mark.django_db

NEW = {"preset": "github", "action": "settle", "name": "Reviews", "slug": "Reviews"}


@pytest.fixture
def operator():
    return Program(make_user("olga", rights=("manage_webhooks",)))


def errors(response, status=422):
    assert response.status_code == status, response.content
    return [one["path"] for one in response.json()["errors"]]


def test_an_endpoint_is_made_and_its_secret_shown_once(operator):
    made = operator.post("webhooks", NEW | {"mapping": SETTLE})

    assert made.status_code == 201, made.content
    endpoint = WebhookEndpoint.objects.get(slug="reviews")
    secret = made.json()["secret"]
    assert live_secrets(endpoint) == [secret]
    assert endpoint.mapping == SETTLE
    shown = operator.get("webhooks/reviews")
    assert shown.json() == made.json()["endpoint"]
    assert secret not in shown.text
    assert shown.json()["address"] == "http://testserver/hooks/reviews/"
    assert [one["hint"] for one in shown.json()["secrets"]] == [secret[-4:]]
    entry = AuditEntry.objects.get(target_kind=TargetKind.WEBHOOK)
    assert (entry.action, entry.sign_in) == (Action.ADD, "token")
    assert secret not in json.dumps(entry.details)
    own = operator.post("webhooks", NEW | {"slug": "own", "secret": SECRET})
    assert (own.json()["secret"], SECRET in own.text) == ("", False)


def test_what_the_page_refuses_is_refused(operator):
    make_endpoint("taken")

    for wrong, paths in (
        ({"slug": "taken"}, ["slug"]),
        ({"slug": "new"}, ["slug"]),
        ({"slug": "a b"}, ["slug"]),
        ({"secret": "short"}, ["secret"]),
        ({"mapping": {"promise_id": 7}}, ["mapping"]),
        ({"networks": ["10.0.0.0/8", "home"]}, ["networks"]),
        ({"max_bytes": 0}, ["max_bytes"]),
        ({"signature_header": "X-Mine"}, ["signature_header"]),
        ({"preset": "generic", "timestamp": "X-T"}, ["signed"]),
        ({"preset": "stripe"}, ["secret"]),
        ({"preset": "nobody"}, ["preset"]),
        ({"is_active": False}, [""]),
    ):
        assert errors(operator.post("webhooks", NEW | wrong)) == paths
    assert WebhookEndpoint.objects.count() == 1


def test_an_endpoint_is_changed_and_the_rest_stays(operator):
    endpoint = make_endpoint("reviews")
    make_endpoint("taken")

    changed = operator.patch(
        "webhooks/reviews", {"slug": "checks", "is_active": False, "networks": ["10.0.0.1"]}
    )

    assert changed.status_code == 200, changed.content
    shown = changed.json()
    assert (shown["slug"], shown["is_active"], shown["networks"]) == (
        "checks",
        False,
        ["10.0.0.1/32"],
    )
    assert (shown["mapping"], shown["name"]) == (endpoint.mapping, endpoint.name)
    entry = AuditEntry.objects.get(target_kind=TargetKind.WEBHOOK)
    assert entry.details["after"].keys() == {"slug", "is_active", "networks"}
    assert errors(operator.patch("webhooks/checks", {"slug": "taken"})) == ["slug"]
    assert errors(operator.patch("webhooks/checks", {"algorithm": "sha1"})) == ["algorithm"]
    assert operator.patch("webhooks/reviews", {}).status_code == 404


def test_secrets_take_turns(operator):
    endpoint = make_endpoint("reviews")
    [old] = operator.get("webhooks/reviews").json()["secrets"]

    added = operator.post("webhooks/reviews/secrets", {"newest": old["id"]})

    assert added.status_code == 201
    assert live_secrets(endpoint) == [added.json()["secret"], SECRET]
    again = operator.post("webhooks/reviews/secrets", {"newest": old["id"]})
    assert again.status_code == 409
    assert errors(operator.post("webhooks/reviews/secrets", {"newest": 1, "secret": "x"})) == [
        "secret"
    ]
    newest = added.json()["endpoint"]["secrets"][0]["id"]
    retired = operator.post(f"webhooks/reviews/secrets/{old['id']}/retire")
    assert [one["id"] for one in retired.json()["secrets"]] == [newest]
    assert operator.post(f"webhooks/reviews/secrets/{newest}/retire").status_code == 409
    assert operator.post(f"webhooks/reviews/secrets/{2**63}/retire").status_code == 404
    other = make_endpoint("other").secrets.get().pk
    assert operator.post(f"webhooks/reviews/secrets/{other}/retire").status_code == 404


def test_a_rehearsal_does_nothing(operator):
    make_endpoint("reviews")
    ask_bare("pr-7-review")
    body = pull_request().decode()
    headers = {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "e-1"}

    said = operator.post("webhooks/reviews/rehearse", {"body": body, "headers": headers}).json()

    assert (said["verdict"], said["outcome"], said["promise"]) == (
        "unsigned",
        "unsigned",
        "pr-7-review",
    )
    assert operator.get("webhooks/reviews/deliveries").json()["items"] == []
    assert errors(operator.post("webhooks/reviews/rehearse", {"body": 1})) == ["body"]
