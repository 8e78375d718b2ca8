"""The published schemas, against the readers: as far as a JSON Schema can say it, they agree."""

import copy
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import dashboard
from dashboard.descriptions.description import parse_description
from dashboard.descriptions.policy import read_policy
from dashboard.descriptions.reading import DescriptionError
from tests.dashboard.policies import any_policy

pytestmark = pytest.mark.once

BATCHES = pytest.mark.parametrize(
    "batch", [0, *(pytest.param(batch, marks=pytest.mark.slow) for batch in range(1, 4))]
)

FOLDER = Path(dashboard.__file__).parent / "schemas"
SCHEMAS = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)
POLICY = Draft202012Validator(SCHEMAS["policy.json"], registry=REGISTRY)
TASK = Draft202012Validator(SCHEMAS["human-task.json"], registry=REGISTRY)

UNSAYABLE = (
    "can never be fulfilled",
    "can be fulfilled in more than",
    "must be a whole number from 1 to",  # of what there is to choose from, see below
    "makes it more than",
    "comes after",
    "is nested more than",
)
"""What the policy's reader knows beyond its schema."""

WHOLE = {
    "all_of": [
        {"user": "mia", "label": "The boss"},
        {"group": "finance", "count": 2, "after": "PT4H"},
        {"permission": "shop.pay"},
        {"n_of": 1, "of": [{"anyone": True}, {"user": "jon"}]},
        {
            "weight": 3,
            "of": [{"weight": 3, "group": "legal"}, {"weight": 2, "any_of": [{"user": "x"}]}],
        },
        {"stages": [{"user": "ann"}, {"group": "board", "count": 1}], "label": "Then"},
    ],
    "veto": [{"user": "eve", "label": "Eve"}, {"permission": "shop.stop"}, {"anyone": True}],
    "reject": {"count": 2},
    "distinct": True,
}
FULL = {
    "schema": 1,
    "title": "Pay invoice 4711",
    "question": "Is it right?",
    "consequence": "Pays.",
    "context": "# More",
    "facts": {"Amount": 4200},
    "summary": ["Amount"],
    "type": "invoice",
    "priority": "high",
    "users": ["mia"],
    "groups": ["finance"],
    "permission": "shop.pay",
    "deciders": ["owners"],
    "policy": {"group": "finance", "count": 2},
    "separation": {"starter": False, "others": ["other-1"]},
    "answers": [
        "approve",
        {"name": "reject", "approves": False, "label": "No", "comment": "required"},
        {"name": "later", "label": "Later", "style": "danger", "settles": "reject", "form": "none"},
        {"name": "more", "label": "More", "approves": True, "consequence": "Much more."},
        "rework",
    ],
    "form": {"type": "object", "properties": {"amount": {"type": "number"}}},
    "secrets": ["/facts/Amount"],
    "due": "2026-05-31T14:00:00Z",
    "follow_up": "2026-05-30T14:00:00Z",
    "expires": "2026-06-30T14:00:00Z",
    "on_expiry": {"resolve": {"approved": False}},
    "reminders": [{"at": "50%"}, {"at": "due-PT2H"}, {"before": "P1D"}, {"after": "PT1.5S"}],
    "ladder": [
        {"at": "due+PT2H", "add": {"groups": ["board"]}},
        {"after": "P3D", "tell": {"users": ["eve"]}},
    ],
    "restart_on_reassign": True,
    "calendar": {"hours": "09:00-17:00", "days": [1, 2], "zone": "UTC", "holidays": ["2026-12-25"]},
    "previous": "question-1",
    "round": 2,
    "rounds": 3,
    "draft_follows": True,
    "confirm": {"text": "4711", "label": "The last four digits"},
    "undo": 10,
    "release_after": "PT4H",
    "colour": "blue",
}
ODD_VALUES = (
    None, True, False, 0, 1, -1, 101, 1001, 1.5, 1.0, 2.0, "", " ", "x", "x" * 61, "x" * 101,
    "x" * 301, "x" * 20_001, "/a", "a.b", "PT1H", "P", "50%", "101%", "due", "any", "reject",
    "high", [], [[]], ["x"], [""], ["x", 1], ["a"] * 201, ["/a"], [{"user": "mia"}], [{"count": 1}],
    {}, {"": 1},
    {"count": 1}, {"user": "mia"}, {"resolve": None}, {"users": ["a"]}, {"name": "x"},
)  # fmt: skip
ODD_KEYS = ("count", "label", "after", "weight", "veto", "n_of", "user", "all_of", "of", "colour")


