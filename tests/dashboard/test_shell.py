import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from dashboard.checks import check_login, check_middleware
from dashboard.states import Status
from tests.dashboard import factories
from tests.dashboard.people import client_of, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.once]

STATIC = Path(settings.BASE_DIR) / "static"
TEMPLATES = Path(settings.BASE_DIR) / "templates"


@pytest.fixture
def person():
    return client_of(make_user("jon"))


def html(response):
    return response.content.decode()


# --- Who sees what ---


def test_the_way_in_is_the_inbox(person):
    response = person.get("/")

    assert (response.status_code, response.url) == (302, "/inbox/")


@pytest.mark.parametrize("url", ["/inbox/", "/executions/", "/executions/x/", "/search/?q=x"])
def test_who_is_not_signed_in_is_sent_to_sign_in(url):
    response = Client().get(url)

    assert response.status_code == 302
    assert response.url.startswith("/accounts/login/?next=")


@pytest.mark.parametrize(
    "url", ["/executions/", "/executions/x/", "/executions/x/cancel/", "/search/?q=x"]
)
def test_for_a_stranger_there_is_nothing(person, url):
    factories.start("x")

    response = person.get(url)

    assert response.status_code == 404
    assert "Not found" in html(response)


def test_fragment_for_nobody_sends_the_whole_page_to_sign_in():
    response = Client().get(
        "/executions/",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/executions/?a=1"},
    )

    assert response.status_code == 200
    assert response["HX-Redirect"] == "/accounts/login/?next=/executions/%3Fa%3D1"


def test_navigation_has_what_one_may_see(person, viewer):
    assert 'href="/executions/"' not in html(person.get("/inbox/"))
    assert 'role="search"' not in html(person.get("/inbox/"))
    assert "<search" not in html(person.get("/inbox/"))

    page = html(viewer.get("/executions/"))
    assert '<a href="/executions/" aria-current="page">' in page
    assert 'action="/search/"' in page


def test_environment_has_a_label(viewer, settings):
    assert 'class="environment' not in html(viewer.get("/executions/"))

    settings.SIGNOFF_ENVIRONMENT = "Production <1>"
    page = html(viewer.get("/executions/"))
    assert '<span class="environment environment-production-1">Production &lt;1&gt;</span>' in page


# --- Signing in and out ---


def test_signing_in_leads_to_the_page_asked_for():
    make_user("vera", rights=("view_executions",))
    client = Client()

    page = html(client.get("/accounts/login/?next=/executions/"))
    assert '<label for="id_username">Username</label>' in page
    response = client.post(
        "/accounts/login/", {"username": "vera", "password": "vera", "next": "/executions/"}
    )

    assert (response.status_code, response.url) == (302, "/executions/")


def test_wrong_password_is_said():
    make_user("vera")

    response = Client().post("/accounts/login/", {"username": "vera", "password": "x"})

    assert 'role="alert"' in html(response)


def test_signing_out_is_a_post(viewer):
    assert viewer.get("/accounts/logout/").status_code == 405
    assert '<form method="post" action="/accounts/logout/">' in html(viewer.get("/executions/"))

    response = viewer.post("/accounts/logout/")

    assert (response.status_code, response.url) == (302, "/accounts/login/")
    assert viewer.get("/executions/").status_code == 302


# --- The theme ---


@pytest.mark.urls("tests.dashboard.elsewhere")
def test_a_project_may_let_people_in_and_out_elsewhere(settings):
    settings.LOGIN_URL = "https://sso.example/"
    page = client_of(make_user("jon")).get("/pages/inbox/")

    assert page.status_code == 200
    assert "Sign out" not in html(page)
    assert Client().get("/pages/inbox/").url.startswith("https://sso.example/?next=")


@pytest.mark.urls("tests.dashboard.elsewhere")
@pytest.mark.parametrize(
    ("address", "problems"),
    [
        ("/accounts/login/", ["signoff.W030"]),
        ("no-such-name", ["signoff.W030"]),
        ("/pages/inbox/?a=b", []),
        ("signoff:inbox", []),
        ("https://sso.example/", []),
        ("//sso.example/", []),
    ],
)
def test_a_login_that_is_not_there_is_found(settings, address, problems):
    settings.LOGIN_URL = address

    assert [problem.id for problem in check_login(None)] == problems


def test_middleware_that_is_not_there_is_found(settings):
    assert check_middleware(None) == []
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if "htmx" not in one]

    assert [problem.id for problem in check_middleware(None)] == ["signoff.E030"]


def test_theme_is_kept_without_javascript(viewer):
    assert "data-theme=" not in html(viewer.get("/executions/")).partition("<body")[0]

    response = viewer.post("/theme/", {"theme": "dark", "next": "/executions/?status=failed"})

    assert (response.status_code, response.url) == (303, "/executions/?status=failed")
    page = html(viewer.get("/executions/"))
    assert '<html lang="en" data-theme="dark">' in page
    assert 'value="dark" aria-pressed="true"' in page

    viewer.post("/theme/", {"theme": "system"})
    assert '<html lang="en">' in html(viewer.get("/executions/"))


def test_theme_does_not_lead_astray(viewer):
    assert viewer.post("/theme/", {"theme": "dark", "next": "https://evil.example/"}).url == "/"
    assert viewer.get("/theme/").status_code == 405


