"""Whatever settles a question leaves a row in the same transaction; a database trigger watches."""

import threading
from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

import durable
from dashboard import auditing, sweep
from dashboard.answering import Actor, Answer, Verdict
from dashboard.auditing import Author, acting, record
from dashboard.decisions import decide
from dashboard.models import Action, AuditEntry, HumanTask, SignIn, TargetKind
from dashboard.recording import record_settled
from dashboard.timekeeping import end_overdue
from durable import promises
from durable.background.sweeper import Sweeper
from durable.clock import now_ms
from durable.gateway import tokens
from durable.gateway.auth import Access
from durable.gateway.tokens import KeyRing, TokenTable
from durable.protocol.requests import PromiseSettle, TaskFence
from durable.protocol.states import PromiseState
from durable.signals import Latent, promises_settled
from durable.store import get_store
from tests.dashboard import factories, hooks
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    client_of,
    iso,
    make_operator,
    make_user,
    past,
    settle,
    task_url,
)
from tests.dashboard.trail import run_script, unheard, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trail(transactional_db):
    """The trigger is in place; entries are read with ``only``."""
    with watching():
        yield


def only(target="q"):
    return AuditEntry.objects.get(target=target)


def said(entry):
    return (entry.action, entry.sign_in, entry.actor_name, entry.state_after)


# --- The watch itself ---


def test_the_trigger_sees_a_settlement_without_a_row(transactional_db):
    ask("q")
    settled = "update durable_promise set state = 'resolved', settled_at = created_at"
    errors = (DatabaseError, AssertionError)
    with pytest.raises(errors, match="no audit row for q"), watching():
        run_script(settled)


def test_the_trigger_lets_others_pass(trail):
    factories.start("run-1")
    factories.acquire("run-1")
    factories.sleep("run-1", "run-1:1", past())
    factories.finish("run-1")

    assert not AuditEntry.objects.exists()


# --- Every route ---


def test_by_the_button(trail):
    ask("q", users=["mia"])
    mia = make_user("mia", first_name="Mia")
    answer(client_of(mia), "q", comment="fine")

    entry = only()

    assert said(entry) == ("approve", "session", "Mia", "resolved")
    assert (entry.answer, entry.reason, entry.target_kind) == ("approve", "fine", "task")


@pytest.mark.parametrize("is_inline", [False, True])
@pytest.mark.parametrize(
    ("settle_it", "action", "state"),
    [
        (lambda: promises.resolve("q", 1), "settle", "resolved"),
        (lambda: promises.reject("q", "no"), "settle", "rejected"),
        (lambda: promises.cancel("q", "not needed"), "withdraw", "rejected_canceled"),
    ],
)
def test_by_code(trail, settle_it, action, state, is_inline):
    ask_bare("q")
    if is_inline:
        with transaction.atomic():
            settle_it()
    else:
        settle_it()

    entry = only()

    assert said(entry) == (action, "system", "", state)
    assert (entry.actor_id, entry.ip) == (None, None)
    assert entry.reason == ("not needed" if action == "withdraw" else "")
    assert len(entry.payload_hash) == 64


def test_a_settlement_that_rolls_back_leaves_no_row(trail):
    ask("q")
    with pytest.raises(RuntimeError), transaction.atomic():
        promises.resolve("q")
        raise RuntimeError

    assert not AuditEntry.objects.exists()


def test_by_several_in_one_transaction(trail):
    for one in ("a", "b", "c"):
        ask(one)
    with transaction.atomic():
        promises.resolve("a")
        get_store().run(
            PromiseSettle("b", PromiseState.RESOLVED), PromiseSettle("c", PromiseState.REJECTED)
        )

    assert list(AuditEntry.objects.order_by("id").values_list("target", "state_after")) == [
        ("a", "resolved"),
        ("b", "resolved"),
        ("c", "rejected"),
    ]


def test_by_a_worker_below_its_lease(trail):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    factories.send(TaskFence("run-1", 1, PromiseSettle("run-1:1", PromiseState.RESOLVED)))

    assert said(only("run-1:1")) == ("settle", "system", "", "resolved")


@pytest.fixture
def gateway(trail, monkeypatch, settings):
    from tests.gateway.clients import Clients

    clients = Clients(monkeypatch, lambda name: setattr(settings, "ROOT_URLCONF", name))
    yield clients
    clients.close()


SETTLE = {"id": "q", "state": "resolved", "value": {"headers": {}, "data": "MQ=="}}


@pytest.mark.parametrize("way_in", ["asgi", "view"])
def test_by_the_gateway_with_a_token(gateway, way_in):
    access = Access(is_required=True, keys=KeyRing([]), tokens=TokenTable("default"))
    client = gateway.make(way_in, access=access, has_debug_surface=False)
    token = tokens.issue("shop", prefix="", role="", groups=[], expires_at=None, using="default")
    ask("q")

    assert client.call("promise.settle", SETTLE, auth=token).status == 200

    entry = only()
    assert said(entry) == ("settle", "gateway", "shop", "resolved")
    assert entry.ip == (None if way_in == "asgi" else "127.0.0.1")
    assert entry.actor_id is None


