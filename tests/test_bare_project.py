"""The README's steps, word for word, in a project that Django's own command has just made."""

import http.cookiejar
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.processes import Process, running, wait_until
from tests.worker.test_processes import free_port, is_listening

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

PAGE = """{% load signoff_inbox %}<!doctype html><title>Shop</title>
{% inbox_badge %}<main>{% task_panel "order-42:2" %}</main>"""

PEOPLE = """
from django.contrib.auth.models import Group, User
User.objects.create_user("mia", password="x").groups.add(Group.objects.create(name="finance"))
"""

HOME = """
from django.views.generic import TemplateView
urlpatterns += [path("shop/", TemplateView.as_view(template_name="home.html"))]
"""

pytestmark = [pytest.mark.slow, pytest.mark.once, pytest.mark.timeout(120)]


def block(first_words: str) -> str:
    """Return the README's block of code that begins so."""
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
    [found] = [text for text in map(dedent, blocks) if text.startswith(first_words)]
    return found


class Project:
    """A project of somebody else, with the wheel on its path."""

    def __init__(self, folder: Path) -> None:
        from hatchling.builders.wheel import WheelBuilder

        [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
        zipfile.ZipFile(wheel).extractall(folder / "site")
        theirs = {"PATH", "HOME", "LANG"}
        self.env = {name: value for name, value in os.environ.items() if name in theirs}
        self.env["PYTHONPATH"] = str(folder / "site")
        self.folder = folder / "project"
        self.folder.mkdir()
        self.run("-m", "django", "startproject", "myproject", ".")

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def manage(self, *words: str) -> str:
        return self.run("manage.py", *words)

    def shell(self, code: str) -> str:
        return self.manage("shell", "--verbosity", "0", "--command", code)

    def append(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n{text}\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A bare project to which the product was added by the README."""
    project = Project(tmp_path_factory.mktemp("bare"))
    project.append("myproject/settings.py", block("INSTALLED_APPS += "))
    project.append("myproject/urls.py", block("from django.urls import include"))
    project.append("myproject/asgi.py", block("from dashboard.routing"))
    project.manage("startapp", "shop")
    project.append("myproject/settings.py", 'INSTALLED_APPS += ["shop"]')
    project.append("shop/workflows.py", block("import durable\n\n\n@durable.function"))
    project.append("shop/templates/home.html", PAGE)
    project.append("myproject/urls.py", HOME)
    project.manage("migrate", "--verbosity", "0")
    project.shell(PEOPLE)
    return project


@pytest.fixture
def site(project: Project, tmp_path: Path) -> Iterator[str]:
    """The address at which ``serve`` serves it."""
    port = free_port()
    words = ("serve", "--worker", "--port", str(port))
    with running(Process(project.env, tmp_path / "log", *words, folder=project.folder)):
        wait_until(lambda: is_listening(port), seconds=40, what="the server")
        yield f"http://127.0.0.1:{port}"


def test_nothing_is_missing(project: Project) -> None:
    assert "no issues" in project.manage("check", "--fail-level", "WARNING")


class Browser:
    """Somebody without JavaScript."""

    def __init__(self, site: str) -> None:
        self._site = site
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str, data: bytes | None = None) -> str:
        """Load a page, wherever it leads; raises ``HTTPError`` for 404 and the like."""
        with self._opener.open(self._site + path, data) as response:
            return response.read().decode()

    def send(self, form: str, path: str = "", **typed: str) -> str:
        """Send a form with what is hidden in it."""
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)
        target = path or re.findall(r'action="([^"]+)"', form)[0]
        return self.get(target, urllib.parse.urlencode(dict(hidden) | typed).encode())


def test_a_question_is_asked_and_answered(project: Project, site: str) -> None:
    mia = Browser(site)
    login = mia.get("/")
    addresses = re.findall(r'(?:href|src)="(/static/[^"#]+)', login)
    assert any(address.endswith(".css") for address in addresses)
    assert all(mia.get(address) for address in addresses)
    assert "Sign out" in mia.send(login, "/accounts/login/", username="mia", password="x")

    project.shell(block("import durable\nfrom shop"))
    wait_until(lambda: "Ship order 42" in mia.get("/shop/"), seconds=20, what="the question")
    page = mia.get("/shop/")
    form = re.findall(r'<form class="decision".*?</form>', page, re.DOTALL)[0]
    assert "You approved this" in mia.send(form, answer="approve")

    result = 'import durable; print(durable.get("order-42").result(timeout=20))'
    assert project.shell(result) == "shipped\n"
