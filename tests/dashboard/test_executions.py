import re
from html import unescape

import pytest

from dashboard.models import AuditEntry
from dashboard.states import Status
from durable.clock import now_ms
from durable.models import HistoryEvent, Promise
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
    step,
    suspend,
)
from tests.dashboard.people import ask as ask_people
from tests.dashboard.people import client_of, iso, make_user

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}
MIN, H = 60_000, 3_600_000


@pytest.fixture
def viewer():
    return client_of(make_user("vera", rights=("view_executions",)))


@pytest.fixture
def operator():
    rights = ("view_executions", "cancel_executions")
    return client_of(make_user("olga", rights=rights, first_name="Olga", last_name="Berg"))


def html(response):
    assert response.status_code == 200, response.content
    return response.content.decode()


def text(markup):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def lines(client, query=""):
    """Id, status and sentence of each line of the list."""
    page = html(client.get(f"/executions/{query}"))
    rows = re.findall(r'<tr id="execution-.*?</tr>', page, re.DOTALL)
    return {
        re.search(r'title="([^"]*)"', row)[1]: (
            text(re.search(r'<td class="status">(.*?)</td>', row, re.DOTALL)[1]),
            text(re.search(r'<td class="why">(.*?)</td>', row, re.DOTALL)[1]),
        )
        for row in rows
    }


def banner(client, execution_id):
    page = html(client.get(f"/executions/{execution_id}/"))
    return text(re.search(r'<section class="banner.*?</section>', page, re.DOTALL)[0])


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
        "late-1": ("Timed out", ""),
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


# --- One execution ---


@pytest.fixture
def order():
    running("order-1", "fulfil", "42", by="token:shop")
    step("order-1", "order-1:1", "reserve", {"lines": 3})
    step("order-1", "order-1:2", "charge", error="card declined", attempts=3)
    call("order-1", "order-1:3", "ship")
    acquire("order-1:3")
    step("order-1:3", "order-1:3.1", "label", "L1")
    finish("order-1:3", "sent")
    ask("order-1", "order-1:4", "Hand over?", users=["mia"])
    suspend("order-1", "order-1:4")
    return "order-1"


def names_in_tree(page):
    return re.findall(r'<span class="step-name">(.*?)</span>', page)


def test_tree_shows_every_call_in_its_place(viewer, order):
    page = html(viewer.get("/executions/order-1/"))

    assert names_in_tree(page) == ["fulfil", "reserve", "charge", "ship", "label", "Hand over?"]
    indents = [int(width) for width in re.findall(r'class="indent" width="(\d+)"', page)]
    assert indents == [0, 16, 16, 16, 32, 16]
    assert page.count('class="seg-human"') == 2  # the bar and the legend


def test_tree_is_a_table_that_can_be_read(viewer, order):
    page = html(viewer.get("/executions/order-1/"))
    rows = [text(row) for row in re.findall(r'<tr id="row.*?</tr>', page, re.DOTALL)]

    assert re.fullmatch(r'reserve :1 {"lines": 3} \d+ m?s', rows[1])
    assert "↻ 3" in rows[2]
    assert "StepError: card declined" in rows[2]
    assert 'role="img" aria-label="Failed"' in page


def test_parts_fold(viewer, order):
    page = html(viewer.get("/executions/order-1/"))
    [_, fold] = re.findall(r'aria-expanded="true" href="([^"]*)"', page)

    assert names_in_tree(html(viewer.get(fold.replace("&amp;", "&")))) == [
        "fulfil",
        "reserve",
        "charge",
        "ship",
        "Hand over?",
    ]


def test_detail_of_a_step(viewer, order):
    page = text(html(viewer.get("/executions/order-1/?step=order-1:2")).partition("<aside")[2])

    assert "charge Failed order-1:2 Kind step" in page
    assert "Attempts 3" in page
    assert "Error StepError : card declined" in page


def test_detail_of_a_call(viewer, order):
    page = text(html(viewer.get("/executions/order-1/")).partition("<aside")[2])

    assert "fulfil Waiting order-1 Kind function" in page
    assert "Group default" in page
    assert "Waits for order-1:4" in page
    assert 'Input 1 item 0 : "42"' in page
    assert "resonate:target poll://any@default" in page


def test_unknown_step_is_not_found(viewer, order):
    running("other-1")
    step("other-1", "other-1:1")

    assert viewer.get("/executions/order-1/?step=other-1:1").status_code == 404
    assert viewer.get("/executions/nothing/").status_code == 404


