"""Real processes of the project, started on the test database and killed without mercy."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Process:
    """One ``manage.py`` command, which can be killed and started again."""

    def __init__(
        self, env: Mapping[str, str], log: Path, *arguments: str, folder: Path = ROOT
    ) -> None:
        self._env = dict(env)
        self._folder = folder
        self._log = log
        self._arguments = arguments
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "manage.py", *self._arguments],
                cwd=self._folder,
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Send SIGKILL to the process and all it started."""
        if self._popen is not None and self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def terminate(self, timeout: float) -> int:
        """Send SIGTERM and return the exit code; raises ``TimeoutExpired``."""
        assert self._popen is not None
        self._popen.terminate()
        return self._popen.wait(timeout)

    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def output(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    try:
        for process in processes:
            process.start()
        yield
    except BaseException:
        for process in processes:
            print(process.output())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        for process in processes:
            process.kill()


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Look until something of other processes is so; there is no event to wait for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            message = f"not within {seconds} s: {what}"
            raise AssertionError(message)
        time.sleep(0.02)
