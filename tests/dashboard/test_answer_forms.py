import base64
import json
from decimal import Decimal

import pytest
from django import forms
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dashboard.answer_forms.files import MAX_FILE
from dashboard.answer_forms.parts import Filling, part_for
from dashboard.answer_forms.questions import SchemaQuestions
from dashboard.descriptions.description import parse_description
from dashboard.descriptions.nodes import Kind
from dashboard.descriptions.reading import DescriptionError
from dashboard.descriptions.schema import read_schema
from dashboard.forms import answer_without_form
from dashboard.models import AuditEntry, HumanTask
from dashboard.rights import RefusedError
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    answer,
    ask,
    client_of,
    make_operator,
    make_user,
    task_url,
    unpack,
)
from tests.dashboard.posting import sent_for

pytestmark = pytest.mark.once


@pytest.fixture
def mia(db):
    return client_of(make_user("mia"))


def form_of(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def questions(schema, data=None, files=None):
    """The questions of a schema, filled with pairs or a mapping."""
    filling = Filling("id-%s")
    if data is not None:
        query = QueryDict(mutable=True)
        for name, text in data.items() if isinstance(data, dict) else data:
            query.appendlist(name, text)
        filling.data = query
    if files:
        filling.files.update(files)
    node = read_schema(schema, "form")
    return SchemaQuestions({"": part_for(node, "values", "", filling)})


def values_of(schema, data, files=None):
    asked = questions(schema, data, files)
    values = asked.clean()
    assert values is not None, asked.faults
    return values


def faults_of(schema, data, files=None):
    asked = questions(schema, data, files)
    assert asked.clean() is None
    return [(fault.id.removeprefix("id-values/"), str(fault.message)) for fault in asked.faults]


def post(client, promise_id="q", choice="approve", **data):
    """Answer with fields whose names begin with "values/"."""
    fields = {f"values/{name}": value for name, value in data.items()}
    return answer(client, promise_id, choice, filled="1", **fields)


def written(promise_id="q"):
    return unpack(Promise.objects.get(pk=promise_id).value_data)["values"]


def is_open(promise_id="q"):
    return Promise.objects.get(pk=promise_id).state == PromiseState.PENDING


# --- Each kind of field: what is sent, and the value ---


@pytest.mark.parametrize(
    ("schema", "sent", "value"),
    [
        ({"type": "string"}, " a b ", "a b"),
        ({"type": "string", "format": "textarea"}, "a\r\nb ", "a\nb "),
        ({"type": "string", "maxLength": 500}, "a\r\nb", "a\nb"),
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "integer"}, "3.0", 3),
        ({"type": "integer"}, "-9223372036854775808", -(2**63)),
        ({"type": "number"}, "3", 3.0),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "number", "format": "decimal"}, "0.10", 0.1),
        ({"type": "string", "format": "decimal"}, "12.50", "12.50"),
        (
            {"type": "string", "format": "decimal"},
            "123456789012345678901.05",
            "123456789012345678901.05",
        ),
        ({"type": "boolean"}, "on", True),
        ({"type": "string", "enum": ["a", "b"]}, "b", "b"),
        ({"enum": ["1", 1, 1.5, True]}, "1", 1),
        ({"enum": ["1", 1, 1.5, True]}, '"1"', "1"),
        ({"enum": ["1", 1, 1.5, True]}, "true", True),
        ({"oneOf": [{"const": 10, "title": "Ten"}, {"const": 20}]}, "20", 20),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, ["c", "a"], ["a", "c"]),
        ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}, ["2"], [2]),
        ({"type": "string", "format": "date"}, "2026-05-31", "2026-05-31"),
        ({"type": "string", "format": "date-time"}, "2026-05-31T14:00", "2026-05-31T14:00:00Z"),
        ({"type": "string", "format": "email"}, "mia@example.org", "mia@example.org"),
        ({"type": "string", "format": "uri"}, "https://example.org/a?b", "https://example.org/a?b"),
        ({"type": ["integer", "null"]}, "7", 7),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "7", 7),
        ({}, '{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        ({"type": "null"}, "null", None),
    ],
)
def test_value_has_the_type_that_the_schema_says(schema, sent, value):
    pairs = [("values/x", one) for one in (sent if isinstance(sent, list) else [sent])]

    found = values_of(form_of(["x"], x=schema), pairs)["x"]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "binary"},
        {"enum": ["a"]},
        {"type": "array", "items": {"enum": ["a"]}},
        {"type": "array", "items": {"type": "string"}},
        {"type": ["string", "null"]},
        {"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]},
        {"type": "object", "properties": {"y": {"type": "boolean"}}},
        {"oneOf": [{"type": "string", "minLength": 3}, {"type": "integer"}]},
    ],
)
def test_optional_field_that_is_left_empty_is_left_out(schema):
    assert values_of(form_of(x=schema), {"values/x": ""}) == {}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": ["string", "null"]}, None),
        ({"enum": ["a", None]}, None),
        ({"anyOf": [{"type": "null"}, {"type": "number"}]}, None),
        ({"type": "string", "minLength": 0}, ""),
        ({"type": "boolean"}, False),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"enum": ["a"]}}, []),
    ],
)
def test_required_field_may_be_empty_where_the_schema_has_a_value_for_that(schema, value):
    assert values_of(form_of(["x"], x=schema), {}) == {"x": value}


# --- Each rule: what is wrong, beside the field ---


