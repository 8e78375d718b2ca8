"""Answers that come as JSON: the same as those that people give on the page."""

import base64
import json

import pytest
from django.db import connection

from dashboard import holding
from dashboard.answer_forms.questions import ROOT
from dashboard.answering import Actor, Answer
from dashboard.api import tokens
from dashboard.decisions import decide
from dashboard.descriptions.schema import read_schema
from dashboard.models import Action, AuditEntry, Draft, HeldAnswer, HumanTask, SignIn, Vote
from dashboard.rights import RefusedError
from durable.models import Promise
from tests.dashboard.calling import Program
from tests.dashboard.factories import pass_time
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
    unpack,
)
from tests.dashboard.posting import sent_for

pytestmark = pytest.mark.django_db

FORM = {
    "type": "object",
    "required": ["count", "agree"],
    "properties": {
        "count": {"type": "integer", "minimum": 1},
        "rate": {"type": "number"},
        "price": {"type": "string", "format": "decimal"},
        "agree": {"type": "boolean", "const": True},
        "note": {"type": "string", "maxLength": 20},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "mail": {"type": "string", "format": "email"},
        "size": {"enum": ["S", "M", 3]},
        "colours": {"type": "array", "items": {"enum": ["red", "blue", 7]}, "uniqueItems": True},
        "kind": {"const": "order"},
        "any": {},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["sku"],
                "properties": {"sku": {"type": "string"}, "pieces": {"type": "integer"}},
            },
        },
    },
}
VALUES = {
    "count": 3,
    "rate": 2.5,
    "price": "12.50",
    "agree": True,
    "note": "all of it",
    "day": "2026-05-31",
    "at": "2026-05-31T14:00:00Z",
    "mail": "mia@example.org",
    "size": 3,
    "colours": ["red", 7],
    "kind": "order",
    "any": {"deep": [1, 2.0, None, "x"], "whole": 1},
    "address": {"city": "Bonn"},
    "lines": [{"sku": "a", "pieces": 1}, {"sku": "b"}],
}


@pytest.fixture
def mia():
    return make_user("mia", groups=("finance",), first_name="Mia")


@pytest.fixture
def program(mia):
    return Program(mia)


def value_of(promise_id):
    return unpack(Promise.objects.get(pk=promise_id).value_data)


def errors(response, status=422):
    assert response.status_code == status, response.content
    return {one["path"]: one["message"] for one in response.json()["errors"]}


def page_fields(form, values):
    found = {}
    for name, text in sent_for(read_schema(form, "form"), values, ROOT):
        found.setdefault(name, []).append(text)
    return found | {"filled": "1"}


# --- Page and API alike ---


def test_page_and_api_settle_alike(mia, program):
    ask("by-page", users=["mia"], form=FORM)
    ask("by-api", users=["mia"], form=FORM)

    fields = page_fields(FORM, VALUES)
    assert answer(client_of(mia), "by-page", comment="fine", **fields).status_code == 303
    response = program.answer("by-api", comment="fine", values=VALUES)

    assert response.status_code == 200, response.content
    assert response.json()["verdict"] == "settled"
    stored = [Promise.objects.get(pk=one).value_data for one in ("by-page", "by-api")]
    assert stored[0] == stored[1]
    assert json.dumps(value_of("by-api")["values"], sort_keys=True) == json.dumps(
        VALUES, sort_keys=True
    )
    by_page, by_api = (
        AuditEntry.objects.get(target=one, is_effective=True) for one in ("by-page", "by-api")
    )
    assert by_page.payload_hash == by_api.payload_hash
    assert (by_page.sign_in, by_api.sign_in) == (SignIn.SESSION, SignIn.TOKEN)


@pytest.mark.parametrize("choice", ["approve", "reject", "rework"])
def test_answers_without_a_form_settle_alike(mia, program, choice):
    for one in ("by-page", "by-api"):
        ask(one, users=["mia"], answers=["approve", "reject", "rework"])

    answer(client_of(mia), "by-page", choice, comment="so")
    assert program.answer("by-api", choice, comment="so").status_code == 200

    pages, api = (Promise.objects.get(pk=one) for one in ("by-page", "by-api"))
    assert (pages.state, pages.value_data) == (api.state, api.value_data)


