"""The records of protocol.md 2 as they travel: camelCase, absent fields omitted, never null."""

from msgspec import Struct, field

from durable.protocol.states import PromiseState, TaskState


class Value(Struct, frozen=True, omit_defaults=True):
    """Payload of a promise: opaque text (SDKs put base64 of JSON in it) and headers."""

    headers: dict[str, str] | None = None
    data: str | None = None

    @property
    def is_empty(self) -> bool:
        """True for ``{}``."""
        return self.headers is None and self.data is None


EMPTY = Value()


class PromiseRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A promise as every reply carries it: projected to the request's clock."""

    id: str
    state: PromiseState
    param: Value
    value: Value
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    settled_at: int | None = None

    @property
    def is_pending(self) -> bool:
        """True until the promise is settled, by a client or by its deadline."""
        return self.state is PromiseState.PENDING


class TaskRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A task as every reply carries it; ``resumes`` is the number of distinct wake-ups."""

    id: str
    state: TaskState
    version: int
    resumes: int = field()
    ttl: int | None = None
    pid: str | None = None


class ScheduleRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A schedule; times are epoch milliseconds, ``promise_timeout`` a length in milliseconds."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None = None
