"""Every text goes through gettext, the catalogues have all of them, and people choose."""

import gettext
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.conf import settings as site
from django.contrib.auth.models import User
from django.db import transaction
from django.template.loader import render_to_string
from django.test import Client
from django.utils import translation

from dashboard.channels import digests
from dashboard.channels.announcing import announce, conclude
from dashboard.clocks import day_text, length_text, local, near_text, whole_text
from dashboard.models import NotificationPreference
from scripts import messages
from scripts.messages import Catalogue, Key, Message
from tests.browser import gallery
from tests.dashboard import pseudo, rights
from tests.dashboard.outside import mail_server, mailers_of, web_server
from tests.dashboard.people import answer, ask, client_of, iso, make_user, settle
from tests.dashboard.test_channels_mail import html_of, text_of
from tests.dashboard.world import ADMIN, ANONYMOUS, DECIDER, make_world

pytestmark = pytest.mark.once

NAMES = "Signoff\nUTC\nEnglish\nDeutsch\nHMAC SHA1\nHMAC SHA256\nHMAC SHA512\nbase64"
"""Proper names, which are the same in every language."""
TECHNICAL = {"admin", "api"}
"""What has the names of columns and keys, as they are: Django's admin, and answers in JSON."""

GERMAN = {"Accept-Language": "de-AT,de;q=0.8"}


@pytest.fixture
def language(settings, monkeypatch, tmp_path) -> str:
    return pseudo.install(settings, monkeypatch, tmp_path)


