"""Personal links: safe to look at, bound to a person, and off until somebody turns them on."""

from urllib.parse import quote, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client

from dashboard import links
from dashboard.answering import Actor
from dashboard.claims import hand_over
from dashboard.models import Action, AuditEntry, DecisionLink, Draft, HumanTask, SignIn
from durable import clock
from durable.models import Promise
from durable.protocol.states import PromiseState
from tests.dashboard.people import ask, client_of, make_user, task_url

pytestmark = pytest.mark.django_db

BASE = "https://signoff.example.org"


@pytest.fixture
def mia():
    return make_user("mia", email="mia@example.org", first_name="Mia", last_name="Kern")


@pytest.fixture(params=["bound", "login"])
def any_mode(request, settings):
    settings.SIGNOFF_BASE_URL = BASE
    settings.SIGNOFF_LINKS = request.param
    return request.param


@pytest.fixture
def bound(settings):
    settings.SIGNOFF_BASE_URL = BASE
    settings.SIGNOFF_LINKS = "bound"


def link_for(user, promise_id="q", **options):
    url = links.make_link(HumanTask.objects.get(pk=promise_id), user, **options)
    assert url.startswith(BASE)
    return urlsplit(url).path


def state_of(promise_id="q"):
    return Promise.objects.get(pk=promise_id).state


def counts():
    return [one.objects.count() for one in (AuditEntry, DecisionLink, Draft, HumanTask)]


