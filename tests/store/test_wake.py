"""Sockets beside a SQLite file: who listens hears of the commits of other processes."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from durable.notify import EVERYTHING, ready
from durable.notify import sqlite as module
from durable.notify.sqlite import SQLiteNotifier
from tests.processes import ROOT
from tests.store.heard import Heard
from tests.store.threads import TIMEOUT, RollBackError, Threads, eventually

pytestmark = pytest.mark.sqlite_only(reason="PostgreSQL carries hints itself")

ALIAS = "wake"
LOOK = "pragma data_version"

type MakeNotifier = Callable[[], SQLiteNotifier]
type UseDatabase = Callable[[str | Path], None]

PROCESS = """
import os, signal, sys
from django.conf import settings
settings.configure(DATABASES={
    "wake": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}, "default": {},
})
from django.db import transaction
from durable.notify.sqlite import SQLiteNotifier

def listen(who):
    notifier.subscribe(lambda topics: print(who, *sorted(topics), flush=True))

notifier = SQLiteNotifier("wake")
for line in sys.stdin:
    match line.split():
        case ["listen"]:
            listen("parent")
        case ["publish", *topics]:
            with transaction.atomic(using="wake"):
                notifier.publish(topics)
            print("published", flush=True)
        case ["fork"] if os.fork() == 0:
            sockets = [
                name for name in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{name}")
                and os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
            ]
            print("inherited", len(sockets), flush=True)
            notifier = SQLiteNotifier("wake")
            listen("child")
            signal.pause()
"""


class Other:
    """Another process on the same file, which does as it is told."""

    def __init__(self, file: Path) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, str(file)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def tell(self, command: str, until: str) -> None:
        """Give a command; wait for a line of the answer."""
        assert self._popen.stdin is not None
        print(command, file=self._popen.stdin, flush=True)
        self.wait_for(until)

    def wait_for(self, line: str) -> None:
        assert self._popen.stdout is not None
        while (found := self._popen.stdout.readline()) != line + "\n":
            assert found, f"ended without {line!r}"

    def kill(self) -> None:
        """Kill the process itself, not what it forked."""
        self._popen.kill()
        self._popen.wait()

    def end(self) -> None:
        """Kill it with all that it forked."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.communicate()


