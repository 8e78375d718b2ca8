"""The project around the two apps: settings, locked dependencies, vendored files, the wheel."""

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client

from dashboard.project.databases import database_from_url

ROOT = Path(__file__).resolve().parents[1]

CONFIGURATION = (
    "DEBUG", "DJANGO_DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "SIGNOFF_DEMO",
    "DJANGO_SETTINGS_MODULE", "SIGNOFF_VAR_DIR",
)  # fmt: skip


def read_settings(*names: str, **env: str | Path) -> subprocess.CompletedProcess[str]:
    """Read settings in a process whose environment has these variables and none of ours."""
    script = (
        "import json, sys\n"
        "from dashboard.project import settings\n"
        "print(json.dumps([getattr(settings, name, None) for name in sys.argv[1:]], default=str))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in CONFIGURATION}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *names],
        cwd=ROOT,
        env=clean | {name: str(value) for name, value in env.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def values(result: subprocess.CompletedProcess[str]) -> list[Any]:
    assert result.returncode == 0, result.stderr
    printed: list[Any] = json.loads(result.stdout)
    return printed


def error(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    return result.stderr.strip().splitlines()[-1]


# Settings


def test_production_needs_a_secret_key(tmp_path: Path) -> None:
    result = read_settings(DJANGO_DEBUG="false", SIGNOFF_VAR_DIR=tmp_path)
    assert error(result) == (
        "django.core.exceptions.ImproperlyConfigured: SECRET_KEY is not set. Set the environment "
        "variable SECRET_KEY to a long random string, or DJANGO_DEBUG=true for development."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_secret_key_alone_means_production_which_needs_host_names(tmp_path: Path) -> None:
    result = read_settings(SECRET_KEY="a", SIGNOFF_VAR_DIR=tmp_path)
    assert error(result) == (
        "django.core.exceptions.ImproperlyConfigured: ALLOWED_HOSTS is not set. Set the "
        "environment variable ALLOWED_HOSTS to the host names of this site, separated by commas."
    )


def test_nothing_set_is_a_development_server_with_a_key_of_its_own(tmp_path: Path) -> None:
    var = tmp_path / "var"
    debug, key, hosts = values(
        read_settings("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", SIGNOFF_VAR_DIR=var)
    )
    assert debug is True
    assert hosts == ["localhost", "127.0.0.1", "[::1]"]
    file = var / "secret_key"
    assert file.read_text() == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(var.iterdir()) == [file]
    assert values(read_settings("SECRET_KEY", SIGNOFF_VAR_DIR=var)) == [key]


def test_production_settings_are_strict(tmp_path: Path) -> None:
    names = (
        "DEBUG", "ALLOWED_HOSTS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE",
        "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SECURE_PROXY_SSL_HEADER",
    )  # fmt: skip
    result = read_settings(
        *names,
        SECRET_KEY="a",
        ALLOWED_HOSTS="signoff.example,www.signoff.example",
        DATABASE_URL="postgresql://u:p@db/signoff",
        SECURE_HSTS_SECONDS="3600",
        PROXY_SSL_HEADER="X-Forwarded-Proto",
        SIGNOFF_VAR_DIR=tmp_path,
    )
    assert values(result) == [
        False, ["signoff.example", "www.signoff.example"], True, True, True, 3600,
        ["HTTP_X_FORWARDED_PROTO", "https"],
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [], "a configured site writes nothing of its own"


@pytest.mark.parametrize(("demo", "installed"), [("1", True), ("0", False), ("", False)])
def test_examples_are_installed_for_the_demo_only(
    tmp_path: Path, demo: str, *, installed: bool
) -> None:
    [apps] = values(read_settings("INSTALLED_APPS", SIGNOFF_DEMO=demo, SIGNOFF_VAR_DIR=tmp_path))
    assert ("examples" in apps) is installed


@pytest.mark.parametrize(
    ("name", "default", "given"),
    [
        ("DURABLE_DATABASE", "default", "engine"),
        ("DURABLE_PROFILE", "compat", "strict"),
        ("DURABLE_LEASE_MS", 15_000, 1),
        ("DURABLE_HEARTBEAT_MS", 3_000, 2),
        ("DURABLE_RETRY_TIMEOUT_MS", 5_000, 3),
    ],
)
def test_engine_settings_come_from_the_environment(
    tmp_path: Path, name: str, default: object, given: object
) -> None:
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path)) == [default]
    assert values(read_settings(name, SIGNOFF_VAR_DIR=tmp_path, **{name: str(given)})) == [given]


def test_content_security_policy_starts_from_nothing() -> None:
    policy: dict[str, Any] = settings.SECURE_CSP
    assert policy["default-src"] == ["'none'"]
    sources = {source for allowed in policy.values() for source in allowed}
    assert sources == {"'none'", "'self'", "data:"}


def test_every_answer_carries_the_policy(db: None, client: Client) -> None:
    response = client.get("/no-such-page/")
    assert response.status_code == 404
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


# Databases


def test_an_sqlite_url_gets_the_options_of_production() -> None:
    config = database_from_url("sqlite:///var/x.sqlite3", base_dir=Path("/srv/signoff"))
    assert config == {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "/srv/signoff/var/x.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
            ),
        },
    }


def test_an_absolute_sqlite_path_stays() -> None:
    config = database_from_url("sqlite:////data/x.sqlite3?timeout=5", base_dir=Path("/srv"))
    assert config["NAME"] == "/data/x.sqlite3"
    assert config["OPTIONS"]["timeout"] == 5


def test_a_postgresql_url_gets_the_options_of_production() -> None:
    url = "postgresql://me:se%40cret@db.internal:5433/signoff?sslmode=require"
    assert database_from_url(url, base_dir=Path("/srv")) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "signoff",
        "USER": "me",
        "PASSWORD": "se@cret",
        "HOST": "db.internal",
        "PORT": 5433,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"prepare_threshold": 5, "sslmode": "require"},
    }