PROPOSAL = {"amount": 100, "rate": 1.0, "paid": False, "to": {"name": "Acme"}, "tags": ["a", "b"]}


def test_an_edited_proposal_keeps_its_types_and_what_is_left_out(program):
    ask("q", users=["mia"], proposal=PROPOSAL, editable=["/amount", "/paid", "/tags", "/rate"])

    assert program.answer("q", values={"amount": 90, "paid": True}).status_code == 200

    values = value_of("q")["values"]
    assert values == PROPOSAL | {"amount": 90, "paid": True}
    assert type(values["rate"]) is float
    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert {one["path"] for one in entry.details["changes"]} == {"/amount", "/paid"}


def test_the_whole_proposal_may_be_sent_back(program):
    ask("q", users=["mia"], proposal=PROPOSAL, editable=["/tags"])

    assert program.answer("q", values=PROPOSAL | {"tags": ["c"]}).status_code == 200
    assert value_of("q")["values"]["tags"] == ["c"]


def test_what_is_not_editable_cannot_be_changed(program):
    ask("q", users=["mia"], proposal=PROPOSAL, editable=["/amount"])

    found = errors(program.answer("q", values={"amount": 1, "to": {"name": "Me"}, "new": 1}))

    assert found == {
        "values.to.name": "This part cannot be changed.",
        "values.new": "This part cannot be changed.",
    }


def test_what_the_schema_says_nothing_of_goes_along_with_its_row(program):
    line = {
        "type": "object",
        "properties": {"id": {"readOnly": True}, "count": {"type": "integer"}},
    }
    form = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": line},
            "at": {"type": "string", "format": "date-time"},
        },
    }
    at = "2026-05-31T14:00:00+02:00"
    lines = [{"id": one, "text": f"t{one}", "count": 1} for one in (1, 2, 3)]
    for one in ("q", "r"):
        ask(
            one,
            users=["mia"],
            proposal={"lines": lines, "at": at},
            editable=["/lines", "/at"],
            form=form,
        )

    kept = [{"id": 3, "text": "t3", "count": 9}, {"text": "t2", "count": 1}, {"count": 5}]
    assert program.answer("q", values={"lines": kept, "at": at}).status_code == 200
    assert value_of("q")["values"]["lines"] == [
        {"id": 3, "text": "t3", "count": 9},
        {"id": 2, "text": "t2", "count": 1},
        {"id": 1, "text": "t1", "count": 5},
    ]
    assert value_of("q")["values"]["at"] == at
    other = [{"id": 4, "text": "t4", "count": 1}]
    assert errors(program.answer("r", values={"lines": other})) == {
        "values.lines[0].id": "This part cannot be changed.",
        "values.lines[0].text": "Nothing of this name is asked for.",
    }


def test_a_proposal_that_is_a_list(program):
    ask("q", users=["mia"], proposal=[1, 2], editable=["/0"])

    assert program.answer("q", values={"proposal": [5, 2]}).status_code == 200
    assert value_of("q")["values"] == {"proposal": [5, 2]}


def test_without_values_a_question_is_answered_as_it_begins(program):
    form = {"type": "object", "properties": {"n": {"type": "integer", "default": 4}}}
    ask("q", users=["mia"], form=form)

    assert program.answer("q").status_code == 200
    assert value_of("q")["values"] == {"n": 4}


def test_conditions_choose_what_is_asked(program):
    form = {
        "type": "object",
        "required": ["how"],
        "properties": {"how": {"enum": ["card", "bank"]}},
        "if": {"properties": {"how": {"const": "bank"}}},
        "then": {"properties": {"iban": {"type": "string"}}, "required": ["iban"]},
    }
    ask("q", users=["mia"], form=form)

    assert errors(program.answer("q", values={"how": "bank"})) == {"values.iban": "Fill this in."}
    assert program.answer("q", values={"how": "bank", "iban": "DE1"}).status_code == 200
    assert value_of("q")["values"] == {"how": "bank", "iban": "DE1"}


