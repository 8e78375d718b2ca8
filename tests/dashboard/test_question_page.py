"""The page of a question: its words, its address, what surrounds it. Alike on all databases."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.test import Client
from django.urls import reverse

from dashboard import question_ids
from tests.dashboard.people import (
    answer,
    ask,
    ask_bare,
    child_of,
    client_of,
    iso,
    make_operator,
    make_user,
    start_run,
    task_url,
)
from tests.dashboard.reading import HTMX

pytestmark = [pytest.mark.django_db, pytest.mark.once]

WHOLE = {"HX-Request": "true", "HX-Request-Type": "full"}


@pytest.fixture
def mia():
    return client_of(make_user("mia", first_name="Mia", groups=("finance",)))


def test_page_says_what_is_asked_by_whom_and_until_when(mia):
    start_run("run-1", "pay_invoice")
    ask(
        "run-1:1",
        tags=child_of("run-1"),
        title="Pay invoice",
        question="First line.\nSecond <line>.",
        consequence="Approving pays 4 200 EUR.",
        facts=[["Amount", "4 200 EUR"], ["Paid", None], ["Lines", {"a": 1}]],
        groups=["finance", "finanse"],
        users=["mia"],
        due="2030-01-02T10:00:00Z",
        timeout_at=1_900_000_000_000,
    )

    page = mia.get(task_url("run-1:1")).text

    for text in (
        "First line.<br>Second &lt;line&gt;.",
        "Approving pays 4 200 EUR.",
        "4 200 EUR",
        "none",
        "{&quot;a&quot;: 1}",
        "For Mia, finance or finanse",
        "2 Jan 2030, 10:00",
        "Expires without an answer",
        "</svg> Pay invoice</li>",
        ">Approve<",
        ">Reject<",
    ):
        assert text in page
    assert 'name="value"' not in page


def test_words_of_the_engine_are_not_for_deciders(mia):
    ask("q", users=["mia"], groups=["finance"], due=iso(1), question="Now?")
    ask_bare()
    olga = client_of(make_operator())
    pages = [mia.get("/inbox/"), mia.get(task_url("q")), olga.get(task_url("bare-1"))]
    pages += [answer(mia, "q", "burn"), answer(mia, "q"), answer(mia, "q"), mia.get(task_url("q"))]

    for page in pages:
        words = re.sub(r"<[^>]*>", " ", page.text).lower()
        for word in ("promise", "resolve", "latent", "settle", "pending", "deferred"):
            assert word not in words


def test_templates_of_deciders_have_no_inline_script_or_style():
    folder = Path(__file__).parents[2] / "templates" / "dashboard" / "inbox"

    for template in folder.glob("*.html"):
        text = template.read_text()
        assert not re.search(r"\son\w+=|style=|<style|hx-on|js:", text), template
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template


def test_fragment_is_the_panel_and_restored_history_is_the_page(mia):
    ask("q", users=["mia"])

    assert "<html" not in mia.get(task_url("q"), headers=HTMX).text
    assert "<html" in mia.get(task_url("q"), headers=WHOLE).text
    restored = HTMX | {"HX-History-Restore-Request": "true"}
    assert "<html" in mia.get(task_url("q"), headers=restored).text


def test_nothing_is_cached(mia):
    ask("q", users=["mia"])

    for url in ("/inbox/", task_url("q"), "/inbox/changes/", "/inbox/badge/"):
        assert "no-store" in mia.get(url)["Cache-Control"]
        assert "HX-Request" in mia.get(url)["Vary"]


def test_fragment_of_one_whose_session_ended_sends_the_page_to_sign_in():
    current = {"HX-Current-URL": "http://testserver/inbox/q/"}

    response = Client().get(task_url("q"), headers=HTMX | current)

    assert response["HX-Redirect"] == "/accounts/login/?next=/inbox/q/"


STRANGE_IDS = [
    "order-42:1.2",
    "a/b/c",
    "/leading",
    "trailing/",
    "a//b",
    ".",
    "..",
    "../../etc/passwd",
    "a b",
    "ünï ☃",
    "100%",
    "%2F",
    "~2F",
    "a?b#c&d",
    "x/decide",
    "x/decide/",
    "changes",
    "badge",
    "line\nbreak",
    "<script>",
    '"quoted"',
    "x" * 1000,
]


@pytest.mark.parametrize("promise_id", STRANGE_IDS)
def test_any_id_has_an_address(mia, promise_id):
    ask(promise_id, title="Strange", users=["mia"])

    url = reverse("signoff:task", args=[promise_id])

    assert re.fullmatch(r"/inbox/[A-Za-z0-9~:._-]+/", url)
    assert url.split("/")[2].strip(".")
    assert mia.get(url).context["panel"].task.pk == promise_id
    assert url in mia.get("/inbox/").text
    assert mia.get(f"{url}state/").status_code == 204
    assert answer(mia, promise_id).status_code == 303
    assert mia.get(f"{url}state/").status_code == 200


@pytest.mark.parametrize("promise_id", ["a/b", "a b", "100%", "/x", "ünï"])
def test_address_made_with_percent_signs_leads_to_the_right_one(mia, promise_id):
    ask(promise_id, users=["mia"])

    response = mia.get(f"/inbox/{quote(promise_id, safe='')}/")

    assert response["Location"] == task_url(promise_id)


@pytest.mark.parametrize("text", ["~", "~2", "~2f", "~41", "a~FF", "badge", ".."])
def test_one_id_has_one_address(text):
    with pytest.raises(ValueError, match=r".*"):
        question_ids.decode(text)


def test_panel_tag_shows_the_panel_to_whom_it_is_for_and_nothing_to_others(rf, mia):
    ask("a", title="Pay?", users=["mia"])
    template = engines["django"].from_string(
        "{% load signoff_inbox %}{% task_panel 'a' %}{% inbox_badge %}"
    )

    def rendered(user):
        request = rf.get("/executions/run-1/?x=1")
        request.user = user
        return template.render({}, request)

    page = rendered(User.objects.get(username="mia"))
    assert "Pay?" in page
    assert 'name="next" value="/executions/run-1/?x=1"' in page
    assert "csrfmiddlewaretoken" in page
    assert "Pay?" not in rendered(make_user("eve"))
