"""When a step that failed is tried again. Only a function without durable calls ever is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

type Errors = tuple[type[BaseException], ...]


class RetryPolicy(Protocol):
    """How often, and after which pauses, a step is tried."""

    def delay_after(self, attempt: int, error: BaseException) -> float | None:
        """Return the pause in seconds after failed attempt number ``attempt`` (from 1 on).

        None ends the step with its error.
        """


@dataclass(frozen=True, slots=True)
class Never:
    """One attempt."""

    def delay_after(self, attempt: int, error: BaseException) -> float | None:  # noqa: ARG002
        """None: the first error is the last."""
        return None


@dataclass(frozen=True, slots=True)
class Exponential:
    """Pauses that grow by a factor: ``delay``, ``delay * factor``, ... but at most ``max_delay``.

    ``max_attempts=None`` tries for ever. An error of a class in ``non_retryable`` ends the step.
    """

    delay: float | timedelta = 1.0
    max_attempts: int | None = 10
    factor: float = 2.0
    max_delay: float | timedelta = 60.0
    non_retryable: Errors = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        _check(self.delay, self.max_attempts)
        _check(self.max_delay, None)
        if not self.factor >= 1:
            message = f"factor must be 1 or more, not {self.factor!r}"
            raise ValueError(message)

    def delay_after(self, attempt: int, error: BaseException) -> float | None:
        """Return ``delay * factor ** (attempt - 1)``, at most ``max_delay``."""
        if _is_last(attempt, self.max_attempts, error, self.non_retryable):
            return None
        longest = _seconds(self.max_delay)
        try:
            return min(_seconds(self.delay) * self.factor ** (attempt - 1), longest)
        except OverflowError:
            return longest


@dataclass(frozen=True, slots=True)
class Linear:
    """Pauses of ``delay``, ``2 * delay``, ``3 * delay``, ..."""

    delay: float | timedelta = 1.0
    max_attempts: int | None = 10
    non_retryable: Errors = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        _check(self.delay, self.max_attempts)

    def delay_after(self, attempt: int, error: BaseException) -> float | None:
        """Return ``attempt * delay``."""
        if _is_last(attempt, self.max_attempts, error, self.non_retryable):
            return None
        return attempt * _seconds(self.delay)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same pause after each attempt."""

    delay: float | timedelta = 1.0
    max_attempts: int | None = 10
    non_retryable: Errors = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        _check(self.delay, self.max_attempts)

    def delay_after(self, attempt: int, error: BaseException) -> float | None:
        """Return ``delay``."""
        if _is_last(attempt, self.max_attempts, error, self.non_retryable):
            return None
        return _seconds(self.delay)


def _is_last(
    attempt: int, limit: int | None, error: BaseException, fatal: Iterable[type[BaseException]]
) -> bool:
    return (limit is not None and attempt >= limit) or isinstance(error, tuple(fatal))


def _seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span


def _check(delay: float | timedelta, max_attempts: int | None) -> None:
    if not _seconds(delay) >= 0:
        message = f"a delay must be 0 or more, not {delay!r}"
        raise ValueError(message)
    if max_attempts is not None and max_attempts < 1:
        message = f"max_attempts must be 1 or more, or None for no limit, not {max_attempts!r}"
        raise ValueError(message)


DEFAULT: RetryPolicy = Exponential()
NEVER: RetryPolicy = Never()