def test_a_form_of_the_project_takes_json(program, settings):
    settings.SIGNOFF_FORMS = {"refund": "tests.dashboard.test_api_answers.RefundForm"}
    ask("q", users=["mia"], form={"django": "refund"})

    wrong = errors(program.answer("q", values={"amount": "x", "else": 1}))
    assert wrong["values.amount"] == "Enter a number."
    assert wrong["values.else"] == "Nothing of this name is asked for."
    assert {"values.why", "values.receipt"} <= wrong.keys()
    receipt = {"name": "a.txt", "type": "text/plain", "base64": base64.b64encode(b"hi").decode()}
    values = {"amount": "12.50", "why": ["late"], "is_final": True, "receipt": receipt}
    assert program.answer("q", values=values).status_code == 200

    assert value_of("q")["values"] == values


def test_a_file_comes_as_base64(program):
    form = {
        "type": "object",
        "required": ["scan"],
        "properties": {
            "scan": {
                "type": "string",
                "contentEncoding": "base64",
                "contentMediaType": "text/plain",
            }
        },
    }
    ask("q", users=["mia"], form=form)
    scan = {"name": "a.txt", "type": "text/plain", "base64": "aGk="}

    assert "values.scan" in errors(program.answer("q", values={"scan": "aGk="}))
    assert "values.scan" in errors(program.answer("q", values={"scan": {"name": "a"}}))
    assert program.answer("q", values={"scan": scan}).status_code == 200
    assert value_of("q")["values"] == {"scan": scan}


# --- What is wrong ---


def test_all_that_is_wrong_is_listed_with_its_path(program):
    ask("q", users=["mia"], form=FORM)

    found = errors(
        program.answer(
            "q",
            values={
                "count": "3",
                "rate": True,
                "price": 12.5,
                "agree": "on",
                "note": "x" * 21,
                "day": "05/31/2026",
                "at": "2026-05-31T14:00:00",
                "size": "XL",
                "colours": "red",
                "kind": "other",
                "address": [],
                "lines": [{"sku": "a", "pieces": 1.5}, {}],
                "unknown": 1,
            },
        )
    )

    assert found == {
        "values.count": "This must be a whole number.",
        "values.rate": "This must be a number.",
        "values.price": "This must be text.",
        "values.agree": "This must be true or false.",
        "values.note": "Write 20 characters at most.",
        "values.day": "This must be a date, such as 2026-05-31.",
        "values.at": "This must be a time with its zone, such as 2026-05-31T14:00:00Z.",
        "values.size": "Choose one of these.",
        "values.colours": "This must be a list.",
        "values.kind": "This part cannot be changed.",
        "values.address": "This must be an object.",
        "values.lines[0].pieces": "This must be a whole number.",
        "values.lines[1].sku": "Fill this in.",
        "values.unknown": "Nothing of this name is asked for.",
    }
    assert Promise.objects.get(pk="q").state == "pending"


def test_an_answer_that_is_not_offered_and_a_comment_that_is_missing(program):
    ask("q", users=["mia"], answers=["approve", "rework"])

    assert errors(program.answer("q", "reject")) == {"answer": "Choose one of the answers."}
    assert errors(program.answer("q", "rework")) == {"comment": "This answer needs a comment."}
    assert errors(program.answer("q", values={"a": 1})) == {
        "values.a": "Nothing of this name is asked for."
    }
    assert errors(program.answer("q", value=7)) == {
        "value": "This question has answers of its own."
    }


@pytest.mark.parametrize("value", [7, 7.0, "text", True, [1, {"a": None}]])
def test_what_nothing_describes_takes_any_value(value):
    ask_bare("bare")

    assert Program(make_operator()).answer("bare", value=value).status_code == 200

    found = value_of("bare")
    assert (found, type(found)) == (value, type(value))


def test_the_key_that_a_worker_would_run_is_refused():
    ask_bare("bare")

    assert "value" in errors(Program(make_operator()).answer("bare", value={"__py_pickle": 1}))


# --- Rights, races, votes ---


def test_who_may_read_but_not_answer_is_told_why(mia):
    from tests.dashboard.people import child_of, start_run

    start_run("run-1", by=mia)
    ask("run-1:1", tags=child_of("run-1"), users=["mia"])

    response = Program(mia).answer("run-1:1")

    assert response.status_code == 403
    assert "second person" in response.json()["detail"]


