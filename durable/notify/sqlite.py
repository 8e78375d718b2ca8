"""Events within the process, datagrams between processes, and ``PRAGMA data_version`` for the rest.

A process that listens has a Unix socket in a folder beside the database. Who commits sends the
topics to every socket there. Commits that nobody announced are found by a look once a second.
"""

import logging
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from weakref import WeakSet

from django.db import DatabaseError, connections, transaction

from durable import clock
from durable.notify.base import (
    EVERYTHING,
    Subscriber,
    Subscribers,
    Topics,
    parse_payload,
    payload_of,
)

_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.01
"""Between looks where there is no socket: Windows, in memory, beside a file we may only read."""
_FOLDER = "-wake"
_SUFFIX = ".sock"
_MAX_ADDRESS = 100
"""Bytes of a socket's path; systems allow a few more."""
_MAX_NAME = 40
_MAX_DATAGRAM = 8192
_FULL = 10
"""As many datagrams as Linux lets wait for a socket, unless told otherwise."""
_TRIES = 5
_TICK_MS = 2000
"""Two changes of a folder so close together may leave it with the same time."""
_NS = 1_000_000

_logger = logging.getLogger(__name__)


class SQLiteNotifier:
    """A datagram holds topics, never data; one too long says "everything"."""

    def __init__(self, alias: str) -> None:
        """``alias`` names the database."""
        self._alias = alias
        self._subscribers = Subscribers()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._mailbox: _Mailbox | None = None
        self._may_have_mailbox = True
        self._waiting = _Waiting()

    def publish(self, topics: Iterable[str]) -> None:
        """Announce when the current transaction commits; all it publishes goes out together."""
        announcement = _Announcement(self._announce, topics, self._waiting.announcements)
        transaction.on_commit(announcement, using=self._alias, robust=True)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber; the first starts listening."""
        remove = self._subscribers.add(subscriber)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="durable-listener", daemon=True
                )
                self._thread.start()
        return remove

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        mailbox = self._mailbox
        if mailbox is not None and self._folder is not None:
            self._folder.send((), [mailbox.name])  # no topics: it wakes, and tells nobody
        if self._thread is not None:
            self._thread.join()

    def _announce(self, topics: Topics) -> None:
        """Tell other processes first: threads of this one that wake compete with who wakes them."""
        mailbox = self._mailbox
        try:
            if self._folder is not None:
                others = self._folder.names()
                self._folder.send(topics, others - {mailbox.name} if mailbox else others)
        finally:
            self._subscribers.tell(topics)

    @cached_property
    def _folder(self) -> "_Folder | None":
        """Where the sockets are, if there can be any; a process that only publishes makes none."""
        connection = connections[self._alias]
        connection.ensure_connection()
        with connection.wrap_database_errors:
            rows = connection.connection.execute("pragma database_list").fetchall()
        file = next(file for _, name, file in rows if name == "main")  # absolute, links resolved
        return _Folder(Path(file + _FOLDER)) if file and hasattr(socket, "AF_UNIX") else None

    # --- The listener's own thread ---

    def _listen(self) -> None:
        seen: int | None = None
        try:
            while not self._stopping.is_set():
                version = self._look()
                if version != seen:  # at first too: what came before was missed
                    self._subscribers.tell(frozenset({EVERYTHING}))
                seen = version
                if self._mailbox is not None:
                    self._receive(self._mailbox)
                else:
                    self._stopping.wait(_LOOK_SECONDS if version is None else _POLL_SECONDS)
        finally:
            if self._mailbox is not None:
                self._mailbox.close()
                self._mailbox = None
            connections[self._alias].close()

    def _look(self) -> int | None:
        """Return the version of the database, which each commit of others changes."""
        connection = connections[self._alias]
        try:
            self._keep_mailbox()  # first: whatever is committed from now on is heard or seen
            connection.ensure_connection()
            with connection.wrap_database_errors:
                [version] = connection.connection.execute("pragma data_version").fetchone()
        except DatabaseError:
            _logger.warning("cannot watch the database", extra={"action": "watch"}, exc_info=True)
            connection.close()
            return None
        return int(version)

    def _keep_mailbox(self) -> None:
        """Open the mailbox, and a new one when somebody has removed it."""
        try:
            if self._mailbox is not None and not self._mailbox.is_reachable():
                self._mailbox.close()
                self._mailbox = None
            if self._mailbox is None and self._may_have_mailbox and self._folder is not None:
                self._mailbox = _Mailbox(self._folder.path)
        except OSError:
            self._may_have_mailbox = False
            _logger.warning(
                "no socket beside the database", extra={"action": "listen"}, exc_info=True
            )

    def _receive(self, mailbox: "_Mailbox") -> None:
        """Tell what others announce until it is time for the next look."""
        until = time.monotonic() + _LOOK_SECONDS
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if topics := mailbox.receive(left):
                self._subscribers.tell(topics)


class _Announcement:
    """A hook of a transaction; the first that runs announces the topics of them all.

    One that a rollback took away is referred to by nobody, and so no longer among the others.
    """

    def __init__(
        self, announce: Subscriber, topics: Iterable[str], others: "WeakSet[_Announcement]"
    ) -> None:
        """``others`` are those of the same thread."""
        self._announce = announce
        self.topics = frozenset(topics)
        self._others = others
        others.add(self)

    def __call__(self) -> None:
        if self in self._others:
            topics = frozenset[str]().union(*(one.topics for one in self._others))
            self._others.clear()
            self._announce(topics)


class _Waiting(threading.local):
    """The announcements that wait for the commit of their thread's transaction."""

    def __init__(self) -> None:
        """Start with none."""
        self.announcements = WeakSet[_Announcement]()


