"""The whole of it: a worker process stands at a question, a person answers, the workflow goes on.

The server is in this process, the workers are processes of their own, and die when a test says so.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from playwright.sync_api import Page, expect

import durable
from tests.browser.conftest import LiveServer
from tests.processes import Process, running, wait_until

LEASE = {"DURABLE_LEASE_MS": "3000", "DURABLE_HEARTBEAT_MS": "500"}
QUESTION = "Errand 7?"


@pytest.fixture
def env(process_env, tmp_path: Path, monkeypatch) -> dict[str, str]:
    monkeypatch.setenv("CRASH_JOURNAL", str(tmp_path / "journal"))
    return {**process_env, **LEASE, "CRASH_JOURNAL": str(tmp_path / "journal")}


@pytest.fixture
def worker(env, tmp_path: Path) -> Iterator[Process]:
    process = Process(env, tmp_path / "worker.log", "worker", "--concurrency", "8")
    with running(process):
        yield process


@pytest.fixture
def people(transactional_db) -> None:
    """Mia decides; Olga sees executions; Eve has nothing to do with it."""
    users = get_user_model().objects
    mia = users.create_user("mia", password="mia", first_name="Mia")
    mia.groups.add(Group.objects.create(name="deciders"))
    olga = users.create_user("olga", password="olga", first_name="Olga")
    olga.user_permissions.set(Permission.objects.filter(codename="view_executions"))
    users.create_user("eve", password="eve")


def sign_in(page: Page, server: LiveServer, name: str) -> None:
    page.goto(f"{server}/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def start_errand() -> durable.Handle:
    from tests.crash.workflows import errand

    return durable.start("errand-7", errand, 7)


def result_of(comment: str) -> dict[str, object]:
    from tests.crash.workflows import expected

    return expected(7, comment)


def approve(page: Page, comment: str) -> None:
    page.get_by_label("Comment").fill(comment)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("You approved this").first).to_be_visible()


@pytest.mark.timeout(120)
def test_a_question_appears_is_answered_and_the_execution_ends(
    page: Page, live_server_asgi, people, worker
) -> None:
    sign_in(page, live_server_asgi, "mia")
    expect(page.get_by_text(QUESTION)).to_have_count(0)
    handle = start_errand()
    # by itself: the page is not loaded again
    expect(page.get_by_role("link", name=QUESTION)).to_be_visible(timeout=20_000)
    page.get_by_role("link", name=QUESTION).click()
    approve(page, "go ahead")
    assert handle.result(timeout=30) == result_of("go ahead")


@pytest.mark.timeout(120)
def test_an_operator_watches_it_end_without_reload(
    page: Page, live_server_asgi, people, worker
) -> None:
    handle = start_errand()
    wait_for_question()
    sign_in(page, live_server_asgi, "olga")
    page.goto(f"{live_server_asgi}/executions/errand-7/")
    expect(page.get_by_text("Waiting for a person").first).to_be_visible(timeout=20_000)
    value = {"approved": True, "answer": "approve", "values": {}, "comment": "ok", "by": "x"}
    assert durable.promises.resolve("errand-7:3", value).applied
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=30_000)
    assert handle.result(timeout=1) == result_of("ok")


@pytest.mark.timeout(120)
@pytest.mark.once
def test_the_same_without_javascript(browser, live_server_asgi, people, worker) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    try:
        page = context.new_page()
        handle = start_errand()
        wait_for_question()
        sign_in(page, live_server_asgi, "mia")
        page.get_by_role("link", name=QUESTION).click()
        approve(page, "by plain post")
        assert handle.result(timeout=30) == result_of("by plain post")
        page.reload()
        expect(page.get_by_text("You approved this").first).to_be_visible()
    finally:
        context.close()


@pytest.mark.timeout(180)
def test_the_worker_dies_while_the_question_stands_and_in_a_later_step(
    page: Page, live_server_asgi, people, worker, monkeypatch
) -> None:
    from tests.crash import journal

    handle = start_errand()
    wait_for_question()
    worker.kill()
    sign_in(page, live_server_asgi, "mia")
    page.get_by_role("link", name=QUESTION).click()
    approve(page, "while nobody worked")
    assert handle.record().is_pending
    worker.start()
    wait_until(
        lambda: any(run.step in {"left", "right", "part0"} for run in journal.read()),
        seconds=60,
        what="a later step",
    )
    worker.kill()
    worker.start()
    assert handle.result(timeout=60) == result_of("while nobody worked")
    runs = [run.step for run in journal.read()]
    assert runs.count("first") == 1


@pytest.mark.once
def test_a_stranger_finds_nothing(page: Page, live_server_asgi, people, worker) -> None:
    start_errand()
    wait_for_question()
    sign_in(page, live_server_asgi, "eve")
    expect(page.get_by_text(QUESTION)).to_have_count(0)
    response = page.goto(f"{live_server_asgi}/inbox/errand-7:3/")
    assert response is not None
    assert response.status == 404


def wait_for_question() -> None:
    from durable.models import Promise

    wait_until(
        lambda: Promise.objects.filter(id="errand-7:3").exists(), seconds=40, what="the question"
    )
