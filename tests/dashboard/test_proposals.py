import json

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from dashboard.answer_forms.parts import Filling
from dashboard.answer_forms.questions import questions_for
from dashboard.descriptions.description import parse_description
from dashboard.descriptions.proposal import Change, difference, label_of, side_by_side
from dashboard.descriptions.reading import DescriptionError
from dashboard.models import AuditEntry
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import answer, ask, client_of, make_user, task_url, unpack
from tests.dashboard.posting import sent_for

ORDER = {
    "customer": "Acme",
    "total": 42,
    "rate": 0.5,
    "paid": False,
    "note": None,
    "lines": [{"text": "Ink", "count": 2}, {"text": "Paper", "count": 3}],
    "matrix": [[1, 2], [3]],
    "mixed": [1, "a", {"b": True}],
    "empty": [],
    "terms": {"days": 30, "text": "  as agreed\r\n"},
}


@pytest.fixture
def mia(db):
    return client_of(make_user("mia"))


def described(proposal, editable, **more):
    return parse_description(
        {"schema": 1, "title": "T", "proposal": proposal, "editable": editable} | more
    )


def asked(proposal, editable, pairs=None, **more):
    filling = Filling("%s")
    if pairs is not None:
        filling.data = QueryDict(mutable=True)
        for name, text in pairs:
            filling.data.appendlist(name, text)
    return questions_for(described(proposal, editable, **more), filling)


def values_of(proposal, editable, pairs, **more):
    questions = asked(proposal, editable, pairs, **more)
    values = questions.clean()
    assert values is not None, questions.faults
    return values


