"""What an operator meets: settings, system checks, the command for tokens."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks  # noqa: A004
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from durable import clock, conf
from durable.checks import GATEWAY, check_gateway, check_gateway_is_guarded
from durable.gateway import auth, service, tokens
from durable.gateway.grants import Grant
from durable.gateway.tokens import TokenTable
from durable.management.commands.durable_token import parse_lifetime
from durable.models import Token
from tests.gateway.keys import private_pem, public_pem
from tests.test_project import read_settings, values

DAY = 86_400_000

NO_WAY_IN = Error(
    "The gateway asks for tokens, and there is no key that checks them and none issued.",
    hint="Set DURABLE_AUTH_PUBLIC_KEYS, issue one with manage.py durable_token, or set "
    "DURABLE_GATEWAY to 'off'.",
    id="durable.E014",
)


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("durable_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


# Settings


@pytest.mark.parametrize(
    ("name", "default", "given", "expected"),
    [
        ("DURABLE_GATEWAY", "on", "off", "off"),
        ("DURABLE_AUTH_PUBLIC_KEYS", [], "a.pem, b.pem", ["a.pem", "b.pem"]),
        (
            "DURABLE_AUTH_PUBLIC_KEYS",
            [],
            "-----BEGIN PUBLIC KEY-----\\nAA,BB",
            ["-----BEGIN PUBLIC KEY-----\nAA,BB"],
        ),
        ("DURABLE_AUTH_REQUIRED", False, "1", True),
        ("DURABLE_AUTH_ISSUER", "", "me", "me"),
        ("DURABLE_AUTH_AUDIENCE", "", "us", "us"),
        ("DURABLE_CORS_ORIGINS", [], "https://a,https://b", ["https://a", "https://b"]),
        ("DURABLE_MAX_BODY_BYTES", 10 * 1024 * 1024, "5", 5),
        ("DURABLE_DEBUG_SURFACE", False, "1", True),
    ],
)
def test_gateway_settings_come_from_the_environment(
    tmp_path: Path, name: str, default: object, given: str, expected: object
) -> None:
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path)) == [default]
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path, **{name: given})) == [expected]


def test_tokens_are_required_in_production_and_where_there_are_keys(tmp_path: Path) -> None:
    name, production = "DURABLE_AUTH_REQUIRED", {"SECRET_KEY": "a", "ALLOWED_HOSTS": "x"}
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path, **production)) == [True]
    keys = {"DURABLE_AUTH_PUBLIC_KEYS": "a.pem"}
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path, **keys)) == [True]


def test_a_project_that_sets_nothing_gets_the_same(settings: Any) -> None:
    for name in ("DURABLE_AUTH_REQUIRED", "DURABLE_GATEWAY", "DURABLE_MAX_BODY_BYTES"):
        delattr(settings, name)
    settings.DEBUG = False
    assert conf.is_auth_required()
    settings.DEBUG = True
    assert not conf.is_auth_required()
    settings.DURABLE_AUTH_PUBLIC_KEYS = ["a.pem"]
    assert conf.is_auth_required()
    assert conf.is_gateway_on()
    assert conf.max_body_bytes() == 10 * 1024 * 1024


def test_this_machine_has_names_of_its_own_in_development(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = True
    assert conf.allowed_hosts() == [".localhost", "127.0.0.1", "[::1]"]
    settings.DEBUG = False
    assert conf.allowed_hosts() == []


def test_the_process_makes_its_service_from_the_settings(db: None, settings: Any) -> None:
    settings.DURABLE_AUTH_PUBLIC_KEYS = [public_pem("ed25519")]
    settings.DURABLE_AUTH_REQUIRED = True
    settings.DURABLE_DEBUG_SURFACE = True
    for made in (auth.get_access, service.get_service):
        made.cache_clear()
    try:
        made = service.get_service()
        assert made is service.get_service()
        assert made._access.is_required
        assert made._surface is not None
        made._surface.close()
    finally:
        for one in (auth.get_access, service.get_service):
            one.cache_clear()


# System checks


def test_a_right_project_passes(settings: Any) -> None:
    settings.DEBUG = True
    assert check_gateway(None) == []
    settings.DURABLE_AUTH_PUBLIC_KEYS = [public_pem("rsa"), public_pem("p256")]
    assert check_gateway(None) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"DURABLE_GATEWAY": "maybe"},
            Error("DURABLE_GATEWAY is 'maybe'.", hint="Use 'on' or 'off'.", id="durable.E010"),
        ),
        (
            {"DURABLE_AUTH_PUBLIC_KEYS": ["/no/such/file.pem"]},
            Error(
                "A key of DURABLE_AUTH_PUBLIC_KEYS cannot be used: "
                "the file /no/such/file.pem cannot be read.",
                hint="Name PEM files with public keys, or give their text.",
                id="durable.E011",
            ),
        ),
        (
            {"DURABLE_AUTH_PUBLIC_KEYS": [private_pem("rsa")]},
            Error(
                "A key of DURABLE_AUTH_PUBLIC_KEYS cannot be used: it is a private key, "
                "which does not belong here; give the public one.",
                hint="Name PEM files with public keys, or give their text.",
                id="durable.E011",
            ),
        ),
        (
            {"DEBUG": False, "DURABLE_AUTH_REQUIRED": False},
            Error(
                "DURABLE_AUTH_REQUIRED is off in production: anybody could settle any promise.",
                hint="Leave it out, and issue tokens; or set DURABLE_GATEWAY to 'off'.",
                id="durable.E012",
            ),
        ),
        (
            {"DURABLE_MAX_BODY_BYTES": 0},
            Error(
                "DURABLE_MAX_BODY_BYTES is 0: no request could be read.",
                hint="Set it to a positive number of bytes; the default is 10485760.",
                id="durable.E013",
            ),
        ),
        (
            {"DURABLE_CORS_ORIGINS": ["*"], "DURABLE_AUTH_REQUIRED": False},
            Warning(
                "DURABLE_CORS_ORIGINS is '*' without authentication: any web page that is open on "
                "this machine can settle promises.",
                hint="List the origins that may, or set DURABLE_AUTH_REQUIRED.",
                id="durable.W010",
            ),
        ),
    ],
)
def test_wrong_settings(settings: Any, changes: dict[str, Any], expected: Any) -> None:
    settings.DEBUG = True
    for name, value in changes.items():
        setattr(settings, name, value)
    assert check_gateway(None) == [expected]


def test_production_needs_a_way_in(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DURABLE_AUTH_REQUIRED = False, True
    assert check_gateway_is_guarded(None) == [NO_WAY_IN]
    settings.DURABLE_AUTH_PUBLIC_KEYS = [public_pem("rsa")]
    assert check_gateway_is_guarded(None) == []
    settings.DURABLE_AUTH_PUBLIC_KEYS = []
    run("issue", "ci", "--all")
    assert check_gateway_is_guarded(None) == []
    run("revoke", "ci")
    assert check_gateway_is_guarded(None) == [NO_WAY_IN]
    settings.DURABLE_GATEWAY = "off"
    assert check_gateway_is_guarded(None) == []


def test_where_nothing_is_migrated_nothing_is_missed(settings: Any, monkeypatch: Any) -> None:
    settings.DURABLE_AUTH_REQUIRED = True
    monkeypatch.setattr(conf, "database_alias", lambda: "default")

    class Objects:
        def using(self, _alias: str) -> Any:
            from django.db import OperationalError

            raise OperationalError

    monkeypatch.setattr(Token, "objects", Objects())
    assert check_gateway_is_guarded(None) == []


def test_the_debug_surface_is_not_for_production(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DURABLE_DEBUG_SURFACE = False, True
    settings.DURABLE_AUTH_PUBLIC_KEYS = [public_pem("rsa")]
    assert check_gateway_is_guarded(None) == [
        Warning(
            "DURABLE_DEBUG_SURFACE is on in production: an administrator's token can delete "
            "everything and set the time.",
            hint="Leave it out.",
            id="durable.W011",
        )
    ]


def test_serve_refuses_to_start_without_a_way_in(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DURABLE_AUTH_REQUIRED = False, True
    with pytest.raises(SystemCheckError, match=r"durable\.E014"):
        call_command("serve", port=0, skip_checks=True)


def test_other_commands_do_not_look_for_tokens(db: None, settings: Any) -> None:
    settings.DEBUG, settings.DURABLE_AUTH_REQUIRED = False, True
    assert NO_WAY_IN not in run_checks()
    assert NO_WAY_IN in run_checks(tags=[GATEWAY], include_deployment_checks=True)


# The command


def test_a_token_is_shown_once(db: None, settings: Any) -> None:
    settings.DURABLE_AUTH_REQUIRED = True
    out, err = run(
        "issue", "ci", "--prefix", "mine/", "--role", "worker", "--group", "g", "--group", "b"
    )
    assert err == "The token of ci. It is not shown again.\n"
    secret = out.removesuffix("\n")
    stored = Token.objects.get()
    assert TokenTable("default").look_up(secret) == Grant(
        "mine/", "worker", "ci", frozenset({"b", "g"}), stored.expires_at
    )
    assert abs(stored.expires_at - clock.now_ms() - 365 * DAY) < DAY
    listed, _ = run("list")
    assert secret not in listed
    until = json.dumps(listed)
    assert listed.startswith("ci  valid  until 2"), until
    assert listed.endswith("  worker  prefix mine/  groups b, g\n")


def test_in_development_nobody_asks_for_it(db: None, settings: Any) -> None:
    settings.DURABLE_AUTH_REQUIRED = False
    _, err = run("issue", "ci", "--all", "--expires", "never")
    assert err == (
        "The token of ci. It is not shown again.\n"
        "Nobody asks for it: DURABLE_AUTH_REQUIRED is off in development.\n"
    )
    assert run("list")[0] == "ci  valid  until never  no role  every id  no further groups\n"


def test_tokens_are_revoked_by_name(db: None) -> None:
    secret = run("issue", "ci", "--all")[0].strip()
    out, _ = run("revoke", "ci")
    assert out == "Revoked the token of ci; it works for a few seconds more at most.\n"
    assert TokenTable("default").look_up(secret) is None
    assert "  revoked  " in run("list")[0]
    with pytest.raises(CommandError) as caught:
        run("revoke", "ci")
    assert str(caught.value) == "ci has no token"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--prefix", ""),
            "--prefix is empty, which would allow every id; say --all if you mean that",
        ),
        (
            ("--all", "--expires", "soon"),
            "--expires is soon; give a number of m, h or d, as 90d, or never",
        ),
        (
            ("--all", "--expires", "0d"),
            "--expires is 0d; give a number of m, h or d, as 90d, or never",
        ),
        ((), "Error: one of the arguments --prefix --all is required"),
    ],
)
def test_what_cannot_be_issued(db: None, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        run("issue", "ci", *arguments)
    assert str(caught.value) == message
    assert not Token.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_name_has_one_token() -> None:
    try:
        run("issue", "ci", "--all")
        with pytest.raises(CommandError) as caught:
            run("issue", "ci", "--all")
        assert str(caught.value) == (
            "ci has a token already; revoke it first, or choose another name"
        )
        run("revoke", "ci")
        run("issue", "ci", "--all")
    finally:
        Token.objects.all().delete()


def test_lifetimes() -> None:
    assert parse_lifetime("never") is None
    assert [parse_lifetime(text) for text in ("5m", "12h", "90d")] == [
        300_000, 12 * 3_600_000, 90 * DAY,
    ]  # fmt: skip


def test_secrets_are_long_and_different() -> None:
    made = {tokens.make_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(secret) >= 50 for secret in made)
