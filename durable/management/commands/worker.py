"""``manage.py worker``: claim due tasks of some groups and run their functions."""

import subprocess
import sys
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from durable.background.runner import BackgroundRunner
from durable.management.memory import calm_collector
from durable.management.stopping import on_stop
from durable.store import close_store, get_store
from durable.worker.options import add_worker_arguments, build_worker

_RESTART_SECONDS = 1.0
_POLL_SECONDS = 0.2


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT; then finishes or gives back what it holds."""

    help = "Run durable functions: claim due tasks of the groups straight from the database."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        add_worker_arguments(parser)
        parser.add_argument(
            "--processes", type=int, default=1, help="worker processes to run and to restart"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run one worker here, or several in processes of their own."""
        if options["processes"] < 1:
            message = f"--processes must be at least 1, not {options['processes']}"
            raise CommandError(message)
        if options["processes"] > 1:
            Supervisor(options["processes"], sys.argv).run()
        else:
            self._work(options)

    def _work(self, options: dict[str, Any]) -> None:
        stopping = threading.Event()
        on_stop(stopping.set)
        runner = BackgroundRunner(get_store())
        worker = build_worker(options)
        calm_collector()
        runner.start()
        worker.start()
        self.stdout.write(f"Worker {worker.pid} serves {', '.join(worker.groups)}")
        try:
            while not stopping.wait(_POLL_SECONDS) and worker.is_alive():
                pass
        finally:
            worker.stop()
            runner.stop()
            close_store()


class Supervisor:
    """Keeps a number of worker processes running, each this command with one process."""

    def __init__(self, processes: int, argv: list[str]) -> None:
        """``argv`` is the command line; ``--processes`` is taken out of it."""
        self._command = [sys.executable, *without_option(argv, "--processes")]
        self._number = processes
        self._stopping = threading.Event()

    def run(self) -> None:
        """Start, restart, and on a signal stop them all."""
        on_stop(self._stopping.set)
        children = [self._start() for _ in range(self._number)]
        while not self._stopping.wait(_POLL_SECONDS):
            for place, child in enumerate(children):
                if child.poll() is not None:
                    time.sleep(_RESTART_SECONDS)
                    children[place] = self._start()
        for child in children:
            child.terminate()
        for child in children:
            child.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command)  # noqa: S603 - this very command


def without_option(argv: list[str], option: str) -> list[str]:
    """Return a command line without one option and its value."""
    kept, skip = [], False
    for argument in argv:
        if skip:
            skip = False
        elif argument == option:
            skip = True
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept
