"""Saved views: filters under a name, for oneself, a group or everybody."""

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboard import saved_views
from dashboard.models import (
    Action,
    AuditEntry,
    DefaultView,
    Preference,
    SavedView,
    TargetKind,
)
from tests.dashboard import factories
from tests.dashboard.people import answer, ask, client_of, make_user, start_run, task_url

pytestmark = [pytest.mark.django_db, pytest.mark.once]

URGENT = "tab=answer&priority=urgent"
FAILED = "status=failed"


@pytest.fixture
def mia():
    return client_of(make_user("mia", groups=("finance",), rights=("view_executions",)))


@pytest.fixture
def jon():
    return client_of(make_user("jon", groups=("finance",)))


@pytest.fixture
def eve():
    return client_of(make_user("eve"))


def save(client, name="Urgent", query=URGENT, *, place="inbox", **data):
    address = f"/views/save/?{urlencode({'place': place, 'query': query})}"
    return client.post(address, {"name": name, **data})


def saved(client, name="Urgent", query=URGENT, **data):
    response = save(client, name, query, **data)
    assert response.status_code == 303, response.text
    return SavedView.objects.get(name=name)


def finance():
    return f"group-{Group.objects.get(name='finance').pk}"


def strip(client, address="/inbox/?tab=answer"):
    """Return the views above a list: names, and whether each is the one shown."""
    found = re.search(r'<nav class="views".*?</nav>', client.get(address).text, re.DOTALL)
    if found is None:
        return {}
    links = re.findall(
        r'<a class="view(?: is-act)?"[^>]*?( aria-current="true")?>(.*?)</a>', found[0]
    )
    return {
        re.sub(r"<svg.*?</svg>|<[^>]+>", "", text).removesuffix("shared"): bool(current)
        for current, text in links
    }


def titles(response):
    return re.findall(r'<span class="card-title">(?:<span.*?</span> )?(.*?)</span>', response.text)


# --- Saving ---


def test_saving_is_offered_while_the_filter_is_none_that_is_saved(mia):
    ask("q", users=["mia"])

    assert strip(mia) == {}
    assert strip(mia, f"/inbox/?{URGENT}") == {"Save view": False}
    saved(mia)
    assert strip(mia, f"/inbox/?{URGENT}") == {"All": False, "Urgent": True, "Change views": False}
    assert strip(mia, f"/inbox/?{URGENT}&q=acme") == {
        "All": False,
        "Urgent": False,
        "Save view": False,
        "Change views": False,
    }
    assert strip(mia) == {"All": True, "Urgent": False, "Change views": False}


def test_the_link_leads_to_a_form_that_saves_what_was_shown(mia):
    page = mia.get("/inbox/?priority=urgent&q=acme&colour=red&after=x").text
    [address] = re.findall(r'href="(/views/save/[^"]*)"', page)
    address = address.replace("&amp;", "&")

    assert parse_qs(urlsplit(address).query) == {
        "place": ["inbox"],
        "query": ["tab=answer&q=acme&priority=urgent"],
    }
    form = mia.get(address).text
    assert "Save these filters" in form
    assert 'name="name"' in form
    response = mia.post(address, {"name": " Acme "})

    assert (response.status_code, response["Location"]) == (
        303,
        "/inbox/?tab=answer&q=acme&priority=urgent",
    )
    view = SavedView.objects.get()
    assert (view.name, view.query, view.group, view.is_for_all) == (
        "Acme",
        "tab=answer&q=acme&priority=urgent",
        None,
        False,
    )


def test_what_means_nothing_is_dropped(mia):
    saved(mia, "A", "priority=huge&due=today&x=1&tab=nowhere")
    saved(mia, "B", "status=failed&status=odd&older=1~x&prefix=a%20b", place="executions")

    assert SavedView.objects.get(name="A").query == "tab=answer&due=today"
    assert SavedView.objects.get(name="B").query == "status=failed&prefix=a+b"


def test_a_view_of_executions_shows_them(mia):
    factories.start("x-1", "charge")
    factories.start("x-2", "ship")
    response = save(mia, "Charges", "function=charge", place="executions")

    assert response["Location"] == "/executions/?function=charge"
    page = mia.get(response["Location"]).text
    assert "x-1" in page
    assert "x-2" not in page
    assert strip(mia, "/executions/?function=charge") == {
        "All": False,
        "Charges": True,
        "Change views": False,
    }
    assert strip(mia, "/inbox/?tab=answer") == {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"name": "Urgent"}, "You have a view of this name already."),
        ({"name": "a\0b"}, "Null characters are not allowed."),
        ({"query": "tab=answer"}, "There is no filter to save."),
        ({"query": "q=%00"}, "There is no filter to save."),
        ({"query": "colour=red"}, "There is no filter to save."),
        ({"audience": "group-999999"}, "Select a valid choice"),
        ({"audience": "all"}, "Select a valid choice"),
        ({"audience": "everybody"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_saved_is_said(mia, data, sentence):
    saved(mia)
    fields = {"name": "Other", "query": "q=acme"} | data

    response = save(mia, **fields)

    assert response.status_code == 422
    assert sentence in response.text
    assert SavedView.objects.count() == 1


def test_filters_that_are_too_long_are_refused(mia):
    response = save(mia, "Long", f"prefix={'x' * 2001}", place="executions")

    assert (response.status_code, SavedView.objects.count()) == (422, 0)
    assert "These filters are too long to be saved." in response.text


def test_there_is_a_limit(mia, monkeypatch):
    monkeypatch.setattr(saved_views, "MAX_VIEWS", 1)
    saved(mia)

    response = save(mia, "Another", "q=acme")

    assert response.status_code == 422
    assert "You have 1 views and cannot have more. Delete one first." in response.text


def test_a_name_may_be_taken_by_others_and_on_the_other_list(mia, jon):
    saved(mia)

    assert save(jon).status_code == 303
    assert save(mia, query=FAILED, place="executions").status_code == 303


@pytest.mark.parametrize("query", ["", "place=elsewhere&query=q%3Dx", "place=executions&query=x"])
def test_there_is_nothing_to_save_elsewhere(jon, query):
    assert jon.get(f"/views/save/?{query}").status_code == 404
    assert jon.post(f"/views/save/?{query}", {"name": "x"}).status_code == 404


# --- Sharing ---


def test_a_member_of_the_group_sees_it_and_may_not_change_it(mia, jon, eve):
    view = saved(mia, audience=finance())

    assert "Urgent" in strip(jon)
    assert "for the group finance" in jon.get("/views/").text
    assert strip(eve) == {}
    assert "Urgent" not in eve.get("/views/").text
    for client in (jon, eve):
        assert client.get(f"/views/{view.pk}/").status_code == 404
        assert client.post(f"/views/{view.pk}/", {"name": "Mine"}).status_code == 404
        assert client.post(f"/views/{view.pk}/delete/").status_code == 404
    assert eve.post(f"/views/{view.pk}/first/").status_code == 404
    assert SavedView.objects.get().name == "Urgent"
    assert "Delete" not in jon.get("/views/").text


def test_a_private_view_is_for_its_owner(mia, jon):
    saved(mia)

    assert strip(jon) == {}
    assert "only for you" in mia.get("/views/").text


def test_one_shares_with_groups_of_ones_own(mia):
    other = Group.objects.create(name="legal")

    response = save(mia, audience=f"group-{other.pk}")

    assert response.status_code == 422
    assert "legal" not in mia.get("/views/save/?place=inbox&query=q%3Dx").text


def test_sharing_with_everybody_takes_the_right(mia, jon, eve):
    boss = client_of(make_user("boss", rights=("share_views",)))
    assert "Everybody" not in mia.get("/views/save/?place=inbox&query=q%3Dx").text

    view = saved(boss, audience="all")

    assert "Urgent" in strip(eve)
    assert jon.post(f"/views/{view.pk}/delete/").status_code == 404
    assert "for everybody" in jon.get("/views/").text


def test_who_may_share_with_everybody_may_delete_what_others_shared(mia):
    boss, chief = (client_of(make_user(one, rights=("share_views",))) for one in ("boss", "chief"))
    view = saved(boss, audience="all")
    private = saved(boss, "Private")

    assert chief.get(f"/views/{view.pk}/").status_code == 404
    assert chief.post(f"/views/{private.pk}/delete/").status_code == 404
    assert chief.post(f"/views/{view.pk}/delete/").status_code == 303
    assert list(SavedView.objects.all()) == [private]


def test_a_shared_view_gives_no_rights(mia, eve):
    boss = client_of(make_user("boss", rights=("share_views", "view_executions")))
    ask("q-1", users=["mia"], priority="urgent")
    start_run("secret-run")
    view = saved(boss, audience="all")
    saved(boss, "Runs", "prefix=secret", place="executions", audience="all")

    assert titles(mia.get(f"/inbox/?{view.query}")) == ["Title of q-1"]
    assert titles(eve.get(f"/inbox/?{view.query}")) == []
    assert eve.get("/executions/?prefix=secret").status_code == 404
    assert "Runs" not in eve.get("/views/").text
    assert "Runs" not in strip(eve)


def test_a_tab_that_its_reader_does_not_have_is_their_first(mia):
    boss = client_of(make_user("boss", rights=("share_views", "settle_any")))
    saved(boss, "Everything", "tab=all&priority=urgent", audience="all")

    assert strip(boss, "/inbox/?tab=all&priority=urgent")["Everything"]
    assert strip(mia, "/inbox/?tab=answer&priority=urgent")["Everything"]


def test_a_view_becomes_private_when_its_group_is_deleted(mia, jon):
    saved(mia, audience=finance())

    Group.objects.get(name="finance").delete()

    assert "Urgent" in strip(mia)
    assert strip(jon) == {}


def test_who_left_the_group_keeps_what_they_shared_as_it_is(mia, jon):
    view = saved(mia, audience=finance())
    view.owner.groups.clear()

    page = mia.get(f"/views/{view.pk}/").text
    assert "selected>Group finance" in page
    response = mia.post(f"/views/{view.pk}/", {"name": "New name", "audience": finance()})

    assert response.status_code == 303
    assert "New name" in strip(jon)


# --- Changing ---


def test_renaming_sharing_and_deleting(mia, jon):
    view = saved(mia)

    assert 'value="Urgent"' in mia.get(f"/views/{view.pk}/").text
    response = mia.post(f"/views/{view.pk}/", {"name": "Quick", "audience": finance()})
    assert (response.status_code, response["Location"]) == (303, "/views/")
    assert "Quick" in strip(jon)

    mia.post(f"/views/{view.pk}/", {"name": "Quick", "audience": ""})
    assert strip(jon) == {}

    assert mia.post(f"/views/{view.pk}/delete/").status_code == 303
    assert not SavedView.objects.exists()


def test_a_name_that_is_taken_is_refused(mia):
    view = saved(mia)
    saved(mia, "Other", "q=acme")

    response = mia.post(f"/views/{view.pk}/", {"name": "Other"})

    assert response.status_code == 422
    assert "You have a view of this name already." in response.text
    assert SavedView.objects.get(pk=view.pk).name == "Urgent"


def test_what_is_done_to_shared_views_is_in_the_audit_trail(mia):
    boss = client_of(make_user("boss", first_name="Bo", rights=("share_views",)))
    chief = client_of(make_user("chief", rights=("share_views",)))
    view = saved(mia)
    rename = {"name": "Quick", "audience": finance()}
    for data in ({"name": "Fast"}, rename, rename, {"name": "Mine", "audience": ""}):
        mia.post(f"/views/{view.pk}/", data)
    mia.post(f"/views/{view.pk}/delete/")
    public = saved(boss, "All", audience="all")
    chief.post(f"/views/{public.pk}/delete/")

    rows = AuditEntry.objects.filter(target_kind=TargetKind.VIEW).order_by("pk")

    quick = {"name": "Quick", "query": URGENT, "for": "finance"}
    common = {"name": "All", "query": URGENT, "for": "everybody"}
    assert [
        (one.actor_name, one.action, one.target, one.details["before"], one.details["after"])
        for one in rows
    ] == [
        ("mia", Action.CHANGE, str(view.pk), {}, quick),
        ("mia", Action.CHANGE, str(view.pk), quick, {}),
        ("Bo", Action.ADD, str(public.pk), {}, common),
        ("chief", Action.REMOVE, str(public.pk), common, {}),
    ]
    assert {one.details["list"] for one in rows} == {"inbox"}
    auditor = client_of(make_user("auditor", rights=("view_auditentry",)))
    assert "saved view" in auditor.get("/audit/").text


def test_a_view_that_is_not_saved_leaves_no_row(mia):
    view = saved(mia, audience=finance())
    saved(mia, "Other", "q=acme")

    assert mia.post(f"/views/{view.pk}/", {"name": "Other", "audience": ""}).status_code == 422

    assert AuditEntry.objects.filter(target_kind=TargetKind.VIEW).count() == 1


@pytest.mark.parametrize("act", ["first", "delete"])
def test_reading_changes_nothing(mia, act):
    view = saved(mia)

    assert mia.get(f"/views/{view.pk}/{act}/").status_code == 405
    assert SavedView.objects.exists()
    assert not DefaultView.objects.exists()


def test_unknown_views_are_not_there(mia):
    for address in ("/views/77/", f"/views/{2**70}/"):
        assert mia.get(address).status_code == 404
        assert mia.post(f"{address}delete/").status_code == 404
        assert mia.post(f"{address}first/").status_code == 404


def test_strangers_are_sent_to_sign_in(client):
    for address in ("/views/", "/views/save/?place=inbox", "/views/1/", "/preferences/"):
        assert client.get(address)["Location"].startswith("/accounts/login/")
        assert client.post(address)["Location"].startswith("/accounts/login/")


# --- What opens first ---


def test_the_inbox_opens_with_the_first_view_until_one_leaves_it(mia):
    ask("a", users=["mia"], priority="urgent")
    ask("b", users=["mia"])
    saved(mia, is_first="on")

    response = mia.get("/inbox/", follow=True)
    assert response.redirect_chain == [(f"/inbox/?{URGENT}", 302)]
    assert titles(response) == ["Title of a"]
    assert strip(mia, f"/inbox/?{URGENT}") == {"All": False, "Urgent": True, "Change views": False}

    [everything] = re.findall(r'class="view" href="([^"]*)">All<', response.text)
    assert len(titles(mia.get(everything))) == 2
    assert mia.get("/", follow=True).redirect_chain[-1] == (f"/inbox/?{URGENT}", 302)


def test_the_list_of_executions_opens_with_the_first_view(mia):
    factories.start("x-1")
    saved(mia, "Failed", FAILED, place="executions", is_first="on")

    assert mia.get("/executions/")["Location"] == f"/executions/?{FAILED}"
    page = mia.get(f"/executions/?{FAILED}").text
    assert "x-1" not in page
    [everything] = set(re.findall(r'href="([^"]*)"[^>]*>(?:All|Clear filters)<', page))
    assert "x-1" in mia.get(everything).text
    assert strip(mia, everything)["All"]
    # The last filter is taken away by hand.
    [without] = re.findall(r'class="removable" href="([^"]*)"', page)
    assert mia.get(without).status_code == 200


def test_clearing_the_form_of_executions_does_not_lead_back_to_the_first_view(mia):
    headers = {"HX-Request": "true", "HX-Source": "form#filters"}
    assert mia.get("/executions/", headers=headers)["HX-Push-Url"] == "/executions/"

    saved(mia, "Failed", FAILED, place="executions", is_first="on")
    pushed = mia.get("/executions/?function=&prefix=", headers=headers)["HX-Push-Url"]

    assert mia.get(pushed).status_code == 200


def test_a_view_of_others_may_come_first(mia, jon):
    view = saved(mia, audience=finance())

    page = jon.get("/views/").text
    assert "Open first" in page
    assert jon.post(f"/views/{view.pk}/first/", {"first": "on"}).status_code == 303
    assert jon.get("/inbox/")["Location"] == f"/inbox/?{URGENT}"
    assert mia.get("/inbox/").status_code == 200
    assert "opens first" in jon.get("/views/").text

    jon.post(f"/views/{view.pk}/first/", {"first": "off"})
    assert jon.get("/inbox/").status_code == 200


def test_one_view_comes_first(mia):
    saved(mia, is_first="on")
    saved(mia, "Acme", "q=acme", is_first="on")

    assert mia.get("/inbox/")["Location"] == "/inbox/?tab=answer&q=acme"
    assert DefaultView.objects.count() == 1


def test_a_view_that_is_no_longer_shared_does_not_come_first(mia, jon):
    view = saved(mia, audience=finance())
    jon.post(f"/views/{view.pk}/first/")

    mia.post(f"/views/{view.pk}/", {"name": "Urgent", "audience": ""})

    assert jon.get("/inbox/").status_code == 200


# --- The strip ---


def test_few_stand_above_the_list_and_the_one_that_is_shown_is_among_them(mia, monkeypatch):
    monkeypatch.setattr(saved_views, "SHOWN", 2)
    for name in "abcd":
        saved(mia, name, f"q={name}")

    assert list(strip(mia)) == ["All", "a", "b", "2 more"]
    assert strip(mia, "/inbox/?q=d") == {"All": False, "a": False, "d": True, "2 more": False}


def test_names_are_text(mia):
    saved(mia, "<b>&</b>")

    assert "&lt;b&gt;&amp;&lt;/b&gt;" in mia.get("/inbox/?tab=answer").text


def test_views_take_no_query_of_their_own_in_the_inbox(mia):
    ask("q", users=["mia"])
    with CaptureQueriesContext(connection) as without:
        mia.get("/inbox/?tab=answer")
    saved(mia, audience=finance())
    saved(mia, "Other", "q=x", is_first="on")
    with CaptureQueriesContext(connection) as with_views:
        mia.get("/inbox/?tab=answer")

    assert len(with_views) == len(without) <= 6


# --- Preferences ---


def test_preferences_are_kept_a_user(mia, jon):
    page = mia.get("/preferences/").text
    assert re.search(r'name="has_single_keys"[^>]* checked', page)
    assert not re.search(r'name="advances"[^>]* checked', page)
    assert 'data-keys="on"' in page

    response = mia.post("/preferences/", {"advances": "on"})

    assert (response.status_code, response["Location"]) == (303, "/preferences/")
    page = mia.get("/preferences/").text
    assert 'data-keys="off"' in page
    assert re.search(r'name="advances"[^>]* checked', page)
    assert 'data-keys="off"' in mia.get("/inbox/").text
    assert 'data-keys="on"' in jon.get("/inbox/").text
    mia.post("/preferences/", {"has_single_keys": "on"})
    assert Preference.objects.count() == 1
    assert 'data-keys="on"' in mia.get("/executions/").text


def test_the_result_says_what_follows_and_offers_the_next_question(mia):
    start_run("run-1", "pay_invoice")
    ask(
        "run-1:1",
        tags={"resonate:origin": "run-1", "resonate:parent": "run-1"},
        users=["mia"],
        title="First",
        consequence="Pays 4,200 EUR.",
    )
    ask("b", users=["mia"], title="Second")

    page = answer_and_follow(mia, "run-1:1").text

    assert "Pays 4,200 EUR." in page
    assert "Pay invoice goes on with your answer." in page
    assert re.search(rf'href="{task_url("b")}" autofocus data-next>Next question<', page)
    assert "goes on" not in answer_and_follow(mia, "b").text


def answer_and_follow(client, promise_id):
    response = answer(client, promise_id)
    assert response.status_code == 303
    return client.get(response["Location"])


def test_a_no_does_not_say_what_a_yes_would_do(mia):
    ask("a", users=["mia"], consequence="Pays 4,200 EUR.")
    answer(mia, "a", "reject")

    page = mia.get(task_url("a")).text
    result = re.search(r'class="result.*?</div>', page, re.DOTALL)
    assert result is not None
    assert "Pays" not in result[0]


def test_with_auto_advance_the_next_question_opens(mia):
    ask("a", users=["mia"], title="First")
    ask("b", users=["mia"], title="Second")
    mia.post("/preferences/", {"advances": "on"})

    response = answer(mia, "a")

    assert response["Location"] == task_url("b")
    assert "You approved this: First" in mia.get(response["Location"]).text
    # The last one shows its own result.
    assert answer(mia, "b")["Location"] == task_url("b")


def test_auto_advance_of_a_fragment_names_the_next_question(mia):
    ask("a", users=["mia"], title="First")
    ask("b", users=["mia"], title="Second")
    mia.post("/preferences/", {"advances": "on"})
    headers = {"HX-Request": "true"}

    response = mia.post(f"{task_url('a')}decide/", {"answer": "reject"}, headers=headers)

    assert task_url("b") in response["HX-Location"]
    assert "You rejected this: First" in response["HX-Trigger"]


def test_auto_advance_does_not_leave_another_page(mia):
    ask("a", users=["mia"])
    ask("b", users=["mia"])
    mia.post("/preferences/", {"advances": "on"})

    assert answer(mia, "a", next="/executions/")["Location"] == "/executions/"


@pytest.mark.parametrize(("page", "goes_on"), [("/inbox/a/", True), ("/executions/a/", False)])
def test_auto_advance_of_a_fragment_does_not_leave_another_page(mia, page, goes_on):
    ask("a", users=["mia"])
    ask("b", users=["mia"])
    mia.post("/preferences/", {"advances": "on"})
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}

    response = mia.post(f"{task_url('a')}decide/", {"answer": "reject"}, headers=headers)

    assert ("HX-Location" in response) is goes_on


def test_who_has_voted_is_offered_the_next_question(mia, jon):
    policy = {"all_of": [{"user": "mia"}, {"user": "jon"}]}
    ask("a", policy=policy)
    ask("b", users=["mia"], title="Second")

    page = answer_and_follow(mia, "a").text

    assert re.search(rf'href="{task_url("b")}"[^>]*>Next question<', page)
    assert "Next question" not in jon.get(task_url("a")).text


def test_keys_of_answers_are_those_of_yes_and_no(mia):
    ask("a", users=["mia"], answers=["rework", "approve", "reject"])
    ask(
        "b",
        users=["mia"],
        answers=[
            {"name": "later", "label": "Later", "approves": False},
            {"name": "never", "label": "Never", "approves": False},
        ],
    )

    def keys(promise_id):
        page = mia.get(task_url(promise_id)).text
        return dict(re.findall(r'name="answer" value="(\w+)" data-key="(\w*)"', page))

    assert keys("a") == {"rework": "", "approve": "a", "reject": "r"}
    assert keys("b") == {"later": "", "never": "r"}
