"""A step inside a database transaction: its rows and its result exist both, or neither.

The only module of the package that imports Django, and only when such a step runs.
"""

from collections.abc import Callable
from typing import Any

from durable.client.base import Sender
from durable.protocol.records import PromiseRecord
from durable.workflow.journal import Program
from durable.workflow.outcome import Halt, stuck


class _RecordedError(Exception):
    """The step has a result already, from elsewhere; what ran now is rolled back."""

    def __init__(self, record: PromiseRecord) -> None:
        super().__init__(record.id)
        self.record = record


def run_atomically(
    call: Callable[[], Any],
    write: Callable[[Any], Program],
    sender: Sender,
) -> PromiseRecord:
    """Run ``call`` and write its result in the same transaction; for a thread.

    Raises what ``call`` raises, with everything rolled back. A lease that is lost rolls back too.
    """
    from django.conf import settings  # noqa: PLC0415 - the package works without Django
    from django.db import transaction  # noqa: PLC0415

    alias = getattr(settings, "DURABLE_DATABASE", "default")
    try:
        with transaction.atomic(using=alias):
            program = write(call())
            if transaction.get_rollback(using=alias):
                message = (
                    "the function went on after an error of the database; it needs a savepoint"
                )
                raise transaction.TransactionManagementError(message)
            record = _send(program, sender)
        program.mark_written()
    except _RecordedError as recorded:
        return recorded.record
    return record


def _send(program: Program, sender: Sender) -> PromiseRecord:
    try:
        replies = sender.send(*program.requests, annotations=program.notes)
    except Exception as error:
        raise Halt(stuck(f"the engine failed: {type(error).__name__}: {error}")) from error
    record = program.check(replies)[-1]
    if not replies[-1].applied:
        raise _RecordedError(record)
    return record