def test_strangers_learn_nothing():
    ask("q", users=["mia"])

    assert Program(make_user("eve")).answer("q").status_code == 404
    assert Program(make_user("eve2")).answer("nothing").status_code == 404


def test_whoever_comes_late_is_told_how_it_ended(mia, program):
    jon = make_user("jon", first_name="Jon")
    ask("q", users=["mia", "jon"], form=FORM)
    answer(client_of(jon), "q", "reject", comment="no")

    for values in (VALUES, {"count": 0}):
        response = program.answer("q", values=values)
        assert response.status_code == 409
        assert response.json()["detail"].startswith("Jon rejected this")
    assert AuditEntry.objects.filter(target="q", is_effective=False).count() == 1


def test_the_same_request_again_is_the_same_answer(program):
    ask("q", users=["mia"])

    first = program.answer("q", request_key="k-1")
    again = program.answer("q", request_key="k-1")

    assert [one.json()["verdict"] for one in (first, again)] == ["settled", "repeated"]
    assert AuditEntry.objects.filter(target="q").count() == 1
    assert program.answer("q", request_key="k-2").status_code == 409
    assert errors(program.answer("q", request_key="k" * 65)).keys() == {"request_key"}


def test_a_key_that_was_used_before_the_question_was_asked_anew_is_another_answer(program):
    ask("q", users=["mia"])
    program.answer("q", request_key="k-1")
    with connection.cursor() as cursor:  # pruned
        cursor.execute("delete from durable_promise where id = 'q'")
    pass_time()
    ask("q", users=["mia"])

    assert program.answer("q", request_key="k-1").json()["verdict"] == "settled"
    assert Promise.objects.get(pk="q").state == "resolved"


def test_votes_count_until_there_are_enough(mia, program):
    jon = make_user("jon")
    ask("q", policy={"all_of": [{"user": "mia"}, {"user": "jon"}]})

    voted = program.answer("q", comment="fine").json()
    assert voted["verdict"] == "voted"
    assert (voted["task"]["votes"]["approved"], voted["task"]["votes"]["needed"]) == (1, 2)
    assert [one["is_mine"] for one in voted["task"]["answers"]] == [True, False]
    assert Vote.objects.get().comment == "fine"

    done = Program(jon).answer("q").json()
    assert (done["verdict"], done["task"]["is_open"]) == ("settled", False)
    assert done["task"]["votes"]["verdict"] == "approved"


def test_an_answer_that_can_be_taken_back_is_held(program):
    ask("q", users=["mia"], undo=20)

    held = program.answer("q", comment="so", request_key="k")
    assert (held.status_code, held.json()["verdict"]) == (202, "held")
    assert held.json()["task"]["on_its_way"]["label"] == "Approve"
    assert program.post("human-tasks/q/take-back").json()["on_its_way"] is None
    assert program.get("human-tasks/q/draft").json()["fields"]["comment"] == ["so"]
    assert program.post("human-tasks/q/take-back").status_code == 409
    assert Promise.objects.get(pk="q").state == "pending"


def test_an_answer_that_was_held_and_came_too_late_says_so(program):
    ask("q", users=["mia"], undo=20)
    program.answer("q")
    settle("q")

    assert holding.send(str(HeldAnswer.objects.get().pk)) == "late"
    shown = program.get("human-tasks/q").json()
    assert (shown["not_used"], shown["on_its_way"]) == (
        "Your answer came later and was not used.",
        None,
    )


def test_a_token_that_is_revoked_as_it_answers_answers_nothing(mia, program):
    """It counted when the request came, and is revoked before the answer is in the database."""
    ask("q", users=["mia"])
    found = tokens.find(program.token)
    actor = Actor(mia, SignIn.TOKEN, token=found.pk)
    tokens.revoke(found, Actor(mia))

    with pytest.raises(RefusedError, match="was revoked"):
        decide("q", actor, Answer("approve"))
    assert Promise.objects.get(pk="q").state == "pending"


def test_an_answer_of_high_risk_is_confirmed(program):
    ask("q", users=["mia"], confirm={"text": "4711", "label": "The number"})

    assert errors(program.answer("q")).keys() == {"confirmation"}
    assert program.answer("q", confirmation="4711").status_code == 200


