"""Deciders read their author's words and plain ones, never those of the engine."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import override

import pytest
from django.conf import settings

from dashboard.channels.contents import read_notice
from dashboard.models import HumanTask
from dashboard.panels import read_panel
from durable.clock import now_ms
from tests.dashboard import rights
from tests.dashboard.people import answer, ask, client_of, make_user, task_url
from tests.dashboard.world import ANONYMOUS, DECIDER, STRANGER, World, body_of, make_world

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"

ENGINE_WORDS = re.compile(
    r"\b(promis(e|es|ed)|resolv(e|es|ed|ing)|latent|deferred|payloads?|task[ _-]ids?|time[ -]?outs?"
    r"|timed[ -]out|settl(e|es|ed|ing)|suspended|lease)\b",
    re.IGNORECASE,
)
ORDINARY = frozenset({"already settled"})
"""What the results of many answers say of those that came too late."""

FOR_DEVELOPERS = frozenset({"executions", "webhooks", "audit"})
"""Folders of templates that operators, developers and auditors read."""
CODE_FOR_DEVELOPERS = re.compile(
    r"dashboard/(admin|api/|audit|cancellation|checks|channels/(base|checks|http)"
    r"|deciders|describing|descriptions/|details|execution_|management/|migrations/"
    r"|models/(audit|human_task|message|timing|webhook|api_token)|payloads|project/|queries"
    r"|question_ids|recording|states|tree|versions|views/(audit|executions|hooks|webhooks)"
    r"|waiting|webhooks/)"
)
"""Modules whose texts are on pages for those, in the admin, in checks or in the API."""
SAID = frozenset({"alt", "aria-label", "content", "placeholder", "title"})
"""Attributes that are read out or shown; so are those of ours that hold sentences."""


class Reader(HTMLParser):
    """Collects what a page says."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._silent = 0

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in {"script", "style"}
        for name, value in attrs:
            if value and (name in SAID or (name.startswith("data-") and " " in value)):
                self.texts.append(value)

    @override
    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"script", "style"}

    @override
    def handle_data(self, data: str) -> None:
        if data.strip() and not self._silent:
            self.texts.append(data.strip())


def said_by(html: str) -> list[str]:
    reader = Reader()
    reader.feed(html)
    return reader.texts


def engine_words(texts: Iterator[str] | list[str]) -> list[str]:
    return [one for one in texts if one not in ORDINARY and ENGINE_WORDS.search(one)]


def test_the_words_are_found():
    html = '<p title="Resolve it">Fine</p><script>promise</script><b>The promise</b>'
    assert engine_words(said_by(html)) == ["Resolve it", "The promise"]


# --- As written ---


def templates() -> list[Path]:
    found = sorted([*TEMPLATES.rglob("*.html"), *TEMPLATES.rglob("*.txt")])
    return [one for one in found if one.parent.name not in FOR_DEVELOPERS]


@pytest.mark.parametrize("path", templates(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_templates_say_no_engine_words(path):
    text = re.sub(
        r"{#.*?#}|{% comment %}.*?{% endcomment %}", "", path.read_text(), flags=re.DOTALL
    )
    quoted = re.findall(r"""{% (?:translate|trans) (?:"([^"]*)"|'([^']*)')""", text)
    plain = re.sub(r"{{.*?}}|{%.*?%}", " ", text, flags=re.DOTALL)

    assert engine_words([*("".join(one) for one in quoted), *said_by(plain)]) == []


def texts_in(path: Path) -> Iterator[str]:
    """The translated strings of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}:
            for one in node.args:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield re.sub(r"%\(\w+\)[sd]", "", one.value)


def test_code_says_no_engine_words_to_deciders():
    found: dict[str, list[str]] = {}
    read = 0
    for path in sorted((ROOT / "dashboard").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not CODE_FOR_DEVELOPERS.match(name):
            texts = list(texts_in(path))
            read += len(texts)
            if wrong := engine_words(texts):
                found[name] = wrong
    assert found == {}
    assert read > 200


# --- As shown ---


@pytest.fixture
def there(db, settings) -> World:
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.SIGNOFF_LINKS = "bound"
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    return make_world()


@pytest.mark.parametrize(
    "role", [ANONYMOUS, DECIDER, pytest.param(STRANGER, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_pages_for_deciders_say_no_engine_words(there, role, language):
    client, read = there.client(role), 0
    for line in (one for one in rights.ALL if one.expected("GET", role) in {"200", "404", "403"}):
        if line.name.startswith(("signoff_api:", "durable", "admin:")):
            continue
        path = line.path(there.ids)
        response = client.get(path, headers={"Accept-Language": language})
        if response["Content-Type"].startswith("text/html"):
            read += 1
            assert engine_words(said_by(body_of(response).decode())) == [], path
    assert read > 2


def test_what_became_of_a_question_is_said_without_engine_words(there):
    mia, jon = there.client(DECIDER), client_of(make_user("jon", groups=("finance",)))
    headers = {"X-CSRFToken": "t" * 32}
    path = f"{task_url(there.ids['question'])}decide/"
    mia.post(path, {"answer": "approve"}, headers=headers)
    late = jon.post(path, {"answer": "reject", "comment": "No."})

    assert late.status_code == 409
    for page in (
        late.text,
        jon.get(path.removesuffix("decide/")).text,
        mia.get("/inbox/?tab=done").text,
    ):
        assert engine_words(said_by(page)) == []


# --- The author's words ---


def test_labels_and_consequences_are_those_of_the_question(db):
    mia = make_user("mia")
    ask(
        "q",
        title="Pay invoice 4711 to Acme",
        question="Is the amount right?",
        consequence="Approving pays 4 200 EUR to Acme.",
        users=["mia"],
        answers=[
            {
                "name": "pay",
                "label": "Pay now",
                "settles": "resolve",
                "approves": True,
                "consequence": "The money leaves today.",
            },
            {"name": "dispute", "label": "Dispute it", "settles": "reject"},
        ],
    )
    task = HumanTask.objects.get()
    panel, notice = read_panel("q", mia, now_ms()), read_notice(task, task.described)
    page = said_by(client_of(mia).get(task_url("q")).text)

    assert panel is not None
    assert [str(one.label) for one in panel.buttons] == ["Pay now", "Dispute it"]
    assert [one.label for one in notice.choices] == ["Pay now", "Dispute it"]
    for words in (
        *("Pay now", "Dispute it", "The money leaves today.", "Approving pays 4 200 EUR to Acme."),
        *("Pay invoice 4711 to Acme", "Is the amount right?"),
    ):
        assert words in page, words
    assert not {"Approve", "Reject"} & set(page)

    answer(client_of(mia), "q", "pay")
    assert any("Pay now" in one for one in said_by(client_of(mia).get(task_url("q")).text))
