"""The type rules common to all requests (protocol.md 3.0): each a 400 before anything is read.

And the limits that keep a request storable: ids and what else is indexed are short, because a row
of PostgreSQL's btree holds less than 2704 bytes and some hold two of them; no text has a NUL, which
PostgreSQL cannot store, or half a surrogate pair, which no encoding can.
"""

from collections.abc import Iterator, Mapping

from durable.protocol import tags
from durable.protocol.records import Value
from durable.protocol.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)

MAX_INSTANT = 2**53 - 1
"""The newest instant (epoch ms) that every SDK reads exactly; the practical "no deadline"."""

MAX_ID_BYTES = 1024
"""Of an id, an address, a pid, or a tag that names one, in UTF-8."""
MAX_CRON_BYTES = 256
MAX_TAGS = 128
MAX_TAGS_BYTES = 65_536
"""Of all names and values of a promise's tags together, or of its headers."""

_INDEXED_TAGS = (tags.TARGET, tags.ORIGIN, tags.BRANCH, tags.PARENT, tags.SCHEDULE)
_LONGEST_INSTANT = str(MAX_INSTANT)


def find_error(request: Request) -> str | None:
    """Return the text of the first broken type rule, or None."""
    return next(_errors(request), None)


def expand_template(template: str, schedule_id: str, instant: str) -> str:
    """Return the promise id that a schedule's template makes: plain text replacement."""
    return template.replace("{{.id}}", schedule_id).replace("{{.timestamp}}", instant)


def _errors(request: Request) -> Iterator[str]:
    match request:
        case PromiseCreate():
            yield from _promise_errors(request)
        case PromiseGet():
            yield from _required("Promise ID", request.id)
        case PromiseSettle():
            yield from _required("Promise ID", request.id)
            yield from _value_errors("Value", request.value)
        case PromiseRegisterCallback():
            yield from _required("Awaited promise ID", request.awaited)
            yield from _required("Awaiter promise ID", request.awaiter)
        case PromiseRegisterListener():
            yield from _required("Promise ID", request.awaited)
            yield from _required("Address", request.address)
        case ScheduleGet() | ScheduleDelete():
            yield from _required("Schedule ID", request.id)
        case ScheduleCreate():
            yield from _schedule_errors(request)
        case _:
            yield from _task_errors(request)


def _promise_errors(request: PromiseCreate) -> Iterator[str]:
    yield from _required("Promise ID", request.id)
    yield from _instant("TimeoutAt", request.timeout_at)
    yield from _value_errors("Param", request.param)
    yield from tag_errors("Tags", request.tags)


def _schedule_errors(request: ScheduleCreate) -> Iterator[str]:
    yield from _required("Schedule ID", request.id)
    yield from _required("Cron", request.cron, MAX_CRON_BYTES)
    yield from _required("Promise ID", request.promise_id)
    yield from _instant("PromiseTimeout", request.promise_timeout)
    yield from _value_errors("PromiseParam", request.promise_param)
    yield from tag_errors("PromiseTags", request.promise_tags)
    longest = expand_template(request.promise_id, request.id, _LONGEST_INSTANT)
    yield from text_errors("Promise ID, when expanded,", longest)


def _task_errors(request: Request) -> Iterator[str]:
    match request:
        case TaskCreate():
            yield from _required("Process ID", request.pid)
            yield from _lease(request.ttl)
            yield from _promise_errors(request.action)
        case TaskAcquire():
            yield from _task(request.id, request.version)
            yield from _required("Process ID", request.pid)
            yield from _lease(request.ttl)
        case TaskHeartbeat():
            yield from _required("Process ID", request.pid)
            for ref in request.tasks:
                yield from _task(ref.id, ref.version)
        case TaskSuspend():
            yield from _task(request.id, request.version)
            for action in request.actions:
                yield from _errors(action)
        case TaskFence() | TaskFulfill():
            yield from _task(request.id, request.version)
            yield from _errors(request.action)
        case TaskRelease():
            yield from _task(request.id, request.version)
        case TaskGet() | TaskHalt() | TaskContinue():
            yield from _required("Task ID", request.id)


def _task(task_id: str, version: int) -> Iterator[str]:
    yield from _required("Task ID", task_id)
    if version < 0:
        yield "Version must be a non-negative integer"


def _lease(ttl: int) -> Iterator[str]:
    if ttl < 1:
        yield "TTL must be a positive integer"
    elif ttl > MAX_INSTANT:
        yield f"TTL must not exceed {MAX_INSTANT}"


def _instant(name: str, value: int) -> Iterator[str]:
    if value < 0:
        yield f"{name} must be a non-negative integer"
    elif value > MAX_INSTANT:
        yield f"{name} must not exceed {MAX_INSTANT}"


def _required(name: str, text: str, limit: int = MAX_ID_BYTES) -> Iterator[str]:
    if not text:
        yield f"{name} is required"
    else:
        yield from text_errors(name, text, limit)


def text_errors(name: str, text: str, limit: int = MAX_ID_BYTES) -> Iterator[str]:
    """Yield what keeps a short text from being stored; ``limit`` in bytes."""
    if problem := _find_unstorable(text):
        yield f"{name} {problem}"
    elif len(text) > limit // 4 and _size(text) > limit:
        yield f"{name} must not exceed {limit} bytes"


def tag_errors(name: str, promise_tags: Mapping[str, str]) -> Iterator[str]:
    """Yield what keeps tags from being stored."""
    if not promise_tags:
        return
    if len(promise_tags) > MAX_TAGS:
        yield f"{name} must not be more than {MAX_TAGS}"
    yield from _mapping_errors(name, promise_tags)
    for tag in _INDEXED_TAGS:
        if tag in promise_tags:
            yield from text_errors(tag, promise_tags[tag])


def _value_errors(name: str, value: Value) -> Iterator[str]:
    if value.data is not None and (problem := _find_unstorable(value.data)):
        yield f"{name} data {problem}"
    if value.headers:
        yield from _mapping_errors(f"{name} headers", value.headers)


def _mapping_errors(name: str, texts: Mapping[str, str]) -> Iterator[str]:
    everything = "".join([part for pair in texts.items() for part in pair])
    if problem := _find_unstorable(everything):
        yield f"{name} {problem}"
    elif len(everything) > MAX_TAGS_BYTES // 4 and _size(everything) > MAX_TAGS_BYTES:
        yield f"{name} must not exceed {MAX_TAGS_BYTES} bytes"


def _find_unstorable(text: str) -> str | None:
    if "\0" in text:
        return "must not contain null bytes"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "must not contain unpaired surrogates"
    return None


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
