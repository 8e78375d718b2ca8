"""The times of a description: what is read, what is refused, what comes when. Pure."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.descriptions.business_hours import BusinessHours, TooFarError, read_calendar
from dashboard.descriptions.reading import DescriptionError, Source
from dashboard.descriptions.timing import (
    Ending,
    MomentKind,
    Pause,
    check_timing,
    delayed,
    plan,
    read_timing,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FAR = 2**53 - 1

WORK = {"hours": "09:00-17:00", "zone": "Europe/Berlin", "holidays": ["2026-12-25"]}


def at(text: str) -> int:
    """A wall clock time in Berlin as epoch ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1000


BERLIN = ZoneInfo("Europe/Berlin")
ASKED = at("2026-11-02T10:00")  # a Monday


def iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, tz=UTC).isoformat()


def read(**described):
    return read_timing(Source(described, "human_task"))


def coming(asked_at=ASKED, started_at=None, **described):
    """What comes when, in hours after the question was asked."""
    moments = plan(read(**described), asked_at=asked_at, started_at=started_at)
    return [(one.kind.value, one.key, (one.at - asked_at) / HOUR) for one in moments]


# --- What comes when ---


def test_ladder_of_the_handbook():
    assert coming(
        due=iso(ASKED + 4 * HOUR),
        reminders=[{"at": "50%"}, {"at": "due"}],
        ladder=[
            {"at": "due+PT2H", "add": {"groups": ["leads"]}},
            {"at": "due+PT8H", "tell": {"users": ["boss"]}},
        ],
    ) == [
        ("remind", "reminder1", 2),
        ("remind", "reminder2", 4),
        ("add", "rung1", 6),
        ("tell", "rung2", 12),
    ]


@pytest.mark.parametrize(
    ("reminder", "hours"),
    [
        ({"after": "PT2H"}, 2),
        ({"after": "PT1H30M"}, 1.5),
        ({"after": "PT0.5S"}, 0.5 / 3600),
        ({"after": "P1DT1H"}, 25),
        ({"after": "P1W"}, 168),
        ({"before": "PT1H"}, 9),
        ({"at": "due-P0DT1H"}, 9),
        ({"at": "due"}, 10),
        ({"at": "asked+PT3M"}, 0.05),
        ({"at": "expires-PT1H"}, 19),
        ({"at": "1%"}, 0.1),
        ({"at": "100%"}, 10),
    ],
)
def test_times_count_from_where_they_say(reminder, hours):
    described = {"due": iso(ASKED + 10 * HOUR)}
    if "expires" in str(reminder):
        described["expires"] = iso(ASKED + 20 * HOUR)
    if hours > 10 and "after" in reminder:
        described = {}
    [(_, key, when), *_] = coming(reminders=[reminder], **described)
    assert (key, when) == ("reminder1", pytest.approx(hours))


def test_share_without_due_is_one_of_the_time_to_expiry():
    assert coming(expires=iso(ASKED + 10 * HOUR), reminders=[{"at": "20%"}])[0][2] == 2


def test_reminder_before_the_question_is_left_out_and_rung_comes_at_once():
    moments = coming(
        due=iso(ASKED + HOUR),
        reminders=[{"before": "PT2H"}],
        ladder=[{"at": "due-PT3H", "tell": {"users": ["boss"]}}],
    )
    assert moments == [("tell", "rung1", 0)]


def test_nothing_comes_after_the_expiry_and_expiry_is_last_of_its_time():
    moments = coming(
        due=iso(ASKED + HOUR),
        expires=iso(ASKED + 2 * HOUR),
        reminders=[{"at": "due"}],
        ladder=[{"at": "due+PT1H", "add": {"users": ["a"]}}],
    )
    assert moments == [("remind", "reminder1", 1), ("expire", "expiry", 2)]


def test_what_comes_together_comes_in_order():
    moments = coming(
        due=iso(ASKED + HOUR),
        ladder=[
            {"at": "due", "tell": {"users": ["a"]}},
            {"at": "due", "add": {"users": ["b"]}, "tell": {"groups": ["c"]}},
        ],
        reminders=[{"at": "due"}],
    )
    assert [key for _, key, _ in moments] == ["reminder1", "rung2", "rung1"]


