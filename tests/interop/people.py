"""A person at the pages of a real server: signs in and answers, as a browser without scripts."""

import re
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Permission, User

from dashboard.question_ids import encode

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


def make_person(name: str, *rights: str) -> User:
    """Make a user whose password is the name; tests have a hasher that servers do not have."""
    password = PBKDF2PasswordHasher().encode(name, "salt" * 8, iterations=1000)
    user = get_user_model().objects.create(username=name, password=password)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


class Person:
    """Signed in with a name that is the password, too."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._open = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar())
        ).open
        fields = {"username": name, "password": name}
        assert "Sign out" in self._submit("/accounts/login/", "/accounts/login/", fields)

    def answer(self, promise_id: str, choice: str, **fields: str) -> str:
        """Answer a question on its page; return the words of the page then."""
        page = f"/inbox/{encode(promise_id)}/"
        self._submit(page, f"{page}decide/", {"answer": choice, **fields})
        main = self._read(page).partition("<main")[2]
        return " ".join(re.sub("<[^>]*>", " ", main).split())

    def _submit(self, page: str, action: str, fields: Mapping[str, str]) -> str:
        token = _TOKEN.search(self._read(page))
        assert token is not None, page
        data = urlencode({**fields, "csrfmiddlewaretoken": token[1]}).encode()
        headers = {"Origin": self._url}
        return self._read(urllib.request.Request(self._url + action, data, headers))

    def _read(self, what: str | urllib.request.Request) -> str:
        target = self._url + what if isinstance(what, str) else what
        with self._open(target, timeout=20) as response:
            return str(response.read().decode())
