"""The chain takes every entry once, whenever it commits, and shows what was tampered with."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from dashboard.answering import Actor, Answer, Verdict
from dashboard.audit_chain import _COLUMNS, BATCH, Place, extend, hash_of, verify
from dashboard.auditing import Author, record
from dashboard.decisions import decide
from dashboard.models import Action, AuditEntry, AuditLink, SignIn
from dashboard.models.audit import AppendOnlyError
from durable import signals
from tests.dashboard.chaining import let_others_end
from tests.dashboard.people import ask, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def act(target, **more):
    record(Action.CHANGE, target, Author("mia", SignIn.SESSION), **more)


def chain():
    let_others_end()
    chain_now()


def chain_now():
    while extend(using="default") >= BATCH:
        pass


def order():
    return list(AuditLink.objects.order_by("position").values_list("entry__target", flat=True))


def checked(**options):
    return verify(using="default", **options)


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


@pytest.fixture
def chained():
    """Five entries in a chain."""
    for number in range(1, 6):
        act(f"t{number}", details={"n": number, "text": "ä", "share": 1.5})
    chain()


# --- Making it ---


def test_entries_are_chained_in_order(chained):
    assert order() == ["t1", "t2", "t3", "t4", "t5"]
    links = list(AuditLink.objects.order_by("position"))
    assert [one.position for one in links] == [1, 2, 3, 4, 5]
    assert [one.previous for one in links] == ["", *[one.hash for one in links[:-1]]]
    assert checked() == (checked().__class__)(Place(5, links[-1].hash), 0, "")


def test_what_comes_later_is_added_at_the_end(chained):
    act("t6")
    assert checked().waiting == 1
    chain()
    chain()

    assert order()[-1] == "t6"
    assert checked().waiting == 0


def test_it_takes_more_than_a_batch():
    now = timezone.now()
    AuditEntry.objects.bulk_create(
        AuditEntry(at=now, action=Action.CHANGE, target=f"t{number}", sign_in=SignIn.SYSTEM)
        for number in range(BATCH + 3)
    )
    let_others_end()
    assert extend(using="default") == BATCH
    signals.housekeeping.send(object, using="default")

    assert AuditLink.objects.count() == BATCH + 3
    assert not checked().broken


def test_a_hash_is_made_of_every_column():
    assert set(_COLUMNS) == {one.attname for one in AuditEntry._meta.concrete_fields}


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.save(),
        lambda link: link.delete(),
        lambda _: AuditLink.objects.update(hash="x"),
        lambda _: AuditLink.objects.all().delete(),
        lambda _: AuditLink._base_manager.update(hash="x"),
        lambda link: AuditLink._base_manager.bulk_update([link], ["hash"]),
        lambda _: AuditEntry._base_manager.update(reason="x"),
        lambda link: AuditEntry._base_manager.bulk_update([link.entry], ["reason"]),
    ],
)
def test_links_and_entries_stay_as_they_are(chained, change):
    with pytest.raises(AppendOnlyError):
        change(AuditLink.objects.first())
    assert not checked().broken


# --- Others at the same time ---


@contextmanager
def in_the_meantime(work) -> Iterator[None]:
    """Another connection has done some work and commits it when the block ends."""
    ready, go = threading.Event(), threading.Event()

    def run():
        try:
            with transaction.atomic():
                work()
                ready.set()
                go.wait(10)
        finally:
            ready.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        go.set()
        thread.join()


@pytest.mark.postgres_only(reason="SQLite has one transaction that writes at a time")
def test_what_commits_late_gets_its_place_all_the_same():
    act("first")
    chain()
    with in_the_meantime(lambda: act("slow")):
        act("quick")  # its id is higher, and it is committed before
        chain_now()
        assert order() == ["first"]
        assert checked().waiting == 1
    chain()

    assert order() == ["first", "slow", "quick"]
    assert not checked().broken


@pytest.mark.postgres_only(reason="SQLite has one transaction that writes at a time")
def test_the_order_of_ids_does_not_matter():
    has_begun, is_done = threading.Event(), threading.Event()

    def run():
        with transaction.atomic():
            make_user("jon")  # from now on the transaction has a number
            has_begun.set()
            is_done.wait(10)
            act("slow")
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    has_begun.wait(10)
    act("quick")
    chain_now()
    assert order() == []
    is_done.set()
    thread.join()
    chain()

    assert order() == ["slow", "quick"]
    assert AuditEntry.objects.order_by("id").first().target == "quick"
    assert not checked().broken


@pytest.mark.postgres_only(reason="SQLite has one transaction that writes at a time")
def test_nobody_who_decides_waits_for_the_chain():
    ask("q", users=["mia"])
    mia = Actor(make_user("mia"))
    act("first")
    let_others_end()
    with in_the_meantime(chain_now):
        assert decide("q", mia, Answer("approve")) is Verdict.SETTLED
        assert extend(using="default") == 0  # one at a time
        assert order() == []
    chain()

    assert order() == ["first", "q"]
    assert not checked().broken


@pytest.mark.postgres_only(reason="only there transactions have numbers")
def test_entries_that_come_from_another_server_are_done():
    far = 2**50
    now = timezone.now()
    AuditEntry.objects.bulk_create(
        AuditEntry(
            at=now,
            action=Action.CHANGE,
            target=f"old{number}",
            sign_in=SignIn.SYSTEM,
            transaction=far + number,
        )
        for number in range(2)
    )
    let_others_end()
    extend(using="default", limit=1)
    act("new1")
    chain()
    act("new2")
    chain()

    assert order() == ["old0", "old1", "new1", "new2"]
    assert not checked().broken


def test_an_entry_that_was_left_out_is_found_by_the_command(chained):
    AuditEntry.objects.create(
        at=timezone.now(),
        action=Action.CHANGE,
        target="restored",
        sign_in=SignIn.SYSTEM,
        transaction=-1,
    )
    chain()
    assert (checked().waiting, checked().left_out) == (1, 1)

    run("chain")
    assert order()[-1] == "restored"
    assert checked().waiting == 0


# --- Tampering ---


@pytest.mark.parametrize(
    "column",
    [
        "actor_name = 'jon'",
        "reason = 'because'",
        "on_behalf_of_id = 7",
        "is_effective = not is_effective",
        "details = '{}'",
        "state_after = 'resolved'",
        "answer = 'x'",
        '"transaction" = "transaction" + 1',
    ],
)
def test_a_changed_entry_is_named(chained, column):
    third = AuditEntry.objects.get(target="t3").pk
    execute(f"update signoff_auditentry set {column} where id = %s", third)

    report = checked()

    assert report.broken == f"position 3: entry {third} or its link was changed"
    assert report.head.position == 2


def test_a_removed_entry_is_named(chained):
    third = AuditEntry.objects.get(target="t3").pk
    execute("delete from signoff_auditentry where id = %s", third)

    assert checked().broken == f"position 3: entry {third} was taken out"


def test_a_removed_link_is_named(chained):
    execute("delete from signoff_auditlink where position = 3")

    assert checked().broken == "position 3: the link was taken out"
    assert checked().waiting == 1


def test_a_removed_entry_and_link_are_named(chained):
    third = AuditEntry.objects.get(target="t3").pk
    execute("delete from signoff_auditlink where position = 3")
    execute("delete from signoff_auditentry where id = %s", third)
    execute("update signoff_auditlink set position = position - 1 where position = 4")
    execute("update signoff_auditlink set position = position - 1 where position = 5")

    assert checked().broken == "position 3: the link does not follow the one before"


def test_a_changed_link_is_named(chained):
    execute("update signoff_auditlink set hash = %s where position = 2", "0" * 64)

    assert "position 2" in checked().broken


def test_two_entries_that_were_swapped_are_named(chained):
    second, fourth = (AuditEntry.objects.get(target=one).pk for one in ("t2", "t4"))
    execute("update signoff_auditlink set entry_id = 0 where position = 2")
    execute("update signoff_auditlink set entry_id = %s where position = 4", second)
    execute("update signoff_auditlink set entry_id = %s where position = 2", fourth)

    assert checked().broken == f"position 2: entry {fourth} or its link was changed"


def test_an_entry_that_was_put_in_is_named(chained):
    """With a link whose own hash is right, in front of position 3."""
    act("forged")
    forged = AuditEntry.objects.get(target="forged")
    before = AuditLink.objects.get(position=2).hash
    for position in (5, 4, 3):
        execute(
            "update signoff_auditlink set position = position + 1 where position = %s", position
        )
    sql = (
        "insert into signoff_auditlink (position, entry_id, previous, hash) values (3, %s, %s, %s)"
    )
    execute(sql, forged.pk, before, hash_of(forged, before))

    assert checked().broken == "position 4: the link does not follow the one before"


def test_an_entry_that_was_put_in_without_a_link_is_named(chained):
    """In front of others, so that nothing of what comes later chains it."""
    first = AuditEntry.objects.get(target="t1")
    AuditEntry.objects.create(
        pk=first.pk - 1,
        at=first.at,
        action=Action.CHANGE,
        target="forged",
        sign_in=SignIn.SYSTEM,
        transaction=first.transaction,
    )
    act("t6")
    chain()

    assert (checked().waiting, checked().left_out) == (1, 1)
    with pytest.raises(CommandError, match=r"^1 entries without a link stand before others"):
        run("verify")


def test_a_cut_off_end_shows_to_whom_noted_it(chained):
    noted = checked().head
    execute("delete from signoff_auditlink where position = 5")
    execute("delete from signoff_auditentry where target = 't5'")
    assert not checked().broken

    assert checked(known=noted).broken == (
        "position 5: the chain is not the one whose hash was noted"
    )
    act("forged")
    chain()
    assert "position 5" in checked(known=noted).broken


def test_a_head_that_was_noted_stays_good(chained):
    noted = checked().head
    act("t6")
    chain()

    assert not checked(known=noted).broken


def test_the_end_of_the_chain_goes_on_though_its_entry_was_taken_out(chained):
    execute("delete from signoff_auditentry where target = 't5'")
    act("t6")
    chain()

    assert AuditLink.objects.count() == 6
    assert checked().head.position == 4
    assert "position 5" in checked().broken


# --- The command ---


def run(*arguments):
    out = StringIO()
    call_command("signoff_audit", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_verify_prints_the_head(chained):
    act("t6")
    head = AuditLink.objects.get(position=5)

    said = run("verify")

    assert said == f"5 entries are right; 1 entries are not chained yet\nhead 5:{head.hash}\n"
    assert run("verify", "--known", f"5:{head.hash}") == said


def test_verify_fails_on_what_is_wrong(chained):
    execute("update signoff_auditentry set reason = 'x' where target = 't2'")

    with pytest.raises(CommandError, match=r"position 2: entry \d+ or its link was changed; 1 ent"):
        run("verify")


@pytest.mark.parametrize("text", ["5", "x:y", f"-1:{'0' * 64}", "5:abc"])
def test_verify_takes_only_a_head(text):
    with pytest.raises(CommandError, match="is not a position and a hash"):
        run("verify", f"--known={text}")


def test_an_empty_trail_is_right():
    assert run("verify") == "0 entries are right; 0 entries are not chained yet\n"


def test_chain_chains():
    act("t1")
    let_others_end()
    assert run("chain") == "1 entries chained\n"
    assert re.search(r"^1 entries are right", run("verify"))
