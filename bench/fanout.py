"""Many steps, and many child workflows, of one workflow at once."""

import time
from collections.abc import Iterator

import durable
from bench.figures import Figure, milliseconds
from bench.load import new_key
from bench.session import Session
from bench.workflows import children, parallel, parallel_plain

_LONGEST = 300
CASES = (
    ("parallel steps", parallel),
    ("parallel plain steps", parallel_plain),
    ("child workflows", children),
)


def measure(session: Session) -> Iterator[Figure]:
    """Time from the start call to the line after all of them."""
    with session.workers():
        for name, function in CASES:
            found = []
            for _ in range(session.sizes.repetitions):
                key = new_key("fan")
                called_at = time.monotonic()
                durable.start(key, function, session.sizes.fan)
                found.append(session.marks.wait("done", key, timeout=_LONGEST) - called_at)
            yield milliseconds(f"{session.sizes.fan} {name}", found)
