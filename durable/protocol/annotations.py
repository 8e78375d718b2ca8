"""What is kept beside a promise or a task and never travels on the wire."""

from msgspec import Struct


class Settler(Struct, frozen=True):
    """Who settled a promise, as far as that is known to the engine.

    by: ``token:<name>``, or ``gateway`` for a request without the name of a token.
    address: the network address that the request came from, or empty.
    """

    by: str
    address: str = ""


class Annotation(Struct, frozen=True):
    """Hidden columns that a native caller may set together with a request, keyed by id.

    started_at: when the first attempt of a step began, epoch ms.
    attempts: how often the step was tried.
    last_error: text of the last failed attempt.
    started_by: who started a root: ``user:<id>``, ``token:<name>`` or ``worker:<pid>``.
    stuck: why a released task cannot go on; None clears the mark.
    settler: who settles; in no column, but the receivers of a signal get it. It stands alone.
    """

    started_at: int | None = None
    attempts: int | None = None
    last_error: str | None = None
    started_by: str | None = None
    stuck: str | None = None
    settler: Settler | None = None