def test_id_of_a_step_leads_to_its_execution(viewer, order):
    response = viewer.get("/executions/order-1:3.1/")

    assert response.url == "/executions/order-1/?step=order-1%3A3.1"


def test_any_id_has_a_page(viewer):
    for name in ("a/b", "../x", "ü ?#%", "badge", "~2F", "x\ny", "cancel", "a/cancel"):
        start(name, "f")
        page = html(viewer.get("/executions/"))
        url = re.search(r'<a class="row-link" href="([^"]*)"', page)[1]
        assert names_in_tree(html(viewer.get(url))) == ["f"]


def test_plain_id_in_the_address_is_found_too(viewer):
    start("a/b")

    assert viewer.get("/executions/a/b/").url == "/executions/a~2Fb/"


def test_step_that_runs_now_is_in_the_tree(viewer):
    running("import-1", "import_all")
    add_worker(running=[run_of("import-1", "import-1:1", "write_rows", attempt=2)])

    page = html(viewer.get("/executions/import-1/?step=import-1:1"))

    assert names_in_tree(page) == ["import_all", "write_rows"]
    assert "on web-1" in text(page)
    detail = text(page.partition("<aside")[2])
    assert "write_rows Running import-1:1" in detail
    assert "Attempts 2 Worker web-1" in detail


def test_failure_shows_error_step_and_trace(viewer):
    running("pay-1", "pay_out")
    step("pay-1", "pay-1:1", "transfer", error="account frozen")
    fail("pay-1", "cannot pay", stack="Traceback: line 1")

    shown = banner(viewer, "pay-1")

    assert shown.startswith(
        "OrderError : cannot pay Last failed step: transfer Full trace Traceback"
    )
    assert "in total" in html(viewer.get("/executions/pay-1/"))


def test_hidden_from_html(viewer):
    running("x-1", "<script>f</script>", "<img src=x>")
    step("x-1", "x-1:1", "<b>", {"<i>": "</details>"})

    for query in ("", "?step=x-1:1", "?tab=history"):
        page = html(viewer.get(f"/executions/x-1/{query}"))
        assert "<script>f" not in page
        assert "<img" not in page
        assert "<i>" not in page.replace("<i>0</i>", "")


def test_fragment_is_tree_and_head(viewer, order):
    part = html(viewer.get("/executions/order-1/", headers=HTMX))

    assert part.lstrip().startswith('<div class="execution" id="execution"')
    assert '<div id="execution-head"' in part
    assert 'hx-swap-oob="outerMorph"' in part
    assert "<html" not in part
    whole = viewer.get(
        "/executions/order-1/", headers=HTMX | {"HX-History-Restore-Request": "true"}
    )
    assert "<html" in html(whole)


def test_page_of_what_is_over_asks_for_nothing(viewer):
    finish(running("done-1"))

    page = html(viewer.get("/executions/done-1/"))

    assert 'hx-trigger="never"' in page
    assert "execution=" not in re.search(r'hx-sse:connect="([^"]*)"', page)[1]


def test_page_of_what_goes_on_watches_it(viewer, order):
    page = html(viewer.get("/executions/order-1/"))

    assert "execution from:body" in page
    assert re.search(r'hx-sse:connect="/live/\?since=\d+&amp;execution=order-1"', page)


def test_answer_is_offered_to_whom_it_is_for(viewer, order):
    decider = client_of(make_user("mia", rights=("view_executions",)))

    assert 'href="/inbox/order-1:4/"' not in html(viewer.get("/executions/order-1/"))
    assert 'href="/inbox/order-1:4/"' in html(decider.get("/executions/order-1/"))


# --- Wide and deep ---


def crawl(count):
    running("crawl-1", "crawl")
    step("crawl-1", "crawl-1:0", "sitemap")
    for number in range(1, count + 1):
        error = "503" if number == 7 else ""
        step("crawl-1", f"crawl-1:{number}", "fetch", number, error=error)
    step("crawl-1", "crawl-1:1.1", "parse", parent="crawl-1:1")


@pytest.fixture(params=["small", "large"])
def wide(request, monkeypatch):
    """Forty siblings in a tree that is read whole, and in one that is not."""
    if request.param == "large":
        monkeypatch.setattr("dashboard.tree_rows.SMALL", 5)
    crawl(40)


def follow(client, page, name):
    link = re.search(rf'href="([^"]*)"[^>]*><span class="step-name">{name}</span>', page)
    return html(client.get(link[1].replace("&amp;", "&")))


def test_many_alike_are_one_row(viewer, wide):
    page = html(viewer.get("/executions/crawl-1/"))

    assert names_in_tree(page) == ["crawl", "sitemap", "fetch"]
    assert "× 40" in page  # noqa: RUF001 - how often, as people write it
    assert "1 failed" in text(page)
    assert 'class="cell cell-4"' in page


