"""The commands as processes: they start, work, and end when asked."""

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

import durable
from durable.models import Worker as WorkerRow
from tests.crash import journal
from tests.crash.workflows import subtask
from tests.processes import Process, running, wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def env(process_env, tmp_path: Path, monkeypatch) -> dict[str, str]:
    monkeypatch.setenv("CRASH_JOURNAL", str(tmp_path / "journal"))
    return {**process_env, "CRASH_JOURNAL": str(tmp_path / "journal")}


def session_cookie(username: str) -> str:
    """Return the cookie of a signed-in browser."""
    client = Client()
    client.force_login(get_user_model().objects.create_user(username, password="x"))
    return f"sessionid={client.cookies['sessionid'].value}"


@pytest.mark.timeout(60)
def test_serve_ends_within_five_seconds_with_a_stream_open(env, tmp_path) -> None:
    port = free_port()
    serve = Process(env, tmp_path / "serve.log", "serve", "--port", str(port), "--worker")
    cookie = session_cookie("mia")
    with running(serve):
        wait_until(lambda: is_listening(port), seconds=30, what="the server")
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        stream.request("GET", "/live/", headers={"Cookie": cookie})
        response = stream.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        started = time.monotonic()
        assert serve.terminate(10) == 0
        assert time.monotonic() - started < 5
        response.read()  # the stream ends cleanly
        stream.close()
    assert not WorkerRow.objects.exists()


@pytest.mark.timeout(60)
def test_several_worker_processes_are_kept_running(env, tmp_path) -> None:
    worker = Process(env, tmp_path / "worker.log", "worker", "--processes", "2")
    with running(worker):
        wait_until(lambda: WorkerRow.objects.count() == 2, seconds=40, what="two workers")
        handle = durable.start("sub-1", subtask, "sub-1", 3)
        assert handle.result(timeout=20) == 6
        assert worker.terminate(20) == 0
    assert not WorkerRow.objects.exists()
    assert len(journal.read()) == 2


@pytest.mark.timeout(60)
def test_a_worker_serves_only_its_groups(env, tmp_path) -> None:
    worker = Process(env, tmp_path / "worker.log", "worker", "--group", "a", "--group", "b")
    with running(worker):
        wait_until(WorkerRow.objects.exists, seconds=40, what="the worker")
        other = durable.options(target="other").start("other-1", subtask, "other-1", 1)
        mine = durable.options(target="b").start("mine-1", subtask, "mine-1", 2)
        assert mine.result(timeout=20) == 4
        assert other.record().is_pending
    assert WorkerRow.objects.get().groups == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurrency", "0"], "CommandError: --concurrency must be at least 1, not 0"),
        (["--processes", "0"], "CommandError: --processes must be at least 1, not 0"),
    ],
)
def test_wrong_options_are_named(env, arguments, message) -> None:
    process = subprocess.run(
        [sys.executable, "manage.py", "worker", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1] == message
