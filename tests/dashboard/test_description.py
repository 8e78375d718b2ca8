import pytest

from dashboard.descriptions.description import Fact, parse_description, read_description
from dashboard.descriptions.reading import MAX_DEPTH, DescriptionError
from durable.workflow import decisions
from tests.dashboard.people import pack

FULL = {
    "schema": 1,
    "title": "  Pay invoice\n4711 ",
    "question": "Is the amount right?",
    "consequence": "Approving pays 4 200 EUR.",
    "facts": {"Amount": 4200.5, "Paid": False, "Lines": [1, 2]},
    "users": ["mia", "jon", "mia"],
    "groups": ["finance"],
    "due": "2026-05-31T14:00:00Z",
    "colour": "blue",
}


def test_description_is_read_from_the_param():
    found = read_description(pack({"func": "f", "human_task": FULL}), {})

    assert found.title == "Pay invoice 4711"
    assert found.question == "Is the amount right?"
    assert found.consequence == "Approving pays 4 200 EUR."
    assert found.facts == (Fact("Amount", 4200.5), Fact("Paid", False), Fact("Lines", [1, 2]))
    assert found.users == ("mia", "jon")
    assert found.groups == ("finance",)
    assert found.due_at == 1780236000000


def test_description_of_an_approval_is_right():
    described = decisions.describe(
        "Pay?",
        question=None,
        users=["mia"],
        groups="finance",
        facts={"Amount": 1},
        consequence="Pays.",
        rest={"priority": "high"},
    )
    found = read_description(pack(decisions.to_param(described, 1_780_236_000_123)), {})

    assert (found.title, found.users, found.groups) == ("Pay?", ("mia",), ("finance",))
    assert found.due_at == 1_780_236_000_123
    assert found.priority == 1


def test_unknown_keys_are_kept():
    assert parse_description(FULL).raw["colour"] == "blue"


@pytest.mark.parametrize(
    "tag", ['{"schema": 1, "title": "T"}', '{"human_task": {"schema": 1, "title": "T"}}']
)
def test_description_is_read_from_the_tag(tag):
    assert read_description(None, {"signoff:task": tag}).title == "T"


def test_param_goes_before_the_tag():
    tag = '{"schema": 1, "title": "tag"}'
    param = pack({"human_task": {"schema": 1, "title": "param"}})

    assert read_description(param, {"signoff:task": tag}).title == "param"


@pytest.mark.parametrize("param", [None, "", "no base64!", "bm8ganNvbg==", pack({}), pack([1])])
def test_promise_without_description_says_nothing(param):
    assert read_description(param, {"resonate:external": "true"}) is None


def test_facts_may_be_pairs():
    facts = [["Amount", "4 200 EUR"], ["Amount", "again"]]

    assert parse_description({"schema": 1, "title": "T", "facts": facts}).facts == (
        Fact("Amount", "4 200 EUR"),
        Fact("Amount", "again"),
    )


def test_null_is_as_good_as_no_entry():
    described = {"schema": 1, "title": "T", "due": None, "users": None, "facts": None}

    assert parse_description(described).users == ()


def test_time_without_zone_is_utc():
    described = {"schema": 1, "title": "T", "due": "2026-05-31T14:00:00"}

    assert parse_description(described).due_at == 1780236000000


def nested(depth):
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schema": None}, "human_task.schema: is missing"),
        ({"schema": 2}, "human_task.schema: must be 1"),
        ({"schema": True}, "human_task.schema: must be 1"),
        ({"title": None}, "human_task.title: is missing"),
        ({"title": "  "}, "human_task.title: is empty"),
        ({"title": 7}, "human_task.title: must be text"),
        ({"title": "x" * 301}, "human_task.title: is longer than 300 characters"),
        ({"question": []}, "human_task.question: must be text"),
        ({"users": "mia"}, "human_task.users: must be a list"),
        ({"users": ["mia", 7]}, "human_task.users[1]: must be text"),
        ({"groups": [""]}, "human_task.groups[0]: is empty"),
        ({"groups": ["x"] * 201}, "human_task.groups: has more than 200 entries"),
        ({"facts": "x"}, "human_task.facts: must be an object or a list of [label, value]"),
        ({"facts": [["a", 1], ["b"]]}, "human_task.facts[1]: must be a pair [label, value]"),
        ({"facts": [[1, 1]]}, "human_task.facts[0][0]: must be text"),
        ({"due": "soon"}, "human_task.due: must be a time like 2026-05-31T14:00:00Z"),
        (
            {"due": "9999-12-31T23:59:59-01:00"},
            "human_task.due: must be a time like 2026-05-31T14:00:00Z",
        ),
        ({"due": 17}, "human_task.due: must be a time like 2026-05-31T14:00:00Z"),
        ({"more": {"a": ["x\0"]}}, "human_task.more.a[0]: contains a null character"),
        ({"facts": {"a\0": 1}}, "human_task.facts: contains a null character"),
        ({"more": "x" * 300_000}, "human_task: is larger than 64 KiB"),
        (
            {"more": nested(40)},
            f"human_task.more{'[0]' * MAX_DEPTH}: is nested more than {MAX_DEPTH} deep",
        ),
    ],
)
def test_error_names_the_path(wrong, message):
    with pytest.raises(DescriptionError) as caught:
        parse_description(FULL | wrong)

    assert str(caught.value) == message


def test_title_survives_an_error_elsewhere():
    with pytest.raises(DescriptionError) as caught:
        parse_description(FULL | {"due": "soon"})

    assert caught.value.title == "Pay invoice 4711"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("[]", "signoff:task: must be an object"),
        ('{"human_task": 1}', "signoff:task.human_task: must be an object"),
        ('{"schema": 1}', "signoff:task.title: is missing"),
        ("{", "signoff:task: is not JSON (Input data was truncated)"),
        ('{"x": "\\ud800"}', "signoff:task: is not JSON"),
        ('{"x": NaN}', "signoff:task: is not JSON"),
        ('{"x": 1e999}', "signoff:task: is not JSON"),
        ("[" * 5000, "signoff:task: is not JSON"),
    ],
)
def test_wrong_tag_is_an_error(tag, message):
    with pytest.raises(DescriptionError) as caught:
        read_description(None, {"signoff:task": tag})

    assert str(caught.value).startswith(message)
