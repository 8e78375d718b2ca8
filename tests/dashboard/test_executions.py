"""Executions: why each waits, how it ended, and the list of them."""

import re

import pytest

from dashboard.states import Status
from durable.clock import now_ms
from durable.protocol.requests import TaskHalt
from tests.dashboard import factories
from tests.dashboard.factories import (
    acquire,
    add_worker,
    ask,
    call,
    fail,
    finish,
    pass_time,
    release,
    run_of,
    running,
    send,
    sleep,
    start,
    suspend,
)
from tests.dashboard.people import ask as ask_people
from tests.dashboard.people import client_of, iso, make_user
from tests.dashboard.reading import HTMX, banner, html, lines, text

pytestmark = pytest.mark.django_db

MIN, H = 60_000, 3_600_000


# --- Why it waits: a case each, on the list and on the page ---


def test_waiting_for_people(viewer):
    running("order-1")
    ask("order-1", "order-1:1", "Ship order 1?", groups=["Finance"], users=["mia"])
    suspend("order-1", "order-1:1")

    status, why = lines(viewer)["order-1"]
    assert status == "Waiting for a person"
    assert re.fullmatch(
        r"Waiting for (mia or Finance|Finance or mia) to answer “Ship order 1\?”, for \d+ m?s", why
    )
    assert banner(viewer, "order-1").startswith("Waiting for ")


def test_waiting_for_anybody(viewer):
    running("order-1")
    ask("order-1", "order-1:1")
    ask("order-1", "order-1:2")
    suspend("order-1", "order-1:1", "order-1:2")

    assert "Waiting for an answer to “order-1:1” (and 1 more), for" in lines(viewer)["order-1"][1]


def test_question_that_nobody_waits_for_holds_nothing_up(viewer):
    running("order-1")
    ask("order-1", "order-1:1", "Ship?")

    assert lines(viewer)["order-1"][0] == "Running"


def test_waiting_for_a_worker_never_seen(viewer):
    start("render-1", group="gpu")

    assert lines(viewer)["render-1"] == (
        "Queued",
        "Waiting for a worker of group gpu: none was ever seen",
    )


def test_waiting_for_a_worker_gone(viewer):
    start("render-1", group="gpu")
    add_worker(groups=("gpu",), seen_at=now_ms() - 4 * MIN - 1000)

    assert lines(viewer)["render-1"][1] == (
        "Waiting for a worker of group gpu: none seen for 4 min"
    )


def test_waiting_for_a_busy_worker(viewer):
    start("render-1", group="gpu")
    runs = [run_of("x", "x:1", "f"), run_of("y", "y:1", "f")]
    add_worker("a", groups=("gpu",), running=runs)
    add_worker("b", groups=("gpu",), running=runs)

    assert lines(viewer)["render-1"][1] == "Waiting for a worker of group gpu: 2 busy"


def test_waiting_for_a_worker_that_has_room(viewer):
    start("render-1", group="gpu")
    add_worker(groups=("gpu", "cpu"))

    assert lines(viewer)["render-1"][1] == "Waiting for a worker of group gpu: 1 ready"


def test_waiting_for_a_worker_that_knows_the_function(viewer):
    start("render-1", "render", group="gpu")
    add_worker("a", groups=("gpu",), functions=["resize"])

    sentence = "Waiting for a worker of group gpu: "
    assert lines(viewer)["render-1"][1] == sentence + "none knows the function render"

    add_worker("b", groups=("gpu",), functions=["resize", "render"])
    assert lines(viewer)["render-1"][1] == sentence + "1 ready"


def test_waiting_for_delivery(viewer):
    start("hook-1", **{"resonate:target": "https://example.com/run"})

    assert lines(viewer)["hook-1"][1] == "Waiting for https://example.com/run to take it"


def test_sleeping(viewer):
    running("reminder-1")
    sleep("reminder-1", "reminder-1:1", now_ms() + 5 * H)
    sleep("reminder-1", "reminder-1:2", now_ms() + 2 * H)
    suspend("reminder-1", "reminder-1:1", "reminder-1:2")

    status, why = lines(viewer)["reminder-1"]
    assert status == "Sleeping"
    assert why.startswith("Sleeping until ")
    assert why == banner(viewer, "reminder-1")


def test_delayed(viewer):
    start("later-1", **{"resonate:delay": str(now_ms() + H)})

    status, why = lines(viewer)["later-1"]
    assert status == "Queued"
    assert why.startswith("Delayed until ")


def test_waiting_for_a_child(viewer):
    running("order-1")
    call("order-1", "order-1:1", "ship", group="shipping")
    suspend("order-1", "order-1:1")

    assert lines(viewer)["order-1"] == (
        "Queued",
        "Waiting for a worker of group shipping: none was ever seen",
    )


def test_waiting_for_another_execution(viewer):
    running("bundle-1")
    start("import-1")
    suspend("bundle-1", "import-1")

    page = html(viewer.get("/executions/"))
    assert lines(viewer)["bundle-1"] == ("Waiting", "Waiting for execution import-1 Open")
    assert '<a href="/executions/import-1/">Open</a>' in page


