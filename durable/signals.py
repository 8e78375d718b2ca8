"""Signals that the store sends inside the transaction that makes the change.

Receivers get ``promises``, a list of ``durable.protocol.records.PromiseRecord`` (whole records, as
stored by this transaction), ``settlers``, a ``durable.protocol.annotations.Settler`` by id for each
that a request from outside settled, and ``using``, the alias of the database connection of the
transaction; what they write through it commits or rolls back with the change. They run in a
savepoint: a receiver's database error is logged and undone, and never fails the request.

``sender`` is ``Latent`` (pending promises that only the outside can settle: neither targeted nor
timers) or ``Root`` (roots of executions); connect with ``sender=`` to get one kind only.
"""

from django.dispatch import Signal


class Latent:
    """Sender for latent promises."""


class Root:
    """Sender for roots of executions."""


promises_created = Signal()
promises_settled = Signal()
promises_missed = Signal()
"""Sent when a receiver of one of the two failed, in the transaction that goes on without what its
receivers wrote: who has to repair that does it after the commit, see ``transaction.on_commit``."""

housekeeping = Signal()
"""Sent now and then by a background loop, outside any transaction, with ``using``: receivers repair
what a failed signal made them miss."""

stopping = Signal()
"""Sent once, from any thread, when the process was asked to end: open streams end at once."""