class Ear:
    """A bare socket among those of the listeners; what a commit sent is there when it returns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ear.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with chdir(folder):
            self._socket.bind(self.path.name)

    def heard(self) -> list[bytes]:
        found = []
        try:
            while True:
                found.append(self._socket.recv(10_000))
        except BlockingIOError:
            return found

    def topics(self) -> list[set[str]]:
        return [set(json.loads(one)) for one in self.heard()]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def use_database(database: object) -> Iterator[UseDatabase]:
    """Name a file for the alias of these tests."""

    def forget() -> None:
        if connections.settings.pop(ALIAS, None) is not None:
            connections[ALIAS].close()
            del connections[ALIAS]

    def use(name: str | Path) -> None:
        forget()
        connections.settings[ALIAS] = {**connections.settings["default"], "NAME": str(name)}
        assert connections[ALIAS].settings_dict["NAME"] == str(name)

    yield use
    forget()


@pytest.fixture
def file(use_database: UseDatabase, tmp_path: Path) -> Path:
    use_database(file := tmp_path / "wake.sqlite3")
    with transaction.atomic(using=ALIAS):
        connections[ALIAS].cursor().execute("create table note (text text)")
    return file


@pytest.fixture
def folder(file: Path) -> Path:
    return Path(f"{file}-wake")


@pytest.fixture
def make_notifier(file: Path) -> Iterator[MakeNotifier]:
    """Make notifiers, as several processes have; each is closed in the end."""
    made: list[SQLiteNotifier] = []

    def make() -> SQLiteNotifier:
        made.append(SQLiteNotifier(ALIAS))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


@pytest.fixture
def others(file: Path) -> Iterator[Callable[[], Other]]:
    started: list[Other] = []

    def start() -> Other:
        started.append(Other(file))
        return started[-1]

    yield start
    for other in started:
        other.end()


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is heard came through a socket."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 1000.0)


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def ear(folder: Path) -> Iterator[Ear]:
    folder.mkdir()
    ear = Ear(folder)
    yield ear
    ear.close()


def listen(notifier: SQLiteNotifier) -> Heard:
    """Subscribe, and get past what is told at the beginning."""
    heard = Heard()
    notifier.subscribe(heard)
    heard.wait_for(EVERYTHING)
    heard.forget()
    return heard


def publish(notifier: SQLiteNotifier, *topics: str) -> None:
    with transaction.atomic(using=ALIAS):
        notifier.publish(topics)


def write_unannounced(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=TIMEOUT)) as stranger, stranger:
        stranger.execute("insert into note values ('by another program')")


def sockets(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def has_socket_of(folder: Path, pid: int) -> bool:
    return any(name.startswith(f"{pid}-") for name in sockets(folder))


@pytest.mark.usefixtures("rare_looks")
def test_processes_tell_each_other_their_topics(
    make_notifier: MakeNotifier, others: Callable[[], Other]
) -> None:
    here, one, two = make_notifier(), others(), others()
    heard = listen(here)
    one.tell("listen", "parent *")
    two.tell("listen", "parent *")
    publish(here, "from-here", ready("g"))
    one.wait_for("parent from-here ready:g")
    two.wait_for("parent from-here ready:g")
    one.tell("publish from-one", "parent from-one")
    two.wait_for("parent from-one")
    heard.wait_for("from-one")
    assert heard.told == [{"from-here", ready("g")}, {"from-one"}]  # its own not twice


def test_a_process_that_only_publishes_leaves_no_trace(
    folder: Path, make_notifier: MakeNotifier, others: Callable[[], Other]
) -> None:
    notifier = make_notifier()
    publish(notifier, "one")
    assert not folder.exists()
    heard = listen(notifier)
    others().tell("publish two", "published")
    heard.wait_for("two")
    [mine] = sockets(folder)
    assert mine.startswith(f"{os.getpid()}-")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_one_datagram_a_commit(make_notifier: MakeNotifier, ear: Ear) -> None:
    """With the topics of all that was committed, and of nothing else."""
    notifier = make_notifier()
    with transaction.atomic(using=ALIAS):
        with pytest.raises(RollBackError), transaction.atomic(using=ALIAS):
            notifier.publish(["no"])
            raise RollBackError
        notifier.publish(["one"])
        with transaction.atomic(using=ALIAS):
            notifier.publish(["two", "one"])
        notifier.publish(["three"])
        assert ear.heard() == []
    assert ear.topics() == [{"one", "two", "three"}]
    with pytest.raises(RollBackError), transaction.atomic(using=ALIAS):
        notifier.publish(["no"])
        raise RollBackError
    assert ear.heard() == []
    notifier.publish(["without a transaction"])
    assert ear.topics() == [{"without a transaction"}]


def test_a_transaction_within_a_hook_is_announced_too(
    make_notifier: MakeNotifier, ear: Ear
) -> None:
    notifier = make_notifier()
    heard = listen(notifier)
    with transaction.atomic(using=ALIAS):
        notifier.publish(["one"])
        transaction.on_commit(lambda: publish(notifier, "three"), using=ALIAS)
        notifier.publish(["two"])
    assert ear.topics() == [{"one", "two"}, {"three"}]
    assert [one for one in heard.told if EVERYTHING not in one] == [{"one", "two"}, {"three"}]


@pytest.mark.usefixtures("rare_looks")
def test_too_many_topics_tell_everything(make_notifier: MakeNotifier) -> None:
    heard = listen(make_notifier())
    publish(make_notifier(), *(ready(f"group {number}") for number in range(1000)))
    heard.wait_for(EVERYTHING)
    assert heard.told == [{EVERYTHING}]


@pytest.mark.usefixtures("rare_looks")
def test_anybody_may_wake(folder: Path, make_notifier: MakeNotifier) -> None:
    """A datagram that is not ours is a hint of something."""
    heard = listen(make_notifier())
    [name] = sockets(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, chdir(folder):
        sender.sendto(b"hello", name)
    heard.wait_for(EVERYTHING)


def test_what_a_killed_process_left_is_removed(
    folder: Path, make_notifier: MakeNotifier, others: Callable[[], Other]
) -> None:
    killed, other = others(), others()
    killed.tell("listen", "parent *")
    other.tell("listen", "parent *")
    killed.kill()
    assert has_socket_of(folder, killed.pid)
    (folder / "somebody's.txt").touch()
    publish(make_notifier(), "one")
    other.wait_for("parent one")
    assert not has_socket_of(folder, killed.pid)
    assert has_socket_of(folder, other.pid)
    assert (folder / "somebody's.txt").exists()


@pytest.mark.usefixtures("rare_looks")
def test_one_that_does_not_read_holds_up_nobody(make_notifier: MakeNotifier, ear: Ear) -> None:
    heard = listen(make_notifier())
    notifier = make_notifier()
    long = "x" * 6000
    for number in range(1000):
        heard.forget()
        publish(notifier, f"topic {number}", long)
        heard.wait_for(f"topic {number}")
    assert 0 < len(ear.heard()) < 1000
    publish(notifier, "again")
    assert ear.topics() == [{"again"}]


@pytest.mark.usefixtures("rare_looks")
def test_a_listener_that_was_held_up_knows_that_it_missed_something(
    make_notifier: MakeNotifier,
) -> None:
    listening, publishing = make_notifier(), make_notifier()
    heard, reached, go_on = listen(listening), threading.Event(), threading.Event()

    def hold_up(topics: object) -> None:
        reached.set()
        go_on.wait(TIMEOUT)

    end = listening.subscribe(hold_up)
    publish(publishing, "first")
    assert reached.wait(TIMEOUT)
    heard.forget()
    for number in range(1000):
        publish(publishing, f"topic {number}")
    go_on.set()
    heard.wait_for(EVERYTHING)
    end()
    publish(publishing, "last")
    heard.wait_for("last")


def test_a_commit_that_nobody_announced_is_found(file: Path, make_notifier: MakeNotifier) -> None:
    heard = listen(make_notifier())
    write_unannounced(file)
    heard.wait_for(EVERYTHING)


def test_it_is_found_while_others_announce_theirs(
    file: Path, make_notifier: MakeNotifier, frequent_looks: None
) -> None:
    """There may never be a quiet second."""
    heard, other = listen(make_notifier()), make_notifier()
    write_unannounced(file)
    end = time.monotonic() + TIMEOUT
    while EVERYTHING not in heard.topics:
        assert time.monotonic() < end
        publish(other, topic := str(len(heard.told)))
        heard.wait_for(topic)


def test_who_listens_runs_one_statement_a_look(
    make_notifier: MakeNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waiting nor what is announced costs one."""
    pause = 0.3
    monkeypatch.setattr(module, "_LOOK_SECONDS", pause)
    ran: list[tuple[float, str]] = []

    def trace(*, connection, **_: object) -> None:
        if threading.current_thread().name == "durable-listener":
            note = lambda sql: ran.append((time.monotonic(), sql))  # noqa: E731
            connection.connection.set_trace_callback(note)

    connection_created.connect(trace)
    try:
        heard, other = listen(make_notifier()), make_notifier()
        while len(ran) < 6:
            heard.forget()
            publish(other, "one")
            heard.wait_for("one")
    finally:
        connection_created.disconnect(trace)
    instants = [at for at, sql in ran if sql == LOOK]
    assert [sql for _, sql in ran[-len(instants) :]] == [LOOK] * len(instants)  # setup came before
    assert len(instants) >= 3
    assert all(later - earlier >= pause for earlier, later in pairwise(instants))


