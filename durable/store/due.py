"""What is due: one query for all kinds of internal steps, and when to look again."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from durable.machine import internal
from durable.machine.internal import InternalStep
from durable.store import statements
from durable.store.database import DatabaseStore
from durable.store.dialects import get_dialect

_KINDS = {
    "timeout": internal.PromiseTimeout,
    "lease": internal.LeaseExpiry,
    "retry": internal.RetryDispatch,
    "schedule": internal.ScheduleFire,
}


class Due(NamedTuple):
    """Steps that may be fired now, and the earliest instant (epoch ms) at which another may."""

    steps: list[InternalStep]
    next_at: int | None


def find_due(store: DatabaseStore, *, limit: int, served: Collection[str] = ()) -> Due:
    """Look for due steps, at most ``limit`` of a kind, the longest due first.

    Tasks of the ``served`` groups get no execute messages: their workers claim from the table.
    """
    connection = store.connection
    connection.ensure_connection()
    dialect = get_dialect(connection)
    now = store.clock_now()
    found = dialect.fetch(
        connection,
        statements.DUE,
        (limit, limit, now, dialect.array(served), limit, limit, limit, limit),
    )
    steps = [step for kind, a, b, at in found if at <= now for step in _step(kind, a, b)]
    later = [at for _, _, _, at in found if at > now]
    return Due(steps, min(later, default=None))


def _step(kind: str, a: str, b: str) -> Iterator[InternalStep]:
    match kind:
        case "callback":
            yield internal.CallbackDrain(a, b)
        case "listener":
            yield internal.ListenerDrain(a, b)
        case _:
            yield _KINDS[kind](a)
