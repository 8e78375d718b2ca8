"""Questions that several people answer, on the pages."""

import re

import pytest
from django.contrib.auth.models import User

from dashboard.answering import Actor, Answer, Verdict
from dashboard.decisions import decide, recount
from dashboard.delegations import delegate
from dashboard.models import Action, AuditEntry, HeldAnswer, HumanTask, Vote
from dashboard.policies import standing_of_each
from dashboard.sweep import run_once
from durable.clock import now_ms
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.calling import Program
from tests.dashboard.people import (
    HOUR_MS,
    answer,
    ask,
    client_of,
    iso,
    make_operator,
    make_user,
    settle,
    task_url,
    unpack,
)
from tests.dashboard.races import while_others

pytestmark = pytest.mark.django_db

BOTH = {"all_of": [{"user": "mia"}, {"user": "jon"}]}


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", last_name="Kern"))


@pytest.fixture
def jon():
    return client_of(make_user("jon", first_name="Jon", last_name="Berg"))


def state_of(promise_id):
    return Promise.objects.get(pk=promise_id).state


def test_the_last_of_those_needed_settles_it(mia, jon):
    ask("q", policy=BOTH)

    first = answer(mia, "q", comment="fine")

    assert first.status_code == 303
    assert state_of("q") == PromiseState.PENDING
    assert "1 of 2 approved" in mia.get(task_url("q")).text
    answer(jon, "q", comment="too")
    promise = Promise.objects.get(pk="q")
    assert promise.state == PromiseState.RESOLVED
    assert unpack(promise.value_data) == {
        "approved": True,
        "answer": "approve",
        "values": {},
        "comment": "too",
        "by": "jon",
        "votes": [
            {"by": "mia", "answer": "approve", "comment": "fine"},
            {"by": "jon", "answer": "approve", "comment": "too"},
        ],
    }


def test_one_rejection_settles_it(mia, jon):
    ask("q", policy=BOTH)
    answer(mia, "q")

    answer(jon, "q", "reject", comment="no money")

    assert state_of("q") == PromiseState.REJECTED


def test_a_vote_changes_until_it_is_settled(mia, jon):
    ask("q", policy=BOTH | {"reject": {"count": 2}})
    answer(mia, "q", "reject")

    answer(mia, "q")
    answer(jon, "q")

    assert state_of("q") == PromiseState.RESOLVED
    assert Vote.objects.filter(task="q").count() == 2
    said = AuditEntry.objects.filter(target="q", actor__username="mia").order_by("pk")
    assert [(one.action, one.answer) for one in said] == [
        (Action.VOTE, "reject"),
        (Action.VOTE, "approve"),
    ]


def test_a_vote_sent_again_does_not_take_back_what_was_said_since(mia, jon):
    ask("q", policy=BOTH | {"reject": {"count": 2}})
    answer(mia, "q", request_key="one")
    answer(mia, "q", "reject", request_key="two", comment="no")

    assert answer(mia, "q", request_key="one").status_code == 303

    vote = Vote.objects.get()
    assert (vote.answer, vote.comment) == ("reject", "no")
    assert AuditEntry.objects.filter(target="q").count() == 2


def test_a_vote_after_the_end_is_late(mia, jon):
    ask("q", policy={"any_of": [{"user": "mia"}, {"user": "jon"}]})
    answer(mia, "q")

    late = answer(jon, "q", "reject", comment="wait")

    assert late.status_code == 409
    assert "Mia Kern approved this" in late.text
    assert not Vote.objects.filter(task="q", user__username="jon").exists()


def test_a_question_voted_on_waits_for_others(mia, jon):
    ask("q", title="Together", policy=BOTH)
    answer(mia, "q")

    assert "Together" not in mia.get("/inbox/").text
    waiting = mia.get("/inbox/?tab=waiting").text
    assert "Together" in waiting
    assert "1 of 2 approved" in waiting
    assert "Together" in jon.get("/inbox/").text


def test_nobody_takes_a_question_for_several_on(mia):
    ask("q", policy=BOTH)

    refused = mia.post(f"{task_url('q')}claim/")

    assert refused.status_code == 403
    assert "Several people answer this" in refused.text


def test_a_group_counts_once_a_person(mia, jon):
    for name in ("mia", "jon"):
        User.objects.get(username=name).groups.add(
            make_user(f"x{name}", groups=("finance",)).groups.get()
        )
    ask("q", policy={"group": "finance", "count": 2})

    answer(mia, "q")
    answer(mia, "q")
    assert state_of("q") == PromiseState.PENDING
    answer(jon, "q")
    assert state_of("q") == PromiseState.RESOLVED


def test_who_is_not_asked_yet_is_told_so(mia, jon):
    ask("q", policy={"stages": [{"user": "mia"}, {"user": "jon"}]})

    early = answer(jon, "q")

    assert early.status_code == 403
    assert "It is not your turn" in early.text
    assert not Vote.objects.exists()
    answer(mia, "q")
    assert answer(jon, "q").status_code == 303
    assert state_of("q") == PromiseState.RESOLVED