@pytest.mark.usefixtures("rare_looks")
def test_closing_removes_the_socket_and_the_last_one_the_folder(
    folder: Path, make_notifier: MakeNotifier, others: Callable[[], Other]
) -> None:
    one, other = make_notifier(), others()
    listen(one)
    other.tell("listen", "parent *")
    assert len(sockets(folder)) == 2
    one.close()
    [left] = sockets(folder)
    assert left.startswith(f"{other.pid}-")
    other.kill()
    two = make_notifier()
    listen(two)
    publish(one, "one")
    two.close()
    assert not folder.exists()
    publish(two, "two")
    assert not folder.exists()


def test_one_begins_while_the_last_one_ends(
    file: Path, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder goes away at any moment."""

    def come_and_go() -> None:
        for _ in range(50):
            notifier = SQLiteNotifier(ALIAS)
            listen(notifier)
            notifier.close()

    for call in [threads.call(come_and_go) for _ in range(3)]:
        call.result(TIMEOUT * 2)
    assert caplog.text == ""


def test_a_socket_that_somebody_removed_is_made_anew(
    folder: Path, make_notifier: MakeNotifier, frequent_looks: None
) -> None:
    heard, other = listen(make_notifier()), make_notifier()
    for _ in range(2):
        before = sockets(folder)
        shutil.rmtree(folder)
        eventually(lambda before=before: sockets(folder) not in ([], before), "a new socket")
        publish(other, "one")
        heard.wait_for("one")
        heard.forget()


@pytest.mark.usefixtures("rare_looks")
def test_who_comes_late_is_told_too(folder: Path, make_notifier: MakeNotifier) -> None:
    """The list of sockets is kept as long as the folder rests."""
    first, publishing = listen(make_notifier()), make_notifier()
    os.utime(folder, (0, 0))
    for number in range(3):
        publish(publishing, f"early {number}")
        first.wait_for(f"early {number}")
    second = listen(make_notifier())
    third = listen(make_notifier())
    publish(publishing, "late")
    for heard in (first, second, third):
        heard.wait_for("late")


@pytest.mark.usefixtures("rare_looks")
def test_a_path_longer_than_sockets_may_have(
    use_database: UseDatabase, make_notifier: MakeNotifier, tmp_path: Path
) -> None:
    file = tmp_path / ("ü" * 100) / "wake.sqlite3"
    file.parent.mkdir()
    use_database(file)
    here, other = make_notifier(), Other(file)
    try:
        heard = listen(here)
        other.tell("listen", "parent *")
        publish(here, "one")
        other.wait_for("parent one")
        other.tell("publish two", "parent two")
        heard.wait_for("two")
    finally:
        other.end()
    publish(here, "three")
    assert len(sockets(Path(f"{file}-wake"))) == 1
    here.close()
    assert not Path(f"{file}-wake").exists()


@pytest.mark.usefixtures("rare_looks")
def test_a_file_has_one_folder_whatever_it_is_called(
    file: Path, use_database: UseDatabase, make_notifier: MakeNotifier, tmp_path: Path
) -> None:
    heard = listen(make_notifier())
    link = tmp_path / "link.sqlite3"
    link.symlink_to(file)
    for name in (link, f"file:{file}?mode=rw"):
        use_database(name)
        publish(make_notifier(), str(name))
        heard.wait_for(str(name))


def test_without_a_socket_it_watches_the_file(
    file: Path, folder: Path, make_notifier: MakeNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    folder.touch()
    notifier = make_notifier()
    heard = listen(notifier)
    assert caplog.text.count("no socket beside the database") == 1
    write_unannounced(file)
    heard.wait_for(EVERYTHING)
    publish(notifier, "one")
    assert {"one"} in heard.told
    notifier.close()
    assert caplog.text.count("no socket beside the database") == 1


def test_a_database_in_memory_is_told_of_within_the_process(
    use_database: UseDatabase, make_notifier: MakeNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    use_database(":memory:")
    notifier = make_notifier()
    heard = listen(notifier)
    publish(notifier, "one")
    assert {"one"} in heard.told
    assert caplog.text == ""


def test_a_forked_child_has_a_socket_of_its_own(
    folder: Path, make_notifier: MakeNotifier, others: Callable[[], Other]
) -> None:
    notifier, other = make_notifier(), others()
    other.tell("listen", "parent *")
    other.tell("fork", "inherited 0")
    other.wait_for("child *")
    assert len(sockets(folder)) == 2
    assert has_socket_of(folder, other.pid)
    other.kill()
    publish(notifier, "one")  # finds that nobody has the parent's socket any more
    other.wait_for("child one")
    [left] = sockets(folder)
    assert not left.startswith(f"{other.pid}-")
