"""Who is below whom: promises found by their parent tags, within one lineage."""

from collections import defaultdict

from durable.protocol import tags
from durable.protocol.records import PromiseRecord
from durable.store import rows, statements
from durable.store.database import DatabaseStore
from durable.store.dialects import get_dialect


def fetch_descendants(store: DatabaseStore, promise_id: str) -> list[PromiseRecord]:
    """Return every promise below one, parents before children, in any state."""
    connection = store.connection
    connection.ensure_connection()
    found = get_dialect(connection).fetch(connection, statements.LOAD_LINEAGE, (promise_id,))
    children: dict[str, list[PromiseRecord]] = defaultdict(list)
    for record in rows.records(found, store.clock_now()):
        parent = record.tags.get(tags.PARENT)
        if parent is not None and parent != record.id:
            children[parent].append(record)
    below: list[PromiseRecord] = []
    pending = [promise_id]
    while pending:
        nearest = children.pop(pending.pop(), [])
        below += nearest
        pending += [record.id for record in nearest]
    return below
