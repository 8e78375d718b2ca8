"""No list shows an open question whose promise is settled, nor a decided one that still waits."""

import re
from contextlib import nullcontext, suppress
from typing import Any, ClassVar

import pytest
from django.db.models import F
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dashboard.inbox_queries import (
    Tab,
    count_open,
    done_tasks,
    open_tasks,
    read_page,
    tabs_of,
)
from dashboard.models import ENDINGS as ENDING_ACTIONS
from dashboard.models import AuditEntry, BulkItem, Decider, HumanTask
from dashboard.outcomes import outcome_of, with_outcome
from dashboard.permissions import is_open
from durable import promises
from durable.clock import now_ms
from durable.exceptions import PromiseNotFoundError
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.endings import (
    ENDINGS,
    KINDS,
    LIMITED,
    OTHERS,
    SIGNING_SECRET,
    Stage,
)
from tests.dashboard.people import task_url
from tests.gateway.clients import Clients

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def stage(transactional_db, monkeypatch, settings):
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.SIGNOFF_LINKS = "bound"
    settings.SIGNOFF_CHANNELS = [
        {"channel": "slack", "token": "x", "signing_secret": SIGNING_SECRET, "room": "#a"}
    ]
    gateway = Clients(monkeypatch, lambda name: setattr(settings, "ROOT_URLCONF", name))
    yield Stage(gateway)
    gateway.close()


SEEING = ("mia", "jon", "olga")
READING = ("mia", "olga")
ONE = READING[:1]
BADGE = re.compile(r">\s*(\d+)\s*<")


def waiting(now: int) -> set[str]:
    """What waits, by the promises alone."""
    found = Promise.objects.filter(state=PromiseState.PENDING, timeout_at__gt=now)
    return set(found.values_list("pk", flat=True))


def check(stage: Stage, first: int = 0, *, reading: tuple[str, ...] = READING) -> None:
    """Compare every list and count with the promises, and the pages of those who are ``reading``.

    Rows are compared from the ``first`` question on.
    """
    now = now_ms()
    asked = stage.asked[first:]
    still = waiting(now) & set(stage.asked)
    tasks = HumanTask.objects.filter(pk__in=asked)
    assert set(tasks.filter(is_open(now)).values_list("pk", flat=True)) == still & set(asked)
    _check_rows(still)
    for name in SEEING:
        user = next(one for one in stage.people if one.username == name)
        _check_lists(user, still, now)
        if name in reading:
            _check_pages(stage, name, still)


def _check_rows(still: set[str]) -> None:
    hidden = HumanTask.objects.filter(pk__in=still, settled_at__isnull=False)
    assert not hidden.exists(), "what waits is kept as if it were over"
    assert not Decider.objects.filter(task__in=still, is_open=False).exists()
    assert not Decider.objects.filter(task__settled_at__isnull=False, is_open=True).exists()
    decided = AuditEntry.objects.filter(
        target__in=still, action__in=ENDING_ACTIONS, is_effective=True
    )
    assert not decided.exclude(state_after=F("state_before")).exists(), "the trail says it is over"
    assert not BulkItem.objects.filter(task_id__in=still, result=BulkItem.Result.DONE).exists()


def _check_lists(user: Any, still: set[str], now: int) -> None:
    tabs = tabs_of(user)
    counts = count_open(user, now, tabs)
    for tab in tabs:
        shown = {card.task.pk for card in read_page(user, tab, now).cards}
        if tab is Tab.DONE:
            assert not shown & still, tab
            assert not set(done_tasks(user).values_list("pk", flat=True)) & still
            continue
        assert shown <= still, tab
        assert getattr(counts, tab.value) == len(shown), tab
        if tab is Tab.ANSWER:  # what the badge counts and a bulk answer begins from
            assert set(open_tasks(user, tab, now).values_list("pk", flat=True)) == shown
    seen = with_outcome(HumanTask.objects.filter(pk__in=still))
    assert all(outcome_of(one, user, now) is None for one in seen)


