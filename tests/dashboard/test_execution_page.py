"""The page of one execution: its tree, its history, its cancellation."""

import re

import pytest

from dashboard.models import AuditEntry
from durable.clock import now_ms
from durable.models import HistoryEvent, Promise
from tests.dashboard import factories
from tests.dashboard.factories import (
    acquire,
    add_worker,
    ask,
    call,
    fail,
    finish,
    run_of,
    running,
    send,
    sleep,
    start,
    step,
    suspend,
)
from tests.dashboard.people import client_of, make_user
from tests.dashboard.reading import HTMX, banner, html, text

pytestmark = pytest.mark.django_db

H = 3_600_000


@pytest.fixture
def operator():
    rights = ("view_executions", "cancel_executions")
    return client_of(make_user("olga", rights=rights, first_name="Olga", last_name="Berg"))


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