def test_options_in_the_url_win() -> None:
    url = "postgres:///signoff?host=/run/pg&port=6000&prepare_threshold=none&conn_max_age=0"
    config = database_from_url(url, base_dir=Path("/srv"))
    assert (config["HOST"], config["PORT"]) == ("/run/pg", 6000)
    assert config["OPTIONS"] == {"prepare_threshold": None}
    assert config["CONN_MAX_AGE"] == 0


@pytest.mark.parametrize("url", ["sqlite://:memory:", "sqlite://"])
def test_an_sqlite_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        database_from_url(url, base_dir=Path("/srv"))
    assert str(caught.value) == (
        "DATABASE_URL names an in-memory SQLite database, which threads and processes cannot "
        "share. Use a file: sqlite:///path/to/file."
    )


@pytest.mark.parametrize("url", ["mysql://u:p@db/x", "signoff.sqlite3"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        database_from_url(url, base_dir=Path("/srv"))
    assert str(caught.value) == (
        f"DATABASE_URL begins with {url.partition(':')[0]!r}. "
        "Use sqlite:///path/to/file or postgresql://user:password@host/name."
    )


@pytest.mark.sqlite_only(reason="pragmas")
def test_the_tests_run_on_a_file_with_the_options_of_production(db: None) -> None:
    assert Path(connection.settings_dict["NAME"]).is_file()
    with connection.cursor() as cursor:
        pragmas = {
            name: cursor.execute(f"pragma {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 20_000,
    }


@pytest.mark.postgres_only(reason="driver options")
def test_the_tests_run_on_a_server_with_the_options_of_production(db: None) -> None:
    connection.ensure_connection()
    assert connection.connection.prepare_threshold == 5
    assert connection.settings_dict["CONN_HEALTH_CHECKS"] is True


def test_a_process_of_a_test_sees_the_test_database(process_env: dict[str, str]) -> None:
    script = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User; print(User.objects.get().username)"
    )
    from django.contrib.auth.models import User

    User.objects.create_user("ada")
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=process_env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("ada\n", "")


# Locked and vendored files


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_requirements_have_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links", text)
    for requirement in re.findall(r"^[a-z].*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
        assert "--hash=sha256:" in requirement, requirement


def test_runtime_requirements_are_those_of_development() -> None:
    runtime, development = (
        set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("runtime.txt", "dev.txt")
    )
    assert runtime < development


def test_npm_lock_has_no_addresses() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in packages.items() if name)


def test_vendored_files_are_what_their_record_says() -> None:
    result = subprocess.run(
        [sys.executable, "scripts/vendor.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_icon_is_in_the_sprite() -> None:
    sprite = (ROOT / "static/dashboard/icons.svg").read_text()
    ids = re.findall(r'<symbol id="([a-z-]+)" viewBox="0 0 24 24"', sprite)
    script = (ROOT / "scripts/vendor.py").read_text()
    wanted = re.findall(r'^    "([a-z-]+)",$', script, re.MULTILINE)
    assert ids == sorted(set(ids)) == wanted


# Setting up and packaging


def find_python(*candidates: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ROOT / "scripts/find_python.sh", *candidates],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def fake_python(folder: Path, version: str) -> Path:
    path = folder / f"python-{version}"
    path.write_text(f"#!/bin/sh\necho {version} {path}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    result = find_python(fake_python(tmp_path, "3.11.7"), fake_python(tmp_path, "2.7.18"))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Python 3.12 or newer is needed; found only: 2.7.18 3.11.7.\n"
        "Install Python 3.13 (for example: pyenv install 3.13) and run make setup again.\n"
    )


def test_no_python_at_all(tmp_path: Path) -> None:
    result = find_python(tmp_path / "python3")
    assert result.returncode == 1
    assert result.stderr == (
        "No Python was found.\n"
        "Install Python 3.13 (for example: pyenv install 3.13) and run make setup again.\n"
    )


def test_the_wanted_python_is_preferred_to_a_newer_one(tmp_path: Path) -> None:
    newer, older, wanted = (fake_python(tmp_path, v) for v in ("3.14.1", "3.12.1", "3.13.0"))
    assert find_python(newer, older, wanted).stdout == f"{wanted}\n"
    assert find_python(older).stdout == f"{older}\n"


def test_the_wheel_carries_templates_and_static_files(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("static", "templates"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert files
        assert {f"dashboard/{path.relative_to(ROOT)}" for path in files} <= names
    assert {"durable/__init__.py", "dashboard/project/settings.py"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dashboard", "durable"}