def _check_pages(stage: Stage, name: str, still: set[str]) -> None:
    client = stage[name]
    user = next(one for one in stage.people if one.username == name)
    page, badge = client.get("/inbox/").text, client.get("/inbox/badge/").text
    assert client.get("/inbox/changes/?since=0&known=0").status_code == 200
    to_answer = set(open_tasks(user, Tab.ANSWER, now_ms()).values_list("pk", flat=True))
    for question in stage.asked:
        assert (f'href="{task_url(question)}' in page) is (question in to_answer), question
    number = BADGE.search(badge)
    assert int(number[1] if number else 0) == len(to_answer)
    question = stage.asked[-1]
    over = 200 if Promise.objects.filter(pk=question).exists() else 404
    told = client.get(f"{task_url(question)}state/").status_code
    assert told == (204 if question in still else over)
    form = f'action="{task_url(question)}decide/"'
    shows_form = form in client.get(task_url(question)).text
    assert not (shows_form and question not in still)


def kinds_of(way: str) -> tuple[str, ...]:
    if way == "by_votes":
        return ("plain", "voted")
    return LIMITED.get(way, ("plain",))


def test_a_question_of_each_kind_is_open_everywhere(stage):
    for kind in KINDS:
        question = stage.ask(kind)
        assert question in waiting(now_ms())

    check(stage)


@pytest.mark.parametrize("way", ENDINGS)
def test_each_way_ends_a_question_everywhere(stage, way):
    for kind in kinds_of(way):
        question = stage.ask(kind)
        ENDINGS[way](stage, question)

        assert question not in waiting(now_ms())
    check(stage, reading=ONE)


@pytest.mark.parametrize("act", OTHERS)
def test_other_acts_end_nothing(stage, act):
    question = stage.ask("voted" if act == "one_vote" else "plain")
    OTHERS[act](stage, question)

    assert question in waiting(now_ms())
    check(stage, reading=ONE)


class Mixture(RuleBasedStateMachine):
    """Any acts and endings, in any order, on several questions; everything is compared each time.

    Users and endpoints are those of the test, questions are new for each example.
    """

    stage: ClassVar[Stage]

    @initialize(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    def ask(self, kinds: list[str]) -> None:
        self.first = len(self.stage.asked)
        for kind in kinds:
            self.stage.ask(kind)

    def teardown(self) -> None:
        """Leave nothing open, which would fill the lists of the next example."""
        for question in self.stage.asked[getattr(self, "first", 0) :]:
            with suppress(PromiseNotFoundError):
                promises.cancel(question)

    def _chosen(self, number: int) -> str:
        return self.stage.asked[self.first + number % (len(self.stage.asked) - self.first)]

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def ask_more(self, kind: str) -> None:
        self.stage.ask(kind)
        check(self.stage, self.first)

    @rule(act=st.sampled_from(sorted(OTHERS)), number=st.integers(0, 9))
    def act(self, act: str, number: int) -> None:
        OTHERS[act](self.stage, self._chosen(number))
        check(self.stage, self.first)

    @rule(way=st.sampled_from(sorted(ENDINGS)), number=st.integers(0, 9))
    def end(self, way: str, number: int) -> None:
        question = self._chosen(number)
        is_gone = not Promise.objects.filter(pk=question).exists()
        with suppress(PromiseNotFoundError) if is_gone else nullcontext():
            ENDINGS[way](self.stage, question)
        check(self.stage, self.first)


def run_mixture(stage: Stage, **limits: int) -> None:
    machine = type("Machine", (Mixture,), {"stage": stage})
    found = hypothesis_settings(
        hypothesis_settings.get_profile(hypothesis_settings.get_current_profile_name()), **limits
    )
    run_state_machine_as_test(machine, settings=found)


@pytest.mark.timeout(120)
def test_whatever_comes_in_whatever_order(stage):
    run_mixture(stage, max_examples=2, stateful_step_count=4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_comes_in_whatever_order_for_long(stage):
    run_mixture(stage, max_examples=60, stateful_step_count=25)