@pytest.mark.parametrize(
    ("schema", "sent", "problem"),
    [
        ({"type": "string"}, " ", "Fill this in."),
        ({"type": "string", "minLength": 3}, "ab", "Write at least 3 characters."),
        ({"type": "string", "minLength": 1, "maxLength": 2}, "abc", "Write 2 characters at most."),
        ({"type": "string"}, "x" * 20_001, "Write 20000 characters at most."),
        ({"type": "string"}, "a\0", "Null characters are not allowed."),
        (
            {"type": "string", "pattern": "^[A-Z]{2}$"},
            "abc",
            "This does not have the form that is expected: ^[A-Z]{2}$",
        ),
        ({"type": "string", "pattern": "a"}, "b" * 1001, "Write 1000 characters at most."),
        ({"type": "integer"}, "1.5", "Enter a whole number."),
        ({"type": "integer"}, "٣", "Enter a whole number."),
        ({"type": "integer"}, "9" * 4000, "Enter a whole number."),
        ({"type": "integer"}, "9223372036854775808", "This number is too large."),
        ({"type": "integer", "minimum": 3}, "2", "Enter 3 or more."),
        ({"type": "integer", "maximum": 3}, "4", "Enter 3 or less."),
        ({"type": "number", "exclusiveMinimum": 0.5}, "0.5", "Enter more than 0.5."),
        ({"type": "number", "exclusiveMaximum": 1}, "1", "Enter less than 1."),
        ({"type": "integer", "multipleOf": 5}, "7", "Enter a multiple of 5."),
        ({"type": "number", "multipleOf": 0.1}, "0.35", "Enter a multiple of 0.1."),
        ({"type": "number"}, "1,5", "Enter a number, such as 12.50."),
        ({"type": "number"}, "NaN", "Enter a number, such as 12.50."),
        ({"type": "number"}, "1e999", "This number is too large."),
        (
            {"type": "number"},
            "0.12345678901234567891",
            "This number has more digits than can be kept.",
        ),
        ({"type": "string", "format": "decimal", "minimum": 0}, "-0.01", "Enter 0 or more."),
        ({"type": "string", "format": "decimal"}, "abc", "Enter a number, such as 12.50."),
        ({"enum": ["a"]}, "", "Choose one of these."),
        ({"enum": ["a"]}, "b", "Choose one of these."),
        ({"type": "array", "items": {"enum": ["a"]}}, "b", "Choose from these."),
        (
            {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
            "a",
            "Choose at least 2.",
        ),
        ({"type": "string", "format": "date"}, "31st", "Enter a valid date."),
        ({"type": "string", "format": "date-time"}, "noon", "Enter a valid date/time."),
        ({"type": "string", "format": "email"}, "mia", "Enter a valid email address."),
        ({"type": "string", "format": "uri"}, "javascript:alert(1)", "Enter a valid URL."),
        ({"type": "string", "format": "binary"}, "", "Choose a file."),
        ({"type": "boolean", "const": True}, "", "You have to agree to this."),
        ({"minimum": 3}, "{oops", "This is not JSON: object keys must be strings (byte 1)."),
        ({"minimum": 3}, "2", "2 is less than the minimum of 3"),
        ({"minimum": 3}, "", "Fill this in."),
        ({"minimum": 3}, "[" * 5000, None),
        ({"minimum": 3}, '"' + "x" * 100_001 + '"', "Shorten this to 100000 characters at most."),
        ({}, '[{"a": {"__py_pickle": "gA=="}}]', "The key __py_pickle is not allowed."),
        ({}, "[" * 40 + "]" * 40, None),
    ],
)
def test_broken_rule_is_said_of_the_field(schema, sent, problem):
    [(where, message)] = faults_of(form_of(["x"], x=schema), {"values/x": sent})

    assert where == "x"
    assert problem is None or message == problem


def test_several_broken_rules_are_all_said():
    schema = form_of(["x"], x={"type": "integer", "minimum": 10, "multipleOf": 4})

    assert [message for _where, message in faults_of(schema, {"values/x": "5"})] == [
        "Enter 10 or more.",
        "Enter a multiple of 4.",
    ]


def test_problem_inside_json_says_where():
    schema = form_of(["x"], x={"type": "object", "additionalProperties": {"type": "integer"}})

    [(_, message)] = faults_of(schema, {"values/x": '{"a/b": "one"}'})

    assert message == "/a~1b: 'one' is not of type 'integer'"


# --- Objects and lists ---

LINES = form_of(
    ["lines"],
    lines={
        "type": "array",
        "title": "Lines",
        "items": form_of(["text", "amount"], text={"type": "string"}, amount={"type": "integer"}),
        "minItems": 1,
        "maxItems": 3,
    },
)


def test_nested_object_keeps_its_shape():
    schema = form_of(["to"], to=form_of(["city"], city={"type": "string"}, zip={"type": "integer"}))

    found = values_of(schema, {"values/to/city": "Ulm", "values/to/zip": "89073"})

    assert found == {"to": {"city": "Ulm", "zip": 89073}}


def test_optional_object_is_asked_for_once_a_part_of_it_is_there():
    schema = form_of(to=form_of(["city"], city={"type": "string"}, zip={"type": "integer"}))

    assert faults_of(schema, {"values/to/zip": "1"}) == [("to/city", "Fill this in.")]


def test_rows_come_in_the_order_of_the_page():
    data = [
        ("values/lines", "2"),
        ("values/lines/2/text", "b"),
        ("values/lines/2/amount", "2"),
        ("values/lines", "0"),
        ("values/lines/0/text", "a"),
        ("values/lines/0/amount", "1"),
    ]

    assert values_of(LINES, data) == {
        "lines": [{"text": "b", "amount": 2}, {"text": "a", "amount": 1}]
    }


def test_rows_without_their_marks_are_found_all_the_same():
    data = {"values/lines/5/text": "a", "values/lines/5/amount": "1"}

    assert values_of(LINES, data) == {"lines": [{"text": "a", "amount": 1}]}


def test_row_has_errors_of_its_own():
    data = [("values/lines", "0"), ("values/lines", "1"), ("values/lines/1/text", "x")]

    assert faults_of(LINES, data) == [
        ("lines/0/text", "Fill this in."),
        ("lines/0/amount", "Fill this in."),
        ("lines/1/amount", "Fill this in."),
    ]


def test_list_has_a_least_and_a_greatest_length():
    many = [(f"values/lines/{n}/{key}", "1") for n in range(900) for key in ("text", "amount")]

    assert faults_of(LINES, {}) == [("lines", "Add at least 1.")]
    assert ("lines", "3 at most.") in faults_of(LINES, many)


def test_same_item_twice_is_refused_where_items_are_unique():
    schema = form_of(x={"type": "array", "items": {"type": "integer"}, "uniqueItems": True})

    assert faults_of(schema, {"values/x/0": "1", "values/x/1": "1"}) == [
        ("x", "Two of these are the same.")
    ]
    assert values_of(schema, {"values/x/0": "1", "values/x/1": "2"}) == {"x": [1, 2]}


def test_list_that_begins_too_long_for_rows_is_json():
    many = {"type": "array", "items": {"type": "integer"}, "default": [*range(101)]}

    [part] = questions(form_of(x=many)).parts
    assert part.leaf.kind is Kind.JSON
    assert values_of(form_of(x=many), {"values/x": part.sent}) == {"x": [*range(101)]}


def test_list_of_lists_keeps_its_shape():
    schema = form_of(x={"type": "array", "items": {"type": "array", "items": {"type": "integer"}}})
    data = [("values/x", "0"), ("values/x", "1"), ("values/x/1/0", "7"), ("values/x/1/1", "8")]

    assert values_of(schema, data) == {"x": [[], [7, 8]]}


# --- Conditions ---

REASON = form_of(["kind"], kind={"enum": ["full", "part"]}, note={"type": "string"}) | {
    "if": {"properties": {"kind": {"const": "part"}}, "required": ["kind"]},
    "then": {"properties": {"amount": {"type": "integer"}}, "required": ["amount", "note"]},
    "else": {"properties": {"all": {"type": "boolean"}}},
}


def test_fields_of_a_condition_count_only_where_it_holds():
    sent = {"values/amount": "5", "values/note": "n", "values/all": "on"}

    assert values_of(REASON, sent | {"values/kind": "part"}) == {
        "kind": "part",
        "amount": 5,
        "note": "n",
    }
    assert values_of(REASON, sent | {"values/kind": "full"}) == {
        "kind": "full",
        "note": "n",
        "all": True,
    }


def test_condition_makes_fields_required():
    assert faults_of(REASON, {"values/kind": "part"}) == [
        ("note", "Fill this in."),
        ("amount", "Fill this in."),
    ]
    assert values_of(REASON, {"values/kind": "full"}) == {"kind": "full", "all": False}


def test_wrong_input_under_a_condition_that_does_not_hold_is_no_error():
    found = values_of(REASON, {"values/kind": "full", "values/amount": "five"})

    assert found == {"kind": "full", "all": False}


def test_file_under_a_condition_that_does_not_hold_is_no_error():
    schema = form_of(["kind"], kind={"enum": ["full", "part"]}) | {
        "if": {"properties": {"kind": {"const": "part"}}, "required": ["kind"]},
        "then": {"properties": {"doc": {"type": "string", "format": "binary"}}},
    }
    large = {"values/doc": upload(b"x" * (MAX_FILE + 1))}

    assert values_of(schema, {"values/kind": "full"}, large) == {"kind": "full"}
    large = {"values/doc": upload(b"x" * (MAX_FILE + 1))}
    assert [where for where, _ in faults_of(schema, {"values/kind": "part"}, large)] == ["doc"]


def test_several_conditions_stand_under_all_of():
    schema = form_of(
        ["age"], age={"type": "integer"}, tick={"type": "boolean"}, code={"type": "string"}
    ) | {
        "allOf": [
            {
                "if": {"properties": {"age": {"enum": [1, 2]}}},
                "then": {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            },
            {
                "if": {"properties": {"tick": {"const": True}}, "required": ["code"]},
                "then": {"properties": {"b": {"type": "integer"}}},
            },
        ]
    }
    sent = {"values/age": "2", "values/a": "1", "values/b": "2"}

    assert values_of(schema, sent | {"values/tick": "on"}) == {"age": 2, "tick": True, "a": 1}
    assert values_of(schema, sent | {"values/tick": "on", "values/code": "c"}) == {
        "age": 2,
        "tick": True,
        "code": "c",
        "a": 1,
        "b": 2,
    }


def test_page_says_when_a_field_counts_and_tells_the_script(mia):
    ask("q", users=["mia"], form=REASON)

    page = mia.get(task_url("q")).text

    assert "Only if Kind is part." in page
    assert "Unless Kind is part." in page
    assert "Required if Kind is part." in page
    assert "&quot;values/kind&quot;: [&quot;part&quot;]" in page


@pytest.mark.parametrize(
    ("kind", "present"),
    [
        ({"const": "part"}, []),
        ({"const": "full"}, ["values/kind"]),
        ({"type": "string", "readOnly": True}, ["values/kind"]),
    ],
)
def test_script_is_told_of_fields_that_have_no_input(kind, present):
    schema = form_of(kind=kind) | {key: REASON[key] for key in ("if", "then")}
    schema["then"] = {"properties": {"amount": {"type": "integer"}}}

    asked = questions(schema, {"values/amount": "5"})

    [condition] = [json.loads(part.when) for part in asked.parts if part.when]
    assert condition == {"wanted": True, "values": {}, "present": present}
    assert ("amount" in asked.clean()) is (not present)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_time_at_the_edge_of_the_calendar_is_wrong_or_right_and_no_crash(settings, zone):
    settings.TIME_ZONE = zone
    schema = form_of(x={"type": "string", "format": "date-time", "default": "0001-01-01T00:00:00Z"})

    assert questions(schema).parts[0].html
    for moment in ("0001-01-01T00:00", "9999-12-31T23:59"):
        asked = questions(schema, {"values/x": moment})
        assert asked.clean() or [str(one.message) for one in asked.faults] == [
            "Enter a valid date/time."
        ]


# --- What is shown ---


def test_defaults_titles_and_help_are_shown(mia):
    form = form_of(
        ["amount"],
        amount={"type": "integer", "default": 12, "title": "How much", "description": "In euros."},
        due_day={"type": "string", "format": "date", "default": "2026-05-31"},
        kind={"enum": ["a", "b"], "default": "b"},
        ok={"type": "boolean", "default": True},
        tags={"type": "array", "items": {"enum": ["x", "y"]}, "default": ["y"]},
        lines={"type": "array", "items": {"type": "string"}, "default": ["one", "two"]},
        data={"type": "object", "default": {"a": 1}},
        at={"type": "string", "format": "date-time", "default": "2026-05-31T14:00:30Z"},
    )
    ask("q", users=["mia"], form=form)

    page = mia.get(task_url("q")).text

    for text in (
        "How much",
        "In euros.",
        "Due day",
        'value="12"',
        'value="2026-05-31"',
        '<option value="b" selected>',
        'value="one"',
        'value="two"',
        "&quot;a&quot;: 1",
        'value="2026-05-31T14:00:30"',
        "Time zone: UTC",
        'value="y"',
    ):
        assert text in page
    assert page.count(" checked") == 2  # ok and y


def test_answer_as_the_form_begins_has_the_defaults(mia):
    ask("q", users=["mia"], form=form_of(["n"], n={"type": "integer", "default": 3}))

    answer(mia, "q")

    assert written() == {"n": 3}


def test_read_only_is_shown_and_handed_back_whatever_is_sent(mia):
    fixed = {"type": "string", "readOnly": True, "default": "EUR", "title": "Currency"}
    ask(
        "q",
        users=["mia"],
        form=form_of(["c"], c=fixed, k={"const": 5}, n={"type": "string", "readOnly": True}),
    )

    assert "EUR" in mia.get(task_url("q")).text
    post(mia, c="USD", k="6", n="x")

    assert written() == {"c": "EUR", "k": 5}


def test_labels_errors_and_help_belong_to_their_input(mia):
    form = form_of(["a b"], **{"a b": {"type": "integer", "description": "Whole."}})
    ask("q", users=["mia"], form=form)

    page = post(mia, **{"a b": "x"}).text

    [key] = {
        part.split('"')[0]
        for part in page.split('label for="')[1:]
        if "a%20b" in part.split('"')[0]
    }
    assert f'id="{key}"' in page
    assert f'href="#{key}"' in page
    assert f'aria-describedby="{key}_help {key}_error"' in page
    assert f'id="{key}_error"' in page
    assert f'id="{key}_help"' in page
    assert 'aria-invalid="true"' in page
    assert 'aria-required="true"' in page


# --- JSON in place of fields ---


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "uuid"},
        {"type": "array", "prefixItems": [{"type": "integer"}]},
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "patternProperties": {"^a": {"type": "integer"}}},
        {"type": "object", "properties": {"a": True}, "minProperties": 1},
        {"type": "object", "properties": {"a": True}, "required": ["b"]},
        {"not": {"type": "integer"}},
        {"type": "integer", "anyOf": [{"minimum": 3}, {"maximum": 1}]},
        {"type": ["integer", "string"]},
        {"type": ["boolean", "null"]},
        {"type": ["object", "null"], "properties": {"a": True}},
        {"type": "string", "contentEncoding": "base32"},
        {"type": "object", "properties": {"a": {}}, "if": {"minProperties": 1}, "then": {}},
        {"type": "object", "properties": {"a": {}}, "then": {}},
        {"enum": [{}, {}]},
        {"enum": [1, 2], "minimum": 5},
        {"frobnicate": True},
    ],
)
def test_what_has_no_field_of_its_own_is_json(schema):
    part = questions(form_of(x=schema)).parts[0]

    assert part.leaf.kind is Kind.JSON