def test_counting_anew_shifts_all_but_the_expiry():
    described = {
        "due": iso(ASKED + 4 * HOUR),
        "expires": iso(ASKED + 9 * HOUR),
        "reminders": [{"at": "50%"}, {"after": "PT1H"}],
        "ladder": [
            {"at": "due+PT1H", "add": {"users": ["a"]}},
            {"at": "due+PT3H", "add": {"users": ["b"]}},
        ],
    }
    assert coming(started_at=ASKED + 3 * HOUR, **described) == [
        ("remind", "reminder2", 4),
        ("remind", "reminder1", 5),
        ("add", "rung1", 8),
        ("expire", "expiry", 9),
    ]


def test_after_pauses_comes_later_what_had_not_come():
    described = {
        "due": iso(ASKED + 4 * HOUR),
        "expires": iso(ASKED + 9 * HOUR),
        "reminders": [{"at": "25%"}, {"after": "PT2H"}, {"at": "expires-PT1H"}],
        "ladder": [
            {"at": "due", "add": {"users": ["a"]}},
            {"at": "due+PT4H", "tell": {"users": ["b"]}},
        ],
    }
    pauses = [Pause(ASKED + HOUR, ASKED + 2 * HOUR), Pause(ASKED + 3 * HOUR, ASKED + 4 * HOUR)]
    moments = plan(read(**described), asked_at=ASKED, pauses=pauses)
    assert [(one.key, (one.at - ASKED) / HOUR) for one in moments] == [
        ("reminder1", 1),
        ("reminder2", 3),
        ("rung1", 6),
        ("reminder3", 8),
        ("expiry", 9),
    ]
    without_due = read(expires=iso(ASKED + 4 * HOUR), reminders=[{"at": "50%"}])
    [reminder, _expiry] = plan(without_due, asked_at=ASKED, pauses=pauses)
    assert reminder.at == ASKED + 2 * HOUR


def test_past_expiry_is_no_mistake_but_comes_at_once():
    assert coming(expires=iso(ASKED - HOUR)) == [("expire", "expiry", -1)]


def test_question_without_times_needs_nobody():
    timing = read(due=iso(ASKED), calendar=WORK)
    assert not timing.needs_attendance
    assert plan(timing, asked_at=ASKED) == ()


@pytest.mark.parametrize("key", ["expires", "reminders", "ladder"])
def test_null_and_empty_lists_are_no_times(key):
    assert not read(**{key: None}).needs_attendance
    if key != "expires":
        assert not read(**{key: []}).needs_attendance


def test_rung_names_people():
    [moment] = plan(
        read(
            ladder=[
                {
                    "after": "PT1H",
                    "add": {"groups": ["a"], "users": ["b"]},
                    "tell": {"users": ["c"]},
                }
            ]
        ),
        asked_at=ASKED,
    )
    assert moment.kind is MomentKind.ADD
    assert moment.payload.add == (("b",), ("a",))
    assert moment.payload.tell == (("c",), ())


# --- How it ends ---


@pytest.mark.parametrize(
    ("given_as", "ending", "value"),
    [
        (None, Ending.REJECT, None),
        ("reject", Ending.REJECT, None),
        ("approve", Ending.APPROVE, None),
        ("raise", Ending.RAISE, None),
        ({"resolve": {"a": [1]}}, Ending.RESOLVE, {"a": [1]}),
        ({"resolve": None}, Ending.RESOLVE, None),
    ],
)
def test_expiry_says_what_happens_and_is_never_silent(given_as, ending, value):
    timing = read(expires=iso(ASKED), on_expiry=given_as)
    assert (timing.on_expiry, timing.value) == (ending, value)


@pytest.mark.parametrize("deadline", [ASKED + HOUR, ASKED + HOUR - 1, ASKED])
def test_expiry_not_before_the_deadline_is_refused(deadline):
    timing = read(expires=iso(ASKED + HOUR))
    with pytest.raises(DescriptionError) as caught:
        check_timing(timing, asked_at=ASKED, deadline=deadline)
    assert str(caught.value) == (
        "human_task.expires: must be before the deadline of the wait itself"
    )


def test_expiry_before_the_deadline_is_right():
    check_timing(read(expires=iso(ASKED + HOUR)), asked_at=ASKED, deadline=ASKED + HOUR + 1)


