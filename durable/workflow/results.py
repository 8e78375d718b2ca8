"""What a settled promise means to who waited for it: a value or an error."""

from typing import Any, NamedTuple

from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState
from durable.workflow import codec, failures
from durable.workflow.errors import DecodingError, PromiseCanceledError, PromiseTimeoutError
from durable.workflow.instants import to_text


class Result(NamedTuple):
    """Either has an error, or is the value."""

    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


def read(record: PromiseRecord, shape: Any = Any) -> Result:
    """Return what a settled promise holds; a value in its declared type where it fits.

    Raises ``DecodingError`` when its payload is not base64 of JSON.
    """
    match record.state:
        case PromiseState.RESOLVED:
            return Result(codec.decode(record.value, f"the value of {record.id!r}", shape))
        case PromiseState.REJECTED:
            return Result(error=failures.decode_error(record.value, f"the error of {record.id!r}"))
        case _:
            return Result(error=read_end(record))


def read_end(record: PromiseRecord) -> Exception:
    """Return the error of a promise that was cancelled, or that nobody settled in time."""
    if record.state is PromiseState.REJECTED_CANCELED:
        return PromiseCanceledError(record.id, _reason(record))
    return PromiseTimeoutError(record.id, to_text(record.timeout_at))


def _reason(record: PromiseRecord) -> str:
    try:
        document = codec.decode(record.value, "the reason")
    except DecodingError:
        return ""
    if isinstance(document, dict):
        document = document.get("reason", document.get("message"))
    return document if isinstance(document, str) else ""