@pytest.mark.parametrize(
    "extra",
    [
        {"minProperties": 1},
        {"frobnicate": 1},
        {"if": {"properties": {"a": {"minimum": 3}}}, "then": {"required": ["a"]}},
        {"if": {"properties": {"z": {"const": 3}}}, "then": {"required": ["a"]}},
        {"if": {"properties": {"a": {"const": 1}}}, "then": {"properties": {"a": {"minimum": 1}}}},
        {"if": {"properties": {"a": {"const": 1}}}, "then": {"minProperties": 1}},
        {
            "if": {"properties": {"a": {"const": 1}}},
            "then": {"properties": {"b": {}}},
            "additionalProperties": False,
        },
        {"dependentRequired": {"z": ["a"]}},
        {"additionalProperties": {"type": "integer"}},
        {"allOf": [{"required": ["a"]}]},
    ],
)
def test_whole_form_is_json_where_the_object_has_no_fields(mia, extra):
    ask("q", users=["mia"], form=form_of(a={"type": "integer"}) | extra)

    page = mia.get(task_url("q")).text
    assert 'name="values"' in page
    assert 'name="values/a"' not in page

    response = answer(mia, "q", filled="1", values='{"a": "one"}')
    assert response.status_code == 422
    assert "&#x27;one&#x27; is not of type &#x27;integer&#x27;" in response.text
    assert "{&quot;a&quot;: &quot;one&quot;}" in response.text
    assert is_open()

    answer(mia, "q", filled="1", values='{"a": 1}')
    assert written() == {"a": 1}