# --- What is refused ---


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"expires": "soon"}, "expires: must be a time like 2026-05-31T14:00:00Z"),
        ({"on_expiry": "reject"}, "on_expiry: means nothing without expires"),
        (
            {"expires": iso(0), "on_expiry": "no"},
            "on_expiry: must be one of reject, approve, raise",
        ),
        (
            {"expires": iso(0), "on_expiry": {"reject": 1}},
            'on_expiry: must be a word, or an object like {"resolve": value}',
        ),
        (
            {"expires": iso(0), "on_expiry": {"resolve": [{"a": {"__py_pickle": "x"}}]}},
            "on_expiry.resolve[0].a: must not have the key __py_pickle",
        ),
        ({"reminders": {}}, "reminders: must be a list"),
        ({"reminders": ["due"]}, "reminders[0]: must be an object"),
        ({"reminders": [{}]}, "reminders[0]: needs one of at, after and before"),
        (
            {"reminders": [{"at": "due", "after": "PT1H"}]},
            "reminders[0]: needs one of at, after and before",
        ),
        ({"reminders": [{"after": "PT1H"}] * 21}, "reminders: has more than 20 entries"),
        (
            {"reminders": [{"at": 5}]},
            "reminders[0].at: must be like 50%, due, due+PT2H or asked+P1D",
        ),
        (
            {"reminders": [{"at": "later"}]},
            "reminders[0].at: must be like 50%, due, due+PT2H or asked+P1D",
        ),
        ({"reminders": [{"at": "0%"}]}, "reminders[0].at: must be a share from 1% to 100%"),
        ({"reminders": [{"at": "101%"}]}, "reminders[0].at: must be a share from 1% to 100%"),
        (
            {"reminders": [{"at": "50%"}]},
            "reminders[0]: needs due or expires, which the share is of",
        ),
        ({"reminders": [{"at": "due"}]}, "reminders[0]: needs due, which it counts from"),
        (
            {"due": iso(0), "reminders": [{"at": "expires-PT1H"}]},
            "reminders[0]: needs expires, which it counts from",
        ),
        (
            {"reminders": [{"after": "2 hours"}]},
            "reminders[0].after: must be a length of time like PT2H, P1D or P1DT12H",
        ),
        (
            {"reminders": [{"after": "PT"}]},
            "reminders[0].after: must be a length of time like PT2H, P1D or P1DT12H",
        ),
        (
            {"reminders": [{"after": "P"}]},
            "reminders[0].after: must be a length of time like PT2H, P1D or P1DT12H",
        ),
        ({"reminders": [{"after": "P521W"}]}, "reminders[0].after: is longer than ten years"),
        (
            {"ladder": [{"after": "PT1H"}]},
            "ladder[0]: needs add or tell: whom to call in, or to tell",
        ),
        (
            {"ladder": [{"after": "PT1H", "add": {}}]},
            "ladder[0].add: names nobody; give users or groups",
        ),
        (
            {"ladder": [{"at": "due", "add": {"users": ["a"]}}]},
            "ladder[0]: needs due, which it counts from",
        ),
        (
            {"ladder": [{"after": "PT1H", "tell": {"users": "boss"}}]},
            "ladder[0].tell.users: must be a list",
        ),
        ({"restart_on_reassign": "yes"}, "restart_on_reassign: must be true or false"),
        ({"calendar": "9 to 5"}, "calendar: must be an object"),
        ({"calendar": {}}, "calendar.hours: is missing"),
        ({"calendar": {"hours": "9-17"}}, "calendar.hours: must be hours like 09:00-17:00"),
        ({"calendar": {"hours": "09:00-25:00"}}, "calendar.hours: must be hours like 09:00-17:00"),
        (
            {"calendar": {"hours": "22:00-06:00"}},
            "calendar.hours: must end after they begin, on the same day",
        ),
        ({"calendar": WORK | {"days": []}}, "calendar.days: names no day"),
        (
            {"calendar": WORK | {"days": [1, 8]}},
            "calendar.days[1]: must be a whole number from 1 to 7",
        ),
        (
            {"calendar": WORK | {"zone": "Mars/Olympus"}},
            "calendar.zone: must be a time zone like Europe/Berlin",
        ),
        (
            {"calendar": WORK | {"zone": "../../etc/passwd"}},
            "calendar.zone: must be a time zone like Europe/Berlin",
        ),
        (
            {"calendar": WORK | {"holidays": ["Christmas"]}},
            "calendar.holidays[0]: must be a day like 2026-12-25",
        ),
        (
            {"calendar": WORK | {"holidays": [20261225]}},
            "calendar.holidays[0]: must be a day like 2026-12-25",
        ),
    ],
)
def test_mistake_is_named_with_its_path(described, problem):
    with pytest.raises(DescriptionError) as caught:
        read(**described)
    assert str(caught.value) == f"human_task.{problem}"


