"""The type rules common to all requests (protocol.md 3.0): each a 400 before anything is read.

And the limits that keep a request storable: ids and what else is indexed are short, because a row
of PostgreSQL's btree holds less than 2704 bytes and some hold two of them; no text has a NUL, which
PostgreSQL cannot store, or half a surrogate pair, which no encoding can.
"""

from collections.abc import Iterable, Mapping

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
    match request:
        case PromiseCreate():
            return _find_in_promise(request)
        case PromiseGet():
            return _find_in_name("Promise ID", request.id)
        case PromiseSettle():
            return _find_in_name("Promise ID", request.id) or _find_in_value("Value", request.value)
        case PromiseRegisterCallback():
            return _find_in_name("Awaited promise ID", request.awaited) or _find_in_name(
                "Awaiter promise ID", request.awaiter
            )
        case PromiseRegisterListener():
            return _find_in_name("Promise ID", request.awaited) or _find_in_name(
                "Address", request.address
            )
        case ScheduleGet() | ScheduleDelete():
            return _find_in_name("Schedule ID", request.id)
        case ScheduleCreate():
            return _find_in_schedule(request)
        case _:
            return _find_in_task_request(request)


def expand_template(template: str, schedule_id: str, instant: str) -> str:
    """Return the promise id that a schedule's template makes: plain text replacement."""
    return template.replace("{{.id}}", schedule_id).replace("{{.timestamp}}", instant)


def _find_in_promise(request: PromiseCreate) -> str | None:
    return (
        _find_in_name("Promise ID", request.id)
        or _find_in_instant("TimeoutAt", request.timeout_at)
        or _find_in_value("Param", request.param)
        or find_tag_error("Tags", request.tags)
    )


def _find_in_schedule(request: ScheduleCreate) -> str | None:
    return (
        _find_in_name("Schedule ID", request.id)
        or _find_in_name("Cron", request.cron, MAX_CRON_BYTES)
        or _find_in_name("Promise ID", request.promise_id)
        or _find_in_instant("PromiseTimeout", request.promise_timeout)
        or _find_in_value("PromiseParam", request.promise_param)
        or find_tag_error("PromiseTags", request.promise_tags)
        or _find_in_longest(request)
    )


def _find_in_longest(request: ScheduleCreate) -> str | None:
    longest = expand_template(request.promise_id, request.id, _LONGEST_INSTANT)
    return find_text_error("Promise ID, when expanded,", longest)


def _find_in_task_request(request: Request) -> str | None:
    match request:
        case TaskFence() | TaskFulfill():
            return _find_in_task(request.id, request.version) or find_error(request.action)
        case TaskCreate():
            return (
                _find_in_name("Process ID", request.pid)
                or _find_in_lease(request.ttl)
                or _find_in_promise(request.action)
            )
        case TaskAcquire():
            return (
                _find_in_task(request.id, request.version)
                or _find_in_name("Process ID", request.pid)
                or _find_in_lease(request.ttl)
            )
        case TaskHeartbeat():
            return _find_in_name("Process ID", request.pid) or _first(
                _find_in_task(ref.id, ref.version) for ref in request.tasks
            )
        case TaskSuspend():
            return _find_in_task(request.id, request.version) or _first(
                map(find_error, request.actions)
            )
        case TaskRelease():
            return _find_in_task(request.id, request.version)
        case TaskGet() | TaskHalt() | TaskContinue():
            return _find_in_name("Task ID", request.id)
    return None


def _first(errors: Iterable[str | None]) -> str | None:
    return next(filter(None, errors), None)


def _find_in_task(task_id: str, version: int) -> str | None:
    if error := _find_in_name("Task ID", task_id):
        return error
    return "Version must be a non-negative integer" if version < 0 else None


def _find_in_lease(ttl: int) -> str | None:
    if ttl < 1:
        return "TTL must be a positive integer"
    return f"TTL must not exceed {MAX_INSTANT}" if ttl > MAX_INSTANT else None


def _find_in_instant(name: str, value: int) -> str | None:
    if value < 0:
        return f"{name} must be a non-negative integer"
    return f"{name} must not exceed {MAX_INSTANT}" if value > MAX_INSTANT else None


def _find_in_name(name: str, text: str, limit: int = MAX_ID_BYTES) -> str | None:
    return find_text_error(name, text, limit) if text else f"{name} is required"


def find_text_error(name: str, text: str, limit: int = MAX_ID_BYTES) -> str | None:
    """Return what keeps a short text from being stored, or None; ``limit`` in bytes."""
    if problem := _find_unstorable(text):
        return f"{name} {problem}"
    if len(text) > limit // 4 and _size(text) > limit:
        return f"{name} must not exceed {limit} bytes"
    return None


def find_tag_error(name: str, promise_tags: Mapping[str, str]) -> str | None:
    """Return what keeps tags from being stored, or None."""
    if not promise_tags:
        return None
    if len(promise_tags) > MAX_TAGS:
        return f"{name} must not be more than {MAX_TAGS}"
    if error := _find_in_mapping(name, promise_tags):
        return error
    for tag in _INDEXED_TAGS:
        if (text := promise_tags.get(tag)) and _size(text) > MAX_ID_BYTES:
            return f"{tag} must not exceed {MAX_ID_BYTES} bytes"
    return None


def _find_in_value(name: str, value: Value) -> str | None:
    if value.data is not None and (problem := _find_unstorable(value.data)):
        return f"{name} data {problem}"
    return _find_in_mapping(f"{name} headers", value.headers) if value.headers else None


def _find_in_mapping(name: str, texts: Mapping[str, str]) -> str | None:
    everything = "".join([part for pair in texts.items() for part in pair])
    if problem := _find_unstorable(everything):
        return f"{name} {problem}"
    if len(everything) > MAX_TAGS_BYTES // 4 and _size(everything) > MAX_TAGS_BYTES:
        return f"{name} must not exceed {MAX_TAGS_BYTES} bytes"
    return None


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