class _Folder:
    """The sockets of all processes that listen on one database."""

    def __init__(self, path: Path) -> None:
        """The folder need not exist."""
        self.path = path
        self._listed: tuple[int | None, frozenset[str]] = (None, frozenset())

    def names(self) -> frozenset[str]:
        """Return the names of the sockets; reads the folder only when it has changed."""
        try:
            changed = self.path.stat().st_mtime_ns
            known, names = self._listed
            if changed != known:
                names = frozenset(one.name for one in self.path.iterdir() if one.suffix == _SUFFIX)
                is_distinct = clock.now_ms() - changed // _NS > _TICK_MS  # from the next change
                self._listed = changed if is_distinct else None, names
        except OSError:  # nobody listens
            return frozenset()
        return names

    def send(self, topics: Iterable[str], names: Iterable[str]) -> None:
        """Wake the owners of some sockets; never waits, and a hint may be lost."""
        if not names:
            return
        payload = payload_of(topics).encode()
        # A socket of its own: what a stopped process leaves unread fills the sender's buffer too.
        with (
            suppress(OSError),
            _shortened(self.path) as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            for name in names:
                try:
                    sender.sendto(payload, socket.MSG_DONTWAIT, f"{folder}/{name}")
                except ConnectionRefusedError:  # its process was killed
                    with suppress(OSError):
                        (self.path / name).unlink()
                except OSError:  # it has just gone, or is full: then it will look anyway
                    pass


class _Mailbox:
    """The socket by which this process hears of the commits of others."""

    def __init__(self, folder: Path) -> None:
        """Raise ``OSError`` where there can be none."""
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._folder = folder
        self._path = folder / self.name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._bind()
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        _mailboxes.add(self)

    def _bind(self) -> None:
        for _ in range(_TRIES):
            # who closes the last mailbox removes the folder, perhaps just now
            with suppress(FileExistsError):
                self._folder.mkdir(mode=0o700)
            with suppress(FileNotFoundError), _shortened(self._folder) as folder:
                self._socket.bind(f"{folder}/{self.name}")
                return
        raise FileNotFoundError(self._folder)

    def is_reachable(self) -> bool:
        """Whether others still find it."""
        return self._path.exists()

    def receive(self, seconds: float) -> Topics:
        """Wait for topics, and return all that have come; more than a buffer holds were lost."""
        if not self._poll.poll(seconds * 1000):
            return frozenset()
        topics = set[str]()
        try:
            for _ in range(_FULL):
                topics |= parse_payload(self._socket.recv(_MAX_DATAGRAM))
        except BlockingIOError:
            return frozenset(topics)
        return frozenset({EVERYTHING})

    def close(self) -> None:
        """Remove it, and the folder after the last."""
        self._socket.close()
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):
            self._folder.rmdir()

    def leave(self) -> None:
        """Close what a forked child has inherited; it is still its parent's."""
        self._socket.close()


@contextmanager
def _shortened(folder: Path) -> Iterator[str]:
    """Return a path of the folder to which the name of a socket can be added."""
    if len(os.fsencode(folder)) + _MAX_NAME <= _MAX_ADDRESS:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


_mailboxes = WeakSet[_Mailbox]()


def _leave_mailboxes() -> None:
    for mailbox in list(_mailboxes):
        mailbox.leave()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_leave_mailboxes)
