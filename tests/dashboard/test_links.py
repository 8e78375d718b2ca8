"""Personal links: safe to look at, bound to a person, and off until somebody turns them on."""

import re
import string
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import quote, urlsplit

import pytest
from django import forms
from django.apps import apps
from django.contrib.auth.models import User
from django.core import signing
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dashboard import links
from dashboard.answering import Actor
from dashboard.checks import check_links
from dashboard.claims import hand_over, release
from dashboard.comments import write
from dashboard.drafts import save_draft
from dashboard.models import (
    Action,
    AuditEntry,
    Comment,
    DecisionLink,
    Draft,
    HumanTask,
    SignIn,
)
from durable import clock
from durable.models import Promise
from durable.protocol.states import PromiseState
from durable.signals import housekeeping
from tests.dashboard import factories
from tests.dashboard.people import HOUR_MS, ask, child_of, client_of, make_user, task_url
from tests.dashboard.races import at_once

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
    """How many rows every table has."""
    models = [one for one in apps.get_models() if one._meta.managed]
    return {one._meta.label: one._default_manager.count() for one in models}


def token_of(path):
    return path.removeprefix("/link/").removesuffix("/")


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
def test_looking_changes_nothing(mia, any_mode, looks):
    ask("q", users=["mia"])
    path = link_for(mia)
    prefetch = {"purpose": "prefetch", "sec-purpose": "prefetch;prerender", "x-moz": "prefetch"}
    robot = Client(headers={"user-agent": "LinkScanner/1.0", **prefetch})
    before, seen = counts(), 200 if any_mode == "bound" else 302

    for number in range(looks // 2):
        query = "?answer=approve" if number % 2 else ""
        assert robot.get(path + query).status_code == seen
        assert robot.head(path + query).status_code == seen

    assert state_of() == PromiseState.PENDING
    assert counts() == before
    assert client_of(mia).post(path, {"answer": "approve"}).status_code == 303


@pytest.mark.parametrize("off", [None, "", False])
def test_an_empty_setting_is_none(settings, off):
    settings.SIGNOFF_BASE_URL, settings.SIGNOFF_LINKS = BASE, off

    assert links.mode() is None
    assert check_links(None) == []


def test_what_has_run_out_is_forgotten_and_still_says_so(mia, bound, monkeypatch):
    ask("q", users=["mia"])
    short, long = link_for(mia, hours=1), link_for(mia, hours=3)
    later = clock.now_ms() + 2 * HOUR_MS
    monkeypatch.setattr("dashboard.links.now_ms", lambda: later)
    housekeeping.send(sender=None, using="default")

    assert DecisionLink.objects.count() == 1
    ended = Client().get(short)
    assert (ended.status_code, "has run out" in ended.text) == (410, True)
    assert Client().get(long).status_code == 200


def test_the_page_keeps_the_link_to_itself(mia, bound):
    ask("q", title="Pay Acme", users=["mia"], consequence="Pays 4,200 EUR.")

    response = Client().get(link_for(mia))

    assert "Pay Acme" in response.text
    assert "Pays 4,200 EUR." in response.text
    assert "You are answering as <b>mia@example.org</b>." in response.text
    assert 'aria-label="Main"' not in response.text
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cache-Control"] == "no-store, private"
    assert response["X-Robots-Tag"] == "noindex, nofollow"
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert "://" not in response.text.replace("http://www.w3.org", "")


def test_it_shows_what_there_is_to_know_and_leads_nowhere_else(mia, bound):
    boss = make_user("boss", rights=("settle_any", "view_executions", "make_links"))
    ask("q0", title="Pay Acme, first try", users=["mia", "boss"])
    ask("q", users=["mia", "boss"], previous="q0", round=2)
    ask("other", title="None of this", users=["mia", "boss"])
    write("q", Actor(mia), "The order is 4711.", Comment.Kind.REMARK)

    text = Client().get(link_for(boss)).text

    assert "The order is 4711." in text
    assert "Pay Acme, first try" in text
    assert "None of this" not in text
    assert "/inbox/" not in text
    assert "/executions/" not in text
    assert "hx-get" not in text
    assert "hx-post" not in text


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
    too_late = Client().post(path, {"answer": "approve", "comment": "as agreed"})
    assert too_late.status_code == 403
    assert "as agreed" in too_late.text
    assert "Pay Acme" not in too_late.text
    assert state_of() == PromiseState.PENDING
    assert client_of(mia).post(path, {"answer": "approve"}).status_code == 303
    assert state_of() == PromiseState.RESOLVED


def test_a_link_made_for_login_stays_so(mia, settings):
    settings.SIGNOFF_BASE_URL, settings.SIGNOFF_LINKS = BASE, "login"
    ask("q", users=["mia"])
    path = link_for(mia)
    settings.SIGNOFF_LINKS = "bound"

    assert Client().get(path).status_code == 302


def test_a_setting_that_means_nothing_spares_no_login(mia, bound, settings):
    ask("q", users=["mia"])
    path = link_for(mia)
    settings.SIGNOFF_LINKS = "magic"

    assert Client().get(path).status_code == 302
    assert Client().get(link_for(mia)).status_code == 302


WHO = ("nobody", "recipient", "decider", "stranger", "boss")


@pytest.mark.parametrize("who", WHO)
def test_who_gets_to_see_it(mia, any_mode, who):
    ask("q", title="Pay Acme", users=["mia", "jon"])
    path = link_for(mia)
    reader = {
        "nobody": Client,
        "recipient": lambda: client_of(mia),
        "decider": lambda: client_of(make_user("jon")),
        "stranger": lambda: client_of(make_user("eve")),
        "boss": lambda: client_of(User.objects.create_superuser("boss")),
    }[who]()
    expected = {"nobody": 200 if any_mode == "bound" else 302, "recipient": 200}.get(who, 403)

    page = reader.get(path)
    answered = reader.post(path, {"answer": "approve", "comment": "mine"})

    assert page.status_code == expected
    assert ("Pay Acme" in page.text) is (expected == 200)
    assert answered.status_code == (303 if expected == 200 else 403)
    assert (state_of() == PromiseState.RESOLVED) is (expected == 200)
    if expected == 403:
        for response in (page, answered):
            assert "This link is for Mia Kern." in response.text
            assert "Pay Acme" not in response.text
            assert 'action="/accounts/logout/"' in response.text
        assert "mine" in answered.text


def test_signing_out_leads_back_to_it(mia, any_mode):
    ask("q", users=["mia"])
    path, browser = link_for(mia), client_of(make_user("jon"))
    assert f'name="next" value="{path}"' in browser.get(path).text

    left = browser.post("/accounts/logout/", {"next": path})

    assert left["Location"] == path
    assert browser.get(path).status_code == (200 if any_mode == "bound" else 302)


@pytest.fixture
def token(mia, bound):
    ask("q", users=["mia"])
    return token_of(link_for(mia, answers=["approve"]))


def test_altered_anywhere_it_opens_nothing(token):
    alphabet = string.ascii_letters + string.digits + "-_:."

    @hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(at=st.integers(0, len(token) - 1), to=st.sampled_from(alphabet) | st.characters())
    def alter(at, to):
        if token[at] != to:
            with pytest.raises(links.BadLinkError):
                links.open_link(token[:at] + to + token[at + 1 :])

    alter()
    for at, char in enumerate(token):
        with pytest.raises(links.BadLinkError):
            links.open_link(token[:at] + token[at + 1 :])
        for other in {"A", "b", "7", "-", "_", ":"} - {char}:
            with pytest.raises(links.BadLinkError):
                links.open_link(token[:at] + other + token[at + 1 :])
    for wrong in ("x", "::", token[:-1], f"{token}A", token.swapcase(), quote("é\0:a:b")):
        response = Client().get(f"/link/{wrong}/")
        assert response.status_code == 400
        assert "was changed on the way" in response.text
        assert Client().post(f"/link/{wrong}/", {"answer": "approve"}).status_code == 400


@pytest.mark.parametrize("field", range(6))
def test_each_field_is_signed(token, field):
    jon = make_user("jon")
    fields = signing.loads(token, salt="signoff.link")
    fields[field] = ["0" * 32, ask("r", users=["jon"]), str(jon.pk), 2**53, [], "login"][field]
    signature = token.rpartition(":")[2]
    made = signing.dumps(fields, salt="signoff.link", compress=True, key="of somebody else" * 4)
    unsigned = made.rpartition(":")[0]

    for wrong in (made, f"{unsigned}:{signature}"):
        assert Client().get(f"/link/{wrong}/").status_code == 400
        assert Client().post(f"/link/{wrong}/", {"answer": "approve"}).status_code == 400
    assert state_of() == PromiseState.PENDING
    assert Client().get(f"/link/{token}/").status_code == 200


def test_a_token_made_for_something_else_is_no_link(mia, bound):
    assert Client().get(f"/link/{signing.dumps(['a'], salt='signoff.link')}/").status_code == 400
    assert Client().get(f"/link/{signing.dumps([1] * 6, salt='other')}/").status_code == 400


@pytest.mark.parametrize("past", [0, 1])
def test_it_runs_out_to_the_millisecond(mia, bound, past, monkeypatch):
    ask("q", users=["mia"])
    path = link_for(mia, hours=1)
    end = DecisionLink.objects.get().expires_at
    monkeypatch.setattr("dashboard.links.now_ms", lambda: end - 1 + past)

    response = Client().get(path)
    answered = Client().post(path, {"answer": "approve", "comment": "as agreed"})

    assert response.status_code == (410 if past else 200)
    assert answered.status_code == (410 if past else 303)
    if past:
        assert "This link has run out." in response.text
        assert "as agreed" in answered.text
    assert clock.now_ms() < end


def test_taken_back_it_is_dead(mia, bound):
    ask("q", users=["mia"])
    path = link_for(mia)
    links.revoke(links.links_to(HumanTask.objects.get(pk="q")))

    for response in (Client().get(path), Client().post(path, {"answer": "approve"})):
        assert response.status_code == 410
        assert "taken back" in response.text
    assert state_of() == PromiseState.PENDING


class MeanwhileForm(forms.Form):
    """While it looks at what was filled in, something happens."""

    happens: ClassVar[list[Callable[[], object]]] = []

    amount = forms.IntegerField()

    def clean(self):
        for act in self.happens:
            act()
        return self.cleaned_data


def revoke_all():
    links.revoke(links.links_to(HumanTask.objects.get(pk="q")))


def switch_off():
    User.objects.filter(username="mia").update(is_active=False)


def run_out():
    DecisionLink.objects.update(expires_at=1)


@pytest.mark.parametrize(
    ("end", "said"),
    [(revoke_all, "taken back"), (run_out, "has run out"), (switch_off, "no longer for you")],
)
def test_what_ends_a_link_while_its_answer_is_on_its_way_ends_it(
    mia, bound, settings, monkeypatch, end, said
):
    settings.SIGNOFF_FORMS = {"meanwhile": f"{__name__}.MeanwhileForm"}
    ask("q", users=["mia"], form={"django": "meanwhile"})
    path = link_for(mia)
    monkeypatch.setattr(MeanwhileForm, "happens", [end])
    filled = {"answer": "approve", "filled": "1", "values-amount": "1", "comment": "as agreed"}

    ended = Client().post(path, filled)

    assert ended.status_code == 410
    assert said in ended.text
    assert "as agreed" in ended.text
    assert state_of() == PromiseState.PENDING
    assert not AuditEntry.objects.filter(target="q", is_effective=True).exists()


@pytest.mark.django_db(transaction=True)
def test_whoever_takes_a_link_back_as_it_is_used_knows_whether_it_was(mia, bound):
    for number in range(5):
        ask(f"q{number}", users=["mia"])
        path = link_for(mia, f"q{number}")

        def act(one, path=path, number=number):
            if one:
                with transaction.atomic():
                    links.revoke(links.links_to(HumanTask.objects.get(pk=f"q{number}")))
                    return state_of(f"q{number}")
            return Client().post(path, {"answer": "approve"}).status_code

        status, seen = at_once(2, act)

        # Once it is taken back nothing is settled by it.
        assert status == (303 if seen == PromiseState.RESOLVED else 410)
        assert state_of(f"q{number}") == seen


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
    assert 'name="answer"' not in Client().get(path).text
    release("q", Actor(jon))
    assert Client().post(path, {"answer": "approve"}).status_code == 303


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


def test_who_comes_later_reads_by_which_way_it_was_answered(mia, bound):
    ask("q", users=["mia", "jon"])
    jon = client_of(make_user("jon"))
    assert Client().post(link_for(mia), {"answer": "approve"}).status_code == 303

    late = jon.post(f"{task_url('q')}decide/", {"answer": "reject"})

    assert late.status_code == 409
    assert re.search(r"Mia Kern approved this .*, by a personal link\.", late.text)


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


def test_wrong_and_late_it_is_late(mia, bound):
    form = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    ask("q", users=["mia", "jon"], form=form)
    path = link_for(mia)
    client_of(make_user("jon")).post(f"{task_url('q')}decide/", {"answer": "reject"})

    given = {"answer": "approve", "filled": "1", "comment": "as agreed"}
    late = Client().post(path, given)

    assert late.status_code == 409
    assert "jon rejected this" in late.text
    assert "Your answer came later" in late.text
    assert "as agreed" in late.text


def test_what_was_begun_on_the_page_is_there_and_gone_once_sent(mia, bound, rf):
    ask("q", users=["mia"])
    path = link_for(mia)
    begun = rf.post("/", {"comment": "half a sentence"}).POST
    assert save_draft(HumanTask.objects.get(pk="q"), mia, begun)

    assert "half a sentence" in Client().get(path).text
    assert Client().post(path, {"answer": "approve"}).status_code == 303
    assert not Draft.objects.exists()


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


def make_by(user, to, promise_id="q"):
    return client_of(user).post(f"{task_url(promise_id)}link/", {"to": to}, follow=True)


@pytest.fixture
def boss():
    return make_user("boss", rights=("settle_any", "make_links"))


def test_making_links_takes_a_right_and_is_noted(mia, boss, bound):
    ask("q", users=["mia"])

    made = make_by(boss, "mia")

    assert f"{BASE}/link/" in made.text
    assert "data-copy-text" in made.text
    assert make_by(mia, "mia").status_code == 404
    assert client_of(mia).post(f"{task_url('q')}unlink/").status_code == 404
    assert DecisionLink.objects.get().revoked_at is None
    client_of(boss).post(f"{task_url('q')}unlink/")
    assert DecisionLink.objects.get().revoked_at is not None
    acts = AuditEntry.objects.filter(target_kind="link").order_by("pk")
    assert [one.action for one in acts] == [Action.LINK, Action.UNLINK]
    assert [one.details for one in acts] == [{"recipient": "mia"}, {}]


def test_a_link_that_somebody_else_makes_answers_for_nobody(mia, boss, bound):
    ask("q", users=["mia"])
    url = make_by(boss, "mia").text.partition('data-copy-text="')[2].partition('"')[0]
    path = urlsplit(url).path

    assert Client().post(path, {"answer": "approve"}).status_code == 403
    assert client_of(boss).post(path, {"answer": "approve"}).status_code == 403
    assert state_of() == PromiseState.PENDING
    assert client_of(mia).post(path, {"answer": "approve"}).status_code == 303


@pytest.mark.parametrize("to", ["x", "eve", "ann", "asker"])
def test_links_are_for_those_who_may_answer(mia, boss, bound, to):
    asker = make_user("asker")
    make_user("eve")
    make_user("ann", is_active=False)
    factories.start("run-1", by=f"user:{asker.pk}")
    ask("q", users=["mia", "ann"], tags=child_of("run-1"))

    assert "who may answer this" in make_by(boss, to).text
    assert not DecisionLink.objects.exists()


def test_switched_off_nobody_makes_any(mia, boss):
    ask("q", users=["mia"])

    assert make_by(boss, "mia").status_code == 404
    assert "Make a link" not in client_of(boss).get(task_url("q")).text


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"SIGNOFF_LINKS": "magic"}, "signoff.E060"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_BASE_URL": ""}, "signoff.E061"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_BASE_URL": "signoff.example.org"}, "signoff.E061"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_LINK_HOURS": 0}, "signoff.E062"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_LINK_HOURS": "72"}, "signoff.E062"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_LINK_HOURS": float("inf")}, "signoff.E062"),
        ({"SIGNOFF_LINKS": "bound", "SIGNOFF_LINK_HOURS": float("nan")}, "signoff.E062"),
    ],
)
def test_wrong_settings_are_found(settings, changes, problem):
    settings.SIGNOFF_BASE_URL = BASE
    for name, value in changes.items():
        setattr(settings, name, value)

    with pytest.raises(SystemCheckError, match=problem):
        call_command("check")