def test_by_the_gateway_without_a_token(gateway):
    ask("q")
    client = gateway.make(has_debug_surface=False)

    assert client.call("promise.settle", SETTLE).status == 200
    assert client.call("promise.settle", SETTLE).status == 200  # it changes nothing more
    assert said(only()) == ("settle", "gateway", "", "resolved")


def test_by_the_gateway_below_a_lease(gateway):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    action = {"kind": "promise.settle", "head": {}, "data": SETTLE | {"id": "run-1:1"}}
    client = gateway.make(has_debug_surface=False)

    answered = client.call("task.fence", {"id": "run-1", "version": 1, "action": action})

    assert answered.status == 200
    assert said(only("run-1:1")) == ("settle", "gateway", "", "resolved")


def test_the_gateway_says_where_a_request_came_from(gateway):
    from durable.gateway.asgi import caller_of

    scope = {"headers": [], "client": ("192.0.2.7", 4711)}
    assert caller_of(scope).address == "192.0.2.7"
    assert caller_of({"headers": [], "client": None}).address == ""


def test_by_the_deadline(trail):
    ask("q", timeout_at=now_ms() + 2)
    factories.pass_time(now_ms() + 3)
    Sweeper(get_store()).sweep()

    assert said(only()) == ("expire", "system", "", "rejected_timedout")
    assert only().at == timezone.datetime.fromtimestamp(
        HumanTask.objects.get().promise.settled_at / 1000, tz=timezone.get_current_timezone()
    )


def test_by_a_deadline_that_was_over_at_birth(trail):
    ask("q", timeout_at=past())

    assert said(only()) == ("expire", "system", "", "rejected_timedout")


def test_a_click_after_the_deadline_is_late_and_the_end_is_nobodys(trail):
    mia = make_user("mia")
    ask("q", users=["mia"], timeout_at=now_ms() + 2)
    factories.pass_time(now_ms() + 3)

    assert decide("q", Actor(mia), Answer("approve")) is Verdict.LATE

    ended, late = AuditEntry.objects.order_by("-is_effective")
    assert said(ended) == ("expire", "system", "", "rejected_timedout")
    assert (late.action, late.actor_name, late.is_effective) == ("approve", "mia", False)


def test_by_the_stated_time_to_answer(trail, monkeypatch):
    ask("q", users=["mia"], expires=iso(1), on_expiry="approve")
    later = now_ms() + 2 * 3_600_000
    monkeypatch.setattr("dashboard.timekeeping.now_ms", lambda: later)
    end_overdue(using="default")

    assert said(only()) == ("expire", "system", "", "resolved")


def test_by_cancelling_the_execution(trail):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    olga = make_user("olga", rights=("view_executions", "cancel_executions"))
    response = client_of(olga).post("/executions/run-1/cancel/", {"reason": "a mistake"})

    assert response.status_code == 303
    assert said(only("run-1:1")) == ("withdraw", "session", "olga", "rejected_canceled")
    assert only("run-1:1").reason == "a mistake"
    entry = only("run-1")
    assert said(entry) == ("cancel", "session", "olga", "rejected_canceled")
    assert (entry.target_kind, entry.reason) == ("execution", "a mistake")
    assert entry.ip == "127.0.0.1"


def test_by_cancelling_in_code(trail):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    durable.cancel("run-1", "obsolete")

    assert said(only("run-1:1")) == ("withdraw", "system", "", "rejected_canceled")
    assert only("run-1:1").reason == "obsolete"


def test_by_the_end_of_the_call_that_asked(trail):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    factories.finish("run-1")
    sweep.run_once()

    assert said(only("run-1:1")) == ("withdraw", "system", "", "rejected_canceled")
    assert only("run-1:1").reason == "the call that asked has ended"


def test_by_the_votes_of_several(trail):
    ask("q", policy={"all_of": [{"user": "mia"}, {"user": "jon"}]})
    mia, jon = (Actor(make_user(name)) for name in ("mia", "jon"))

    assert decide("q", mia, Answer("approve")) is Verdict.VOTED
    assert decide("q", jon, Answer("approve", "so be it")) is Verdict.SETTLED

    vote, decision = AuditEntry.objects.order_by("id")
    assert (vote.action, vote.answer, vote.state_after) == ("vote", "approve", "pending")
    assert said(decision) == ("approve", "session", "jon", "resolved")


def test_by_an_answer_of_the_authors_own(trail):
    ask("q", users=["mia"], answers=[{"name": "split", "label": "Split it"}])

    assert decide("q", Actor(make_user("mia")), Answer("split")) is Verdict.SETTLED
    assert (only().action, only().answer) == ("answer", "split")


def test_by_a_webhook(trail):
    ask("pr-7-review")
    endpoint = hooks.make_endpoint()
    assert hooks.post(endpoint, hooks.pull_request()).status_code == 200

    entry = only("pr-7-review")
    assert said(entry) == ("settle", "webhook", "Reviews", "resolved")
    assert (entry.ip, entry.details["webhook"]) == ("127.0.0.1", "reviews")


