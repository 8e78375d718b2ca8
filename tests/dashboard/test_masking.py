"""Secret values stay secret, wherever a question is shown."""

import pytest

from dashboard.masking import MASK, is_secret, mask, mask_description
from dashboard.models import Action, AuditEntry, HumanTask
from dashboard.payloads import decode, preview
from tests.dashboard.people import (
    ask,
    client_of,
    make_operator,
    make_user,
    pack,
    past,
    task_url,
)

SECRET = "61,000 EUR"


@pytest.mark.parametrize(
    ("document", "paths", "masked"),
    [
        ({"a": 1, "b": 2}, ["/a"], {"a": MASK, "b": 2}),
        ({"a": {"b": [1, 2]}}, ["/a/b/0"], {"a": {"b": [MASK, 2]}}),
        (
            {"a": [{"x": 1, "y": 2}, {"x": 3}]},
            ["/a/*/x"],
            {"a": [{"x": MASK, "y": 2}, {"x": MASK}]},
        ),
        (
            {"facts": [["Pay", 1], ["Start", 2]]},
            ["/facts/Pay"],
            {"facts": [["Pay", MASK], ["Start", 2]]},
        ),
        ({"a/b": 1}, ["/a~1b"], {"a/b": MASK}),
        ({"a": 1}, ["/nothing/here"], {"a": 1}),
        ({"a": {"b": 1}}, ["/a"], {"a": MASK}),
    ],
)
def test_paths(document, paths, masked):
    assert mask(document, paths) == masked


def test_what_lies_below_a_secret_is_secret():
    assert is_secret("/values/card/number", ["/values/card"])
    assert is_secret("/items/3/price", ["/items/*/price"])
    assert not is_secret("/values", ["/values/card"])


def test_a_payload_is_masked_and_its_beginning_not_shown():
    description = {"schema": 1, "title": "T", "facts": {"Pay": SECRET}, "secrets": ["/facts/Pay"]}
    data = pack({"human_task": description})

    assert SECRET not in str(decode(data).value)
    assert SECRET not in preview(data)
    assert SECRET not in preview(data[: len(data) // 2])
    assert mask_description({"title": "T", "secrets": "nonsense"})["title"] == "T"


@pytest.fixture
def task(db):
    return ask(
        "q",
        users=["mia", "rea"],
        facts={"Salary": SECRET, "Start": "1 March"},
        secrets=["/facts/Salary"],
    )


def test_pages_mask_and_who_may_reveals_with_a_row(task):
    mia = client_of(make_user("mia", rights=("view_executions",)))
    rea = client_of(make_user("rea", rights=("reveal_secrets",)))

    for page in ("/inbox/", task_url(task), "/executions/", f"/executions/{task}/"):
        assert SECRET not in mia.get(page, follow=True).text, page
    assert "Show secret values" not in mia.get(task_url(task)).text
    assert mia.post(f"{task_url(task)}reveal/").status_code == 404
    assert not AuditEntry.objects.exists()

    assert SECRET not in rea.get(task_url(task)).text
    assert SECRET in rea.post(f"{task_url(task)}reveal/").text
    assert SECRET not in rea.get(task_url(task)).text
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor.username, entry.details) == (
        Action.REVEAL,
        "rea",
        {"paths": ["/facts/Salary"]},
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"facts": [["only one"]]},
        {"expires": "2100-01-01T00:00Z"},
        {"form": {"django": "nothing"}},
        {"deciders": ["nobody"]},
    ],
)
def test_a_secret_title_stays_so_when_the_description_has_a_mistake(db, wrong):
    ask("q", title="Salary of Eve", secrets=["/title"], timeout_at=past(-1), **wrong)
    olga = client_of(make_operator())

    for page in (olga.get("/inbox/").text, olga.get(task_url("q")).text):
        assert "Salary of Eve" not in page
        assert MASK in page
    assert HumanTask.objects.get().problem
