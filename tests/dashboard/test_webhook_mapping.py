import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.descriptions.reading import DescriptionError
from dashboard.models import Preset, WebhookAction
from dashboard.webhooks.examples import example
from dashboard.webhooks.mapping import (
    Outcome,
    Settle,
    Start,
    UnmappedError,
    read_settle,
    read_start,
)
from dashboard.webhooks.paths import MISSING, Event, Path, Template

BODY = {
    "action": "closed",
    "count": 3,
    "rate": 0.5,
    "empty": "",
    "nothing": None,
    "a.b": "dotted",
    "a/b": "slashed",
    "pull_request": {"number": 7, "merged": True, "labels": [{"name": "x"}, {"name": "y"}]},
}
EVENT = Event(BODY, {"x-github-event": "pull_request"}, "e-1")

MISSING_PATHS = [
    "nope",
    "pull_request.labels.2",
    "pull_request.labels.-1",
    "action.x",
    "count.real",
]


def settle(**changes):
    mapping = {"promise_id": "p", "outcome": "resolve"} | changes
    return read_settle(
        {key: value for key, value in mapping.items() if value is not None}, "mapping"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("action", "closed"),
        ("pull_request.number", 7),
        ("/pull_request/number", 7),
        ("pull_request.labels.1.name", "y"),
        ("/a.b", "dotted"),
        ("/a~1b", "slashed"),
        ("", BODY),
        ("nothing", None),
        ("header:X-GitHub-Event", "pull_request"),
        ("event:id", "e-1"),
        ("nope|action", "closed"),
        ("nope | header:x-github-event", "pull_request"),
        *((one, MISSING) for one in [*MISSING_PATHS, "header:X-None", "__class__", "/__class__"]),
    ],
)
def test_paths(path, value):
    assert Path.read(path, "p").find(EVENT) == value


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("pr-{pull_request.number}-review", "pr-7-review"),
        ("{header:X-GitHub-Event}/{event:id}", "pull_request/e-1"),
        ("{pull_request.merged}", "true"),
        ("plain", "plain"),
    ],
)
def test_templates(text, rendered):
    assert Template.read(text, "t").render(EVENT) == rendered


@pytest.mark.parametrize(
    "text", ["{", "}", "a{b", "{}", "{ }", "{{a}}", "{a..b}", "{.a}", "{header:}", "{header:a b}"]
)
def test_templates_that_are_none(text):
    with pytest.raises(DescriptionError):
        Template.read(text, "t")


def test_templates_reach_data_and_nothing_else():
    """Neither attributes nor formats: a path that has such a name finds an entry or nothing."""
    for path in ("action.__class__", "action.__init__.__globals__", "count!r", "count:>10"):
        with pytest.raises(LookupError):
            Template.read(f"{{{path}}}", "t").render(EVENT)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nope", "nope is missing"),
        ("nothing", "nothing is neither text nor a whole number"),
        ("rate", "rate is neither text nor a whole number"),
        ("pull_request", "pull_request is neither text nor a whole number"),
        ("empty", "empty is empty"),
    ],
)
def test_ids_are_made_of_texts_and_numbers(path, problem):
    with pytest.raises(UnmappedError, match=problem):
        settle(promise_id=f"x-{{{path}}}").plan(EVENT)


def test_first_rule_that_fits_counts():
    mapping = settle(
        outcome=[
            {"when": {"pull_request.merged": False}, "outcome": "resolve"},
            {"when": {"action": ["opened", "closed"], "nope": None}, "outcome": "reject"},
            {"outcome": "resolve"},
        ]
    )

    assert mapping.plan(EVENT) == Settle("p", Outcome.REJECT, BODY)


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"count": 3}, True),
        ({"count": 3.0}, True),
        ({"count": "3"}, False),
        ({"pull_request.merged": 1}, False),
        ({"pull_request.merged": True}, True),
        ({"nothing": None}, True),
        ({"nope": None}, True),
        ({"nope": ""}, False),
        ({"header:X-GitHub-Event": "pull_request"}, True),
        ({}, True),
    ],
)
def test_conditions_compare_as_json_does(when, fits):
    plan = settle(outcome=[{"when": when, "outcome": "resolve"}]).plan(EVENT)
    assert (plan is not None) is fits