def test_by_another_system_in_the_name_of_somebody(trail):
    ask("q")
    author = Author("github", SignIn.WEBHOOK, ip="192.0.2.1")
    with transaction.atomic(), acting(author, details={"event": "42"}):
        promises.resolve("q", "merged")

    entry = only()
    assert said(entry) == ("settle", "webhook", "github", "resolved")
    assert (entry.ip, entry.details) == ("192.0.2.1", {"event": "42"})


# --- Who answers for it ---


def test_acting_outside_a_transaction_would_not_be_seen():
    with pytest.raises(transaction.TransactionManagementError), acting(auditing.SYSTEM):
        pytest.fail("not reached")


def test_acting_ends_with_its_block(trail):
    ask("a")
    ask("b")
    with transaction.atomic():
        with acting(Author("x", SignIn.TOKEN), action=Action.EXPIRE, reason="why"):
            promises.resolve("a")
        promises.resolve("b")

    assert (only("a").action, only("a").reason, only("a").sign_in) == ("expire", "why", "token")
    assert said(only("b")) == ("settle", "system", "", "resolved")


def test_an_act_on_something_else():
    mia, jon = make_user("mia"), make_user("jon", first_name="Jon", last_name="Roe")
    record(
        Action.CHANGE,
        "stripe",
        Actor(mia, SignIn.TOKEN, "192.0.2.1", "curl"),
        kind=TargetKind.WEBHOOK,
        on_behalf_of=jon,
        details={"before": {"on": True}, "after": {"on": False}},
    )

    entry = only("stripe")
    assert (entry.on_behalf_of_id, entry.on_behalf_of_name) == (jon.pk, "Jon Roe")
    assert (entry.sign_in, entry.ip, entry.user_agent) == ("token", "192.0.2.1", "curl")
    assert entry.details["after"] == {"on": False}


# --- What was missed ---


@pytest.fixture
def broken_receiver():
    def fail(**_kwargs):
        raise RuntimeError("no")

    promises_settled.connect(fail, sender=Latent, weak=False)
    yield
    promises_settled.disconnect(fail, sender=Latent)


def test_what_receivers_could_not_write_comes_after_the_commit(broken_receiver, gateway_client):
    ask("q")
    gateway_client.call("promise.settle", SETTLE)

    assert said(only()) == ("settle", "gateway", "", "resolved")
    assert HumanTask.objects.get().settled_at is not None
    sweep.run_once()
    assert AuditEntry.objects.count() == 1


@pytest.fixture
def gateway_client(transactional_db, monkeypatch, settings):
    from tests.gateway.clients import Clients

    clients = Clients(monkeypatch, lambda name: setattr(settings, "ROOT_URLCONF", name))
    yield clients.make(has_debug_surface=False)
    clients.close()


def test_a_decision_is_recorded_once_though_receivers_fail(broken_receiver):
    ask("q", users=["mia"])
    decide("q", Actor(make_user("mia")), Answer("approve"))

    assert said(only()) == ("approve", "session", "mia", "resolved")


def test_the_sweep_adds_what_is_still_missing(monkeypatch):
    ask("q")
    with monkeypatch.context() as patch:
        patch.setattr("dashboard.receivers.record_settled", lambda *_args, **_kwargs: None)
        settle("q")
    assert not AuditEntry.objects.exists()

    for _ in range(2):
        sweep.run_once()
        HumanTask.objects.update(settled_at=None)

    entry = only()
    assert said(entry) == ("settle", "system", "", "resolved")
    assert entry.details == {"found_later": True}


# --- What it costs ---


def test_what_a_settlement_pays_for_its_rows(transactional_db, django_assert_num_queries):
    ask("q")
    promises.resolve("q")
    settled_at = {"q": now_ms()}
    entries = auditing.entries_of([promises.get("q")])
    statements = 0 if connection.vendor == "postgresql" else 4  # prepared ones are not counted
    with transaction.atomic(), django_assert_num_queries(statements):
        record_settled(settled_at, entries, using="default")
    assert AuditEntry.objects.count() == 2


def test_many_at_once_leave_a_row_each(trail):
    ask("q", users=[f"u{number}" for number in range(6)])
    people = [make_user(f"u{number}") for number in range(6)]
    start = threading.Barrier(6)

    def run(person):
        start.wait()
        with suppress(DatabaseError):
            decide("q", Actor(person), Answer("approve", request_key="k"))
        connections.close_all()

    threads = [threading.Thread(target=run, args=[one]) for one in people]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert AuditEntry.objects.filter(is_effective=True).count() == 1
    assert unheard() == []


def test_operators_see_the_page_of_what_they_settled(trail):
    ask_bare("q")
    olga = client_of(make_operator())
    olga.post(f"{task_url('q')}decide/", {"answer": "approve"})

    assert said(only())[:2] == ("approve", "session")