def test_an_answer_ends_the_draft(mia, program):
    ask("q", users=["mia"])
    assert program.put("human-tasks/q/draft", {"fields": {"comment": ["so"]}}).status_code == 200
    program.answer("q")

    assert not Draft.objects.exists()


# --- Everything else about one question ---


def test_a_question_is_shown_as_the_panel_shows_it(mia, program):
    from tests.dashboard.people import child_of, start_run

    jon = make_user("jon", first_name="Jon")
    start_run("run-1", by=jon)
    ask(
        "run-1:1",
        tags=child_of("run-1"),
        users=["mia"],
        question="Now?",
        facts={"Amount": 4200, "Salary": 9},
        secrets=["/facts/Salary"],
        due=iso(1),
        expires=iso(2),
        reminders=[{"at": "50%"}],
        form=FORM,
        type="pay",
    )

    shown = program.get("human-tasks/run-1:1").json()

    assert shown["question"] == "Now?"
    assert (shown["is_open"], shown["asked_by"], shown["deciders"]) == (True, "Jon", "Mia")
    assert shown["facts"] == [
        {"label": "Amount", "value": 4200},
        {"label": "Salary", "value": "••••••"},
    ]
    assert shown["description"]["facts"]["Salary"] == "••••••"
    assert shown["description"]["form"] == FORM
    assert [one["name"] for one in shown["answers"]] == ["approve", "reject"]
    assert shown["schedule"][0]["text"] == "Reminder"
    assert shown["expiry"].startswith("If nobody answers by")
    assert shown["may"] == {
        "answer": True,
        "cannot_answer": "",
        "claim": True,
        "release": False,
        "hand_over": True,
        "ask": True,
        "reply": False,
        "reveal": False,
    }
    assert [one["text"] for one in shown["history"]] == ["Asked"]


def test_secrets_are_shown_to_those_with_the_right_and_each_look_is_noted(program):
    ask("q", users=["mia", "rita"], facts={"Salary": 9}, secrets=["/facts/Salary"])
    rita = Program(make_user("rita", rights=("reveal_secrets",)))

    assert program.post("human-tasks/q/reveal").status_code == 404
    shown = rita.post("human-tasks/q/reveal").json()

    assert shown["facts"] == [{"label": "Salary", "value": 9}]
    assert rita.get("human-tasks/q").json()["facts"][0]["value"] == "••••••"
    entry = AuditEntry.objects.get(action=Action.REVEAL)
    assert (entry.actor_name, entry.sign_in) == ("rita", SignIn.TOKEN)


def test_taking_on_giving_back_and_handing_over(mia, program):
    jon = make_user("jon", groups=("finance",), first_name="Jon")
    ask("q", groups=["finance"])
    other = Program(jon)

    assert program.post("human-tasks/q/claim").json()["claimed_by"] == "Mia"
    assert "Mia" in other.post("human-tasks/q/claim").json()["detail"]
    assert "Only who has" in other.post("human-tasks/q/release", {}).json()["detail"]
    assert program.post("human-tasks/q/release", {"note": "busy"}).json()["claimed_by"] == ""
    given = program.post("human-tasks/q/hand-over", {"to": "jon", "note": "yours"})
    assert given.json()["claimed_by"] == "Jon"
    assert errors(other.post("human-tasks/q/hand-over", {"to": "nobody"})) == {
        "to": "There is nobody of this name."
    }
    assert other.post("human-tasks/nothing/hand-over", {"to": "nobody"}).status_code == 404
    make_user("eve")
    assert other.post("human-tasks/q/hand-over", {"to": "eve"}).status_code == 403
    notes = AuditEntry.objects.filter(target="q").order_by("pk").values_list("action", "reason")
    assert list(notes) == [("claim", ""), ("release", "busy"), ("hand_over", "yours")]
    assert HumanTask.objects.get().claimed_by == jon