def test_json_for_a_whole_form_is_an_object(mia):
    ask("q", users=["mia"], form={"minProperties": 1})

    assert "Write a JSON object." in answer(mia, "q", filled="1", values="[1]").text
    assert is_open()


def test_form_with_too_many_inputs_is_json():
    schema = form_of(**{f"f{n}": {"type": "string"} for n in range(500)})

    [part] = questions(schema).parts
    assert part.leaf.kind is Kind.JSON


def test_json_that_takes_too_long_to_check_is_refused():
    schema = {"minProperties": 0, "properties": {"x": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}
    text = '{"x":' * 30 + "{}" + "}" * 30

    assert faults_of(schema, {"values": text}) == [("id-values", "too large to be checked")]


def test_references_lead_to_fields():
    schema = form_of(
        ["a"],
        a={"$ref": "#/$defs/Money", "title": "Price"},
        b={"allOf": [{"$ref": "#/$defs/Money"}]},
    )
    schema["$defs"] = {"Money": {"type": "integer", "minimum": 1, "title": "Money"}}

    asked = questions(schema, {"values/a": "0", "values/b": "5"})
    asked.clean()

    assert [(fault.label, str(fault.message)) for fault in asked.faults] == [
        ("Price", "Enter 1 or more.")
    ]


def test_schema_that_contains_itself_ends_in_json():
    schema = form_of(**{"a b": {"$ref": "#"}, "n": {"type": "integer"}})

    [inner, _] = questions(schema).parts

    assert [part.kind for part in inner.parts] == ["leaf", "leaf"]
    assert inner.parts[0].leaf.kind is Kind.JSON
    assert values_of(schema, {"values/a b/a b": '{"n": 1}'}) == {"a b": {"a b": {"n": 1}}}
    assert faults_of(schema, {"values/a b/a b": '{"n": "x"}'})


def test_reference_inside_json_is_followed():
    schema = form_of(["a"], a={"type": "array", "prefixItems": [{"$ref": "#/$defs/Money"}]})
    schema["$defs"] = {"Money": {"type": "integer"}}

    assert faults_of(schema, {"values/a": '["x"]'}) == [("a", "/0: 'x' is not of type 'integer'")]


@pytest.mark.parametrize(
    ("keyword", "wrong"),
    [
        ({"format": "uuid"}, '"x"'),
        ({"format": "ipv4"}, '"1.2.3"'),
        ({"format": "ipv6"}, '"1.2.3"'),
        ({"format": "time"}, '"noon"'),
        ({"not": {"format": "textarea"}, "format": "date"}, '"20260531"'),
        ({"not": {}, "format": "date-time"}, '"2026-05-31"'),
        ({"type": ["string", "integer"], "format": "date"}, '"20260531"'),
        ({"type": ["string", "integer"], "format": "date-time"}, '"2026-05-31T14:00:00"'),
        ({"type": ["string", "integer"], "format": "email"}, '"mia"'),
        ({"type": ["string", "integer"], "format": "uri"}, '"a b"'),
        ({"type": ["string", "integer"], "pattern": "^a$"}, '"b"'),
        ({"type": ["integer", "number"], "multipleOf": 0.1}, "0.35"),
        ({"type": "array", "uniqueItems": True}, "[1, 1]"),
        ({"patternProperties": {"^a": {"type": "integer"}}}, '{"ab": "x"}'),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, '{"b": 1}'),
        ({"propertyNames": {"pattern": "^a"}}, '{"b": 1}'),
    ],
)
def test_every_keyword_is_checked_in_json(keyword, wrong):
    assert faults_of(form_of(["x"], x=keyword), {"values/x": wrong})


# --- Schemas that are refused ---


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ([], ": must be an object"),
        ({"type": "array"}, ".type: must be object"),
        (
            form_of(a={"type": "strin"}),
            ".properties.a.type: 'strin' is not valid under any of the given schemas",
        ),
        (form_of(a={"minLength": -1}), ".properties.a.minLength: -1 is less than the minimum of 0"),
        (form_of(a={"format": "regex"}), ".properties.a.format: 'regex' cannot be checked"),
        (
            form_of(a={"pattern": "(?=a)"}),
            ".properties.a.pattern: '(?=a)' looks around or sets options, which is not supported",
        ),
        (
            form_of(a={"pattern": "a" * 501}),
            f".properties.a.pattern: {'a' * 60!r} is longer than 500 characters",
        ),
        (
            form_of(a={"patternProperties": {"(": {}}}),
            ".properties.a.patternProperties: '(' has a group that does not end",
        ),
        (
            form_of(a={"$ref": "https://example.org/s"}),
            ".properties.a.$ref: must begin with #/: nothing is fetched from elsewhere",
        ),
        (form_of(a={"$ref": "#/$defs/b"}), ".properties.a.$ref: '#/$defs/b' leads nowhere"),
        (form_of(a={"$ref": "#/required"}), ".properties.a.$ref: '#/required' leads to no schema"),
        (
            form_of(a={"$dynamicRef": "#x"}),
            ".properties.a.$dynamicRef: is not supported; refer by path, as in #/$defs/Name",
        ),
        (form_of(a={"$id": "x"}), ".properties.a.$id: may only stand at the top"),
        ({"$schema": "x", "type": "object"}, ".$schema: 'x' is not a known JSON Schema draft"),
        (
            form_of(a={"patternProperties": {}, "unevaluatedProperties": False}),
            ".properties.a.unevaluatedProperties: does not go together with patternProperties",
        ),
        (
            form_of(["a"], a={"readOnly": True}),
            ".properties.a: is readOnly and required without a default",
        ),
        (
            form_of(a={"readOnly": True, "default": 1, "type": "string"}),
            ".properties.a.default: 1 is not of type 'string'",
        ),
        (form_of(__py_pickle={}), ": names __py_pickle"),
        (form_of(a={"default": [{"__py_pickle": 1}]}), ": names __py_pickle"),
        ({"django": ""}, ".django: is empty"),
        ({"pydantic": 5}, ".pydantic: must be text"),
    ],
)
def test_schema_that_cannot_be_used_is_refused_with_its_path(form, problem):
    with pytest.raises(DescriptionError) as caught:
        parse_description({"schema": 1, "title": "T", "form": form})

    assert str(caught.value) == f"human_task.form{problem}"