def problem_of(read: Any, value: Any) -> str:
    try:
        read(value, "path")
    except DescriptionError as error:
        return str(error)
    return ""


def read_task(value: Any, path: str) -> Any:
    return parse_description(value, path=path)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return everything in a value: what it is in, and its key there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in entries:
        yield value, key
        if isinstance(one, (dict, list)):
            yield from places(one)


def spoil(value: Any, random: Random) -> Any:
    """Return a copy with something in it changed, added or left out."""
    spoilt = copy.deepcopy(value)
    if not spoilt:
        return spoilt
    inside, key = random.choice(list(places(spoilt)))
    match random.randrange(3):
        case 0:
            inside[key] = random.choice(ODD_VALUES)
        case 1:
            del inside[key]
        case _:
            target = inside[key] if isinstance(inside[key], dict) else inside
            if isinstance(target, dict):
                target[random.choice(ODD_KEYS)] = random.choice(ODD_VALUES)
    return spoilt


@pytest.mark.parametrize("name", ["human-task.json", "policy.json"])
def test_schemas_are_schemas(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_all_that_may_be_said_is_accepted():
    for read, schema, value in ((read_policy, POLICY, WHOLE), (read_task, TASK, FULL)):
        assert problem_of(read, value) == ""
        assert list(schema.iter_errors(value)) == []


def test_what_the_documentation_shows_is_accepted():
    page = (FOLDER.parents[1] / "docs" / "human-tasks.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    assert problem_of(read_task, json.loads(example)) == ""
    assert TASK.is_valid(json.loads(example))


@pytest.mark.parametrize(
    ("more", "is_valid"),
    [
        ({"proposal": {"amount": 1}, "editable": ["/amount"], "form": None}, True),
        ({"proposal": 1, "editable": [""], "form": None}, True),
        ({"proposal": {"amount": 1}}, False),
        ({"editable": ["/amount"]}, False),
        ({"proposal": None, "editable": ["/amount"]}, False),
        ({"proposal": {"amount": 1}, "editable": []}, False),
        ({"proposal": {"amount": 1}, "editable": ["amount"]}, False),
        ({"proposal": {"amount": 1}, "editable": ["/amount", "/amount"]}, False),
    ],
)
def test_proposals_come_with_what_is_editable(more, is_valid):
    assert (problem_of(read_task, FULL | more) == "") is is_valid
    assert TASK.is_valid(FULL | more) is is_valid


@pytest.mark.parametrize(
    ("more", "is_valid"),
    [
        ({"confirm": {"password": True}}, True),
        ({"confirm": {"password": True, "text": None, "label": "Yours"}}, True),
        ({"confirm": {"password": False}}, False),
        ({"confirm": {"password": True, "text": "4711"}}, False),
        ({"confirm": {}}, False),
        ({"confirm": "password"}, False),
        ({"undo": 30}, True),
        ({"undo": 31}, False),
        ({"undo": 0}, False),
        ({"undo": True}, False),
        ({"release_after": "P1D"}, True),
        ({"release_after": "4 hours"}, False),
    ],
)
def test_what_an_answer_has_to_pass(more, is_valid):
    assert (problem_of(read_task, FULL | more) == "") is is_valid
    assert TASK.is_valid(FULL | more) is is_valid


@pytest.mark.parametrize("length", ["PT59S", "P367D"])
def test_how_long_nobody_need_be_heard_of(length):
    assert "must be from a minute to a year" in problem_of(
        read_task, FULL | {"release_after": length}
    )


def test_the_wheel_carries_the_schemas(tmp_path):
    root = FOLDER.parents[1]
    [wheel] = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])

    with zipfile.ZipFile(wheel) as files:
        assert {f"dashboard/schemas/{name}" for name in SCHEMAS} <= set(files.namelist())
    assert SCHEMAS.keys() == {"human-task.json", "policy.json"}


