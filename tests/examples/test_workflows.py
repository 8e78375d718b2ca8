"""The examples run to their ends with a real worker in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

import durable
from dashboard.models import HumanTask
from durable.background.runner import BackgroundRunner
from durable.models import Promise
from durable.store import get_store
from durable.worker import Worker
from examples.ledger import ledger_path
from examples.models import LedgerEntry
from examples.orders import read_orders
from examples.workflows import deploy, purchase, review
from tests.dashboard.people import client_of, make_user, task_url
from tests.processes import wait_until


@pytest.fixture
def worker(transactional_db, settings, tmp_path: Path) -> Iterator[Worker]:
    settings.VAR_DIR = tmp_path
    runner = BackgroundRunner(get_store())
    worker = Worker(["default"], concurrency=8)
    runner.start()
    worker.start()
    yield worker
    worker.stop()
    runner.stop()


@pytest.fixture
def answer(worker) -> Callable[..., None]:
    def wait_and_answer(promise_id: str, *, approved: bool, comment: str = "") -> None:
        wait_until(
            lambda: Promise.objects.filter(id=promise_id).exists(), seconds=15, what=promise_id
        )
        value = {
            "approved": approved,
            "answer": "approve" if approved else "reject",
            "values": {},
            "comment": comment,
            "by": "mia",
        }
        if approved:
            assert durable.promises.resolve(promise_id, value).applied
        else:
            assert durable.promises.reject(promise_id, comment or "no", value).applied

    return wait_and_answer


def test_an_approved_purchase_is_in_the_ledger(answer) -> None:
    order = next(read_orders())
    handle = durable.start("purchase-1", purchase, order)
    answer("purchase-1:2", approved=True)
    entry = LedgerEntry.objects.get() if handle.result(timeout=15) else None
    assert entry is not None
    assert handle.result() == f"booked as entry {entry.pk}"
    assert (entry.order_id, entry.amount, entry.approved_by) == ("4711", order.amount, "mia")
    header, line = ledger_path().read_text().splitlines()
    assert header == "order_id,item,supplier,amount,currency,approved_by,booked_at"
    assert line.startswith("4711,Standing desks (6),Nordholz Furniture,4200.00,EUR,mia,")


def test_a_rejected_purchase_leaves_no_trace(answer) -> None:
    handle = durable.start("purchase-1", purchase, next(read_orders()))
    answer("purchase-1:2", approved=False)
    assert handle.result(timeout=15) == "rejected by mia"
    assert not LedgerEntry.objects.exists()


def test_a_review_is_sent_back_twice_and_shows_what_was_said_before(worker) -> None:
    handle = durable.start("review-1", review, "News", "Text")
    editor = client_of(make_user("mia", groups=("editors",), first_name="Mia"))
    said = ["Shorter, please.", "Name a date."]
    for number, comment in enumerate(said, start=1):
        page = _page_of(editor, f"Round {number} of 3" if number > 1 else "Publish “News”?")
        assert all(earlier in page.text for earlier in said[: number - 1])
        _answer_on(page, editor, "rework", comment)

    page = _page_of(editor, "Round 3 of 3")

    assert 0 < page.text.find("Earlier rounds") < page.text.find('name="comment"'), "read first"
    assert all(f"<blockquote>{earlier}</blockquote>" in page.text for earlier in said)
    assert page.text.count("You sent this back") == 2
    assert 'value="rework"' not in page.text
    _answer_on(page, editor, "approve", "")
    assert handle.result(timeout=15).startswith("published at /articles/news-")


def test_a_review_that_is_rejected_ends(answer) -> None:
    handle = durable.start("review-1", review, "News", "Text")
    answer("review-1:1", approved=False)
    assert handle.result(timeout=15) == "rejected by mia"


def _page_of(client: Client, words: str) -> Any:
    """Return the page of the question that waits, once it says these words."""
    found: list[Any] = []

    def look() -> bool:
        tasks = HumanTask.objects.filter(settled_at__isnull=True)
        found[:] = [client.get(task_url(one.pk)) for one in tasks]
        return any(words in page.text for page in found)

    wait_until(look, seconds=15, what=words)
    return found[0]


def _answer_on(page: Any, client: Client, name: str, comment: str) -> None:
    response = client.post(
        f"{page.request['PATH_INFO']}decide/", {"answer": name, "comment": comment}
    )
    assert response.status_code == 303


def test_a_deployment_waits_and_asks(answer, monkeypatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr("examples.workflows.CANARY_WAIT", timedelta(milliseconds=50))
    handle = durable.start("deploy-1", deploy, "shop", "42")
    answer("deploy-1:4", approved=True)
    regions = [f"shop:42 runs in {region}" for region in ("north", "south", "west")]
    assert handle.result(timeout=15) == ", ".join(regions)


def test_the_demo_sets_itself_up_twice(transactional_db, settings, tmp_path, capsys) -> None:
    settings.VAR_DIR = tmp_path
    call_command("demo", "--no-serve", "--no-story")
    first = capsys.readouterr().out
    call_command("demo", "--no-serve", "--no-story")
    assert capsys.readouterr().out == first
    lines = [line.split() for line in first.splitlines() if line.startswith("    ")]
    assert [line[0] for line in lines] == ["mia", "jon", "olga", "finn", "ida"]
    assert Promise.objects.filter(is_root=True).count() == 6