def test_running_on_a_host(viewer):
    running("import-1", "import_catalogue")
    add_worker(running=[run_of("import-1", "import-1:4", "write_rows")])

    status, why = lines(viewer)["import-1"]
    assert status == "Running"
    assert re.fullmatch(r"Running write_rows on web-1, for \d+(\.\d)? s", why)


def test_running_on_a_worker_that_says_nothing(viewer):
    running("import-1", "import_catalogue")

    assert lines(viewer)["import-1"] == ("Running", "Running import_catalogue on worker-1")


def test_a_lease_that_ran_out_is_no_running(viewer):
    acquire(start("import-1"), ttl=1)
    pass_time(now_ms() + 2)

    assert lines(viewer)["import-1"][0] == "Queued"


def test_stuck(viewer):
    running("invoice-1", "send_invoice")
    release("invoice-1", stuck="the code changed at invoice-1:2")

    status, why = lines(viewer)["invoice-1"]
    assert status == "Stuck"
    assert why.startswith("send_invoice: the code changed at invoice-1:2")


def test_halted(viewer):
    running("invoice-1", "send_invoice")
    send(TaskHalt("invoice-1"))

    assert lines(viewer)["invoice-1"][1].startswith("send_invoice: halted by an operator")


def give_back(task_id, times):
    for version in range(times):
        acquire(task_id, version=version)
        release(task_id, version=version + 1)


def test_back_off(viewer):
    give_back(start("sync-1"), 4)

    status, why = lines(viewer)["sync-1"]
    assert status == "Queued"
    assert re.match(r"Given back 4 times without progress; next try (in|just now)", why)


def test_given_back_too_often(viewer):
    give_back(start("sync-1", "sync"), 6)

    status, why = lines(viewer)["sync-1"]
    assert status == "Stuck"
    assert re.match(r"sync: given back 6 times .*; next try (in|just now)", why)


def test_a_person_matters_more_than_what_else_goes_on(viewer):
    running("order-1")
    call("order-1", "order-1:1")
    ask("order-1", "order-1:2", "Ship?")
    suspend("order-1", "order-1:1", "order-1:2")

    assert lines(viewer)["order-1"][0] == "Waiting for a person"


# --- What is over ---


def test_final_states(viewer):
    finish(running("done-1"), "ok")
    fail(running("broken-1"), "no such account")
    start("late-1", timeout_at=now_ms() + 1)
    pass_time(now_ms() + 1)

    assert lines(viewer) == {
        "late-1": ("Timed out", "Its deadline passed just now ."),
        "broken-1": ("Failed", "OrderError: no such account"),
        "done-1": ("Succeeded", ""),
    }
    assert "Its deadline passed just now" in banner(viewer, "late-1")


def test_only_executions_are_listed(viewer):
    running("order-1")
    call("order-1", "order-1:1")
    factories.send(factories.PromiseCreate("alone-1", 2**50, tags={"resonate:external": "true"}))

    assert list(lines(viewer)) == ["order-1"]


def test_started_by(viewer):
    user = make_user("jon", first_name="Jon", last_name="Berg")
    for name in ("jon", "shop", "gone", "odd"):
        by = {"jon": f"user:{user.pk}", "shop": "token:shop", "gone": "user:999999"}
        start(name, by=by.get(name, "user:nonsense"))
        pass_time()

    page = html(viewer.get("/executions/"))
    assert re.findall(r'<td class="by">(.*?)</td>', page) == [
        "user nonsense",
        "user 999999",
        "token shop",
        "Jon Berg",
    ]
    assert "by Jon Berg" in html(viewer.get("/executions/jon/"))


# --- Filters and pages ---


@pytest.fixture
def one_of_each():
    running("human")
    ask("human", "human:1", "Ship?")
    suspend("human", "human:1")
    running("running")
    start("queued")
    running("sleeping")
    sleep("sleeping", "sleeping:1", now_ms() + H)
    suspend("sleeping", "sleeping:1")
    release(running("stuck"), stuck="why")
    running("waiting")
    suspend("waiting", "queued")
    finish(running("succeeded"))
    fail(running("failed"), "no")
    factories.send(
        factories.PromiseSettle(start("cancelled"), factories.PromiseState.REJECTED_CANCELED)
    )
    start("timedout", timeout_at=now_ms() + 1)
    pass_time(now_ms() + 1)


@pytest.mark.parametrize("status", list(Status))
def test_filter_shows_what_the_chip_says(viewer, one_of_each, status):
    found = lines(viewer, f"?status={status.slug}")

    assert {name: chip for name, (chip, _) in found.items()} == {status.slug: str(status.label)}


def test_a_line_says_that_the_deadline_passed(viewer, one_of_each):
    assert lines(viewer)["timedout"][1].startswith("Its deadline passed")
    assert lines(viewer)["succeeded"][1] == ""


def test_filters_combine(viewer, one_of_each):
    assert set(lines(viewer, "?status=failed&status=human")) == {"failed", "human"}
    assert set(lines(viewer, "?status=failed&prefix=h")) == set()
    assert set(lines(viewer, "?prefix=s")) == {"sleeping", "stuck", "succeeded"}
    assert set(lines(viewer, "?status=nonsense&older=x&newer=0~")) == set(lines(viewer))


