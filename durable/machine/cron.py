"""Cron expressions: 5, 6 (seconds first) or 7 (year last) fields, UTC, POSIX weekdays and names.

The only place that knows croniter. Resolution is one second.
"""

import re
from datetime import UTC, datetime

from croniter import croniter
from croniter.croniter import CroniterBadCronError, CroniterBadDateError, CroniterError

_MAX_FIELDS = 7
_SECOND = 1000
_YEARS_AHEAD = 150  # as far as a year field reaches: 1970 to 2099
_RANDOM_FIELD = re.compile(r"r([(/]|$)", re.IGNORECASE)
_EQUAL_RANGE = re.compile(r"(?<![\w-])(\w+)-\1(?:/0*[1-9]\d*)?(?![\w/-])", re.IGNORECASE)


class InvalidCronError(ValueError):
    """The expression is not one, or has no instant to come."""

    def __init__(self, expression: str, reason: str) -> None:
        """Say which expression and why."""
        super().__init__(f"invalid cron expression {expression!r}: {reason}")
        self.expression = expression


def next_occurrence(expression: str, after: int) -> int:
    """Return the first instant strictly after ``after`` (epoch ms), in epoch ms.

    Raises ``InvalidCronError`` for an expression that does not parse or has no next instant.
    """
    fields = expression.split()
    if len(fields) > _MAX_FIELDS:
        raise InvalidCronError(expression, "more than seven fields")
    if any(map(_RANDOM_FIELD.match, fields)):  # croniter draws another instant each time
        raise InvalidCronError(expression, "a random field")
    try:
        start = datetime.fromtimestamp(after // _SECOND, UTC)
        schedule = croniter(
            _EQUAL_RANGE.sub(r"\1", expression),  # croniter takes 5-5 for every value there is
            start,
            second_at_beginning=True,
            max_years_between_matches=_YEARS_AHEAD,
        )
        found: float = schedule.get_next(float)
    except (CroniterBadCronError, CroniterBadDateError, CroniterError) as error:
        raise InvalidCronError(expression, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise InvalidCronError(expression, "not understood") from error
    return int(found) * _SECOND