def same(one, other):
    """Equal, and of the same types all the way down."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def as_sent(proposal, editable, **more):
    """What a browser sends when nothing is touched."""
    found = described(proposal, editable, **more).proposal
    return [
        pair
        for pointer, node in found.editable.items()
        for pair in sent_for(node, node.default, f"values{pointer}")
    ]


# --- Types and shapes ---


@pytest.mark.parametrize(
    ("pointer", "sent", "value"),
    [
        ("/customer", "Brick & Co", "Brick & Co"),
        ("/customer", "", ""),
        ("/total", "43", 43),
        ("/rate", "1", 1.0),
        ("/paid", "on", True),
        ("/note", '"why"', "why"),
        ("/lines/1/count", "4", 4),
        ("/terms/days", "14", 14),
        ("/empty", "[1]", [1]),
    ],
)
def test_part_keeps_its_type_and_the_rest_stays(pointer, sent, value):
    found = values_of(ORDER, [pointer], [(f"values{pointer}", sent)])

    changes = described(ORDER, [pointer]).proposal.changes(found)
    [(at, _, new)] = changes
    assert (at, new) == (pointer, value) or pointer == "/empty"
    assert type(new) is type(value) or pointer == "/empty"


def test_list_of_objects_may_get_more_and_fewer_rows():
    pairs = [
        ("values/lines", "1"),
        ("values/lines/1/text", "Paper"),
        ("values/lines/1/count", "5"),
        ("values/lines", "2"),
        ("values/lines/2/text", "Glue"),
        ("values/lines/2/count", "1"),
    ]

    found = values_of(ORDER, ["/lines"], pairs)

    assert found["lines"] == [{"text": "Paper", "count": 5}, {"text": "Glue", "count": 1}]


def test_nested_lists_keep_their_shape():
    pairs = [
        ("values/matrix", "0"),
        ("values/matrix/0/0", "9"),
        ("values/matrix/0/1", "2"),
        ("values/matrix", "1"),
    ]

    assert values_of(ORDER, ["/matrix"], pairs)["matrix"] == [[9, 2], []]


def test_list_of_different_items_keeps_each():
    pairs = [("values/mixed/0", "7"), ("values/mixed/1", "b"), ("values/mixed/2/b", "")]

    assert same(values_of(ORDER, ["/mixed"], pairs)["mixed"], [7, "b", {"b": False}])


@pytest.mark.parametrize("pointer", ["", *(f"/{key}" for key in ORDER)])
def test_what_is_not_touched_stays_to_the_last_character(pointer):
    assert same(values_of(ORDER, [pointer], as_sent(ORDER, [pointer])), ORDER)


def test_input_that_was_not_sent_stays():
    assert same(values_of(ORDER, ["/customer", "/total", "/rate"], []), ORDER)


def test_wrong_part_is_said_of_its_field():
    questions = asked(ORDER, ["/total"], [("values/total", "many")])

    assert questions.clean() is None
    assert [(one.label, str(one.message)) for one in questions.faults] == [
        ("Total", "Enter a whole number.")
    ]


def test_empty_list_stays_a_list():
    questions = asked(ORDER, ["/empty"], [("values/empty", "{}")])

    assert questions.clean() is None
    assert [str(one.message) for one in questions.faults] == ["{} is not of type 'array'"]


@pytest.mark.parametrize(
    ("proposal", "sent", "values"),
    [
        ([1, 2], [("values/0", "5")], {"proposal": [5]}),
        ("text", [("values", "other")], {"proposal": "other"}),
    ],
)
def test_proposal_that_is_no_object_is_handed_back_in_one(proposal, sent, values):
    found = values_of(proposal, [""], sent)

    assert found == values
    assert described(proposal, [""]).proposal.changes(found)


def test_large_proposal_is_edited_as_json():
    many = {"rows": [{"a": 1, "b": 2} for _ in range(200)]}

    [part] = asked(many, ["/rows"]).parts
    assert part.leaf.kind == "json"
    assert same(values_of(many, ["/rows"], as_sent(many, ["/rows"])), many)


# --- With a schema ---

RULES = {
    "type": "object",
    "properties": {
        "total": {"type": "integer", "maximum": 50, "title": "Sum"},
        "customer": {"enum": ["Acme", "Brick"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
    },
    "$defs": {
        "Line": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}
    },
}


def test_schema_says_how_parts_are_asked_for():
    editable = ["/total", "/customer", "/lines/0/count", "/rate"]
    pairs = [
        ("values/total", "51"),
        ("values/customer", "Acme"),
        ("values/lines/0/count", "0"),
        ("values/rate", "0.5"),
    ]
    questions = asked(ORDER, editable, pairs, form=RULES)

    assert questions.clean() is None
    assert [(one.label, str(one.message)) for one in questions.faults] == [
        ("Sum", "Enter 50 or less."),
        ("Lines / 1 / Count", "Enter 1 or more."),
    ]


def test_schema_checks_what_was_proposed_as_well():
    dear = ORDER | {"total": 99}
    questions = asked(dear, ["/total"], as_sent(dear, ["/total"], form=RULES), form=RULES)

    assert questions.clean() is None


def test_part_of_a_schema_must_be_answered():
    questions = asked(ORDER, ["/total"], [("values/total", "")], form=RULES)

    assert questions.clean() is None
    assert str(questions.faults[0].message) == "Fill this in."


def object_of(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


ORDERED = {
    "order": {
        "id": 7,
        "text": " as agreed ",
        "at": "2026-05-31T14:00:00+02:00",
        "tags": ["b", "a"],
        "notes": [],
        "to": {"city": ""},
        "lines": [{"id": 1, "text": "Ink", "count": 2}, {"id": 2, "text": "Glue", "count": 3}],
    }
}
ORDER_FORM = object_of(
    order=object_of(
        id={"type": "integer", "readOnly": True},
        text={"type": "string"},
        at={"type": "string", "format": "date-time"},
        tags={"type": "array", "items": {"enum": ["a", "b"]}},
        notes={"type": "array", "items": {"type": "string"}},
        to=object_of(city={"type": "string"}),
        lines={
            "type": "array",
            "items": object_of(id={"type": "integer", "readOnly": True}, count={"type": "integer"}),
        },
    )
)
ORDER_AS_SENT = [
    ("values/order/text", " as agreed "),
    ("values/order/at", "2026-05-31T12:00"),
    ("values/order/tags", "a"),  # in the order of the page
    ("values/order/tags", "b"),
    ("values/order/to/city", ""),
    ("values/order/lines", "0"),
    ("values/order/lines/0/count", "2"),
    ("values/order/lines", "1"),
    ("values/order/lines/1/count", "3"),
]


def test_part_under_a_schema_stays_as_it_is_all_the_way_down():
    found = values_of(ORDERED, ["/order"], ORDER_AS_SENT, form=ORDER_FORM)

    assert same(found, ORDERED)
    shown = [
        part.name
        for top in asked(ORDERED, ["/order"], form=ORDER_FORM).parts
        for part in top.walk()
    ]
    assert {"values/order/id", "values/order/lines/1/text"} <= {*shown}


def test_what_the_schema_says_nothing_of_stays_with_its_row():
    pairs = [(name, text) for name, text in ORDER_AS_SENT if "lines/0" not in name]
    pairs = [pair for pair in pairs if pair != ("values/order/lines", "0")]
    new = [("values/order/lines", "2"), ("values/order/lines/2/count", "9")]

    found = values_of(ORDERED, ["/order"], [*pairs, *new], form=ORDER_FORM)

    assert same(found["order"]["lines"], [{"id": 2, "text": "Glue", "count": 3}, {"count": 9}])


def test_lists_that_are_emptied_stay_lists():
    pairs = [pair for pair in ORDER_AS_SENT if "/lines" not in pair[0] and "/tags" not in pair[0]]

    found = values_of(ORDERED, ["/order"], pairs, form=ORDER_FORM)["order"]

    assert (found["lines"], found["tags"], found["notes"]) == ([], [], [])


@pytest.mark.parametrize(
    ("present", "schema", "sent", "problem"),
    [
        ("abc", {"type": "integer", "maximum": 4}, "abc", "Enter a whole number."),
        ("x", {"enum": ["a"]}, "", "Choose one of these."),
        (None, {"type": "integer"}, "", "Fill this in."),
        ("soon", {"type": "string", "format": "date"}, "soon", "Enter a valid date."),
        ("abc", {"type": "string", "format": "decimal", "minimum": 1}, "abc", "Enter a number"),
        ([1], {"type": "object"}, "[1]", "[1] is not of type 'object'"),
    ],
)
def test_proposed_value_that_breaks_the_schema_is_not_approved(present, schema, sent, problem):
    form = object_of(a=schema)
    questions = asked({"a": present}, ["/a"], [("values/a", sent)], form=form)

    assert questions.clean() is None
    assert str(questions.faults[0].message).startswith(problem)


def test_list_that_is_too_long_for_rows_is_json_that_the_schema_checks():
    many = {"a": [{"n": one} for one in range(120)]}
    form = object_of(a={"type": "array", "items": object_of(["n"], n={"type": "integer"})})

    assert same(values_of(many, ["/a"], as_sent(many, ["/a"], form=form), form=form), many)
    questions = asked(many, ["/a"], [("values/a", '[{"n": "1"}]')], form=form)
    assert questions.clean() is None
    assert "is not of type 'integer'" in str(questions.faults[0].message)


def test_json_of_a_large_proposal_keeps_its_types():
    many = {"rows": [{"a": 1, "b": "x", "c": [0.5], "d": True} for _ in range(200)]}

    questions = asked(many, ["/rows"], [("values/rows", '[{"a": "1", "b": 2, "c": [], "d": 1}]')])

    assert questions.clean() is None
    assert [str(one.message) for one in questions.faults] == [
        "/0/a: '1' is not of type 'integer'",
        "/0/b: 2 is not of type 'string'",
        "/0/d: 1 is not of type 'boolean'",
    ]


def test_rows_beyond_the_most_are_shown_to_be_taken_away():
    many = {"a": [1, 2, 3, 4, 5]}
    form = object_of(a={"type": "array", "items": {"type": "integer"}, "maxItems": 2})

    [part] = asked(many, ["/a"], form=form).parts
    assert len(part.rows) == 5
    questions = asked(many, ["/a"], as_sent(many, ["/a"], form=form), form=form)
    assert questions.clean() is None
    assert [str(one.message) for one in questions.faults] == ["2 at most."]


# --- Mistakes in the description ---


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ({"editable": ["/a"]}, "proposal: is missing, of which parts would be editable"),
        ({"proposal": {"a": 1}}, "editable: is missing"),
        ({"proposal": {"a": 1}, "editable": []}, "editable: is empty"),
        ({"proposal": {"a": 1}, "editable": "/a"}, "editable: must be a list"),
        ({"proposal": {"a": 1}, "editable": [1]}, "editable[0]: must be text"),
        (
            {"proposal": {"a": 1}, "editable": ["a"]},
            "editable[0]: 'a' must be a path like /lines/0/price",
        ),
        (
            {"proposal": {"a": [1]}, "editable": ["/a/1"]},
            "editable[0]: '/a/1' leads nowhere in the proposal",
        ),
        (
            {"proposal": {"a": 1}, "editable": ["/a/b"]},
            "editable[0]: '/a/b' leads nowhere in the proposal",
        ),
        ({"proposal": {"a": 1}, "editable": ["/a", "/a"]}, "editable[0]: '/a' is named twice"),
        (
            {"proposal": {"a": {"b": 1}}, "editable": ["/a", "/a/b"]},
            "editable[1]: '/a/b' lies within '/a'",
        ),
        (
            {"proposal": {"a": {"b": 1}}, "editable": ["/a"], "secrets": ["/proposal/a/b"]},
            "editable[0]: '/a' is secret, so that nobody could edit it",
        ),
        (
            {"proposal": {"__py_pickle": 1}, "editable": ["/__py_pickle"]},
            "proposal: names __py_pickle",
        ),
        (
            {"proposal": {"a": 1}, "editable": ["/a"], "form": {"django": "x"}},
            "form: must be a schema beside a proposal",
        ),
    ],
)
def test_wrong_proposal_is_refused_with_its_path(description, problem):
    with pytest.raises(DescriptionError) as caught:
        parse_description({"schema": 1, "title": "T"} | description)

    assert str(caught.value) == f"human_task.{problem}"


# --- Differences ---


def test_difference_lists_every_part_that_is_not_as_it_was():
    old = {"a": 1, "b": [1, {"c": "x"}], "d": None, "e/f": True}
    new = {"a": 1.0, "b": [1, {"c": "y"}, 5], "e/f": 1, "g": {}}

    assert [one.as_json() for one in difference(old, new)] == [
        {"path": "/a", "old": 1, "new": 1.0},
        {"path": "/b/1/c", "old": "x", "new": "y"},
        {"path": "/b/2", "new": 5},
        {"path": "/d", "old": None},
        {"path": "/e~1f", "old": True, "new": 1},
        {"path": "/g", "new": {}},
    ]


def test_lines_of_the_table_have_names_for_people():
    [row] = side_by_side([Change("/line_items/0/unit-price", 1, 2).as_json()])

    assert row == ("Line items / 1 / Unit price", 1, 2)
    assert label_of("") == ""


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(-1e9, 1e9)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_no_difference_to_itself(value):
    assert difference(value, value) == ()


@given(json_values, json_values)
def test_difference_is_empty_only_for_what_is_the_same(one, other):
    assert (difference(one, other) == ()) is same(one, other)


keys = st.text("ab/~ é", min_size=1, max_size=3)
proposals = st.dictionaries(keys, json_values, min_size=1, max_size=3)


@given(proposals, st.data())
def test_proposal_survives_its_form(proposal, data):
    if "\0" in json.dumps(proposal) or "\\u0000" in json.dumps(proposal):
        return
    key = data.draw(st.sampled_from(sorted(proposal)))
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")

    assert same(values_of(proposal, [pointer], as_sent(proposal, [pointer])), proposal)


# --- On the page ---


def test_page_shows_what_is_proposed_beside_the_fields_and_the_rest_as_facts(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total", "/customer"])

    page = mia.get(task_url("q")).text

    assert 'name="values/total"' in page
    assert 'value="42"' in page
    assert page.count("Proposed") == 2
    assert "Lines / 1 / Text" in page
    assert "Ink" in page


def test_page_says_what_is_proposed_in_the_words_of_the_choices(mia):
    titled = [{"const": 1, "title": "One"}, {"const": 2, "title": "Two"}]
    form = object_of(n={"oneOf": titled}, ns={"type": "array", "items": {"oneOf": titled}})
    ask("q", users=["mia"], proposal={"n": 2, "ns": [2, 1]}, editable=["/n", "/ns"], form=form)

    page = mia.get(task_url("q")).text

    assert [
        line.partition("</span> ")[2].partition("</span>")[0]
        for line in page.splitlines()
        if "part-old-label" in line
    ] == ["Two", "Two, One"]


def test_edited_proposal_is_handed_back(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total", "/lines"])

    data = dict(as_sent(ORDER, ["/total"]))
    lines = {"values/lines": ["0"], "values/lines/0/text": "Ink", "values/lines/0/count": "9"}
    response = answer(mia, "q", filled="1", **data | {"values/total": "17"} | lines)

    assert response.status_code == 303
    found = unpack(Promise.objects.get(pk="q").value_data)["values"]
    assert same(found, ORDER | {"total": 17, "lines": [{"text": "Ink", "count": 9}]})


def test_difference_is_kept_and_shown_side_by_side(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total", "/matrix"])
    data = {"values/total": "17", "values/matrix": ["0"], "values/matrix/0/0": "1"}

    answer(mia, "q", filled="1", **data)

    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert entry.details["changes"] == [
        {"path": "/total", "old": 42, "new": 17},
        {"path": "/matrix/0/1", "old": 2},
        {"path": "/matrix/1", "old": [3]},
    ]
    page = mia.get(task_url("q")).text
    assert "<del>42</del>" in page
    assert "<ins>17</ins>" in page
    assert "Matrix / 1 / 2" in page


def test_answer_that_changes_nothing_has_no_difference(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total"])

    answer(mia, "q")

    assert "changes" not in AuditEntry.objects.get(target="q", is_effective=True).details
    assert "<del>" not in mia.get(task_url("q")).text


def test_secret_parts_are_masked_on_the_page_and_in_the_difference(mia):
    salaries = {"salary": 4200, "name": "Jon", "bonus": 1}
    ask(
        "q",
        users=["mia"],
        proposal=salaries,
        editable=["/bonus"],
        secrets=["/proposal/salary", "/values/bonus"],
    )
    assert "4200" not in mia.get(task_url("q")).text

    answer(mia, "q", **{"filled": "1", "values/bonus": "977"})

    assert unpack(Promise.objects.get(pk="q").value_data)["values"] == salaries | {"bonus": 977}
    assert "977" not in str(AuditEntry.objects.get(target="q", is_effective=True).details)
    assert "977" not in mia.get(task_url("q")).text


def test_day_that_is_proposed_reads_like_one(mia):
    form = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
    ask("q", users=["mia"], proposal={"day": "2026-12-15"}, editable=["/day"], form=form)

    assert "15 Dec 2026</span>" in mia.get(task_url("q")).text


def test_wrong_edit_settles_nothing(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total"])

    response = answer(mia, "q", **{"filled": "1", "values/total": "1.5"})

    assert response.status_code == 422
    assert 'value="1.5"' in response.text
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING


def test_approval_by_button_alone_hands_back_the_proposal(mia):
    ask("q", users=["mia"], proposal=ORDER, editable=["/total"])

    answer(mia, "q")

    assert same(unpack(Promise.objects.get(pk="q").value_data)["values"], ORDER)
