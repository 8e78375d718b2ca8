"""What the demo tells of earlier days."""

import pytest
from django.core.management import call_command

from dashboard.execution_list import Filters, list_executions
from dashboard.models import Action, AuditEntry, HumanTask, WebhookDelivery
from dashboard.permissions import is_open
from durable.clock import now_ms
from durable.models import Promise
from examples import story
from examples.past import in_the_past, may_go_back

HOUR_MS = 3_600_000


def test_the_clock_is_set_back_and_only_moved_on():
    before = now_ms()
    with in_the_past(hours=5) as past:
        assert before - 5 * HOUR_MS <= now_ms() <= before - 4 * HOUR_MS
        past.go_on(hours=1)
        assert now_ms() >= before - HOUR_MS
        with pytest.raises(ValueError, match="2 hours ago was before 1 hours ago"):
            past.go_on(hours=2)
    assert now_ms() >= before


@pytest.mark.django_db
@pytest.mark.postgres_only(reason="its clock is the server's")
def test_where_the_clock_cannot_be_set_back_nothing_is_told():
    assert not may_go_back()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.sqlite_only(reason="PostgreSQL goes by a clock of its own")
def test_three_days_of_work_are_told_once(transactional_db, settings, tmp_path, capsys):
    settings.VAR_DIR = tmp_path
    assert not story.was_told()
    call_command("demo", "--no-serve")

    now = now_ms()
    assert "Three days of work are played" in capsys.readouterr().out
    assert Promise.objects.filter(created_at__lt=now - 70 * HOUR_MS).exists()
    shown = {one.status.slug for one in list_executions(Filters(), now).executions}
    waiting = {"human", "sleeping", "queued"}
    assert shown >= waiting | {"succeeded", "failed", "cancelled", "timedout"}
    open_ones = HumanTask.objects.filter(is_open(now))
    assert open_ones.filter(due_at__lt=now).exists()
    assert open_ones.filter(due_at__gt=now).exists()
    acts = set(AuditEntry.objects.values_list("action", flat=True))
    told = (Action.APPROVE, Action.REJECT, Action.VOTE, Action.CLAIM, Action.COMMENT, Action.EXPIRE)
    assert acts >= {*told, Action.DELEGATE, Action.CANCEL, Action.BULK, Action.ADD}
    outcomes = set(WebhookDelivery.objects.values_list("outcome", flat=True))
    assert outcomes == {"resolved", "repeated", "ignored", "unknown", "unsigned"}

    count = Promise.objects.count()
    call_command("demo", "--no-serve")
    assert Promise.objects.count() == count