def test_older_drafts_are_read():
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.org/form",
        "type": "object",
        "properties": {"a": {"$ref": "#/definitions/n"}, "b": {"items": [{"type": "integer"}]}},
        "definitions": {"n": {"type": "integer"}},
    }

    assert values_of(schema, {"values/a": "1", "values/b": "[2]"}) == {"a": 1, "b": [2]}
    assert faults_of(schema, {"values/b": '["x"]'}) == [("b", "/0: 'x' is not of type 'integer'")]


# --- On the page: nothing settles before everything is right ---

REFUND = form_of(
    ["amount", "lines"],
    amount={"type": "integer", "minimum": 1},
    lines={"type": "array", "items": form_of(["text"], text={"type": "string"})},
)


def test_answer_carries_the_values(mia):
    ask("q", users=["mia"], form=REFUND)

    response = answer(mia, "q", **{"filled": "1", "values/amount": "5", "values/lines/0/text": "a"})

    assert response.status_code == 303
    assert written() == {"amount": 5, "lines": [{"text": "a"}]}


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true", "HX-Request-Type": "partial"}])
def test_wrong_field_comes_back_with_its_message_and_all_input(mia, headers):
    ask("q", users=["mia"], form=REFUND)
    data = {
        "answer": "approve",
        "comment": "kept comment",
        "filled": "1",
        "values/amount": "five",
        "values/lines": ["3"],
        "values/lines/3/text": "kept line",
    }

    response = mia.post(f"{task_url('q')}decide/", data, headers=headers)

    assert response.status_code == 422
    assert response.text.count("Enter a whole number.") == 2  # above the form and at the field
    for kept in ("kept comment", 'value="five"', 'value="kept line"'):
        assert kept in response.text
    assert is_open()
    assert not AuditEntry.objects.exists()


def test_rejection_needs_no_form(mia):
    ask("q", users=["mia"], form=REFUND)

    assert post(mia, choice="reject", amount="five").status_code == 303
    assert written() == {}


@pytest.mark.parametrize(
    ("need", "sent", "found"),
    [
        ("required", {"amount": "5"}, {"amount": 5, "lines": []}),
        ("optional", {"amount": "5"}, {"amount": 5, "lines": []}),
        ("optional", {}, {}),
        ("none", {"amount": "5"}, {}),
    ],
)
def test_answer_says_whether_it_takes_the_form(mia, need, sent, found):
    ask(
        "q",
        users=["mia"],
        form=REFUND,
        answers=["approve", {"name": "park", "label": "Park", "form": need}],
    )

    assert post(mia, choice="park", **sent).status_code == 303
    assert written() == found


BEGUN = form_of(
    ["name"],
    name={"type": "string"},
    count={"type": "integer", "default": 5},
    is_new={"type": "boolean", "default": True},
    kind={"enum": ["full", "part"], "default": "full"},
    tags={"type": "array", "items": {"enum": ["a", "b"]}, "default": ["b", "a"]},
    when={"type": "string", "format": "date-time", "default": "2026-05-31T14:00:00Z"},
    lines={
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "properties": {"text": {"type": "string", "default": "x"}}},
    },
)
AS_BEGUN = {
    "name": "",
    "count": "5",
    "is_new": "on",
    "kind": "full",
    "tags": ["a", "b"],
    "when": "2026-05-31T14:00",
    "lines": "0",
    "lines/0/text": "x",
}


@pytest.mark.parametrize(
    "touched",
    [
        {"count": "6"},
        {"count": ""},
        {"is_new": []},
        {"kind": "part"},
        {"tags": ["a"]},
        {"when": "2026-05-31T14:01"},
        {"lines/0/text": ""},
        {"lines": ["0", "1"], "lines/1/text": "x"},
    ],
)
def test_optional_form_that_nobody_touched_is_not_filled_in(mia, touched):
    ask(
        "q",
        users=["mia"],
        form=BEGUN,
        answers=["approve", {"name": "park", "label": "Park", "form": "optional"}],
    )

    refused = post(mia, choice="park", **AS_BEGUN | touched)
    assert refused.status_code == 422
    assert "Fill this in." in refused.text
    assert is_open()
    assert post(mia, choice="park", **AS_BEGUN).status_code == 303
    assert written() == {}


@pytest.mark.parametrize("values", [None, {}, {"count": 5, "name": "x"}])
def test_what_a_program_gives_is_filled_in_also_as_it_began(mia, values):
    ask(
        "q",
        users=["mia"],
        form=form_of([], count={"type": "integer", "default": 5}, name={"default": "x"}),
        answers=["approve", {"name": "park", "label": "Park", "form": "optional"}],
    )
    given = {} if values is None else {"values": values}

    assert Program(User.objects.get()).answer("q", "park", **given).status_code == 200
    assert written() == (values or {})


@pytest.mark.parametrize("text", ["", "as before"])
def test_proposal_goes_with_an_optional_form_untouched_or_empty(mia, text):
    ask(
        "q",
        users=["mia"],
        proposal={"note": text, "price": 5},
        editable=["/note"],
        answers=[{"name": "approve", "form": "optional"}],
    )

    assert post(mia, note=text).status_code == 303
    assert written() == {"note": text, "price": 5}


@pytest.mark.parametrize("need", ["required", "optional"])
def test_answer_that_takes_the_form_checks_it(mia, need):
    ask(
        "q",
        users=["mia"],
        form=REFUND,
        answers=["approve", {"name": "park", "label": "Park", "form": need}],
    )

    assert post(mia, choice="park", amount="five").status_code == 422
    assert is_open()


def test_comment_is_asked_for_beside_its_field(mia):
    ask("q", users=["mia"], answers=["approve", {"name": "reject", "comment": "required"}])

    response = answer(mia, "q", "reject")

    assert response.status_code == 422
    assert "This answer needs a comment." in response.text
    assert is_open()
    assert answer(mia, "q", "reject", comment="no").status_code == 303