def test_the_row_of_many_opens(viewer, wide):
    page = follow(viewer, html(viewer.get("/executions/crawl-1/")), "fetch")

    names = names_in_tree(page)
    assert names.count("fetch") == 41
    assert names[:4] == ["crawl", "sitemap", "fetch", "fetch"]


def test_children_of_a_large_tree_come_when_asked_for(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.tree_rows.SMALL", 3)
    running("deep-1", "root")
    step("deep-1", "deep-1:1", "outer")
    step("deep-1", "deep-1:1.1", "inner", parent="deep-1:1")
    step("deep-1", "deep-1:1.1.1", "innermost", parent="deep-1:1.1")
    step("deep-1", "deep-1:2", "last")

    page = html(viewer.get("/executions/deep-1/"))
    assert names_in_tree(page) == ["root", "outer", "last"]
    fold = re.search(r'aria-expanded="false" href="([^"]*)"', page)[1].replace("&amp;", "&")
    assert names_in_tree(html(viewer.get(fold))) == ["root", "outer", "inner", "last"]


def test_way_to_the_chosen_step_is_open_in_a_large_tree(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.tree_rows.SMALL", 3)
    running("deep-1", "root")
    step("deep-1", "deep-1:1", "outer")
    step("deep-1", "deep-1:1.1", "inner", parent="deep-1:1")
    step("deep-1", "deep-1:1.1.1", "innermost", parent="deep-1:1.1")
    step("deep-1", "deep-1:2", "last")

    page = html(viewer.get("/executions/deep-1/?step=deep-1:1.1.1"))

    assert names_in_tree(page) == ["root", "outer", "inner", "innermost", "last"]


def test_one_page_of_children_at_a_time(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.tree_rows.SMALL", 5)
    monkeypatch.setattr("dashboard.tree_rows.PAGE", 10)
    monkeypatch.setattr("dashboard.trees.PAGE", 10)
    running("deep-1", "root")
    for number in range(25):
        step("deep-1", f"deep-1:{number}", f"step-{number}")

    page = html(viewer.get("/executions/deep-1/"))
    assert names_in_tree(page) == ["root", *(f"step-{number}" for number in range(10))]
    assert "1 to 10 of 25" in text(page)
    pager = re.search(r'<tr class="pager-row">.*?href="([^"]*)"', page, re.DOTALL)[1]
    page = html(viewer.get(pager.replace("&amp;", "&")))
    assert names_in_tree(page) == ["root", *(f"step-{number}" for number in range(10, 20))]
    assert "11 to 20 of 25 Earlier Later" in text(page)


def test_number_of_queries_does_not_depend_on_the_tree(
    viewer, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr("dashboard.tree_rows.SMALL", 5)
    crawl(10)
    query = "/executions/crawl-1/?open=crawl-1:1&open=crawl-1:2"
    with django_assert_max_num_queries(22) as few:
        viewer.get(query)
    for number in range(11, 80):
        step("crawl-1", f"crawl-1:{number}", "fetch", number)
        call("crawl-1", f"crawl-1:{number}0", f"call-{number}")

    with django_assert_max_num_queries(len(few) + 1):  # the strip of the group
        viewer.get(query)


@pytest.mark.parametrize("url", ["?prefix=%00", "?older=1~%00", "~00/", "x/?step=%00", "a%00b/"])
def test_ids_have_no_null_characters(viewer, url):
    start("x")

    assert viewer.get(f"/executions/{url}").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "open=",
        "at=x",
        "at=5~",
        "at=99999~crawl-1",
        "unfold=x",
        "unfold=99",
        "shut=crawl-1",
        "before=1",
    ],
)
def test_nonsense_in_the_address_does_no_harm(viewer, wide, query):
    assert viewer.get(f"/executions/crawl-1/?{query}").status_code == 200
    assert viewer.get(f"/executions/crawl-1/?tab=history&{query}").status_code == 200


# --- History ---


def events(page):
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    return [
        [text(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)][2:]
        for row in rows
    ]


def test_history_is_newest_first(viewer, order):
    found = events(html(viewer.get("/executions/order-1/?tab=history")))

    assert found[0][:2] == ["Suspended until something settles", "fulfil"]
    assert [what for what, *_ in found].count("Taken by a worker") == 2
    assert ["Failed after 3 attempts", "charge :2", "StepError: card declined"] in found
    assert ["Asked for an answer", "Hand over? :4", ""] in found
    assert found[-1] == ["Called", "fulfil", "poll://any@default"]


def test_history_of_one_step(viewer, order):
    found = events(html(viewer.get("/executions/order-1/?tab=history&step=order-1:3")))

    assert [what for what, *_ in found] == ["Succeeded", "Taken by a worker", "Called"]


def test_history_has_pages(viewer, order, monkeypatch):
    whole = events(html(viewer.get("/executions/order-1/?tab=history")))
    monkeypatch.setattr("dashboard.execution_history.PAGE", 2)

    seen, url = [], "/executions/order-1/?tab=history"
    while url:
        page = html(viewer.get(url))
        assert len(events(page)) <= 2
        seen += events(page)
        found = re.search(r'href="([^"]*)"[^>]*>Older</a>', page)
        url = found and found[1].replace("&amp;", "&")
    assert seen == whole


def test_long_history_has_a_fixed_number_of_queries(viewer, order, django_assert_max_num_queries):
    with django_assert_max_num_queries(18) as few:
        viewer.get("/executions/order-1/?tab=history")
    ask_and_answer("order-1", [f"order-1:{number}" for number in range(10, 130)])

    with django_assert_max_num_queries(len(few)):
        page = html(viewer.get("/executions/order-1/?tab=history"))
    assert len(events(page)) == 100
    assert HistoryEvent.objects.count() >= 3


def ask_and_answer(root, ids):
    tags = {"resonate:origin": root, "resonate:parent": root, "resonate:external": "true"}
    send(*(factories.PromiseCreate(one, 2**50, tags=tags) for one in ids))
    send(*(factories.PromiseSettle(one, factories.PromiseState.RESOLVED) for one in ids))


# --- Cancelling ---


def test_cancelling_says_what_it_ends(operator, order):
    sleep_root = running("order-2")
    sleep("order-2", "order-2:1", now_ms() + H)
    call("order-2", "order-2:2")
    acquire("order-2:2")
    call("order-2", "order-2:d0123456789abcdef", "audit")
    suspend(sleep_root, "order-2:1")

    page = text(html(operator.get("/executions/order-2/cancel/")))

    assert "1 function below it 1 timer This does not end" in page
    assert "the step runs to its end" in page
    assert "1 call that was detached" in page
    assert "1 open question: it is withdrawn" in text(
        html(operator.get("/executions/order-1/cancel/"))
    )


def test_cancelling_ends_it(operator, order):
    reason = {"reason": " ordered\0 twice "}
    response = operator.post("/executions/order-1/cancel/", reason, follow=True)

    assert response.redirect_chain == [("/executions/order-1/", 303)]
    page = html(response)
    assert "Cancelled. What ran at this moment" in text(page)
    assert "ordered twice" in banner(operator, "order-1")
    assert not Promise.objects.filter(state="pending").exists()
    entry = AuditEntry.objects.get(target_kind="execution")
    assert (entry.action, entry.target, entry.reason) == ("cancel", "order-1", "ordered twice")
    assert entry.actor_name == "Olga Berg"
    assert (entry.state_before, entry.state_after) == ("pending", "rejected_canceled")
    assert entry.is_effective


def test_cancelling_needs_a_reason(operator, order):
    response = operator.post("/executions/order-1/cancel/", {"reason": "  "})

    assert response.status_code == 422
    assert "Say why" in response.content.decode()
    assert Promise.objects.get(id="order-1").state == "pending"


def test_cancelling_needs_the_right(viewer, order):
    assert "Cancel…" not in html(viewer.get("/executions/order-1/"))
    assert viewer.get("/executions/order-1/cancel/").status_code == 404
    assert viewer.post("/executions/order-1/cancel/", {"reason": "x"}).status_code == 404
    assert Promise.objects.get(id="order-1").state == "pending"


def test_looking_cancels_nothing(operator, order):
    operator.get("/executions/order-1/cancel/?reason=x")
    operator.head("/executions/order-1/cancel/?reason=x")

    assert Promise.objects.get(id="order-1").state == "pending"


def test_what_is_over_is_not_cancelled(operator):
    finish(running("done-1"), "ok")

    assert "It is over already" in html(operator.get("/executions/done-1/cancel/"))
    response = operator.post("/executions/done-1/cancel/", {"reason": "late"})
    assert response.status_code == 409
    assert "There is nothing left to cancel." in response.content.decode()
    assert not AuditEntry.objects.get().is_effective


def test_a_step_is_not_cancelled_by_itself(operator, order):
    assert operator.post("/executions/order-1:3/cancel/", {"reason": "x"}).status_code == 404


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