def test_without_the_setting_there_are_none(mia, settings):
    settings.SIGNOFF_BASE_URL = BASE
    ask("q", users=["mia"])
    settings.SIGNOFF_LINKS = "bound"
    path = link_for(mia)
    settings.SIGNOFF_LINKS = None

    assert Client().get(path).status_code == 404
    assert links.url_for(HumanTask.objects.get(pk="q"), mia) == f"{BASE}/inbox/q/"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("looks", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_looking_changes_nothing(mia, bound, looks):
    ask("q", users=["mia"])
    path, robot = link_for(mia), Client(headers={"user-agent": "LinkScanner/1.0"})
    before = counts()

    for _ in range(looks // 2):
        assert robot.get(path).status_code == 200
        assert robot.head(path).status_code == 200

    assert state_of() == PromiseState.PENDING
    assert counts() == before


def test_the_page_keeps_the_link_to_itself(mia, bound):
    ask("q", title="Pay Acme", users=["mia"], consequence="Pays 4,200 EUR.")

    response = Client().get(link_for(mia))

    assert "Pay Acme" in response.text
    assert "Pays 4,200 EUR." in response.text
    assert "You are answering as <b>mia@example.org</b>." in response.text
    assert 'aria-label="Main"' not in response.text
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store, private"
    assert response["X-Robots-Tag"] == "noindex, nofollow"


def test_a_bound_link_answers_with_the_token_of_its_page(mia, bound):
    ask("q", users=["mia"])
    path, browser = link_for(mia), Client(enforce_csrf_checks=True)
    assert browser.post(path, {"answer": "approve"}).status_code == 403
    assert state_of() == PromiseState.PENDING
    token = browser.get(path).context["csrf_token"]

    answered = browser.post(
        path, {"answer": "approve", "comment": "ok", "csrfmiddlewaretoken": str(token)}
    )

    assert (answered.status_code, answered["Location"]) == (303, path)
    assert state_of() == PromiseState.RESOLVED
    entry = AuditEntry.objects.get(target="q", is_effective=True)
    assert (entry.actor, entry.sign_in, entry.reason) == (mia, SignIn.LINK, "ok")
    page = browser.get(path)
    assert page.status_code == 200
    assert "You approved this" in page.text
    assert "<form" not in page.text


def test_where_a_login_is_needed(mia, settings):
    settings.SIGNOFF_BASE_URL, settings.SIGNOFF_LINKS = BASE, "login"
    ask("q", title="Pay Acme", users=["mia"])
    path = link_for(mia)

    anonymous = Client().get(path)
    assert anonymous.status_code == 302
    assert anonymous["Location"] == f"/accounts/login/?next={quote(path)}"
    assert Client().post(path, {"answer": "approve"}).status_code == 302
    assert state_of() == PromiseState.PENDING
    assert client_of(mia).post(path, {"answer": "approve"}).status_code == 303
    assert state_of() == PromiseState.RESOLVED


def test_a_link_made_for_login_stays_so(mia, settings):
    settings.SIGNOFF_BASE_URL, settings.SIGNOFF_LINKS = BASE, "login"
    ask("q", users=["mia"])
    path = link_for(mia)
    settings.SIGNOFF_LINKS = "bound"

    assert Client().get(path).status_code == 302


def test_forwarded_to_somebody_signed_in_it_says_whose_it_is(mia, any_mode):
    ask("q", title="Pay Acme", users=["mia", "jon"])
    jon = client_of(make_user("jon"))
    path = link_for(mia)

    for response in (jon.get(path), jon.post(path, {"answer": "approve"})):
        assert response.status_code == 403
        assert "This link is for Mia Kern." in response.text
        assert "Pay Acme" not in response.text
    assert state_of() == PromiseState.PENDING


def test_altered_anywhere_it_opens_nothing(mia, bound):
    ask("q", users=["mia"])
    path = link_for(mia)
    token = path.removeprefix("/link/").removesuffix("/")

    for at, char in enumerate(token):
        for other in {"A", "b", "7", "-", "_", ":"} - {char}:
            with pytest.raises(links.BadLinkError):
                links.open_link(token[:at] + other + token[at + 1 :])
    for wrong in ("x", token[:-1], f"{token}A", token.swapcase()):
        response = Client().get(f"/link/{wrong}/")
        assert response.status_code == 400
        assert "was changed on the way" in response.text


def test_a_token_made_for_something_else_is_no_link(mia, bound):
    from django.core import signing

    assert Client().get(f"/link/{signing.dumps(['a'], salt='signoff.link')}/").status_code == 400
    assert Client().get(f"/link/{signing.dumps([1] * 6, salt='other')}/").status_code == 400


@pytest.mark.parametrize("past", [0, 1])
def test_it_runs_out_to_the_millisecond(mia, bound, past, monkeypatch):
    ask("q", users=["mia"])
    path = link_for(mia, hours=1)
    end = DecisionLink.objects.get().expires_at
    monkeypatch.setattr("dashboard.links.now_ms", lambda: end - 1 + past)

    response = Client().get(path)

    assert response.status_code == (410 if past else 200)
    assert clock.now_ms() < end


def test_taken_back_it_is_dead(mia, bound):
    ask("q", users=["mia"])
    path = link_for(mia)
    links.revoke(links.links_to(HumanTask.objects.get(pk="q")))

    for response in (Client().get(path), Client().post(path, {"answer": "approve"})):
        assert response.status_code == 410
        assert "taken back" in response.text
    assert state_of() == PromiseState.PENDING


def test_it_dies_with_the_recipients_account_and_rights(mia, bound):
    ask("q", groups=["finance"])
    jon = make_user("jon", groups=("finance",))
    paths = link_for(jon), link_for(make_user("ann", groups=("finance",)))
    User.objects.filter(username="ann").update(is_active=False)
    jon.groups.clear()

    for path in paths:
        assert Client().post(path, {"answer": "approve"}).status_code == 410
        assert Client().get(path).status_code == 410
    assert state_of() == PromiseState.PENDING


def test_handed_to_another_it_answers_nothing(mia, bound):
    ask("q", users=["mia", "jon"])
    jon = make_user("jon")
    path = link_for(mia)
    hand_over("q", Actor(mia), jon)

    refused = Client().post(path, {"answer": "approve"})

    assert refused.status_code == 403
    assert "has taken this on" in refused.text
    assert state_of() == PromiseState.PENDING


def test_a_mails_button_leads_to_the_answer_and_gives_none(mia, bound):
    ask("q", users=["mia"])

    page = Client().get(f"{link_for(mia)}?answer=reject").text

    assert 'value="reject" data-key="r" autofocus' in page
    assert 'value="approve" data-key="a" autofocus' not in page
    assert state_of() == PromiseState.PENDING


def test_only_the_answers_it_names(mia, bound):
    ask("q", users=["mia"])
    path = link_for(mia, answers=["approve"])

    assert 'value="reject"' not in Client().get(path).text
    assert Client().post(path, {"answer": "reject"}).status_code == 400
    assert Client().post(path, {"answer": "approve"}).status_code == 303


def test_too_late_keeps_the_text(mia, bound):
    ask("q", users=["mia", "jon"])
    path = link_for(mia)
    client_of(make_user("jon")).post(f"{task_url('q')}decide/", {"answer": "approve"})

    late = Client().post(path, {"answer": "reject", "comment": "please wait"})

    assert late.status_code == 409
    assert "please wait" in late.text
    assert "jon approved this" in late.text


def test_a_wrong_form_comes_back_with_what_was_typed(mia, bound):
    form = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    ask("q", users=["mia"], form=form)

    response = Client().post(
        link_for(mia), {"answer": "approve", "filled": "1", "comment": "half done"}
    )

    assert response.status_code == 422
    assert "half done" in response.text
    assert state_of() == PromiseState.PENDING


def test_sent_twice_it_counts_once(mia, bound):
    ask("q", users=["mia"])
    path = link_for(mia)

    for _ in range(2):
        again = Client().post(path, {"answer": "approve", "request_key": "k"})

    assert again.status_code == 303
    assert AuditEntry.objects.filter(target="q").count() == 1


def test_another_secret_key_keeps_old_links(mia, bound, settings):
    ask("q", users=["mia"])
    path = link_for(mia)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of this site, as long as the first one was"

    assert Client().get(path).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert Client().get(path).status_code == 400


def test_making_links_takes_a_right_and_is_noted(mia, bound):
    ask("q", users=["mia"])
    boss = client_of(make_user("boss", rights=("settle_any", "make_links")))

    made = boss.post(f"{task_url('q')}link/", {"to": "mia"}, follow=True)

    assert f"{BASE}/link/" in made.text
    assert (
        "who may answer this" in boss.post(f"{task_url('q')}link/", {"to": "x"}, follow=True).text
    )
    assert client_of(mia).post(f"{task_url('q')}link/", {"to": "mia"}).status_code == 404
    boss.post(f"{task_url('q')}unlink/")
    assert DecisionLink.objects.get().revoked_at is not None
    acts = AuditEntry.objects.filter(target_kind="link").order_by("pk")
    assert [one.action for one in acts] == [Action.LINK, Action.UNLINK]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"SIGNOFF_LINKS": "magic"}, "signoff.E060"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_BASE_URL": ""}, "signoff.E061"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_LINK_HOURS": 0}, "signoff.E062"),
    ],
)
def test_wrong_settings_are_found(settings, given, problem):
    settings.SIGNOFF_BASE_URL = BASE
    for name, value in given.items():
        setattr(settings, name, value)

    with pytest.raises(SystemCheckError, match=problem):
        call_command("check")