@pytest.mark.parametrize(
    ("described", "path"),
    [
        ({"due": "9999-12-31T00:00:00Z", "reminders": [{"at": "due+P1W"}]}, "reminders[0]"),
        ({"due": "1970-01-02T00:00:00Z", "reminders": [{"before": "P1W"}]}, "reminders[0]"),
        (
            {"calendar": WORK, "ladder": [{"after": "P1000D", "tell": {"users": ["a"]}}]},
            "ladder[0]",
        ),
        (
            {
                "calendar": WORK,
                "due": "2036-01-01T00:00:00Z",
                "reminders": [{"after": "PT1H"}],
                "restart_on_reassign": True,
            },
            "due",
        ),
        (
            {"calendar": WORK, "due": "9999-12-31T23:00:00Z", "reminders": [{"at": "50%"}]},
            "reminders[0]",
        ),
        (
            {"calendar": WORK, "due": "9999-12-31T23:00:00Z", "reminders": [{"at": "due+P9D"}]},
            "reminders[0]",
        ),
        (
            {"calendar": WORK, "due": "0001-01-01T00:00:00Z", "reminders": [{"before": "P9D"}]},
            "reminders[0]",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(described, path):
    timing = read(**described)
    with pytest.raises(DescriptionError) as caught:
        check_timing(timing, asked_at=ASKED, deadline=FAR)
    assert str(caught.value) == f"human_task.{path}: is too far away to be counted"


# --- Business hours ---


@pytest.mark.parametrize(
    ("start", "span", "end"),
    [
        ("2026-11-02T10:00", 2 * HOUR, "2026-11-02T12:00"),
        ("2026-11-02T16:00", HOUR, "2026-11-02T17:00"),
        ("2026-11-02T16:00", 2 * HOUR, "2026-11-03T10:00"),
        ("2026-11-06T16:00", 2 * HOUR, "2026-11-09T10:00"),  # over a weekend
        ("2026-11-07T12:00", HOUR, "2026-11-09T10:00"),  # from a Saturday
        ("2026-12-24T16:00", 2 * HOUR, "2026-12-28T10:00"),  # over a holiday and a weekend
        ("2026-11-02T09:30", -HOUR, "2026-10-30T16:30"),
        ("2026-11-02T09:30", -30 * MINUTE, "2026-11-02T09:00"),
        ("2026-11-02T22:00", -HOUR, "2026-11-02T16:00"),
        ("2026-11-07T12:00", 0, "2026-11-07T12:00"),
        ("2026-10-23T16:00", 2 * HOUR, "2026-10-26T10:00"),  # the clocks go back in between
    ],
)
def test_business_time_is_added_and_taken_off(start, span, end):
    assert read_calendar(WORK, "calendar").add(at(start), span) == at(end)


def test_spans_are_business_time_and_days_are_working_days():
    friday = at("2026-11-06T16:00")
    moments = plan(
        read(
            calendar=WORK,
            due=iso(at("2026-11-10T12:00")),  # 1 + 8 + 3 business hours later
            reminders=[{"at": "50%"}, {"after": "P1D"}, {"before": "PT4H"}],
            ladder=[
                {"at": "due+PT8H", "tell": {"users": ["a"]}},
                {"after": "P1W", "tell": {"users": ["b"]}},
            ],
        ),
        asked_at=friday,
    )
    assert [(one.key, one.at) for one in moments] == [
        ("reminder1", at("2026-11-09T14:00")),
        ("reminder2", at("2026-11-09T16:00")),
        ("reminder3", at("2026-11-09T16:00")),
        ("rung1", at("2026-11-11T12:00")),
        ("rung2", at("2026-11-13T16:00")),
    ]


def test_share_of_a_time_in_which_nobody_works_is_one_of_the_plain_time():
    saturday = at("2026-11-07T10:00")
    [moment] = plan(
        read(calendar=WORK, due=iso(saturday + 4 * HOUR), reminders=[{"at": "50%"}]),
        asked_at=saturday,
    )
    assert moment.at == saturday + 2 * HOUR


def test_counting_anew_counts_business_time():
    described = {
        "calendar": WORK,
        "due": iso(at("2026-11-02T16:00")),
        "ladder": [{"at": "due", "tell": {"users": ["a"]}}],
    }
    [moment] = plan(read(**described), asked_at=ASKED, started_at=at("2026-11-06T15:00"))
    assert moment.at == at("2026-11-09T13:00")  # six hours later


def test_after_a_pause_the_business_time_is_left_that_was_left():
    described = {
        "calendar": WORK,
        "due": iso(at("2026-11-02T16:00")),
        "reminders": [{"at": "due"}],
    }
    pause = Pause(at("2026-11-02T13:00"), at("2026-11-06T15:00"))
    [moment] = plan(read(**described), asked_at=ASKED, pauses=[pause])
    assert moment.at == at("2026-11-09T10:00")
    never = BusinessHours(0, HOUR, frozenset({1}), BERLIN, _mondays(1200 * 7))
    assert delayed(ASKED + 9, [Pause(ASKED, ASKED + 5)], start=0, calendar=never) == ASKED + 14


def test_no_business_time_in_sight_is_an_error_and_no_endless_search():
    never = BusinessHours(0, HOUR, frozenset({1}), BERLIN, _mondays(1200 * 7))
    for call in (lambda: never.add(ASKED, 1), lambda: never.between(ASKED, ASKED + 2000 * DAY)):
        with pytest.raises(TooFarError):
            call()


def _mondays(days):
    return frozenset(date(2026, 11, 2) + timedelta(days=n) for n in range(0, days, 7))


# A walk over minutes, for spans of some days around the changes of the clocks.

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "UTC")
# Berlin 2026: 29 March and 25 October; New York: 8 March and 1 November; Lord Howe (half an hour):
# 5 April and 4 October; Beirut (at midnight): 29 March and 25 October.
CHANGES = ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01")


@st.composite
def calendars(draw):
    opens = draw(st.integers(0, 24 * 60 - 1))
    closes = draw(st.integers(opens + 1, 24 * 60))
    days = draw(st.frozensets(st.integers(1, 7), min_size=3))
    around = date.fromisoformat(draw(st.sampled_from(CHANGES)))
    holidays = draw(st.frozensets(st.integers(-4, 4), max_size=2))
    hours = BusinessHours(
        opens * MINUTE,
        closes * MINUTE,
        days,
        ZoneInfo(draw(st.sampled_from(ZONES))),
        frozenset(around + timedelta(days=shift) for shift in holidays),
    )
    midnight = int(datetime.combine(around, datetime.min.time(), UTC).timestamp()) * 1000
    start = midnight + draw(st.integers(-2 * 24 * 60, 2 * 24 * 60)) * MINUTE
    return hours, start


def is_open(hours, instant):
    local = datetime.fromtimestamp(instant / 1000, tz=hours.zone)
    minute = (local.hour * 60 + local.minute) * MINUTE
    return (
        local.isoweekday() in hours.days
        and local.date() not in hours.holidays
        and hours.opens <= minute < hours.closes
    )


@given(calendars(), st.integers(1, 600))
def test_adding_is_what_a_walk_over_minutes_finds(chosen, minutes):
    hours, start = chosen
    left, now = minutes, start
    while left and now < start + 40 * DAY:
        left -= is_open(hours, now)
        now += MINUTE
    if not left:
        assert hours.add(start, minutes * MINUTE) == now


@given(calendars(), st.integers(1, 600))
def test_taking_off_is_what_a_walk_back_finds(chosen, minutes):
    hours, start = chosen
    left, now = minutes, start
    while left and now > start - 40 * DAY:
        now -= MINUTE
        left -= is_open(hours, now)
    if not left:
        assert hours.add(start, -minutes * MINUTE) == now


@given(calendars(), st.integers(0, 4 * 24 * 60))
def test_measuring_is_what_a_walk_over_minutes_counts(chosen, minutes):
    hours, start = chosen
    end = start + minutes * MINUTE
    counted = sum(is_open(hours, instant) for instant in range(start, end, MINUTE))
    assert hours.between(start, end) == counted * MINUTE
    assert hours.between(end, start) == -counted * MINUTE


@given(calendars(), st.integers(1, 10**8))
def test_what_was_added_is_measured(chosen, number):
    hours, start = chosen
    span = 1 + number % (100 * hours.day_length)  # what can be found in the days looked at
    assert hours.between(start, hours.add(start, span)) == span
    assert hours.between(hours.add(start, -span), start) == span
