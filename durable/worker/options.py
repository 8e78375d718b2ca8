"""The options of a worker on a command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from durable.worker.worker import Worker

DEFAULT_GROUP = "default"
DEFAULT_CONCURRENCY = 64


def add_worker_arguments(parser: ArgumentParser) -> None:
    """Add ``--group`` and ``--concurrency``."""
    parser.add_argument(
        "--group",
        action="append",
        metavar="NAME",
        help=f"group to serve; may be given more than once (default: {DEFAULT_GROUP})",
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        help="tasks that run at the same time",
    )


def build_worker(options: dict[str, Any]) -> Worker:
    """Make the worker that the options describe; ``CommandError`` for a wrong one."""
    if options["concurrency"] < 1:
        message = f"--concurrency must be at least 1, not {options['concurrency']}"
        raise CommandError(message)
    return Worker(options["group"] or [DEFAULT_GROUP], concurrency=options["concurrency"])
