"""Processes of the project: short commands, and workers that are measured and killed."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
FAST: Mapping[str, str] = {"DURABLE_LEASE_MS": "2000", "DURABLE_HEARTBEAT_MS": "500"}
"""Settings with which a dead worker is replaced fast."""
_READY_SECONDS = 60
_STOP_SECONDS = 15
_USER_AT = 11  # of the fields after the name, see proc(5)


class ProcessFailedError(Exception):
    """A process ended, or never got ready."""

    def __init__(self, arguments: tuple[str, ...], output: str) -> None:
        """``output`` is what it last said."""
        super().__init__(f"manage.py {' '.join(arguments)} failed:\n{output[-3000:]}")


def environment(url: str, var: Path) -> dict[str, str]:
    """Return the environment of a production-like process on a database.

    Debugging would record every statement, so it is off, and with it the development defaults.
    """
    return {
        **os.environ,
        "ALLOWED_HOSTS": "*",
        "DATABASE_URL": url,
        "DJANGO_DEBUG": "false",
        "DJANGO_SETTINGS_MODULE": "dashboard.project.settings",
        "LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT),
        "SECRET_KEY": secrets.token_hex(32),
        "SECURE_SSL_REDIRECT": "false",
        "SIGNOFF_APPS": "bench",
        "SIGNOFF_DEMO": "false",
        "SIGNOFF_VAR_DIR": str(var),
    }


def manage(url: str, *arguments: str, var: Path | None = None) -> None:
    """Run a command of the project to its end."""
    finished = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(url, var or ROOT / "var"),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise ProcessFailedError(arguments, finished.stdout + finished.stderr)


class Process:
    """A command that runs until it is stopped, in a process group of its own."""

    def __init__(self, log: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> None:
        """``extra`` comes on top of this process's environment."""
        self._log = log
        self._arguments = arguments
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env={**os.environ, **(extra or {}), "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The system's number of the process."""
        return self._popen.pid

    def wait_for(self, text: str) -> Self:
        """Wait until it has said something."""
        end = time.monotonic() + _READY_SECONDS
        while text not in self._output():
            if self._popen.poll() is not None or time.monotonic() > end:
                raise ProcessFailedError(self._arguments, self._output())
            time.sleep(0.02)
        return self

    def _output(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL when that is not enough."""
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def memory(self) -> int:
        """Return the resident bytes, on Linux."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, on Linux."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[_USER_AT]) + int(fields[_USER_AT + 1])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """End the processes with the block."""
    try:
        yield
    finally:
        for process in processes:
            process.stop()
