"""Cron expressions (protocol.md 4.7): 5, 6 or 7 fields, UTC, POSIX weekdays and names."""

from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from durable.machine.cron import InvalidCronError, next_occurrence

START = datetime(2026, 11, 25, 18, 30, 15, tzinfo=UTC)  # a Wednesday


def to_ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000


def text_of(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S %a")


def occurrences(expression: str, after: int, count: int) -> list[int]:
    found = []
    for _ in range(count):
        after = next_occurrence(expression, after)
        found.append(after)
    return found


@pytest.mark.parametrize(
    ("expression", "first", "second"),
    [
        ("* * * * *", "2026-11-25 18:31:00 Wed", "2026-11-25 18:32:00 Wed"),
        ("*/5 * * * *", "2026-11-25 18:35:00 Wed", "2026-11-25 18:40:00 Wed"),
        ("0 9-17/4 * * mon-fri", "2026-11-26 09:00:00 Thu", "2026-11-26 13:00:00 Thu"),
        ("5-5 * * * *", "2026-11-25 19:05:00 Wed", "2026-11-25 20:05:00 Wed"),
        ("0 0-0/2,12 * * *", "2026-11-26 00:00:00 Thu", "2026-11-26 12:00:00 Thu"),
        ("0 0 1 jan-JAN *", "2027-01-01 00:00:00 Fri", "2028-01-01 00:00:00 Sat"),
        ("0 0 * * fri-mon", "2026-11-27 00:00:00 Fri", "2026-11-28 00:00:00 Sat"),
        ("15,45 18 * * *", "2026-11-25 18:45:00 Wed", "2026-11-26 18:15:00 Thu"),
        ("0 0 1 jan *", "2027-01-01 00:00:00 Fri", "2028-01-01 00:00:00 Sat"),
        ("0 0 29 2 *", "2028-02-29 00:00:00 Tue", "2032-02-29 00:00:00 Sun"),
        ("0 0 * * 0", "2026-11-29 00:00:00 Sun", "2026-12-06 00:00:00 Sun"),
        ("0 0 * * 7", "2026-11-29 00:00:00 Sun", "2026-12-06 00:00:00 Sun"),
        ("0 0 * * SUN", "2026-11-29 00:00:00 Sun", "2026-12-06 00:00:00 Sun"),
        ("0 0 * * 1", "2026-11-30 00:00:00 Mon", "2026-12-07 00:00:00 Mon"),
        ("0 0 * * 6", "2026-11-28 00:00:00 Sat", "2026-12-05 00:00:00 Sat"),
        ("0 0 * * 5-7", "2026-11-27 00:00:00 Fri", "2026-11-28 00:00:00 Sat"),
        ("0 0 13 * 5", "2026-11-27 00:00:00 Fri", "2026-12-04 00:00:00 Fri"),
        ("@daily", "2026-11-26 00:00:00 Thu", "2026-11-27 00:00:00 Fri"),
        ("@hourly", "2026-11-25 19:00:00 Wed", "2026-11-25 20:00:00 Wed"),
        ("* * * * * *", "2026-11-25 18:30:16 Wed", "2026-11-25 18:30:17 Wed"),
        ("*/20 * * * * *", "2026-11-25 18:30:20 Wed", "2026-11-25 18:30:40 Wed"),
        ("30 0 12 * * *", "2026-11-26 12:00:30 Thu", "2026-11-27 12:00:30 Fri"),
        ("0 0 0 * * sun", "2026-11-29 00:00:00 Sun", "2026-12-06 00:00:00 Sun"),
        ("0 0 0 1 1 * 2028,2030", "2028-01-01 00:00:00 Sat", "2030-01-01 00:00:00 Tue"),
        ("0 0 0 1 1 * 2098-2099", "2098-01-01 00:00:00 Wed", "2099-01-01 00:00:00 Thu"),
        ("  0   0  *  *  1  ", "2026-11-30 00:00:00 Mon", "2026-12-07 00:00:00 Mon"),
    ],
)
def test_occurrences(expression: str, first: str, second: str) -> None:
    assert list(map(text_of, occurrences(expression, to_ms(START), 2))) == [first, second]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "* * * *",
        "* * * * * * * *",
        "every day",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * mo",
        "60 * * * * *",
        "* * * * * * 1969",
        "* * * * * * 2100",
        "* * * * * * 2020",
        "*/0 * * * *",
        "-1 * * * *",
        "1- * * * *",
        "5-5-5 * * * *",
        "5-5/0 * * * *",
        "1,,2 * * * *",
        "? * * * *",
        "1.5 * * * *",
        "* * * * *; ls",
        "٣ * * * *",
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 0 29 2 * 2027",
        "@reboot",
        "@never",
        "h h * * *",
        "r r * * *",
        "R(0-10) * * * *",
        "r/5 * * * *",
        "0 0 * * * R",
        "\0 * * * *",
    ],
)
def test_nonsense_is_rejected(expression: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        next_occurrence(expression, to_ms(START))
    assert caught.value.expression == expression
    assert str(caught.value).startswith(f"invalid cron expression {expression!r}: ")


def test_the_instant_itself_is_not_the_next() -> None:
    at = to_ms(datetime(2026, 11, 25, 18, 31, tzinfo=UTC))
    assert next_occurrence("* * * * *", at - 1) == at
    assert next_occurrence("* * * * *", at) == at + 60_000
    assert next_occurrence("* * * * *", at + 1) == at + 60_000
    assert next_occurrence("* * * * * *", at + 999) == at + 1000
    assert next_occurrence("* * * * * *", at + 1000) == at + 2000


def test_time_is_utc_whatever_the_zone_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    expected = occurrences("30 2 * * *", to_ms(datetime(2026, 3, 27, tzinfo=UTC)), 4)
    assert [text_of(found)[11:16] for found in expected] == ["02:30"] * 4
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        found = occurrences("30 2 * * *", to_ms(datetime(2026, 3, 27, tzinfo=UTC)), 4)
        assert found == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("after", [2**53 - 1, 2**63, -(2**63)])
def test_an_instant_beyond_the_calendar_has_no_next(after: int) -> None:
    with pytest.raises(InvalidCronError):
        next_occurrence("* * * * *", after)


def test_the_epoch_has_a_next() -> None:
    assert next_occurrence("* * * * *", 0) == 60_000


def field_of(low: int, high: int) -> st.SearchStrategy[str]:
    """A field in the dialect that both libraries speak."""
    value = st.integers(low, high)
    number = value.map(str)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, max(2, (high - low) // 2)).map(lambda n: f"*/{n}")
    listed = st.lists(st.one_of(number, span), min_size=1, max_size=3, unique=True).map(",".join)
    return st.one_of(st.just("*"), number, span, step, listed)


def weekday_fields() -> st.SearchStrategy[str]:
    names = st.sampled_from(["sun", "MON", "tue", "Wed", "thu", "FRI", "sat", "mon-fri"])
    return st.one_of(field_of(0, 7), names)


@st.composite
def shared_expressions(draw: st.DrawFn) -> str:
    """Five or six fields on which croniter and cronsim agree.

    They differ where a step of days meets a weekday, so one of the two stays a star.
    """
    by_weekday = draw(st.booleans())
    fields = [
        draw(field_of(0, 59)),
        draw(field_of(0, 23)),
        "*" if by_weekday else draw(field_of(1, 28)),
        draw(field_of(1, 12)),
        draw(weekday_fields()) if by_weekday else "*",
    ]
    if draw(st.booleans()):
        fields.insert(0, draw(field_of(0, 59)))
    return " ".join(fields)


moments = st.integers(1_577_836_800, 2_208_988_800).map(lambda s: datetime.fromtimestamp(s, UTC))
"""2020 to 2039."""


@pytest.mark.timeout(0)
@given(shared_expressions(), moments)
def test_agrees_with_cronsim(expression: str, start: datetime) -> None:
    expected = [to_ms(found) for found in islice(CronSim(expression, start), 4)]
    assert occurrences(expression, to_ms(start), 4) == expected


@pytest.mark.timeout(0)
@given(shared_expressions(), moments, st.integers(0, 999))
def test_occurrences_are_a_chain(expression: str, start: datetime, part: int) -> None:
    after = to_ms(start) + part
    found = [after, *occurrences(expression, after, 4)]
    assert all(earlier < later for earlier, later in pairwise(found))
    assert next_occurrence(expression, found[1] - 1) == found[1]


_PIECES = st.sampled_from(
    [*"0123456789*/-,?#@", "L", "W", "R", "h", "mon", "jan", "(", ")", "2027", " ", "\t", "é", "\0"]
)


@pytest.mark.timeout(0)
@given(st.one_of(st.text(max_size=20), st.lists(_PIECES, max_size=20).map("".join)))
def test_any_text_has_a_next_or_is_refused(expression: str) -> None:
    after = to_ms(START)
    try:
        found = next_occurrence(expression, after)
    except InvalidCronError:
        return
    assert found > after
    assert found == next_occurrence(expression, after)