def test_row_is_added_and_nothing_is_decided(mia):
    ask("q", users=["mia"], form=REFUND)
    data = {"filled": "1", "values/amount": "x", "values/lines/0/text": "first", "comment": "kept"}

    page = mia.post(f"{task_url('q')}decide/", data | {"again": "add:values/lines"})

    assert page.status_code == 200
    assert "Enter a whole number" not in page.text
    for kept in ('value="x"', 'value="first"', 'name="values/lines/1/text"', "kept"):
        assert kept in page.text
    assert page.text.count("autofocus") == 1
    assert is_open()


def test_row_is_removed_and_the_others_stay(mia):
    ask("q", users=["mia"], form=REFUND)
    data = {"filled": "1", "values/lines/0/text": "first", "values/lines/1/text": "second"}

    page = mia.post(f"{task_url('q')}decide/", data | {"again": "remove:values/lines/0"}).text

    assert "first" not in page
    assert 'value="second"' in page
    assert is_open()


def test_enter_in_a_field_decides_nothing(mia):
    ask("q", users=["mia"], form=REFUND)
    page = mia.get(task_url("q")).text
    form = page[page.index('class="decision"') :]

    first = form[form.index("<button") :].partition(">")[0]

    assert first.split()[1:] == ["hidden", "disabled"]  # which keeps browsers from sending


def test_row_cannot_be_added_beyond_the_most():
    schema = form_of(x={"type": "array", "items": {"type": "string"}, "maxItems": 1})
    data = QueryDict("values/x=0", mutable=True)
    filling = Filling("%s", data=data, added="values/x")

    part = part_for(read_schema(schema, "form"), "values", "", filling)

    [rows] = part.parts
    assert len(rows.rows) == 1
    assert not rows.may_add


def test_late_answer_gets_its_values_back(mia):
    ask("q", users=["mia"], form=REFUND)
    answer(mia, "q", "reject")

    response = post(mia, amount="41")

    assert response.status_code == 409
    assert "&quot;amount&quot;: 41" in response.text


def test_forbidden_key_comes_in_by_no_field(mia):
    ask("q", users=["mia"], form=form_of(a={"type": "string"}, m={"type": "object"}))

    assert post(mia, m='{"__py_pickle": "x"}').status_code == 422
    post(mia, __py_pickle="x", a="1")
    assert written() == {"a": "1"}


def test_button_alone_answers_as_the_form_begins(db):
    ask("ready", users=["mia"], form=form_of(["n"], n={"type": "integer", "default": 3}))
    ask("open", users=["mia"], form=form_of(["n"], n={"type": "integer"}))
    ready, waiting = HumanTask.objects.get(pk="ready"), HumanTask.objects.get(pk="open")

    assert answer_without_form(ready, "approve", request_key="k").values == {"n": 3}
    assert answer_without_form(waiting, "reject", comment="no").comment == "no"
    with pytest.raises(RefusedError, match="there is a form to fill in"):
        answer_without_form(waiting, "approve")
    with pytest.raises(RefusedError, match="Choose one of the answers"):
        answer_without_form(waiting, "burn")


# --- Files ---

FILE = form_of(["doc", "n"], doc={"type": "string", "format": "binary"}, n={"type": "integer"})


def upload(content=b"abc", name="a.txt", content_type="text/plain"):
    return SimpleUploadedFile(name, content, content_type)


def test_file_is_in_the_value(mia):
    ask("q", users=["mia"], form=FILE)
    assert 'enctype="multipart/form-data"' in mia.get(task_url("q")).text

    post(mia, doc=upload(b"\0\xff"), n="1")

    assert written() == {
        "doc": {"name": "a.txt", "type": "text/plain", "base64": "AP8="},
        "n": 1,
    }


def test_file_is_carried_along_while_the_rest_is_put_right(mia):
    ask("q", users=["mia"], form=FILE)

    page = post(mia, doc=upload(), n="x")
    assert page.status_code == 422
    assert "a.txt is attached" in page.text
    kept = json.dumps({"name": "a.txt", "type": "text/plain", "base64": "YWJj"})
    post(mia, n="1", **{"doc~kept": kept})

    assert written()["doc"]["base64"] == "YWJj"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"doc": upload(b"x" * (MAX_FILE + 1))}, "The file is too large: 256.0\xa0KB at most."),
        ({"doc~kept": "{"}, "Choose the file again."),
        ({"doc~kept": '{"name": "a"}'}, "Choose the file again."),
        ({"doc~kept": '{"name": "a", "type": "t", "base64": "?"}'}, "Choose the file again."),
        (
            {
                "doc~kept": json.dumps(
                    {
                        "name": "a",
                        "type": "t",
                        "base64": base64.b64encode(b"x" * (MAX_FILE + 1)).decode(),
                    }
                )
            },
            "Choose the file again.",
        ),
    ],
)
def test_wrong_file_is_refused(mia, data, problem):
    ask("q", users=["mia"], form=FILE)

    response = post(mia, n="1", **data)

    assert response.status_code == 422
    assert problem in response.text
    assert is_open()


def test_form_begins_with_a_file(mia):
    kept = {"name": "a.txt", "type": "text/plain", "base64": "YWJj"}
    doc = {"type": "string", "format": "binary", "default": kept}
    ask("q", users=["mia"], form=form_of(["doc"], doc=doc))
    wrong = doc | {"default": {"name": "b.txt"}}
    ask("wrong", users=["mia"], form=form_of(["doc"], doc=wrong))

    assert "a.txt is attached" in mia.get(task_url("q")).text
    assert "b.txt is attached" not in mia.get(task_url("wrong")).text
    answer(mia, "q")
    assert written() == {"doc": kept}
    assert post(mia, "wrong").status_code == 422


def test_file_has_the_media_type_that_is_wanted(mia):
    schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    ask("q", users=["mia"], form=form_of(["doc"], doc=schema))
    assert 'accept="image/png"' in mia.get(task_url("q")).text

    assert "Choose a file of the type image/png." in post(mia, doc=upload()).text
    assert post(mia, doc=upload(content_type="image/png")).status_code == 303


# --- Django forms ---


class RefundForm(forms.Form):
    amount = forms.DecimalField(min_value=1, help_text="In euros.")
    day = forms.DateField(required=False)
    kinds = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)
    sure = forms.BooleanField(required=False)
    doc = forms.FileField(required=False)
    secret = forms.CharField(widget=forms.HiddenInput, initial="s", required=False)

    def clean(self):
        if self.cleaned_data.get("amount") == 13:
            raise forms.ValidationError("Not on a Friday.")
        return self.cleaned_data


class OwnValuesForm(forms.Form):
    amount = forms.DecimalField()

    def to_values(self):
        return {"cents": int(self.cleaned_data["amount"] * 100)}


class StrangeField(forms.CharField):
    def to_python(self, value):
        return {"__py_pickle": Decimal(1)}


class StrangeForm(forms.Form):
    x = StrangeField()


class DemandingForm(forms.Form):
    def __init__(self, owner, *args, **kwargs):
        super().__init__(*args, **kwargs)


