"""Instants that workflows report to the driver, over a datagram socket of this machine.

The format is that of the harness in the peers' folder, so that one set of workflows serves both.
All processes of a machine share the monotonic clock.
"""

import os
import socket
import struct
import threading
import time
from collections import defaultdict
from functools import cache
from pathlib import Path

SOCKET_VARIABLE = "BENCH_SOCK"
FOLDER_VARIABLE = "BENCH_TMP"

_INSTANT = struct.Struct("<d")
_BUFFER_BYTES = 8 << 20
_MAX_DATAGRAM = 4096


@cache
def _connected(path: str) -> socket.socket:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(path)
    return sender


def mark(kind: str, key: str) -> None:
    """Report that something happened now; in a process that nobody measures it does nothing."""
    path = os.environ.get(SOCKET_VARIABLE)
    if path is not None:
        text = f"{kind}\0{key}\0{os.getpid()}".encode()
        _connected(path).send(_INSTANT.pack(time.monotonic()) + text)


def is_first_attempt(key: str) -> bool:
    """Whether this is the first call with this key in any process of the run."""
    try:
        (Path(os.environ[FOLDER_VARIABLE]) / f"first-{key}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Marks:
    """What the workflows of a run have reported: the first instant of each kind and key."""

    def __init__(self, folder: Path) -> None:
        """Listen in ``folder``, and tell every process started from here on."""
        path = str(folder / "marks")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind(path)
        self._changed = threading.Condition()
        self._instants: dict[str, dict[str, float]] = defaultdict(dict)
        self._pids: dict[tuple[str, str], int] = {}
        self._awaited: tuple[str, int] | None = None
        os.environ |= {SOCKET_VARIABLE: path, FOLDER_VARIABLE: str(folder)}
        threading.Thread(target=self._listen, name="bench-marks", daemon=True).start()

    def _listen(self) -> None:
        while True:
            datagram = self._socket.recv(_MAX_DATAGRAM)
            [instant] = _INSTANT.unpack_from(datagram)
            kind, key, pid = datagram[_INSTANT.size :].decode().split("\0")
            with self._changed:
                self._instants[kind].setdefault(key, instant)
                self._pids[kind, key] = int(pid)
                if self._awaited is None or self._has_all(*self._awaited):
                    self._changed.notify_all()

    def _has_all(self, kind: str, number: int) -> bool:
        return len(self._instants[kind]) >= number

    def wait(self, kind: str, key: str, *, timeout: float = 60) -> float:
        """Return when it happened; raises ``TimeoutError`` when it does not within seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._instants[kind], timeout):
                message = f"no mark {kind!r} of {key!r} within {timeout} s"
                raise TimeoutError(message)
            return self._instants[kind][key]

    def wait_all(self, kind: str, number: int, *, timeout: float = 120) -> float:
        """Wait for a number of different keys and return when the last one came."""
        with self._changed:
            # waking for each of thousands would take time from what is measured
            self._awaited = (kind, number)
            try:
                if not self._changed.wait_for(lambda: self._has_all(kind, number), timeout):
                    found = len(self._instants[kind])
                    message = f"{found} of {number} marks {kind!r} within {timeout} s"
                    raise TimeoutError(message)
                return max(self._instants[kind].values())
            finally:
                self._awaited = None

    def at(self, kind: str, key: str) -> float:
        """Return when it happened."""
        return self._instants[kind][key]

    def pid(self, kind: str, key: str) -> int:
        """Return the process in which it last happened."""
        return self._pids[kind, key]

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._instants.clear()
            self._pids.clear()