def test_votes_are_counted_again_when_a_fallback_opens(mia, jon, monkeypatch):
    both = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    ask("before", policy=both)  # which does not take the turn of the other
    ask("q", policy={"any_of": [both, {"user": "mia", "after": "PT4H"}]})
    answer(mia, "before")
    answer(mia, "q")
    run_once(limit=1)
    assert state_of("q") == PromiseState.PENDING

    later = now_ms() + 4 * HOUR_MS + 1
    monkeypatch.setattr("dashboard.decisions.now_ms", lambda: later)
    monkeypatch.setattr("dashboard.sweep.now_ms", lambda: later)
    run_once(limit=1)

    assert state_of("before") == PromiseState.PENDING
    promise = Promise.objects.get(pk="q")
    assert promise.state == PromiseState.RESOLVED
    assert unpack(promise.value_data)["votes"] == [
        {"by": "mia", "answer": "approve", "comment": ""}
    ]
    assert AuditEntry.objects.filter(target="q", is_effective=True).count() == 2


def test_a_fallback_that_opens_after_the_expiry_decides_nothing_though_its_timer_is_late(
    mia, monkeypatch
):
    both = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    for name, after in (("early", "PT3H"), ("late", "PT4H")):
        policy = {"any_of": [both, {"user": "mia", "after": after}]}
        ask(name, policy=policy, expires=iso(3.9))
        answer(mia, name)
    later = now_ms() + 4 * HOUR_MS + 1
    monkeypatch.setattr("dashboard.decisions.now_ms", lambda: later)
    monkeypatch.setattr("dashboard.sweep.now_ms", lambda: later)

    run_once()

    assert (state_of("early"), state_of("late")) == (PromiseState.RESOLVED, PromiseState.PENDING)


ORDER = {"proposal": {"amount": 4200}, "editable": ["/amount"]}


def test_a_fallback_gives_what_was_voted_for_and_filled_in(mia, monkeypatch):
    both = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    half = {"name": "half", "label": "Pay half", "approves": True, "form": "required"}
    policy = {"any_of": [both, {"user": "mia", "after": "PT4H"}]}
    ask("q", policy=policy, answers=["approve", half, "reject"], **ORDER)
    assert answer(mia, "q", "half", filled="1", **{"values/amount": "100"}).status_code == 303
    later = now_ms() + 4 * HOUR_MS + 1
    monkeypatch.setattr("dashboard.decisions.now_ms", lambda: later)
    monkeypatch.setattr("dashboard.sweep.now_ms", lambda: later)

    run_once()

    decision = unpack(Promise.objects.get(pk="q").value_data)
    assert (decision["answer"], decision["values"]) == ("half", {"amount": 100})


@pytest.mark.parametrize("undo", [{}, {"undo": 10}])
def test_all_say_yes_to_the_same_changes(mia, jon, undo):
    ask("q", policy=BOTH, **ORDER)
    answer(mia, "q", filled="1", **{"values/amount": "100"})
    HumanTask.objects.update(description={**HumanTask.objects.get().description, **undo})
    assert "4200" in jon.get(task_url("q")).text  # the history has what was changed

    refused = answer(jon, "q", filled="1", **{"values/amount": "4200"})

    assert refused.status_code == 403
    assert "Mia Kern has approved other changes" in refused.text
    assert Vote.objects.count() == 1
    assert not HeldAnswer.objects.exists()
    assert answer(jon, "q", filled="1", **{"values/amount": "100"}).status_code == 303
    if not undo:
        assert unpack(Promise.objects.get(pk="q").value_data)["values"] == {"amount": 100}


# --- How the page shows who answered and what is missing ---


def lines(client, promise_id="q"):
    """The requirements as a reader hears them."""
    page = client.get(task_url(promise_id)).text
    block = page.partition('<div class="requirements">')[2].partition("</div>")[0]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", block))
    return text.strip()


def test_who_said_yes_when_and_why(mia, jon):
    ask("q", policy=BOTH | {"reject": {"count": 2}})
    answer(mia, "q", comment="fine with me")
    answer(jon, "q", "reject", comment="too dear")

    said = lines(mia)

    assert "1 of 2 approved" in said
    assert re.search(r"done Mia Kern Mia Kern \S.* fine with me", said)
    assert re.search(r"rejected Jon Berg No from Jon Berg \S.* too dear", said)
    page = mia.get(task_url("q")).text
    assert "is-refused" in page


def test_what_is_not_needed_any_more_is_said(mia, jon):
    choice = {"any_of": [{"user": "jon"}, {"group": "legal"}]}
    ask("q", policy={"all_of": [choice, {"user": "mia"}]})
    answer(jon, "q")

    said = lines(mia)

    assert "not needed any more" in said
    assert "is-moot" in mia.get(task_url("q")).text