HERE = "tests.dashboard.test_answer_forms"
LISTED = {
    "refund": f"{HERE}.RefundForm",
    "own": f"{HERE}.OwnValuesForm",
    "odd": f"{HERE}.StrangeForm",
}


@pytest.fixture
def listed(settings):
    settings.SIGNOFF_FORMS = LISTED | {
        "duck": f"{HERE}.DuckModel",
        "model": f"{HERE}.pydantic_model",
    }
    return settings


@pytest.mark.usefixtures("listed")
def test_django_form_is_shown_and_its_values_are_json(mia):
    ask("q", users=["mia"], form={"django": "refund"})
    page = mia.get(task_url("q")).text
    for text in (
        'name="values-amount"',
        "In euros.",
        'enctype="multipart/form-data"',
        'type="hidden" name="values-secret" value="s"',
    ):
        assert text in page

    response = answer(
        mia,
        "q",
        **{
            "filled": "1",
            "values-amount": "12.50",
            "values-day": "2026-05-31",
            "values-kinds": ["b"],
            "values-sure": "on",
            "values-doc": upload(),
        },
    )

    assert response.status_code == 303
    assert written() == {
        "amount": "12.50",
        "day": "2026-05-31",
        "kinds": ["b"],
        "sure": True,
        "doc": {"name": "a.txt", "type": "text/plain", "base64": "YWJj"},
        "secret": "",
    }


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("amount", "problem"),
    [("0", "Ensure this value is greater than or equal to 1."), ("13", "Not on a Friday.")],
)
def test_django_form_says_what_is_wrong(mia, amount, problem):
    ask("q", users=["mia"], form={"django": "refund"})

    response = answer(mia, "q", **{"filled": "1", "values-amount": amount})

    assert response.status_code == 422
    assert problem in response.text
    assert f'value="{amount}"' in response.text
    assert is_open()


@pytest.mark.usefixtures("listed")
def test_draft_of_a_django_form_comes_back_unchecked(mia):
    ask("q", users=["mia"], form={"django": "refund"})
    draft = {"filled": "1", "values-amount": "0", "values-kinds": ["b"], "values-sure": "on"}
    mia.post(f"{task_url('q')}draft/", draft)

    page = mia.get(task_url("q")).text

    assert 'name="values-amount" value="0"' in page
    assert '<option value="b" selected>' in page
    assert page.count(" checked") == 1
    assert "Ensure this value" not in page
    assert "aria-invalid" not in page
    assert mia.post(f"{task_url('q')}decide/", draft | {"answer": "approve"}).status_code == 422


@pytest.mark.usefixtures("listed")
def test_django_form_is_not_answered_by_a_button_alone(mia):
    ask("q", users=["mia"], form={"django": "refund"})

    response = answer(mia, "q")

    assert response.status_code == 422
    assert "There is a form to fill in." in response.text
    assert is_open()


@pytest.mark.usefixtures("listed")
def test_django_form_may_make_its_values_itself(mia):
    ask("q", users=["mia"], form={"django": "own"})

    answer(mia, "q", **{"filled": "1", "values-amount": "1.25"})

    assert written() == {"cents": 125}


@pytest.mark.usefixtures("listed")
def test_django_form_brings_in_no_forbidden_key(mia):
    ask("q", users=["mia"], form={"django": "odd"})

    response = answer(mia, "q", **{"filled": "1", "values-x": "1"})

    assert "The key __py_pickle is not allowed." in response.text
    assert is_open()


@pytest.mark.usefixtures("listed")
def test_django_form_is_not_filled_in_by_a_rejection(mia):
    ask("q", users=["mia"], form={"django": "refund"})

    assert answer(mia, "q", "reject", filled="1").status_code == 303


@pytest.mark.parametrize("kind", ["django", "pydantic"])
def test_form_that_is_not_listed_is_a_mistake_of_the_description(db, kind):
    ask("q", users=["mia"], form={kind: "refund"})

    assert HumanTask.objects.get(pk="q").problem == (
        f"human_task.form.{kind}: 'refund' is not listed in the setting SIGNOFF_FORMS"
    )
    page = client_of(make_operator()).get(task_url("q")).text
    assert "is not listed in the setting SIGNOFF_FORMS" in page


@pytest.mark.parametrize(
    "later", [{}, {"refund": "nowhere.Form"}, {"refund": "django.forms.CharField"}]
)
def test_form_that_is_gone_lets_nobody_approve_but_shows_the_question(mia, listed, later):
    ask("q", users=["mia"], form={"django": "refund"})
    listed.SIGNOFF_FORMS = later

    assert mia.get(task_url("q")).status_code == 200
    response = answer(mia, "q")
    assert response.status_code == 422
    assert "The form of this question cannot be shown" in response.text
    assert answer(mia, "q", "reject").status_code == 303


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        (["x"], "(signoff.E050) SIGNOFF_FORMS is not a mapping."),
        (
            {"x": "nowhere.Form"},
            "(signoff.E051) SIGNOFF_FORMS['x'] cannot be imported: No module named 'nowhere'",
        ),
        ({"x": 5}, "(signoff.E051) SIGNOFF_FORMS['x'] cannot be imported"),
        (
            {"x": "django.forms.CharField"},
            (
                "(signoff.E052) SIGNOFF_FORMS['x'] is neither a Django form nor a pydantic model: "
                "django.forms.CharField"
            ),
        ),
        (
            {"x": f"{HERE}.DemandingForm"},
            (
                "(signoff.E053) SIGNOFF_FORMS['x'] cannot be made from data and files alone: "
                f"{HERE}.DemandingForm"
            ),
        ),
    ],
)
def test_system_check_finds_wrong_classes(settings, setting, complaint):
    settings.SIGNOFF_FORMS = setting

    [found] = complaints()

    assert complaint in f"({found.id}) {found.msg}"


def test_system_check_is_content_with_right_classes(settings):
    settings.SIGNOFF_FORMS = LISTED | {"duck": f"{HERE}.DuckModel"}

    assert not complaints()


def complaints():
    return [one for one in run_checks() if one.id.startswith("signoff.E05")]


# --- pydantic models ---


class DuckError(ValueError):
    def errors(self):
        return [
            {"loc": ("lines", 0, "amount"), "msg": "Too dear."},
            {"loc": ("lines", 0, "amount", "deeper"), "msg": "Far too dear."},
            {"loc": (), "msg": "All wrong."},
        ]


class DuckModel:
    """What our forms use of a pydantic model."""

    def __init__(self, values):
        self.values = values

    @classmethod
    def model_json_schema(cls):
        return {
            "type": "object",
            "properties": {
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "code": {"type": "string", "pattern": "(?!x)", "format": "password"},
            },
            "required": ["lines"],
            "$defs": {"Line": form_of(["amount"], amount={"type": "integer"})},
        }

    @classmethod
    def model_validate(cls, values):
        if values.get("code") == "plain":
            raise ValueError("Plainly wrong.")
        if values["lines"][0]["amount"] > 100:
            raise DuckError
        return cls(values)

    def model_dump(self, *, mode):
        assert mode == "json"
        return self.values | {"checked": True}