def test_several_are_taken_on_each_by_itself(mia, program):
    for name in ("a", "b"):
        ask(name, groups=["finance"])
    ask("c", users=["jon"])
    ask("d", groups=["finance"])
    Program(make_user("jon", groups=("finance",), first_name="Jon")).post("human-tasks/d/claim")

    tried = program.post("claims", {"ids": ["a", "c", "b", "a", "none", "d"]})

    assert tried.json()["items"] == [
        {"id": "a", "problem": ""},
        {"id": "c", "problem": "It is not there any more."},
        {"id": "b", "problem": ""},
        {"id": "none", "problem": "It is not there any more."},
        {"id": "d", "problem": "Jon was first to take this on."},
    ]
    assert set(HumanTask.objects.filter(claimed_by=mia).values_list("pk", flat=True)) == {"a", "b"}
    claims = AuditEntry.objects.filter(action="claim", actor_id=mia.pk, sign_in=SignIn.TOKEN)
    assert sorted(one.target for one in claims) == ["a", "b"]
    for wrong in ([], ["a"] * 201):
        assert errors(program.post("claims", {"ids": wrong})).keys() == {"ids"}


def test_putting_off_and_bringing_back(program):
    ask("q", users=["mia"])

    assert program.post("human-tasks/q/snooze", {"until": iso(2)}).status_code == 200
    assert program.get("human-tasks").json()["items"] == []
    assert program.get("human-tasks", tab="snoozed").json()["items"]
    assert program.post("human-tasks/q/wake").status_code == 200
    assert len(program.get("human-tasks").json()["items"]) == 1
    assert "time to come" in program.post("human-tasks/q/snooze", {"until": iso(-1)}).text
    assert errors(program.post("human-tasks/q/snooze", {"until": "then"})).keys() == {"until"}


def test_remarks_questions_back_and_replies(mia, program):
    from tests.dashboard.people import child_of, start_run

    jon = make_user("jon", first_name="Jon")
    start_run("run-1", by=jon)
    ask("run-1:1", tags=child_of("run-1"), users=["mia"])
    path = "human-tasks/run-1:1/comments"

    assert program.post(path, {"text": "hm"}).status_code == 201
    assert program.post(path, {"text": "why?", "kind": "asked"}).status_code == 201
    assert program.get("human-tasks/run-1:1").json()["waits_for_requester"]
    assert program.post(path, {"text": "me", "kind": "replied"}).status_code == 403
    assert Program(jon).post(path, {"text": "so", "kind": "replied"}).status_code == 201
    found = program.get(path).json()["items"]
    assert [(one["kind"], one["by"], one["text"]) for one in found] == [
        ("remark", "Mia", "hm"),
        ("asked", "Mia", "why?"),
        ("replied", "Jon", "so"),
    ]
    assert errors(program.post(path, {"text": "x", "kind": "shout"})).keys() == {"kind"}
    assert program.post(path, {"text": " "}).status_code == 403
    assert Program(make_user("eve")).get(path).status_code == 404


def test_drafts_are_those_of_the_page(mia, program):
    ask("q", users=["mia"], form=FORM)
    path = "human-tasks/q/draft"

    assert program.get(path).status_code == 404
    client_of(mia).post(f"{task_url('q')}draft/", {"values/note": "on the page"})
    assert program.get(path).json()["fields"] == {"values/note": ["on the page"]}
    program.put(path, {"fields": {"values/note": ["by program"], "comment": ["x"]}})
    assert "by program" in client_of(mia).get(task_url("q")).text
    assert errors(program.put(path, {"fields": {"comment": [""]}})).keys() == {"fields"}
    program.put(path, {"fields": {"comment": ["x"]}})
    assert program.delete(path).status_code == 204
    assert program.get(path).status_code == 404


def test_a_question_that_ended_elsewhere_says_so(program):
    ask("q", users=["mia"])
    settle("q")

    shown = program.get("human-tasks/q").json()

    assert (shown["is_open"], shown["outcome"]["sentence"]) == (False, "Answered elsewhere")
    assert shown["answers"][0]["name"] == "approve"
    assert not shown["may"]["answer"]


def _refund_form():
    from django import forms

    class Form(forms.Form):
        amount = forms.DecimalField(max_digits=8, decimal_places=2)
        why = forms.MultipleChoiceField(choices=[("late", "Late"), ("lost", "Lost")])
        is_final = forms.BooleanField(required=False)
        receipt = forms.FileField()

    return Form


RefundForm = _refund_form()