def test_whose_yes_is_not_needed_any_more_is_told_and_may_object(mia, jon):
    ann = client_of(make_user("ann"))
    choice = {"any_of": [{"user": "jon"}, {"user": "ann"}]}
    ask("q", policy={"all_of": [choice, {"user": "mia"}]})
    assert "not needed any more" not in ann.get(task_url("q")).text
    answer(jon, "q")

    page = ann.get(task_url("q")).text

    assert "Your yes is not needed any more: others have filled that." in page
    assert answer(ann, "q", "reject", comment="wait").status_code == 303
    assert state_of("q") == PromiseState.REJECTED


def test_who_comes_later_reads_why_there_is_nothing_to_press(mia, jon):
    ask("q", policy={"stages": [{"user": "mia"}, {"user": "jon"}]})
    page = jon.get(task_url("q")).text
    assert "Your answer is not needed yet: it takes others first: Mia Kern." in page
    assert 'name="answer"' not in page

    answer(mia, "q")

    assert 'name="answer"' in jon.get(task_url("q")).text


def test_lists_say_whose_turn_it_is_not_yet_and_leads_past_it(mia, jon):
    ask("asked", users=["jon"])
    ask("staged", policy={"stages": [{"group": "finance", "label": "Finance"}, {"user": "jon"}]})
    ask("late", policy={"any_of": [{"user": "mia"}, {"user": "jon", "after": "PT4H"}]})
    ann = client_of(make_user("ann", groups=("finance",)))

    page = jon.get("/inbox/").text
    assert page.count("Not your turn yet") == 2
    assert "Not your turn yet: after Finance" in page
    assert re.search(r"Not your turn yet: from .*\d\d:\d\d", page)
    assert "Not your turn yet" not in ann.get("/inbox/").text
    found = Program(User.objects.get(username="jon")).get("human-tasks").json()["items"]
    said = {one["id"]: one["not_yet"] for one in found}
    assert said["asked"] == ""
    assert said["staged"] == "Not your turn yet: after Finance"
    assert "Next question" not in jon.get(task_url("staged")).text
    answer(jon, "asked")
    assert "nothing else waits for you" in jon.get(task_url("asked")).text

    answer(ann, "staged")
    assert jon.get("/inbox/").text.count("Not your turn yet") == 1
    assert task_url("staged") in jon.get(task_url("asked")).text


def test_lists_say_it_to_a_deputy_as_well(mia, jon):
    ask("q", policy={"stages": [{"user": "mia"}, {"user": "jon"}]})
    deputy = make_user("dan")
    now = now_ms()
    delegate(Actor(User.objects.get(username="jon")), deputy, starts_at=now, ends_at=now + 10**7)
    page = client_of(deputy).get("/inbox/").text

    assert "Not your turn yet: after Mia Kern" in page
    answer(mia, "q")
    assert "Not your turn yet" not in client_of(deputy).get("/inbox/").text


def test_turns_take_no_query_a_question(jon, django_assert_num_queries):
    staged = {"stages": [{"group": "finance"}, {"user": "jon"}]}
    for number in range(8):
        ask(f"q{number}", policy=staged)
    user = User.objects.get(username="jon")
    tasks = list(HumanTask.objects.all())

    with django_assert_num_queries(4):
        found = standing_of_each(tasks, user, now_ms())
    assert {one.wait.after for one in found.values()} == {("finance",)}


def test_a_fallback_reads_from_when_on_it_is_asked(mia, jon):
    ask("q", policy={"any_of": [{"user": "mia"}, {"user": "jon", "after": "PT4H"}]})

    page = jon.get(task_url("q")).text

    assert re.search(r"not needed yet: it is asked for .*\d\d:\d\d", page)
    assert 'name="answer"' not in page


def test_those_who_may_settle_any_have_no_vote(mia):
    ask("q", policy=BOTH)
    boss = client_of(make_operator("boss"))

    assert "it takes others first" in boss.get(task_url("q")).text
    assert answer(boss, "q").status_code == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(60)
def test_votes_are_not_counted_again_while_one_of_them_changes(monkeypatch):
    user = make_user("mia")
    fallback = {"user": "mia", "after": "PT4H"}
    ask("q", policy={"any_of": [BOTH, fallback], "reject": {"count": 2}})
    assert decide("q", Actor(user), Answer("approve")) is Verdict.VOTED
    later = now_ms() + 4 * HOUR_MS + 1
    monkeypatch.setattr("dashboard.decisions.now_ms", lambda: later)

    settled = while_others(
        lambda: decide("q", Actor(user), Answer("reject")),
        lambda: recount(HumanTask.objects.get(pk="q")),
    )

    assert not settled
    assert state_of("q") == PromiseState.PENDING


def test_votes_are_not_counted_again_once_it_is_over(mia, monkeypatch):
    ask("q", policy={"any_of": [BOTH, {"user": "mia", "after": "PT4H"}]})
    answer(mia, "q")
    task = HumanTask.objects.get(pk="q")
    settle("q", PromiseState.REJECTED_CANCELED)
    later = now_ms() + 4 * HOUR_MS + 1
    monkeypatch.setattr("dashboard.decisions.now_ms", lambda: later)

    assert not recount(task)
    assert state_of("q") == PromiseState.REJECTED_CANCELED