def test_every_key_of_the_schema_is_in_the_example():
    """So that a key of the reader that the schema lacks, or the other way round, is seen here."""
    known = set(SCHEMAS["human-task.json"]["properties"])

    assert known == FULL.keys() - {"colour"} | {"proposal", "editable"}


def paths(value: Any, path: str, *keys: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Return everything in a value: its path as errors have it, and the keys that lead to it."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in entries:
        at = f"{path}.{key}" if isinstance(value, dict) else f"{path}[{key}]"
        yield at, (*keys, key)
        if isinstance(one, (dict, list)):
            yield from paths(one, at, *keys, key)


def test_whatever_is_wrong_is_named_by_its_path():
    """A number with a fraction is right for nothing of all that may be said but plain values."""
    proposed = {"form": None, "proposal": {"amount": 1}, "editable": ["/amount"]}
    whole = FULL | {"policy": WHOLE}
    free = ("facts.Amount", "colour", "on_expiry.resolve", "proposal")
    for task in (whole, whole | proposed):
        for path, (*keys, last) in paths(task, "path"):
            if path.startswith(tuple(f"path.{one}" for one in free)):
                continue
            wrong = copy.deepcopy(task)
            inside = wrong
            for key in keys:
                inside = inside[key]
            inside[last] = 1.5
            assert problem_of(read_task, wrong).startswith(f"{path}: ")
            assert not TASK.is_valid(wrong) or path.startswith("path.form."), path


@pytest.mark.parametrize("key", sorted(FULL.keys() - {"schema", "title"}))
def test_null_is_as_good_as_no_entry(key):
    value = FULL | {key: None}
    if key == "expires":
        value["on_expiry"] = None
    if key == "due":
        value["reminders"] = value["ladder"] = None

    assert problem_of(read_task, value) == ""
    assert TASK.is_valid(value)


@BATCHES
def test_policies_are_accepted_as_the_reader_accepts_them(batch):
    random = Random(batch)
    accepted = refused = 0
    for number in range(400):
        policy = any_policy(random) if number % 2 else copy.deepcopy(WHOLE)
        for _ in range(number % 3):
            policy = spoil(policy, random)
        problem = problem_of(read_policy, policy)
        is_valid = POLICY.is_valid(policy)
        if problem and any(words in problem for words in UNSAYABLE):
            continue
        assert is_valid is not bool(problem), (policy, problem)
        accepted += is_valid
        refused += not is_valid
    assert accepted > 50
    assert refused > 50


@pytest.mark.parametrize(
    ("policy", "is_valid"),
    [
        ({"n_of": 0, "of": [{"user": "mia"}]}, False),
        ({"group": "g", "count": 0}, False),
        ({"group": "g", "count": 101}, False),
        ({"weight": 1, "of": [{"weight": 0, "user": "mia"}]}, False),
        ({"user": "mia", "reject": {"count": 0}}, False),
        ({"n_of": 2, "of": [{"user": "mia"}]}, True),  # a schema cannot count what there is
    ],
)
def test_bounds_of_numbers(policy, is_valid):
    assert problem_of(read_policy, policy)
    assert POLICY.is_valid(policy) is is_valid


UNSAYABLE_OF_TASKS = (
    *UNSAYABLE[:2],
    "must be a time like",
    "must be a day like",
    "must be a time zone",
    "names an answer twice",
    "must end after they begin",
    "needs due",
    "needs expires",
    "needs due or expires",
    "is too far away",
    "is longer than ten years",
    "must not have the key",
    "path.form",
    "is named twice",
    "leads nowhere",
    "lies within",
    "must be from a minute to a year",
)


@BATCHES
def test_tasks_are_accepted_as_the_reader_accepts_them(batch):
    random = Random(batch)
    accepted = refused = 0
    for number in range(400):
        task = FULL
        for _ in range(number % 2 + 1):
            task = spoil(task, random)
        problem = problem_of(read_task, task)
        if problem and any(words in problem for words in UNSAYABLE_OF_TASKS):
            continue
        is_valid = TASK.is_valid(task)
        assert is_valid is not bool(problem), (task, problem)
        accepted += is_valid
        refused += not is_valid
    assert accepted > 50
    assert refused > 50