@pytest.mark.usefixtures("listed")
def test_model_has_the_last_word(mia):
    ask("q", users=["mia"], form={"pydantic": "duck"})

    response = answer(mia, "q", **{"filled": "1", "values/lines/0/amount": "101"})
    assert response.status_code == 422
    for message in ("Too dear.", "Far too dear.", "All wrong."):
        assert message in response.text
    assert 'aria-invalid="true"' in response.text
    response = answer(mia, "q", **{"filled": "1", "values/code": "plain"})
    assert "Plainly wrong." in response.text
    assert is_open()

    answer(mia, "q", **{"filled": "1", "values/lines/0/amount": "7"})
    assert written() == {"lines": [{"amount": 7}], "checked": True}


def test_real_model_of_pydantic_is_a_form(mia, listed):
    pydantic = pytest.importorskip("pydantic")
    from datetime import date
    from typing import Annotated, Literal

    class Line(pydantic.BaseModel):
        text: str
        price: Decimal = pydantic.Field(ge=0)

    class Refund(pydantic.BaseModel):
        kind: Literal["full", "part"]
        lines: list[Line]
        due: date | None = None
        tags: dict[str, int] = {}
        count: Annotated[int, pydantic.Field(gt=0)] = 1

        @pydantic.model_validator(mode="after")
        def check_lines(self):
            if not self.lines:
                raise ValueError("no lines")
            return self

    globals()["pydantic_model"] = Refund
    ask("q", users=["mia"], form={"pydantic": "model"})
    assert 'name="values/kind"' in mia.get(task_url("q")).text

    data = {"filled": "1", "values/kind": "part", "values/count": "2"}
    assert "no lines" in answer(mia, "q", **data).text
    assert (
        "Enter 0 or more."
        in answer(
            mia, "q", **data, **{"values/lines/0/text": "x", "values/lines/0/price": "-1"}
        ).text
    )
    answer(mia, "q", **data, **{"values/lines/0/text": "x", "values/lines/0/price": "1.50"})

    assert written() == {
        "kind": "part",
        "lines": [{"text": "x", "price": "1.50"}],
        "due": None,
        "tags": {},
        "count": 2,
    }


@pytest.mark.parametrize(
    ("config", "content", "found"),
    [
        ({}, "Grüße".encode(), "Grüße"),
        ({}, b"\xff\x00", None),
        ({"ser_json_bytes": "base64"}, b"\xff\x00", "_wA="),
    ],
)
def test_bytes_of_a_model_are_what_is_in_a_file(mia, listed, config, content, found):
    pydantic = pytest.importorskip("pydantic")
    from typing import Annotated

    class Upload(pydantic.BaseModel):
        model_config = config
        document: Annotated[bytes, pydantic.Field(max_length=10)]
        more: list[bytes] = []
        none: bytes | None = None

    globals()["pydantic_model"] = Upload
    ask("q", users=["mia"], form={"pydantic": "model"})
    assert 'type="file" name="values/document"' in mia.get(task_url("q")).text

    def send(sent):
        files = {"values/document": SimpleUploadedFile("a.txt", sent)}
        return answer(
            mia, "q", filled="1", **files, **{"values/more/0": SimpleUploadedFile("b", b"b")}
        )

    assert "at most 10 bytes" in send(b"x" * 11).text
    assert "Choose a file." in answer(mia, "q", filled="1").text
    response = send(content)

    if found is None:
        assert response.status_code == 422
        assert "This takes files of plain text only." in response.text
        assert is_open()
    else:
        second = "Yg==" if config else "b"
        assert written() == {"document": found, "more": [second], "none": None}


# --- Round trip: schema, form, request, values ---

texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8)
names = st.text('abc/~ é.%"<', min_size=1, max_size=5)


@st.composite
def leaf_cases(draw):
    """A schema of one value, with a value that fits it."""
    kind = draw(
        st.sampled_from(
            ["string", "integer", "number", "boolean", "enum", "several", "date", "time", "json"]
        )
    )
    match kind:
        case "string":
            text = draw(texts)
            return {"type": "string", "minLength": 1, "maxLength": len(text)}, text
        case "integer":
            number = draw(st.integers(-(2**63), 2**63 - 1))
            return {"type": "integer", "minimum": number, "exclusiveMaximum": number + 1}, number
        case "number":
            number = draw(st.floats(-1e15, 1e15, allow_subnormal=False))
            return {"type": "number", "maximum": number}, number
        case "boolean":
            return {"type": "boolean"}, draw(st.booleans())
        case "enum":
            options = draw(
                st.lists(
                    texts | st.integers(-9, 9) | st.booleans(),
                    min_size=1,
                    max_size=4,
                    unique_by=json.dumps,
                )
            )
            return {"enum": options}, draw(st.sampled_from(options))
        case "several":
            options = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
            chosen = [one for one in options if draw(st.booleans())]
            return {"type": "array", "items": {"enum": options}, "uniqueItems": True}, chosen
        case "date":
            return {"type": "string", "format": "date"}, draw(st.dates()).isoformat()
        case "time":
            moment = draw(st.datetimes()).replace(microsecond=0)
            return {"type": "string", "format": "date-time"}, f"{moment.isoformat()}Z"
    value = draw(st.lists(st.integers(-9, 9) | texts, max_size=3))
    return {"type": "array"}, value


@st.composite
def cases(draw, depth=2):
    """A schema of an object, with a value that fits it."""
    properties, value, required = {}, {}, []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        shape = draw(st.sampled_from(["leaf", "leaf", "object", "rows"] if depth else ["leaf"]))
        if shape == "leaf":
            properties[name], value[name] = draw(leaf_cases())
        elif shape == "object":
            properties[name], value[name] = draw(cases(depth - 1))
        else:
            item, one = draw(cases(depth - 1))
            properties[name] = {"type": "array", "items": item}
            value[name] = [one] * draw(st.integers(1, 2))
        required.append(name)
    return {"type": "object", "properties": properties, "required": required}, value


@given(cases())
def test_values_come_back_as_they_were_and_fit_the_schema(case):
    schema, value = case
    node = read_schema(schema, "form")

    found = values_of(schema, list(sent_for(node, value)))

    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)
    Draft202012Validator(schema).validate(found)


@given(cases(), st.data())
def test_whatever_is_sent_either_fits_the_schema_or_is_refused(case, data):
    schema, value = case
    node = read_schema(schema, "form")
    pairs = list(sent_for(node, value))
    changed = [
        (name, data.draw(st.sampled_from([text, "", "x", "0", "-1", "[]", "null"])))
        for name, text in pairs
        if data.draw(st.booleans())
    ]

    asked = questions(schema, changed)
    found = asked.clean()

    if found is None:
        assert asked.faults
    else:
        Draft202012Validator(schema).validate(found)
    assert all(part.html for part in asked.parts if part.kind == "leaf" and not part.is_fixed)
