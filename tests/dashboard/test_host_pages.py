"""The tags for pages of the project that the dashboard is installed in, outside of its shell."""

import re

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import include, path

from dashboard.models import HumanTask
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import answer, ask, client_of, make_user, task_url
from tests.dashboard.reading import HTMX

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

PAGE = """{% load signoff_inbox %}<!doctype html><title>Shop</title>
<nav>{% inbox_badge %}</nav><main>{% task_panel task %}</main>"""


def order(request, task_id):
    """A page of a shop that shows a question of an order, if there is one."""
    template = engines["django"].from_string(PAGE)
    task = HumanTask.objects.filter(pk=task_id).first()
    return HttpResponse(template.render({"task": task or task_id}, request))


urlpatterns = [
    path("orders/<str:task_id>/", order),
    path("", include("dashboard.project.urls")),
]


@pytest.fixture
def mia() -> Client:
    return client_of(make_user("mia", first_name="Mia"))


def count_on(page: str) -> str:
    return re.sub(r"<[^>]+>", "", page.partition("<nav>")[2].partition("</nav>")[0]).strip()


def test_the_panel_and_the_badge_are_there_for_whom_it_is_for(mia):
    ask("q", title="Pay?", users=["mia"])

    page = mia.get("/orders/q/").text

    assert "Pay?" in page
    assert 'name="answer" value="approve"' in page
    assert count_on(page).startswith("1")
    assert "style=" not in page
    assert "<script" not in page


@pytest.mark.parametrize("task_id", ["q", "nothing"])
def test_others_get_a_page_without_it(task_id):
    ask("q", title="Pay?", users=["mia"])

    for client in (client_of(make_user("eve")), Client()):
        page = client.get(f"/orders/{task_id}/").text
        assert "Pay?" not in page
        assert re.fullmatch(r"\s*", page.partition("<main>")[2].partition("</main>")[0])
        assert count_on(page).startswith("0")


def test_without_javascript_an_answer_leads_back_to_the_page(mia):
    ask("q", users=["mia"])
    page = mia.get("/orders/q/?tab=2").text
    form = page.partition('class="decision"')[2].partition("</form>")[0]
    [came_from] = re.findall(r'name="next" value="([^"]+)"', form)

    sent = answer(mia, "q", next=came_from)

    assert (sent.status_code, sent["Location"]) == (303, "/orders/q/?tab=2")
    page = mia.get("/orders/q/").text
    assert "You approved this" in page
    assert count_on(page).startswith("0")


def test_with_javascript_the_panel_alone_is_swapped_and_the_badge_looks_again(mia):
    ask("q", users=["mia"], answers=["approve", "rework"])
    ask("r", users=["mia"])

    wrong = mia.post(
        f"{task_url('q')}decide/", {"answer": "rework", "next": "/orders/q/"}, headers=HTMX
    )
    assert wrong.status_code == 422
    assert 'name="next" value="/orders/q/"' in wrong.text
    sent = mia.post(
        f"{task_url('q')}decide/", {"answer": "approve", "next": "/orders/q/"}, headers=HTMX
    )

    assert sent.status_code == 200
    assert "You approved this" in sent.text
    assert "<main" not in sent.text
    assert "inbox:changed" in sent["HX-Trigger"]
    assert 'hx-trigger="inbox from:body, inbox:changed from:body"' in mia.get("/orders/q/").text
    assert count_on(f"<nav>{mia.get('/inbox/badge/').text}</nav>").startswith("1")


def test_an_answer_that_can_be_taken_back_stays_on_the_page(mia):
    ask("q", users=["mia"], undo=10)
    answer(mia, "q", comment="typed", next="/orders/q/")
    assert "Sending in" in mia.get("/orders/q/").text

    back = mia.post(f"{task_url('q')}take-back/", {"next": "/orders/q/"})

    assert back["Location"] == "/orders/q/"
    assert "typed" in mia.get("/orders/q/").text
    assert Promise.objects.get(pk="q").state == PromiseState.PENDING


def test_taking_it_on_and_remarks_stay_on_the_page(mia):
    ask("q", users=["mia"])
    page = mia.get("/orders/q/").text
    assert page.count('name="next" value="/orders/q/"') >= 5

    for act, data in (("claim", {}), ("comment", {"kind": "remark", "text": "x"}), ("release", {})):
        sent = mia.post(f"{task_url('q')}{act}/", data | {"next": "/orders/q/"})
        assert sent["Location"] == "/orders/q/"
    part = mia.post(f"{task_url('q')}claim/", {"next": "/orders/q/"}, headers=HTMX).text
    assert 'name="next" value="/orders/q/"' in part


def test_who_asked_sees_it_and_has_nothing_to_press(mia):
    eve = client_of(make_user("eve"))
    ask("q", title="Pay?", users=["mia"])
    HumanTask.objects.update(started_by=f"user:{eve.session['_auth_user_id']}")

    page = eve.get("/orders/q/").text

    assert "Pay?" in page
    assert 'name="answer"' not in page
