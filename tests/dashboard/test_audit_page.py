"""The audit trail as a page, as downloads, and as the command exports it."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.management import CommandError, call_command
from django.core.signals import request_finished
from django.test import AsyncClient
from django.urls import reverse

from dashboard import audit_queries
from dashboard.answering import Actor
from dashboard.audit_chain import extend, verify
from dashboard.auditing import Author, record
from dashboard.models import Action, AuditEntry, SignIn, TargetKind
from dashboard.project.databases import close_request_connections
from tests.dashboard import factories
from tests.dashboard.chaining import let_others_end
from tests.dashboard.people import answer, ask, client_of, make_user, settle
from tests.dashboard.reading import HTMX

pytestmark = pytest.mark.django_db

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()


@pytest.fixture
def auditor():
    return client_of(make_user("ada", rights=("view_auditentry",)))


@pytest.fixture
def mia():
    return make_user("mia", first_name="Mia", last_name="Kern")


def act(target, by=None, action=Action.CHANGE, **more):
    record(action, target, by or Author("jon", SignIn.TOKEN), kind=TargetKind.WEBHOOK, **more)


def text(markup):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def lines(client, query=""):
    page = client.get(f"/audit/{query}")
    assert page.status_code == 200
    return [text(one) for one in re.findall(r'<tr id="entry-.*?</tr>', page.text, re.DOTALL)]


def targets(client, query=""):
    page = client.get(f"/audit/{query}")
    return re.findall(r'<a href="\?about=[^"]*" title="([^"]*)"', page.text)


# --- Who may read it ---


@pytest.mark.parametrize("path", ["/audit/", "/audit/audit.csv", "/audit/audit.jsonl"])
def test_it_is_for_those_with_the_right(path, auditor, client):
    everything_else = ("view_executions", "settle_any", "cancel_executions", "view_humantask")
    stranger = client_of(make_user("sam", rights=everything_else))

    assert auditor.get(path).status_code == 200
    assert stranger.get(path).status_code == 404
    assert client.get(path).status_code == 302
    assert auditor.post(path).status_code == 405
    assert client_of(make_user("gone", is_active=False)).get(path).status_code == 302


def test_the_navigation_leads_there_who_may(auditor):
    assert 'href="/audit/"' in auditor.get("/inbox/").text
    assert 'href="/audit/"' not in client_of(make_user("sam")).get("/inbox/").text


def test_unknown_formats_and_odd_characters_are_not_found(auditor):
    assert auditor.get("/audit/audit.xml").status_code == 404
    assert auditor.get("/audit/?who=%00").status_code == 404


# --- The list ---


@pytest.mark.django_db(transaction=True)
def test_a_line_says_who_did_what_why_and_how(auditor, mia):
    ask("q", title="Pay?", users=["mia"])
    client_of(mia).post(
        "/inbox/q/decide/",
        {"answer": "reject", "comment": "too dear"},
        headers={"User-Agent": "Browser/1.0"},
        REMOTE_ADDR="192.0.2.1",
    )

    [line] = lines(auditor)

    for part in ("Mia Kern", "reject", "Pay?", "too dear", "signed in", "192.0.2.1"):
        assert part in line
    assert "Browser/1.0" in line
    assert "pending → rejected" in line
    assert "not chained yet" in line
    let_others_end()
    extend(using="default")
    assert AuditEntry.objects.get().link.hash in lines(auditor)[0]


def test_what_nobody_did_is_the_systems(auditor):
    ask("q", users=["mia"])
    settle("q")

    [line] = lines(auditor)

    assert "This system" in line


def test_late_and_overridden_entries_are_marked(auditor, mia):
    act("a", is_effective=False)
    act("b", is_override=True, on_behalf_of=mia)

    overridden, late = lines(auditor)

    assert "too late" in late
    assert "overridden" in overridden
    assert "for Mia Kern" in overridden


def test_what_people_wrote_is_text(auditor):
    act("<b>t</b>", Author("<i>jon</i>", SignIn.TOKEN), reason="<script>1</script>")
    page = auditor.get("/audit/").text

    assert "<script>1" not in page
    assert "<i>jon" not in page
    assert "<b>t" not in page


def test_an_empty_trail_and_one_without_a_match(auditor):
    assert "Nothing has been done yet." in auditor.get("/audit/").text
    assert "No entry matches." in auditor.get("/audit/?who=x").text
    assert "Nothing further." in auditor.get("/audit/?older=1~1").text


@pytest.fixture
def some(mia):
    jon = make_user("jon", first_name="Jon")
    act("stripe", Actor(mia, SignIn.SESSION), reason="new secret")
    act("github", Author("ci", SignIn.GATEWAY), Action.ADD)
    act("stripe:2", Actor(jon, SignIn.LINK), on_behalf_of=mia, answer="split")
    act("late", Author("x", SignIn.SLACK), is_effective=False)
    act("over", Author("x", SignIn.SLACK), is_override=True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=kern", ["stripe:2", "stripe"]),
        ("who=JON", ["stripe:2"]),
        ("action=add", ["github"]),
        ("action=nonsense", ["over", "late", "stripe:2", "github", "stripe"]),
        ("about=stripe", ["stripe:2", "stripe"]),
        ("about=stripe%3A2", ["stripe:2"]),
        ("text=secret", ["stripe"]),
        ("text=SPLIT", ["stripe:2"]),
        ("text=hub", ["github"]),
        ("how=gateway", ["github"]),
        ("how=nonsense&late=1", ["late"]),
        ("overridden=1", ["over"]),
        ("who=x&late=1", ["late"]),
        ("since=2001-01-01&until=2001-12-31", []),
        ("since=2001-01-01", ["over", "late", "stripe:2", "github", "stripe"]),
        ("since=yesterday&until=9999-12-31", ["over", "late", "stripe:2", "github", "stripe"]),
        ("about=%25", []),
    ],
)
def test_filters(auditor, some, query, found):
    assert targets(auditor, f"?{query}") == found


def test_until_takes_the_day_along(auditor, some):
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)

    assert len(targets(auditor, f"?since={today}&until={today}")) == 5
    assert targets(auditor, f"?until={yesterday}") == []


def test_all_of_an_execution(auditor):
    factories.running("run-1")
    factories.ask("run-1", "run-1:1", "Really?")
    ask("other")
    settle("run-1:1")
    settle("other")
    olga = make_user("olga", rights=("view_executions", "cancel_executions"))
    client_of(olga).post("/executions/run-1/cancel/", {"reason": "enough"})

    assert targets(auditor, "?execution=run-1") == ["run-1", "run-1:1"]


def test_an_execution_leads_to_what_was_done_with_it():
    factories.running("run-1")
    rights = ("view_executions", "view_auditentry")
    page = client_of(make_user("ada", rights=rights)).get("/executions/run-1/").text
    poor = client_of(make_user("eve", rights=rights[:1])).get("/executions/run-1/").text

    assert 'href="/audit/?execution=run-1"' in page
    assert "/audit/" not in poor


def test_links_lead_where_the_reader_may_go(mia):
    ask("q", users=["mia"])
    answer(client_of(mia), "q")
    rights = ("view_auditentry", "settle_any", "view_executions")
    page = client_of(make_user("ada", rights=rights)).get("/audit/").text
    poor = client_of(make_user("eve", rights=rights[:1])).get("/audit/").text

    assert 'href="/inbox/q/"' in page
    assert 'href="/executions/q/"' in page
    assert 'href="/inbox/q/"' not in poor
    assert 'href="/executions/q/"' not in poor


def test_pages_hold_while_entries_come(auditor, monkeypatch):
    monkeypatch.setattr(audit_queries, "PAGE_SIZE", 3)
    for number in range(8):
        act(f"t{number}", reason="r")
    seen, url = [], "/audit/?text=r"
    while url:
        page = auditor.get(url).text
        seen += re.findall(r'<a href="\?about=[^"]*" title="([^"]*)"', page)
        act(f"new{len(seen)}", reason="r")
        following = re.search(r'rel="next" href="([^"]*)"', page)
        url = f"/audit/{unescape(following[1])}" if following else ""

    assert seen == [f"t{number}" for number in reversed(range(8))]
    previous = unescape(re.search(r'rel="prev" href="([^"]*)"', page)[1])
    assert targets(auditor, previous) == ["t4", "t3", "t2"]


def test_the_number_of_queries_is_fixed(auditor, django_assert_num_queries, mia):
    def count(entries):
        for number in range(entries):
            ask(f"q{entries}-{number}", users=["mia"])
            settle(f"q{entries}-{number}")
            act(f"t{number}", Actor(mia))
        extend(using="default")
        with django_assert_num_queries(6) as found:
            auditor.get("/audit/?since=2001-01-01&who=m")
        return len(found)

    assert count(1) == count(20)


def test_a_fragment_is_the_list_and_keeps_the_address(auditor, some):
    part = auditor.get("/audit/?who=kern&how=", headers=HTMX | {"HX-Source": "form#filters"})

    assert part.headers["HX-Push-Url"] == "/audit/?who=kern"
    assert "<html" not in part.text
    assert 'id="entries"' in part.text
    assert 'href="/audit/audit.csv?who=kern"' in part.text


# --- Downloads ---


def whole(response):
    return response.getvalue().decode()


@pytest.mark.django_db(transaction=True)
def test_json_lines_hold_everything(auditor, mia):
    act("a", Actor(mia, SignIn.SESSION, "192.0.2.1", "B"), details={"n": 1}, reason="ä\n")
    act("b")
    let_others_end()
    extend(using="default")
    response = auditor.get("/audit/audit.jsonl?since=2001-01-01")
    first, second = map(json.loads, whole(response).splitlines())

    assert response.headers["Content-Type"] == "application/jsonl; charset=utf-8"
    assert 'filename="audit.jsonl"' in response.headers["Content-Disposition"]
    assert "no-store" in response.headers["Cache-Control"]
    assert (first["target"], second["target"]) == ("a", "b")
    assert first["actor_id"] == mia.pk
    assert (first["details"], first["reason"], first["ip"]) == ({"n": 1}, "ä\n", "192.0.2.1")
    assert (first["chain_position"], second["chain_position"]) == (1, 2)
    assert first["chain_hash"] == AuditEntry.objects.get(target="a").link.hash


@pytest.mark.django_db(transaction=True)
def test_whoever_has_the_file_verifies_the_chain(auditor, mia, monkeypatch, capsys):
    """With the program that the documentation shows, which needs nothing of this project."""
    details = {"changes": [{"path": "/a", "old": 1e16, "new": -0.5}], "ä": {"Z": None, "z": "\x7f"}}
    act("a", Actor(mia, SignIn.LINK, "2001:db8::1", "B"), reason='ä "\u2028\n', details=details)
    act("b", request_key="k", is_effective=False, before="pending", answer="approve")
    act("c")
    let_others_end()
    extend(using="default")
    act("not chained yet")
    text = whole(auditor.get("/audit/audit.jsonl"))
    [program] = re.findall(r"```python\n(import hashlib\n.*?)```", DOCUMENTED, re.DOTALL)

    def verified(lines: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        try:
            exec(program, {})
        except SystemExit as error:
            return str(error)
        return capsys.readouterr().out.strip()

    assert verified(text) == f"head {verify(using='default').head}"
    lines = io.StringIO(text).readlines()
    assert verified("".join(reversed(lines))) == verified(text)
    assert verified(text.replace('"k"', '"x"')) == "position 2 is wrong"
    assert verified(text.replace("192.0", "193.0").replace("2001:db8::1", "::1")) == (
        "position 1 is wrong"
    )
    assert verified(lines[0] + lines[2]) == "position 2 is wrong"


def test_csv_is_text_to_a_spreadsheet(auditor):
    evils = (
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
    )
    for evil in evils:
        act(evil, Author(evil, SignIn.TOKEN), reason=f'{evil}, "x"\ny')
    rows = list(csv.DictReader(io.StringIO(whole(auditor.get("/audit/audit.csv")), newline="")))

    assert [row["target"] for row in rows] == [f"'{evil}" for evil in evils]
    assert rows[0]["reason"] == '\'=1+1, "x"\ny'
    assert (rows[0]["is_effective"], rows[0]["is_override"]) == ("yes", "no")
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_downloads_are_read_piece_by_piece(auditor, form, monkeypatch):
    monkeypatch.setattr(audit_queries, "EXPORTED_AT_ONCE", 2)
    for number in range(5):
        act(f"t{number}")
    response = auditor.get(f"/audit/audit.{form}?about=t")
    pieces = list(response)

    assert len(pieces) == 4
    found = re.findall(r"\bt\d", b"".join(pieces).decode())
    assert found == ["t0", "t1", "t2", "t3", "t4"]


@pytest.fixture
def without_site():
    """The test client ends responses on the event loop, a server on the thread of the request."""
    receiver = {"receiver": close_request_connections, "dispatch_uid": "signoff-connections"}
    is_connected = request_finished.disconnect(**receiver)
    yield
    if is_connected:
        request_finished.connect(**receiver)


@pytest.mark.asyncio
async def test_downloads_stream_under_asgi(transactional_db, without_site):
    await sync_to_async(act)("t1")
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(make_user)("ada", rights=("view_auditentry",)))
    response = await client.get("/audit/audit.jsonl")

    assert isinstance(response.asgi_request, ASGIRequest)
    assert response.is_async
    assert '"target":"t1"' in (b"".join([one async for one in response])).decode()


# --- The command ---


def run(*arguments):
    out = io.StringIO()
    call_command("signoff_audit", "export", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["stripe", "github", "stripe:2", "late", "over"]),
        (("--actor", "kern"), ["stripe", "stripe:2"]),
        (("--action", "add"), ["github"]),
        (("--target", "stripe:"), ["stripe:2"]),
        (("--sign-in", "slack", "--late"), ["late"]),
        (("--overridden",), ["over"]),
        (("--text", "GITH"), ["github"]),
        (("--until", "2001-01-01"), []),
        (("--since", "2001-01-01T10:00:00Z", "--execution", "late"), ["late"]),
    ],
)
def test_the_command_filters(some, arguments, found):
    assert [json.loads(one)["target"] for one in run(*arguments).splitlines()] == found


def test_the_command_writes_csv_to_a_file(some, tmp_path):
    path = tmp_path / "audit.csv"

    assert run("--format", "csv", "--output", str(path)) == ""
    rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    assert len(rows) == 5
    assert rows[1]["actor"] == "ci"


def test_csv_of_the_command_is_that_of_the_page(some, auditor):
    assert run("--format", "csv") == whole(auditor.get("/audit/audit.csv"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--since", "soon"), "neither a date nor an instant"),
        (("--action", "nonsense"), "invalid choice"),
        (("--format", "xml"), "invalid choice"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(arguments, problem):
    with pytest.raises(CommandError, match=problem):
        run(*arguments)


# --- In the administration ---


@pytest.mark.django_db(transaction=True)
def test_the_chain_is_read_only_in_the_admin(some):
    let_others_end()
    extend(using="default")
    root = client_of(make_user("root", is_superuser=True, is_staff=True))
    shown = reverse("admin:signoff_auditlink_change", args=[1])

    assert root.get(reverse("admin:signoff_auditlink_changelist")).status_code == 200
    assert root.get(shown).status_code == 200
    assert root.post(shown, {"hash": "x"}).status_code == 403
    assert root.post(reverse("admin:signoff_auditlink_delete", args=[1])).status_code == 403
    assert root.get(reverse("admin:signoff_auditlink_add")).status_code == 403