# --- Search ---


def test_search_leads_to_an_execution(viewer):
    factories.running("order/42 ä")
    factories.step("order/42 ä", "order/42 ä:1")

    assert viewer.get("/search/", {"q": " order/42 ä "}).url == reverse(
        "signoff:execution", args=["order/42 ä"]
    )
    response = viewer.get("/search/", {"q": "order/42 ä:1"}, follow=True)
    assert response.redirect_chain[-1][0].endswith("?step=order%2F42+%C3%A4%3A1")
    assert response.status_code == 200


def test_search_for_a_beginning_leads_to_the_list(viewer):
    assert viewer.get("/search/", {"q": "order-"}).url == "/executions/?prefix=order-"
    assert viewer.get("/search/").url == "/executions/"


# --- Errors ---


def test_nothing_here(viewer):
    response = viewer.get("/nowhere/")

    assert response.status_code == 404
    assert '<a role="button" href="/">To the inbox</a>' in html(response)


def test_error_page_needs_nothing():
    page = render_to_string("500.html")

    assert "Something went wrong" in page
    assert "{" not in page


def test_stream_is_not_served_here(person):
    response = person.get("/live/")

    assert response.status_code == 204


# --- Markup ---


class Markup(HTMLParser):
    """Collects what the content security policy would block, and the order of landmarks."""

    def __init__(self):
        super().__init__()
        self.blocked, self.landmarks, self.ids, self.live = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.blocked.append(tag)
        self.blocked += [
            name for name in given if name == "style" or name.startswith(("on", "hx-on"))
        ]
        if tag in {"main", "nav", "header", "search"} or given.get("class") == "skip-link":
            self.landmarks.append(given.get("class") or tag)
        if "id" in given:
            self.ids.append(given["id"])
        if "aria-live" in given:
            self.live.append(given["aria-live"])


def parse(page):
    markup = Markup()
    markup.feed(page)
    return markup


@pytest.fixture
def pages(viewer):
    factories.running("order-1", "fulfil", {"amount": 3})
    factories.step("order-1", "order-1:1", error="no")
    factories.ask("order-1", "order-1:2", "Ship?")
    factories.suspend("order-1", "order-1:2")
    factories.running("order-2")
    factories.fail("order-2", "broken", stack="Traceback")
    urls = [
        "/executions/",
        "/executions/?status=failed&prefix=order",
        "/executions/order-1/",
        "/executions/order-1/?step=order-1:1",
        "/executions/order-1/?tab=history",
        "/executions/order-2/",
        "/nowhere/",
    ]
    return {url: html(viewer.get(url)) for url in urls}


def test_nothing_is_inline(pages):
    assert {url: parse(page).blocked for url, page in pages.items()} == {url: [] for url in pages}


def test_ids_are_unique(pages):
    for url, page in pages.items():
        ids = parse(page).ids
        assert sorted(set(ids)) == sorted(ids), url


def test_landmarks(pages):
    for page in pages.values():
        markup = parse(page)
        assert markup.landmarks[0] == "skip-link"
        assert markup.landmarks.count("main") == 1
        assert sorted(markup.live) == ["assertive", "polite"]


def test_every_mark_and_icon_exists():
    sprites = {
        name: set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "dashboard" / name).read_text()))
        for name in ("icons.svg", "marks.svg")
    }
    used = {(f"{kind}.svg", name) for kind, name in _icons_in_templates()}

    assert {status.mark for status in Status} <= sprites["marks.svg"]
    assert {(file, name) for file, name in used if name not in sprites[file]} == set()


def _icons_in_templates():
    from dashboard.templatetags.signoff_format import icon

    for path in TEMPLATES.rglob("*.html"):
        for name in re.findall(r'{% icon "([\w-]+)"', path.read_text()):
            yield re.search(r"/(icons|marks)\.svg#([\w-]+)", icon(name)).groups()


def test_all_that_pages_load_is_small():
    files = [path for path in STATIC.rglob("*.*") if path.suffix in {".css", ".js", ".svg"}]

    # As production sends them: see STORAGES.
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 60_000


# --- Colour ---

PAIR = re.compile(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)")
HUES = ("active", "human", "rest", "good", "bad", "warn", "idle")


def tokens(theme):
    css = (STATIC / "dashboard" / "dashboard.css").read_text()
    return {name: pair[theme] for name, *pair in PAIR.findall(css)}


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("hue", HUES)
def test_states_can_be_read_in_both_themes(theme, hue):
    colours = tokens(theme)

    for ground in (f"{hue}-fill", "surface", "ground", "hover", "accent-tint"):
        assert contrast(colours[hue], colours[ground]) >= 4.5, ground


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["text", "muted", "accent"])
def test_text_can_be_read_in_both_themes(theme, name):
    colours = tokens(theme)

    for ground in ("surface", "ground", "raised", "hover", "accent-tint"):
        assert contrast(colours[name], colours[ground]) >= 4.5, ground


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_shapes_can_be_seen_in_both_themes(theme):
    colours = tokens(theme)

    for ground in ("surface", "ground"):
        assert contrast(colours["line-strong"], colours[ground]) >= 3
    assert contrast("#ffffff", colours["accent-fill"]) >= 4.5
