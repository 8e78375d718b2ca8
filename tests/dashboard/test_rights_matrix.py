"""Every address and verb, as each kind of person; the table is ``rights``."""

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from typing import Any, NamedTuple

import pytest
from django.test import Client

from tests.dashboard import rights
from tests.dashboard.rights import Line
from tests.dashboard.world import (
    ADMIN,
    ROLES,
    STRANGER,
    TOKEN,
    VERBS,
    World,
    body_of,
    make_world,
    routes,
    standing,
    undone,
    writes,
)

# The first test of all makes the database and the world, which takes no part in its time.
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.timeout(120, func_only=True),
]

CHANCE = re.compile(rb"\b([A-Za-z0-9]{64}|\d{13})\b")
"""Tokens against forged posts and times as they stand in pages: each time others."""

DJANGOS_OWN = (
    *("admin:index", "admin:login", "admin:logout", "admin:password_change", "admin:jsi18n"),
    *("admin:password_change_done", "admin:autocomplete", "admin:view_on_site", "admin:app_list"),
    *("admin:", "signoff_api:"),  # other spellings of addresses
)
"""Pages of Django's admin on which nothing of ours is shown; so are those of users and groups."""


@pytest.fixture(scope="module")
def made(django_db_setup, django_db_blocker) -> Iterator[World]:
    with standing(django_db_blocker):
        yield make_world({"facts": {"IBAN": "DE02"}, "secrets": ["/facts/IBAN"]})


@pytest.fixture
def there(made) -> World:
    return made.afresh()


class Answered(NamedTuple):
    """What came back; ``outcome`` is the status, or ``login`` for those sent to sign in."""

    outcome: str
    headers: dict[str, str]
    body: bytes


def send(
    client: Client, verb: str, line: Line, there: World, *, ids: Any = None, token: str = TOKEN
) -> Answered:
    """Send a request as a page of ours does."""
    given = line.sent(there) if verb in line.unsafe else {}
    headers = given.pop("headers", {}) | ({"X-CSRFToken": token} if token else {})
    path = line.path(there.ids if ids is None else ids)
    cookies = deepcopy(client.cookies)
    response = getattr(client, verb.lower())(path, headers=headers, **given)
    client.cookies = cookies  # whoever signs in or out, or changes the language, does it once
    is_sent_away = response.status_code == 302 and "/login/?next=" in response["Location"]
    outcome = "login" if is_sent_away else str(response.status_code)
    return Answered(outcome, dict(response.headers), body_of(response))


def test_every_address_has_a_line():
    known = {line.name for line in rights.ALL}
    found = {name for name, _route in routes()}

    assert known <= found
    missing = {name for name in found - known if not _is_djangos_own(name)}
    assert not missing, "say in tests/dashboard/rights.py who may do what there"


def _is_djangos_own(name: str) -> bool:
    return name in DJANGOS_OWN or name.startswith("admin:auth_")


@pytest.mark.parametrize("area", rights.PARTS)
@pytest.mark.parametrize("verbs", [("GET",), pytest.param(VERBS[1:], marks=pytest.mark.slow)])
def test_people_get_what_they_may_and_looking_changes_nothing(there, area, verbs):
    clients = {role: there.client(role) for role in ROLES}
    before, wrong = writes(), []
    for line in rights.PARTS[area]:
        for verb in (one for one in verbs if one not in line.unsafe):
            found = [send(client, verb, line, there).outcome for client in clients.values()]
            if found != [line.expected(verb, role) for role in ROLES]:
                wrong.append((line.name, verb, " ".join(found)))
            assert writes() == before, (line.name, verb)
    assert wrong == []


@pytest.mark.parametrize("area", rights.PARTS)
def test_people_do_what_they_may_and_no_more(there, area):
    clients = {role: there.client(role) for role in ROLES}
    wrong = []
    for line in rights.PARTS[area]:
        for verb, (role, client) in product(line.unsafe, clients.items()):
            before = writes()
            with undone():
                found = send(client, verb, line, there)
            is_changed = writes() > before
            if (found.outcome, is_changed) != line.outcome(verb, role):
                wrong.append((line.name, verb, role, found.outcome, is_changed, found.body[-500:]))
    assert wrong == []


@pytest.mark.parametrize(
    "area",
    [
        pytest.param(area, marks=() if area == "inbox" else pytest.mark.slow)
        for area in rights.AREAS
    ],
)
def test_what_acts_needs_the_token_of_a_page(there, area):
    admin = there.client(ADMIN)
    before = writes()
    for line in (one for one in rights.AREAS[area] if one.has_session):
        # The API looks whether there is such an operation first.
        is_known = area != "api" or line.expected("POST", ADMIN) != "405"
        for verb in (one for one in line.unsafe if is_known or one != "POST"):
            for token in ("", "f" * 32):
                found = send(admin, verb, line, there, token=token)
                assert found.outcome == "403", (line.name, verb)
                assert b"CSRF" in found.body, (line.name, verb)
    assert writes() == before


OWNED = {area: lines for area, lines in rights.PARTS.items() if lines[0] in rights.DASHBOARD}


@pytest.mark.parametrize("area", OWNED)
def test_what_is_not_theirs_is_as_if_it_were_not_there(there, area):
    """Status, headers and body are those of an id that nothing has."""
    ghosts = there.ghosts
    for line in (one for one in OWNED[area] if one.args):
        for verb in ("GET", *line.unsafe):
            refused = [one for one in ROLES if line.expected(verb, one) == "404"]
            for role in {*refused[:1], *refused[-1:]}:
                client = there.client(role)
                real = send(client, verb, line, there)
                ghost = send(client, verb, line, there, ids=ghosts)
                for one in (real, ghost):  # the address in the page may be longer, the time later
                    for name in ("Content-Length", "Expires"):
                        one.headers.pop(name, None)
                assert real.outcome == ghost.outcome == "404"
                assert real.headers == ghost.headers
                asked, not_there = line.path(there.ids), line.path(ghosts)
                assert nameless(real, asked) == nameless(ghost, not_there), line.name


def test_strangers_are_among_those_to_whom_it_is_not_there():
    for name in ("task", "decide", "claim", "reveal", "execution", "bulk", "webhook"):
        [line] = [one for one in rights.DASHBOARD if one.name == f"signoff:{name}"]
        assert "404" in {line.expected(verb, STRANGER) for verb in ("GET", "POST")}


def nameless(answered: Answered, path: str) -> bytes:
    """The body without the address that was asked for, and without what is by chance."""
    return CHANCE.sub(b"", answered.body.replace(path.encode(), b"PATH"))


def test_pages_of_a_stranger_name_nothing_of_the_others(there):
    for line in (one for one in rights.ALL if not one.args):
        if line.expected("GET", STRANGER) == "200":
            page = send(there.client(STRANGER), "GET", line, there).body
            assert b"Pay invoice" not in page, line.name
            assert b"flow/42" not in page, line.name