def test_events_that_no_rule_wants_are_ignored():
    assert settle(outcome=[]).plan(EVENT) is None
    assert settle(outcome="ignore").plan(EVENT) is None
    rules = [{"when": {"action": "closed"}, "outcome": "ignore"}, {"outcome": "resolve"}]
    assert settle(outcome=rules).plan(EVENT) is None


def test_values_are_put_together():
    value = {
        "number": "pull_request.number",
        "title": "PR {pull_request.number}",
        "none": "nope",
        "half": "PR {nope}",
        "source": {"literal": {"a": "b"}},
        "list": ["action", 1, True, None],
    }

    assert settle(value=value).plan(EVENT).value == {
        "number": 7,
        "title": "PR 7",
        "none": None,
        "half": None,
        "source": {"a": "b"},
        "list": ["closed", 1, True, None],
    }


def test_start_says_function_arguments_and_group():
    mapping = read_start(
        {
            "function": "build",
            "execution_id": "hook/{event:id}",
            "args": ["action", {"literal": 1}],
            "kwargs": {"number": "pull_request.number"},
            "target": "builders",
        },
        "mapping",
    )

    assert mapping.plan(EVENT) == Start(
        "hook/e-1", "build", ("closed", 1), {"number": 7}, "builders"
    )
    with pytest.raises(UnmappedError, match="event:id is missing"):
        mapping.plan(Event(BODY, {}))


@pytest.mark.parametrize(
    ("read", "mapping", "problem"),
    [
        (read_settle, [], "mapping: must be an object"),
        (read_settle, {}, "mapping.promise_id: is missing"),
        (read_settle, {"promise_id": 1, "outcome": "resolve"}, "mapping.promise_id: must be text"),
        (read_settle, {"promise_id": "p"}, "mapping.outcome: is missing"),
        (read_settle, {"promise_id": "p", "outcome": "start"}, "mapping.outcome: must be one of"),
        (
            read_settle,
            {"promise_id": "p", "outcome": [{"when": {"a": {}}, "outcome": "resolve"}]},
            r"mapping.outcome\[0\].when.a: must be a plain value",
        ),
        (
            read_settle,
            {"promise_id": "p", "outcome": [{"when": {"a..b": 1}, "outcome": "resolve"}]},
            "must be a path like",
        ),
        (
            read_settle,
            {"promise_id": "p", "outcome": [{"if": {}, "outcome": "resolve"}]},
            r"mapping.outcome\[0\].if: is not known",
        ),
        (read_settle, {"promise_id": "p", "outcome": "resolve", "x": 1}, "mapping.x: is not known"),
        (
            read_settle,
            {"promise_id": "p", "outcome": "resolve", "value": {"a": "b{"}},
            "mapping.value.a: has a brace",
        ),
        (read_start, {"execution_id": "e"}, "mapping.function: is missing"),
        (read_start, {"function": "f"}, "mapping.execution_id: is missing"),
        (read_start, {"function": "f", "execution_id": "e", "args": {}}, "mapping.args: must be a"),
        (
            read_start,
            {"function": "f", "execution_id": "e", "outcome": "resolve"},
            "mapping.outcome: must be one of start, ignore",
        ),
    ],
)
def test_mistakes_say_where_they_are(read, mapping, problem):
    with pytest.raises(DescriptionError, match=problem):
        read(mapping, "mapping")


def test_values_nested_too_deep_are_refused():
    value = "action"
    for _ in range(20):
        value = [value]
    with pytest.raises(DescriptionError, match="nested more than"):
        settle(value=value)


@pytest.mark.parametrize("preset", Preset.values)
@pytest.mark.parametrize("action", WebhookAction.values)
def test_examples_are_right(preset, action):
    read = read_settle if action == "settle" else read_start
    read(json.loads(json.dumps(example(preset, action))), "mapping")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_any_mapping_is_read_or_refused(value):
    for read in (read_settle, read_start):
        try:
            read(value, "mapping")
        except DescriptionError:
            continue


@given(JSON)
def test_any_body_gives_a_plan_or_a_reason(body):
    mapping = read_settle(
        {
            "promise_id": "{a|0}",
            "outcome": [
                {"when": {"b": 1}, "outcome": "resolve"},
                {"outcome": "reject", "reason": "{c.d}"},
            ],
            "value": ["", "a.b.c", "{a}"],
        },
        "mapping",
    )
    with contextlib.suppress(UnmappedError):
        mapping.plan(Event(body, {}, "e"))
