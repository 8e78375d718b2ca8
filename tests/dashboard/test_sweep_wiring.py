"""The engine's background loop repairs what receivers missed."""

from dashboard.models import HumanTask
from durable import promises, signals


def test_housekeeping_writes_a_missing_question(transactional_db) -> None:
    promises.create("asked", data={"human_task": {"schema": 1, "title": "Really?"}})
    HumanTask.objects.filter(pk="asked").delete()
    signals.housekeeping.send(object, using="default")
    assert HumanTask.objects.get(pk="asked").title == "Really?"
