import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from dashboard.models import AuditEntry
from dashboard.models.audit import AppendOnlyError
from durable.models import Promise
from tests.dashboard.people import (
    answer,
    ask,
    client_of,
    make_operator,
    make_user,
    settle,
    task_url,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", last_name="Kern"))


@pytest.fixture
def entry(mia):
    ask("q", users=["mia"])
    mia.post(
        f"{task_url('q')}decide/",
        {"answer": "reject", "comment": "too dear", "request_key": "k"},
        headers={"User-Agent": "Browser/1.0"},
        REMOTE_ADDR="2001:db8::1",
    )
    return AuditEntry.objects.get()


def test_entry_says_who_did_what_when_and_from_where(entry):
    assert entry.actor == User.objects.get(username="mia")
    assert entry.actor_name == "Mia Kern"
    assert (entry.action, entry.target, entry.reason) == ("reject", "q", "too dear")
    assert (entry.sign_in, entry.ip, entry.user_agent) == ("session", "2001:db8::1", "Browser/1.0")
    assert entry.is_effective
    assert (entry.state_before, entry.state_after) == ("pending", "rejected")
    assert abs(entry.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_payload_hash_is_that_of_the_stored_value(entry):
    stored = base64.b64decode(Promise.objects.get(pk="q").value_data)

    assert entry.payload_hash == hashlib.sha256(stored).hexdigest()


def test_late_answer_is_recorded_as_late(mia):
    ask("q", users=["mia"])
    settle("q")
    answer(mia, "q", comment="too late")

    entry = AuditEntry.objects.get(action="approve")

    assert not entry.is_effective
    assert (entry.state_before, entry.state_after) == ("resolved", "resolved")
    assert entry.reason == "too late"


def test_same_late_click_twice_is_one_entry(mia):
    ask("q", users=["mia"])
    settle("q")
    for _ in range(2):
        assert answer(mia, "q", request_key="k").status_code == 409

    assert AuditEntry.objects.filter(action="approve").count() == 1


@pytest.mark.parametrize("address", ["", "unix:", "fe80::1%eth0"])
def test_strange_address_is_no_obstacle(mia, address):
    ask("q", users=["mia"])
    mia.post(f"{task_url('q')}decide/", {"answer": "approve"}, REMOTE_ADDR=address)

    assert AuditEntry.objects.get().ip in {None, "fe80::1"}


def test_entry_keeps_the_name_of_a_user_who_is_gone(entry):
    User.objects.all().delete()

    assert AuditEntry.objects.get().actor_name == "Mia Kern"
    assert AuditEntry.objects.get().actor_id == entry.actor_id


# --- Append-only ---


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.save(),
        lambda entry: entry.save(update_fields=["reason"]),
        lambda entry: entry.delete(),
        lambda _: AuditEntry.objects.update(reason="x"),
        lambda _: AuditEntry.objects.filter(action="reject").update(reason="x"),
        lambda _: AuditEntry.objects.all().delete(),
        lambda _: AuditEntry._base_manager.all().delete(),
        lambda entry: AuditEntry.objects.bulk_update([entry], ["reason"]),
        lambda entry: AuditEntry.objects.update_or_create({"reason": "x"}, pk=entry.pk),
        lambda entry: AuditEntry.objects.bulk_create(
            [entry], update_conflicts=True, unique_fields=["id"], update_fields=["reason"]
        ),
    ],
)
def test_entries_are_neither_changed_nor_removed(entry, change):
    entry.reason = "x"

    with pytest.raises(AppendOnlyError):
        change(entry)
    assert AuditEntry.objects.get().reason == "too dear"


@pytest.mark.asyncio
async def test_async_calls_refuse_as_well(transactional_db):
    with pytest.raises(AppendOnlyError):
        await AuditEntry.objects.aupdate(reason="x")
    with pytest.raises(AppendOnlyError):
        await AuditEntry.objects.all().adelete()


# --- In the administration ---


@pytest.fixture
def admin():
    return client_of(make_user("root", is_superuser=True, is_staff=True))


@pytest.mark.parametrize("model", ["auditentry", "humantask"])
def test_admin_reads_and_changes_nothing(entry, admin, model):
    pk = entry.pk if model == "auditentry" else "q"
    listed = reverse(f"admin:signoff_{model}_changelist")
    shown = reverse(f"admin:signoff_{model}_change", args=[pk])

    assert admin.get(listed).status_code == 200
    assert admin.get(shown).status_code == 200
    assert admin.get(f"{listed}?q=q").status_code == 200
    assert admin.post(shown, {"reason": "x", "title": "x"}).status_code == 403
    assert admin.get(reverse(f"admin:signoff_{model}_add")).status_code == 403
    assert admin.post(reverse(f"admin:signoff_{model}_delete", args=[pk])).status_code == 403
    assert AuditEntry.objects.get().reason == "too dear"


# --- On the page ---


def test_history_shows_the_answer_and_who_came_too_late(mia):
    ask("q", users=["mia", "jon"])
    jon = client_of(make_user("jon", first_name="Jon"))
    answer(mia, "q", comment="fine")
    answer(jon, "q", "reject", comment="wait!")

    page = client_of(make_operator()).get(task_url("q")).text

    assert "Mia Kern approved" in page
    assert "Jon wanted to reject, too late" in page
    assert "wait!" in page
