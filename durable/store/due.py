"""What is due: one query for all kinds of internal steps, and when to look again."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from durable.machine import internal
from durable.machine.internal import InternalStep
from durable.store import statements
from durable.store.database import DatabaseStore
from durable.store.dialects import get_dialect

_NOW = "now"
_KINDS: dict[str, Callable[[str], InternalStep]] = {
    "timeout": internal.PromiseTimeout,
    "lease": internal.LeaseExpiry,
    "retry": internal.RetryDispatch,
    "schedule": internal.ScheduleFire,
}


class Due(NamedTuple):
    """Steps that may be fired now, and the earliest instant (epoch ms) at which another may.

    ``now`` is the time by the clock that firing goes by: the server's, on PostgreSQL.
    """

    steps: list[InternalStep]
    next_at: int | None
    now: int


def find_due(store: DatabaseStore, *, limit: int, groups: bool = True) -> Due:
    """Look for due steps, at most ``limit`` of a kind, the longest due first.

    Without ``groups`` no task of a worker group is dispatched: native workers claim from the table,
    and who holds event streams offers from it.
    """
    connection = store.connection
    connection.ensure_connection()
    dialect = get_dialect(connection)
    clock = store.statement_clock()
    found = dialect.fetch(
        connection,
        statements.DUE if groups else statements.DUE_WITHOUT_GROUPS,
        (limit, limit, *clock, limit, limit, limit, limit, *clock),
    )
    now = next(at for kind, _, _, at in found if kind == _NOW)
    steps = [step for kind, a, b, at in found if at <= now for step in _step(kind, a, b)]
    later = [at for _, _, _, at in found if at > now]
    return Due(steps, min(later, default=None), now)


def _step(kind: str, a: str, b: str) -> Iterator[InternalStep]:
    match kind:
        case "callback":
            yield internal.CallbackDrain(a, b)
        case "listener":
            yield internal.ListenerDrain(a, b)
        case _ if kind != _NOW:
            yield _KINDS[kind](a)