class Walk:
    """Pages that somebody looked at, and what they said."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.texts: dict[str, list[str]] = {}
        self.asked_for: list[list[str]] = []
        self._clients: dict[str, Client] = {}

    def client_of(self, username: str) -> Client:
        if username not in self._clients:
            client = Client(
                raise_request_exception=False, headers={"Accept-Language": self.language}
            )
            if username:
                client.force_login(User.objects.get(username=username))
            self._clients[username] = client
        return self._clients[username]

    def keep(self, label: str, response: Any) -> None:
        assert response.status_code < 500 or label == "broken", label
        self.asked_for += parse_qs(response.request["QUERY_STRING"]).values()
        if response.get("Content-Type", "").startswith("text/html"):
            self.texts.setdefault(label, []).extend(pseudo.texts_of(response.content.decode()))

    def check(self) -> None:
        """Fail with the texts that are neither marked nor data, each with a page it is on."""
        assert self.texts
        data = "\n".join([NAMES, pseudo.data_of_tables(), *chain.from_iterable(self.asked_for)])
        found: dict[str, str] = {}
        for label, texts in self.texts.items():
            for text in pseudo.unmarked(texts, data):
                found.setdefault(text, label)
        if found:
            lines = [f"{label}: {text}" for text, label in found.items()]
            pytest.fail("Not translated:\n" + "\n".join(lines), pytrace=False)


# --- Nothing is written in one language alone ---


@pytest.mark.slow
@pytest.mark.django_db
def test_pages_in_every_state_have_no_other_texts(settings, language):
    settings.ROOT_URLCONF = "tests.browser.gallery"
    walk = Walk(language)
    for state in gallery.states(settings, "http://testserver"):
        path = state.path.removeprefix("http://testserver")
        walk.keep(state.label, walk.client_of(state.user).get(path))

    walk.check()


@pytest.mark.django_db
@pytest.mark.parametrize("area", [area for area in rights.AREAS if area not in TECHNICAL])
def test_no_address_answers_with_other_texts(settings, language, area):
    """The rights matrix sees to it that there is a line for every address."""
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.SIGNOFF_CHANNELS = [{"channel": "mail"}]
    settings.SIGNOFF_LINKS = "bound"
    there = make_world({"facts": {"IBAN": "DE02"}, "secrets": ["/facts/IBAN"]})
    walk = Walk(language)
    for line in rights.AREAS[area]:
        path = line.path(there.ids)
        for role in (ANONYMOUS, DECIDER, ADMIN):
            client = walk.client_of("" if role == ANONYMOUS else role)
            walk.keep(f"{path} for {role}", client.get(path))
            for given in (line.sent(there), {}):
                with transaction.atomic():
                    walk.keep(f"{path} posted by {role}", client.post(path, **given))
                    transaction.set_rollback(True)
                client.cookies.pop(settings.LANGUAGE_COOKIE_NAME, None)

    walk.check()


@pytest.mark.django_db
def test_messages_have_no_other_texts(settings, language):
    settings.LANGUAGE_CODE = language
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    mia = make_user("mia", groups=("Finance",), email="mia@example.com", first_name="Mia")
    asked = {"question": "Is it right?", "consequence": "It is paid.", "facts": {"Amount": 7.5}}
    with mail_server() as server, web_server() as slack:
        settings.SIGNOFF_CHANNELS = [
            {"channel": "mail"},
            {"channel": "slack", "token": "x", "signing_secret": "x", "room": "#a"}
            | {"base_url": slack.url},
        ]
        settings.MAILERS = mailers_of(server)
        for number, hours in enumerate((-2, 3, 60)):
            ask(f"q{number}", groups=["Finance"], type="order", due=iso(hours), **asked)
            announce(f"q{number}")
        answer(client_of(mia), "q0", "reject", comment="too much")
        conclude("q0")
        settle("q1")
        conclude("q1")
        with transaction.atomic():
            digests.choose(mia, "mail", [8])
            preference = NotificationPreference.objects.get(user=mia)
            digests.send(preference.pk, preference.digest_execution)

        parts = [
            part
            for mail in server.mails
            for part in (mail["Subject"].removeprefix("Re: "), text_of(mail))
        ]
        texts = [line for part in parts for line in part.splitlines()]
        texts += [text for mail in server.mails for text in pseudo.texts_of(html_of(mail))]
        texts += [
            line for call in slack.calls for text in _said(call.data) for line in text.split("\n")
        ]

    assert len(server.mails) >= 5
    assert slack.calls
    data = f"{NAMES}\n{pseudo.data_of_tables()}"
    found = pseudo.unmarked([pseudo.KEPT.sub("", text) for text in texts], data)
    assert found == []


def _said(block: Any) -> list[str]:
    """The texts of a message to Slack."""
    match block:
        case dict():
            own = [block["text"]] if isinstance(block.get("text"), str) else []
            return own + [text for one in block.values() for text in _said(one)]
        case list():
            return [text for one in block for text in _said(one)]
    return []


def test_the_page_of_errors_speaks_as_well(language):
    with translation.override(language):
        page = render_to_string("500.html")

    assert pseudo.unmarked(pseudo.texts_of(page), NAMES) == []
    assert f'<html lang="{language}">' in page


# --- The test of texts sees what it should ---


@pytest.mark.parametrize(
    "page",
    [
        "<p>[Álpha] and [béta]</p>",
        "<p>[Álpha] <b>more</b></p>",
        '<a title="Open it">[Öpéñ]</a>',
        '<input placeholder="Search">',
        '<input type="submit" value="Send">',
        '<img alt="A picture">',
        "<svg><title>Folded</title></svg>",
        '<div data-failed="That did not work."></div>',
        "<p>Mia answered</p>",
        "<p>[without an end",
    ],
)
def test_texts_without_marks_are_found(page):
    assert pseudo.unmarked(pseudo.texts_of(page), "Mia")


@pytest.mark.parametrize(
    "page",
    [
        "<p>[Béföré <b>Mia</b> áftér <code>a b</code>]</p>",
        "<p>Mia, 14:02 · [Péríöd]</p>",
        '<p lang="en">Written for developers</p>',
        "<pre>as it came</pre>",
        "<script>const one = 1;</script>",
        "<style>p { color: red }</style>",
    ],
)
def test_data_and_marked_texts_are_not(page):
    assert pseudo.unmarked(pseudo.texts_of(page), "Mia") == []


def test_marks_leave_placeholders_alone():
    marked = pseudo.mark("%(name)s asks {x} <b>now</b>: 5 %% ")

    assert marked == "[%(name)s ásks {x} <b>ñöw</b>: 5 %%] "


# --- The catalogues ---


@pytest.mark.parametrize("path", messages.catalogues(), ids=lambda path: path.parts[-3])
def test_catalogues_are_complete(path):
    """Nothing is missing, left over, empty or fuzzy; placeholders agree, and so does the .mo."""
    assert messages.find_problems(path, messages.extract()) == []
    assert messages.read(path.read_text()).comment.count("\n") > 10  # the glossary


@pytest.mark.parametrize("path", messages.catalogues(), ids=lambda path: path.parts[-3])
def test_python_reads_the_compiled_file_as_it_was_written(path):
    with path.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for key, message in messages.read(path.read_text()).messages.items():
        for number, text in zip((1, 2), message.translations, strict=False):
            if message.plural is None:
                given = compiled.pgettext(key.context, key.text) if key.context else None
                assert (given or compiled.gettext(key.text)) == text
            else:
                assert compiled.ngettext(key.text, message.plural, number) == text


def test_no_app_of_django_says_it_otherwise():
    catalogue = messages.read((messages.LOCALE / "de/LC_MESSAGES/django.po").read_text())
    with translation.override("de"):
        for key, message in catalogue.messages.items():
            if message.plural is None and key.context is None:
                assert translation.gettext(key.text) == message.translations[0]


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "dashboard" / "code.py").write_text(
        "from django.utils.translation import gettext_lazy as _, ngettext as many\n"
        "from django.utils.translation import pgettext, gettext\n"
        'A = _("joined " "text")\n'
        "B = f\"<{gettext('in a template string')}>\"\n"
        'C = many("%(n)d one", "%(n)d more", 2)\n'
        'D = pgettext("where", "May")\n'
        "E = _(A)\n"
        'print("not this")\n'
    )
    (tmp_path / "templates" / "page.html").write_text(
        "{% load i18n %}{% translate \"It's\" %} {% translate 'May' context 'month' %}\n"
        "{% blocktranslate trimmed %}\n  <b>{{ name }}</b>\n  comes\n{% endblocktranslate %}\n"
        "{% blocktranslate count n=n %}{{ n }} dog{% plural %}{{ n }} dogs{% endblocktranslate %}"
        "{{ x|default:_('nobody') }}"
    )
    return tmp_path


def test_texts_of_code_and_templates_are_found(project):
    found = messages.extract(project)

    assert {(key.context, key.text, one.plural) for key, one in found.items()} == {
        (None, "joined text", None),
        (None, "in a template string", None),
        (None, "%(n)d one", "%(n)d more"),
        ("where", "May", None),
        (None, "It's", None),
        ("month", "May", None),
        (None, "<b>%(name)s</b> comes", None),
        (None, "%(n)s dog", "%(n)s dogs"),
        (None, "nobody", None),
    }


def test_merging_keeps_translations_and_drops_what_is_gone():
    kept = Message(Key("kept"), translations=("behalten",))
    before = Catalogue(
        "# x\n", "Language: de\n", {Key("gone"): Message(Key("gone")), kept.key: kept}
    )
    found = {Key("kept"): Message(Key("kept"), files=("a.py",)), Key("new"): Message(Key("new"))}

    after = messages.merge(before, found)

    assert list(after.messages) == [Key("kept"), Key("new")]
    assert after.messages[Key("kept")] == Message(
        Key("kept"), translations=("behalten",), files=("a.py",)
    )
    assert messages.read(messages.write(after)) == after


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('#, fuzzy\nmsgid "a"\nmsgstr "b"', "fuzzy"),
        ('msgid "a"\nmsgstr ""', "not translated"),
        ('msgid "a %(n)s"\nmsgstr "b"', "placeholders differ (%(n)s)"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[0] "c"', "not translated"),
    ],
)
def test_faults_of_a_catalogue_are_named(tmp_path, monkeypatch, entry, problem):
    monkeypatch.setattr(messages, "ROOT", tmp_path)
    path = tmp_path / "django.po"
    path.write_text(f'msgid ""\nmsgstr ""\n"Language: de\\n"\n\n{entry}\n')
    catalogue = messages.read(path.read_text())
    path.with_suffix(".mo").write_bytes(messages.compile_messages(catalogue))

    [found] = messages.find_problems(path, dict(catalogue.messages))

    assert found.startswith(f"django.po: {problem}: ")


def test_a_file_that_is_no_catalogue_is_refused():
    with pytest.raises(ValueError, match="cannot be read: nonsense"):
        messages.read('msgid ""\nmsgstr "Language: de"\n\nnonsense\n')


def test_the_command_brings_files_in_line(tmp_path):
    root = Path(site.BASE_DIR)
    for name in ("dashboard/locale", "scripts"):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "dashboard" / "code.py").write_text(
        'from django.utils.translation import gettext\nA = gettext("Approve")\n'
    )
    run = [sys.executable, str(tmp_path / "scripts" / "messages.py")]

    checked = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False)
    made = subprocess.run(run, capture_output=True, text=True, check=False)
    again = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert "nothing uses 'Reject'. Run: make messages" in checked.stderr
    assert (made.returncode, made.stderr) == (0, "")
    assert (again.returncode, again.stderr) == (0, "")
    written = (tmp_path / "dashboard/locale/de/LC_MESSAGES/django.po").read_text()
    assert 'msgid "Approve"\nmsgstr "Genehmigen"' in written


# --- Who reads what ---


@pytest.mark.django_db
def test_browsers_say_which_language():
    mia = client_of(make_user("mia"))

    german = mia.get("/inbox/", headers=GERMAN)

    assert '<html lang="de">' in german.text
    assert "Posteingang" in german.text
    assert german["Content-Language"] == "de"
    assert "Accept-Language" in german["Vary"]
    assert '<html lang="en">' in mia.get("/inbox/").text
    assert '<html lang="en">' in mia.get("/inbox/", headers={"Accept-Language": "fr"}).text


@pytest.mark.django_db
def test_people_choose_without_javascript():
    mia = client_of(make_user("mia"))
    page = mia.get("/inbox/?tab=mine").text
    assert (
        '<button name="language" value="de" lang="de" aria-pressed="false">Deutsch</button>' in page
    )

    chosen = mia.post("/language/", {"language": "de", "next": "/inbox/?tab=mine"})

    assert (chosen.status_code, chosen.url) == (302, "/inbox/?tab=mine")
    assert chosen.cookies[site.LANGUAGE_COOKIE_NAME]["max-age"] == 365 * 24 * 3600
    page = mia.get("/inbox/", headers={"Accept-Language": "en"}).text
    assert '<html lang="de">' in page
    assert 'value="de" lang="de" aria-pressed="true"' in page


@pytest.mark.django_db
def test_choosing_changes_nothing_by_get_and_leads_nowhere_else():
    mia = client_of(make_user("mia"))

    assert mia.get("/language/?language=de").cookies == {}
    assert mia.post("/language/", {"language": "de", "next": "https://evil.example/"}).url == "/"
    assert mia.post("/language/", {"language": "xx", "next": "/"}).cookies == {}


@pytest.mark.django_db
def test_languages_without_a_catalogue_are_not_offered(settings):
    mia = client_of(make_user("mia"))
    settings.LANGUAGES = [("en", "English"), ("en-gb", "British"), ("fr", "French"), ("de", "x")]
    page = mia.get("/inbox/").text
    assert [code for code in ("en", "en-gb", "fr", "de") if f'value="{code}" lang=' in page] == [
        *("en", "en-gb", "de")
    ]

    settings.LANGUAGES = [("en", "English"), ("fr", "French")]
    assert "language-switch" not in mia.get("/inbox/").text


@pytest.mark.django_db
def test_where_nothing_heeds_the_choice_there_is_none(settings):
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if "locale" not in one]

    assert "language-switch" not in client_of(make_user("mia")).get("/inbox/").text


@pytest.mark.django_db
def test_numbers_in_fields_are_as_browsers_send_them():
    price = {"type": "number", "default": 12.5}
    ask("q", users=["mia"], form={"type": "object", "properties": {"price": price}})
    mia = client_of(make_user("mia"))

    page = mia.get("/inbox/q/", headers=GERMAN).text

    assert 'value="12.5"' in page


def test_lengths_and_times_are_those_of_the_language():
    now = local(1_800_000_000_000)  # 15 January 2027, 8:00
    with translation.override("de"):
        assert length_text(1200) == "1,2 s"
        assert length_text(90_000) == "1 Min. 30 s"
        assert whole_text(93_600, 2) == "1 Tg. 2 Std."
        assert near_text(now, now.date()) == "08:00"
        assert day_text(now, now.date()) == "15. Jan, 08:00"
        assert day_text(now.replace(year=2028), now.date()) == "15. Jan 2028, 08:00"
        assert near_text(now.replace(day=12), now.date()) == "Di, 08:00"
    with translation.override("en"):
        assert length_text(3000) == "3 s"
        assert length_text(12) == "12 ms"
        assert day_text(now, now.date()) == "15 Jan, 08:00"


def test_every_text_of_the_scripts_is_in_the_page():
    """Scripts say only what templates give them."""
    for path in (Path(site.BASE_DIR) / "static" / "dashboard").glob("*.js"):
        code = re.sub(r"(^|\s)//.*", "", path.read_text())
        said = [text for text in pseudo.STRING.findall(code) if pseudo.SENTENCE.search(text)]
        assert [text for text in said if not _is_code(text)] == [], path.name


def _is_code(text: str) -> bool:
    return text == "use strict" or any(letter in text for letter in "[.#=:>/")
