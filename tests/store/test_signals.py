"""What receivers hear, in the same transaction, and that they can break nothing but themselves."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, connection, transaction

from durable import signals
from durable.machine.internal import PromiseTimeout, ScheduleFire
from durable.protocol import tags
from durable.protocol.annotations import Annotation, Settler
from durable.protocol.records import PromiseRecord, Value
from durable.protocol.states import PromiseState
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    TIMER,
    create,
    fence,
    schedule,
    settle,
    start,
)
from tests.store.support import assert_sound, column
from tests.store.threads import RollBackError
from tests.store.timing import MINUTE, START, Clock

FAR = START + 60 * MINUTE

type Receiver = Callable[..., None]


@pytest.fixture
def connect() -> Iterator[Callable[[Receiver], None]]:
    """Connect receivers to both signals and both senders; disconnected in the end."""
    places = [
        (signal, sender)
        for signal in (signals.promises_created, signals.promises_settled)
        for sender in (signals.Latent, signals.Root)
    ]
    connected: list[Receiver] = []

    def connect(receiver: Receiver) -> None:
        connected.append(receiver)
        for signal, sender in places:
            signal.connect(receiver, sender=sender, weak=False)

    yield connect
    for receiver in connected:
        for signal, sender in places:
            signal.disconnect(receiver, sender=sender)
    Group.objects.all().delete()


type Sent = tuple[str, str, list[PromiseRecord]]


@pytest.fixture
def sent(connect: Callable[[Receiver], None]) -> list[Sent]:
    """What was sent: created or settled, kind, records."""
    found: list[Sent] = []

    def note(
        sender: type, signal: object, promises: list[PromiseRecord], using: str, **_: object
    ) -> None:
        assert using == "default"
        assert connection.in_atomic_block
        name = "created" if signal is signals.promises_created else "settled"
        found.append((name, sender.__name__, promises))

    connect(note)
    return found


def told(sent: list[Sent]) -> list[tuple[str, str, list[str]]]:
    return [(name, kind, [one.id for one in records]) for name, kind, records in sent]


def test_latent_promises_and_roots_are_told(timed: DatabaseStore, sent: list[Sent]) -> None:
    child = TARGETED | {tags.PARENT: "root"}
    timed.run(
        create("latent", EXTERNAL, FAR),
        create("global", {tags.SCOPE: "global"}, FAR),
        create("internal", INTERNAL, FAR),
        create("timer", TIMER, FAR),
        create("root", TARGETED, FAR),
        create("rooted", TARGETED | {tags.PARENT: "rooted"}, FAR),
        create("child", child, FAR),
    )
    assert told(sent) == [
        ("created", "Latent", ["latent", "global"]),
        ("created", "Root", ["root", "rooted"]),
    ]
    sent.clear()
    timed.run(*(settle(one) for one in ("latent", "internal", "timer", "root", "child")))
    assert told(sent) == [("settled", "Latent", ["latent"]), ("settled", "Root", ["root"])]


def test_records_are_whole_and_as_stored(timed: DatabaseStore, sent: list[Sent]) -> None:
    value = Value({"h": "1"}, "x")
    made, ended = timed.run(
        create("a", EXTERNAL | {"k": "v"}, FAR, value), settle("a", PromiseState.REJECTED, value)
    )
    assert [records for _, _, records in sent] == [[ended.promise], [ended.promise]]
    assert made.promise != ended.promise


def test_who_settled_is_told_if_a_request_says_so(
    timed: DatabaseStore, connect: Callable[[Receiver], None]
) -> None:
    found: list[dict[str, Settler]] = []
    timed.run(*(create(one, EXTERNAL, FAR) for one in ("a", "b", "late")))
    connect(lambda settlers, **_: found.append(settlers))
    by = Settler("token:shop", "192.0.2.1")
    notes = {one: Annotation(settler=by) for one in ("a", "nothing")}
    timed.run(settle("a"), settle("b"), annotations=notes)
    timed.run(settle("a"), annotations=notes)  # it was settled already
    assert found == [{"a": by}]
    assert column("promise", "started_by", "a") is None


def test_what_was_settled_before_is_not_told_again(timed: DatabaseStore, sent: list[Sent]) -> None:
    timed.run(create("a", EXTERNAL, FAR), settle("a"))
    sent.clear()
    timed.run(settle("a"), create("a", EXTERNAL, FAR))
    assert sent == []


def test_fences_deadlines_and_schedules_tell_too(
    timed: DatabaseStore, sent: list[Sent], clock: Clock
) -> None:
    timed.run(start("t", FAR), fence(create("a", EXTERNAL, START + MINUTE), "t"))
    timed.run(schedule(cron="* * * * *", promise_tags=EXTERNAL))
    assert told(sent) == [("created", "Latent", ["a"]), ("created", "Root", ["t"])]
    sent.clear()
    clock.advance(MINUTE)
    timed.fire(PromiseTimeout("a"), ScheduleFire("s"))
    names = [(name, kind, len(ids)) for name, kind, ids in told(sent)]
    assert names == [("created", "Latent", 1), ("settled", "Latent", 1)]
    assert sent[1][2][0].state is PromiseState.REJECTED_TIMEDOUT


def test_what_a_receiver_writes_commits_with_the_promise(
    timed: DatabaseStore, connect: Callable[[Receiver], None]
) -> None:
    connect(lambda promises, **_: Group.objects.create(name=promises[0].id))
    timed.run(create("a", EXTERNAL, FAR))
    assert list(Group.objects.values_list("name", flat=True)) == ["a"]


def test_what_a_receiver_writes_rolls_back_with_the_promise(
    timed: DatabaseStore, connect: Callable[[Receiver], None]
) -> None:
    connect(lambda promises, **_: Group.objects.create(name=promises[0].id))
    with pytest.raises(RollBackError), transaction.atomic():
        timed.run(create("a", EXTERNAL, FAR))
        assert Group.objects.count() == 1
        raise RollBackError
    assert Group.objects.count() == 0


def _by_hand(**_: object) -> None:
    Group.objects.create(name="undone")
    raise RuntimeError("no")


def _by_the_database(**_: object) -> None:
    Group.objects.create(name="undone")
    Group.objects.create(name="undone")


def _swallowed(**_: object) -> None:
    """Django will not commit the savepoint from here on, though nobody hears of it."""
    Group.objects.create(name="undone")
    with suppress(DatabaseError):
        Group.objects.create(name="undone")


def _by_sql(**_: object) -> None:
    Group.objects.create(name="undone")
    with connection.cursor() as cursor:
        cursor.execute("select nothing from nowhere")


@pytest.mark.parametrize("is_inline", [False, True], ids=["committed", "inline"])
@pytest.mark.parametrize("receiver", [_by_hand, _by_the_database, _swallowed, _by_sql])
def test_a_failing_receiver_fails_nothing_and_is_undone(
    receiver: Receiver,
    is_inline: bool,
    timed: DatabaseStore,
    connect: Callable[[Receiver], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(receiver)

    def run() -> list[Any]:
        return timed.run(create("a", EXTERNAL, FAR), create("t", TARGETED, FAR))

    if is_inline:
        with transaction.atomic():
            replies = run()
            Group.objects.create(name="the caller's")
    else:
        replies = run()
    assert [reply.status for reply in replies] == [200, 200]
    assert not Group.objects.filter(name="undone").exists()
    assert Group.objects.count() == is_inline
    assert column("promise", "state", "a") == "pending"
    failures = [one for one in caplog.records if one.message == "receiver failed"]
    assert [one.sender for one in failures] == ["Latent", "Root"]
    assert_sound(timed)


def test_who_repairs_is_told_of_what_was_undone(
    timed: DatabaseStore, connect: Callable[[Receiver], None]
) -> None:
    ran: list[str] = []

    def fail(**_: object) -> None:
        transaction.on_commit(lambda: ran.append("undone"))
        raise RuntimeError("no")

    def repair(promises: list[PromiseRecord], **_: object) -> None:
        transaction.on_commit(lambda: ran.extend(one.id for one in promises))

    connect(fail)
    signals.promises_missed.connect(repair, sender=signals.Latent)
    try:
        timed.run(create("a", EXTERNAL, FAR), create("t", TARGETED, FAR))
    finally:
        signals.promises_missed.disconnect(repair, sender=signals.Latent)
    assert ran == ["a"]


def test_a_receiver_may_speak_to_the_engine(
    timed: DatabaseStore, connect: Callable[[Receiver], None]
) -> None:
    """What it does is part of the same transaction."""

    def receive(promises: list[PromiseRecord], sender: type, **_: object) -> None:
        if promises[0].id == "a":
            timed.run(create("b", EXTERNAL, FAR), settle("a"))

    connect(receive)
    timed.run(create("a", EXTERNAL, FAR))
    assert column("promise", "state", "a") == "resolved"
    assert column("promise", "state", "b") == "pending"
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name="x")
        Group.objects.create(name="x")
    assert_sound(timed)