def test_filter_by_function(viewer):
    start("a", "ship")
    start("b", "shipping")

    assert set(lines(viewer, "?function=ship")) == {"a"}


def test_prefix_is_taken_as_it_is(viewer):
    start("a%b")
    start("a_b")
    start("aXb")

    assert set(lines(viewer, "?prefix=a%25")) == {"a%b"}
    assert set(lines(viewer, "?prefix=a_")) == {"a_b"}


def test_active_filters_can_be_removed_one_by_one(viewer):
    page = html(viewer.get("/executions/?status=failed&status=human&function=ship"))

    assert '<a class="removable" href="/executions/?status=human&amp;function=ship">Failed' in page
    assert 'href="/executions/?status=failed&amp;status=human">ship' in page
    assert 'value="failed" checked' in page
    assert "No execution matches." in page


def test_filter_form_leaves_a_short_address(viewer):
    headers = HTMX | {"HX-Source": "form#filters"}

    response = viewer.get("/executions/?status=failed&function=&prefix=", headers=headers)

    assert response["HX-Push-Url"] == "/executions/?status=failed"
    assert html(response).lstrip().startswith('<section id="executions"')
    assert "HX-Push-Url" not in viewer.get("/executions/?status=failed", headers=HTMX)
    assert viewer.get("/executions/", headers=headers)["HX-Push-Url"] == "/executions/"


def test_empty_list_says_how_to_begin(viewer):
    assert "Nothing has been started yet." in html(viewer.get("/executions/"))


def test_pages_hold_while_executions_are_started(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.execution_list.PAGE_SIZE", 3)
    for number in range(8):
        start(f"e-{number}")
        pass_time()
    first = html(viewer.get("/executions/"))
    start("e-8")
    older = re.search(r'rel="next" href="([^"]*)"', first)[1].replace("&amp;", "&")

    second = html(viewer.get(f"/executions/{older}"))
    assert list(lines(viewer, older)) == ["e-4", "e-3", "e-2"]

    newer = re.search(r'rel="prev" href="([^"]*)"', second)[1].replace("&amp;", "&")
    assert list(lines(viewer, newer)) == ["e-7", "e-6", "e-5"]
    last = re.search(r'rel="next" href="([^"]*)"', second)[1].replace("&amp;", "&")
    assert list(lines(viewer, last)) == ["e-1", "e-0"]
    assert 'rel="next"' not in html(viewer.get(f"/executions/{last}"))


def test_executions_of_the_same_moment_are_all_on_some_page(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.execution_list.PAGE_SIZE", 2)
    names = [f"e-{number}" for number in range(5)]
    send(*(factories.PromiseCreate(n, 2**50, tags={"resonate:target": "a"}) for n in names))

    seen, query = [], ""
    while query is not None:
        page = html(viewer.get(f"/executions/{query}"))
        seen += lines(viewer, query)
        found = re.search(r'rel="next" href="([^"]*)"', page)
        query = found and found[1].replace("&amp;", "&")
    assert sorted(seen) == names


def test_list_has_a_fixed_number_of_queries(viewer, one_of_each, django_assert_max_num_queries):
    with django_assert_max_num_queries(12) as few:
        viewer.get("/executions/")
    for number in range(5):
        name = f"more-{number}"
        running(name)
        ask(name, f"{name}:1", "Ship?", users=["mia"])
        suspend(name, f"{name}:1")
        start(f"queued-{number}")
        suspend(running(f"foreign-{number}"), f"queued-{number}")

    with django_assert_max_num_queries(len(few)):
        viewer.get("/executions/")


# --- Executions of these pages' own ---


def test_what_watches_questions_is_not_in_the_way(viewer):
    start("order-1")
    start("signoff.attend.abc", "signoff.attend")
    start("nameless", "")

    assert set(lines(viewer)) == {"order-1", "nameless"}
    assert set(lines(viewer, "?internal=1")) == {"order-1", "nameless", "signoff.attend.abc"}
    assert set(lines(viewer, "?function=signoff.attend")) == {"signoff.attend.abc"}
    assert set(lines(viewer, "?prefix=signoff.")) == {"signoff.attend.abc"}
    assert viewer.get("/executions/signoff.attend.abc/").status_code == 200
    page = html(viewer.get("/executions/?internal=1"))
    assert 'name="internal" value="1" checked' in page
    assert "Also internal ones" in text(page.partition('class="active-filters"')[2])


def test_a_stuck_timer_is_found_from_its_question(viewer):
    vera = make_user("ann", rights=("view_executions",))
    due = {"due": iso(2), "reminders": [{"at": "50%"}], "users": ["ann", "mia"]}
    ask_people("q", **due)
    page = html(client_of(vera).get("/inbox/q/"))

    [address] = re.findall(r'href="([^"]+)">The timer of this question', page)

    assert address.startswith("/executions/signoff.attend.")
    assert "signoff.attend" in html(viewer.get(address))
    mia = client_of(make_user("mia"))
    assert "The timer of this question" not in html(mia.get("/inbox/q/"))
