"""Settings of the project, and the only module that reads the environment.

Without any variable this is a development server on an SQLite file. Setting SECRET_KEY, or
DJANGO_DEBUG=false, makes it a production site that refuses to start half configured.

    DJANGO_DEBUG, DEBUG       development mode; when neither is set: true unless SECRET_KEY is set
    SECRET_KEY                required in production; in development made once, in var/secret_key
    SECRET_KEY_FALLBACKS      keys from before, comma separated: what they signed stays good
    ALLOWED_HOSTS             host names of the site, comma separated; required in production
    DATABASE_URL              default sqlite:///<var>/signoff.sqlite3; see databases.py
    SIGNOFF_VAR_DIR           where the default database, the development key and collected static
                              files go; default var/ beside manage.py
    SIGNOFF_DEMO              installs the examples with their demo data
    SIGNOFF_ENVIRONMENT       name of this site in the top bar, such as production or staging
    SIGNOFF_BASE_URL          where people reach this site, as https://signoff.example.com: links in
                              messages lead there
    SIGNOFF_LINKS             personal links to questions: "login" or "bound"; none without it
    SIGNOFF_LINK_HOURS        how long such a link lives; default 72
    SIGNOFF_CHANNELS          how people are told of questions: a JSON list, see docs/channels.md
    SIGNOFF_FORMS             Django forms and pydantic models that questions may name: JSON with
                              names and dotted paths, see docs/forms.md
    EMAIL_URL, DEFAULT_FROM_EMAIL
                              the mail server, as smtp://user:password@host:587?tls=1 (or smtps://),
                              and the sender; in development mails are printed
    SIGNOFF_WEBHOOK_DAYS      how long the log of incoming webhooks goes back; default 30
    SIGNOFF_GROUP             worker group that watches deadlines and sends messages
    SIGNOFF_APPS              further apps to install, with workflows of yours; comma separated
    LANGUAGE_CODE             language of messages, and of pages where the browser asks for none
                              that there is: en (default) or de
    TIME_ZONE, LOG_LEVEL      defaults UTC, INFO
    CSRF_TRUSTED_ORIGINS      origins of a proxy, comma separated
    PROXY_SSL_HEADER          header by which a trusted proxy says "https", as X-Forwarded-Proto
    SECURE_SSL_REDIRECT       production: send http to https; default true
    SECURE_HSTS_SECONDS, SECURE_HSTS_INCLUDE_SUBDOMAINS, SECURE_HSTS_PRELOAD
                              production: defaults 0 (no header), false, false
    DURABLE_DATABASE, DURABLE_PROFILE, DURABLE_LEASE_MS, DURABLE_HEARTBEAT_MS,
    DURABLE_RETRY_TIMEOUT_MS  the engine's settings; defaults below
    DURABLE_GATEWAY           whether the Resonate protocol is answered: on (default) or off
    DURABLE_AUTH_PUBLIC_KEYS  files of public keys that check signed tokens, comma separated, or the
                              PEM text itself
    DURABLE_AUTH_REQUIRED     default true in production, and in development with such keys
    DURABLE_AUTH_ISSUER, DURABLE_AUTH_AUDIENCE
                              what the tokens' iss and aud must say; default anything
    DURABLE_CORS_ORIGINS      origins of web pages that may call the gateway, comma separated
    DURABLE_MAX_BODY_BYTES    default 10 MiB
    DURABLE_DEBUG_SURFACE     lets requests set the time and delete everything; default false
    DURABLE_SERVER_URL, DURABLE_SSE_ROTATION_SECONDS, DURABLE_SSE_MAX_STREAMS,
    DURABLE_PUSH_ALLOWED_HOSTS, DURABLE_PUSH_AUTH, DURABLE_PUSH_TOKEN, DURABLE_PUSH_AUDIENCE,
    DURABLE_METRICS_TOKEN, DURABLE_METRICS_ALLOWED
                              delivery to workers, and who may read /metrics; defaults below
"""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from environ import Env

from dashboard.project.databases import database_from_url
from dashboard.project.mailers import mailer_from_url

env = Env()

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(env.str("SIGNOFF_VAR_DIR", default="") or BASE_DIR / "var").resolve()


def _is_debug() -> bool:
    for name in ("DJANGO_DEBUG", "DEBUG"):
        if name in os.environ:
            return bool(env.bool(name))
    return not os.environ.get("SECRET_KEY")


def _secret_key(*, debug: bool) -> str:
    key: str = env.str("SECRET_KEY", default="")
    if key:
        return key
    if not debug:
        msg = (
            "SECRET_KEY is not set. Set the environment variable SECRET_KEY to a long random "
            "string, or DJANGO_DEBUG=true for development."
        )
        raise ImproperlyConfigured(msg)
    return _development_key(VAR_DIR / "secret_key")


def _development_key(path: Path) -> str:
    """Read the key, or make it once, however many processes start at the same time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # A temporary file is private (0600), and linking it shows no reader half a key.
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            with suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text()


def _allowed_hosts(*, debug: bool) -> list[str]:
    hosts: list[str] = env.list("ALLOWED_HOSTS", default=[])
    if hosts:
        return hosts
    if not debug:
        msg = (
            "ALLOWED_HOSTS is not set. Set the environment variable ALLOWED_HOSTS to the host "
            "names of this site, separated by commas."
        )
        raise ImproperlyConfigured(msg)
    return ["localhost", "127.0.0.1", "[::1]"]


def _database_url() -> str:
    url: str = env.str("DATABASE_URL", default="")
    if url:
        return url
    VAR_DIR.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{VAR_DIR}/signoff.sqlite3"


DEBUG = _is_debug()
SECRET_KEY = _secret_key(debug=DEBUG)
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = _allowed_hosts(debug=DEBUG)
SIGNOFF_DEMO: bool = env.bool("SIGNOFF_DEMO", default=False)
SIGNOFF_ENVIRONMENT: str = env.str("SIGNOFF_ENVIRONMENT", default="")
SIGNOFF_GROUP: str = env.str("SIGNOFF_GROUP", default="default")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "durable.apps.DurableConfig",
    "dashboard.apps.SignoffConfig",
    *(["examples"] if SIGNOFF_DEMO else []),
    *env.list("SIGNOFF_APPS", default=[]),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "dashboard.project.urls"
ASGI_APPLICATION = "dashboard.project.asgi.application"

# In a checkout templates and static files are at the top; in the wheel they are inside the
# dashboard app, where Django's app loaders find them.
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [path for path in [BASE_DIR / "templates"] if path.is_dir()],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
# Production serves hashed and compressed copies, made by manage.py collectstatic.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "servestatic.storage.CompressedManifestStaticFilesStorage"
        ),
    },
}
SERVESTATIC_USE_FINDERS = DEBUG
SERVESTATIC_AUTOREFRESH = DEBUG

DATABASES = {"default": database_from_url(_database_url(), base_dir=BASE_DIR)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE: str = env.str("LANGUAGE_CODE", default="en")
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
# Ahead of Django's apps, which have other words for some of the same texts.
LOCALE_PATHS = [BASE_DIR / "dashboard" / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
USE_TZ = True
TIME_ZONE: str = env.str("TIME_ZONE", default="UTC")

SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

_proxy_ssl_header: str = env.str("PROXY_SSL_HEADER", default="")
if _proxy_ssl_header:
    SECURE_PROXY_SSL_HEADER = ("HTTP_" + _proxy_ssl_header.upper().replace("-", "_"), "https")

if not DEBUG:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS: int = env.int("SECURE_HSTS_SECONDS", default=0)
    SECURE_HSTS_INCLUDE_SUBDOMAINS: bool = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
    SECURE_HSTS_PRELOAD: bool = env.bool("SECURE_HSTS_PRELOAD", default=False)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "text" if DEBUG else "json",
        },
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    # Without this Django's own handlers would print its messages a second time.
    "loggers": {"django": {"handlers": [], "propagate": True}},
}

SIGNOFF_BASE_URL: str = env.str("SIGNOFF_BASE_URL", default="")
SIGNOFF_LINKS: str | None = env.str("SIGNOFF_LINKS", default="") or None
SIGNOFF_LINK_HOURS: float = env.float("SIGNOFF_LINK_HOURS", default=72.0)
SIGNOFF_WEBHOOK_DAYS: int = env.int("SIGNOFF_WEBHOOK_DAYS", default=30)
SIGNOFF_FORMS: dict[str, str] = env.json("SIGNOFF_FORMS", default={})
SIGNOFF_CHANNELS: list[dict[str, Any]] = env.json("SIGNOFF_CHANNELS", default=[])
MAILERS = {"default": mailer_from_url(env.str("EMAIL_URL", default="console://"))}
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default="signoff@localhost")

DURABLE_DATABASE: str = env.str("DURABLE_DATABASE", default="default")
DURABLE_PROFILE: str = env.str("DURABLE_PROFILE", default="compat")
DURABLE_LEASE_MS: int = env.int("DURABLE_LEASE_MS", default=15_000)
DURABLE_HEARTBEAT_MS: int = env.int("DURABLE_HEARTBEAT_MS", default=3_000)
DURABLE_RETRY_TIMEOUT_MS: int = env.int("DURABLE_RETRY_TIMEOUT_MS", default=5_000)


def _public_keys() -> list[str]:
    given: str = env.str("DURABLE_AUTH_PUBLIC_KEYS", multiline=True, default="")
    if given.lstrip().startswith("-----BEGIN"):
        return [given]
    return [path.strip() for path in given.split(",") if path.strip()]


DURABLE_GATEWAY: str = env.str("DURABLE_GATEWAY", default="on")
DURABLE_AUTH_PUBLIC_KEYS: list[str] = _public_keys()
DURABLE_AUTH_REQUIRED: bool = env.bool(
    "DURABLE_AUTH_REQUIRED", default=not DEBUG or bool(DURABLE_AUTH_PUBLIC_KEYS)
)
DURABLE_AUTH_ISSUER: str = env.str("DURABLE_AUTH_ISSUER", default="")
DURABLE_AUTH_AUDIENCE: str = env.str("DURABLE_AUTH_AUDIENCE", default="")
DURABLE_CORS_ORIGINS: list[str] = env.list("DURABLE_CORS_ORIGINS", default=[])
DURABLE_MAX_BODY_BYTES: int = env.int("DURABLE_MAX_BODY_BYTES", default=10 * 1024 * 1024)
DURABLE_DEBUG_SURFACE: bool = env.bool("DURABLE_DEBUG_SURFACE", default=False)

DURABLE_SERVER_URL: str = env.str("DURABLE_SERVER_URL", default="")
DURABLE_SSE_ROTATION_SECONDS: float = env.float("DURABLE_SSE_ROTATION_SECONDS", default=240)
DURABLE_SSE_MAX_STREAMS: int = env.int("DURABLE_SSE_MAX_STREAMS", default=10_000)
DURABLE_PUSH_ALLOWED_HOSTS: list[str] = env.list("DURABLE_PUSH_ALLOWED_HOSTS", default=[])
DURABLE_PUSH_AUTH: str = env.str("DURABLE_PUSH_AUTH", default="none")
DURABLE_PUSH_TOKEN: str = env.str("DURABLE_PUSH_TOKEN", default="")
DURABLE_PUSH_AUDIENCE: str = env.str("DURABLE_PUSH_AUDIENCE", default="")
DURABLE_METRICS_TOKEN: str = env.str("DURABLE_METRICS_TOKEN", default="")
DURABLE_METRICS_ALLOWED: list[str] = env.list(
    "DURABLE_METRICS_ALLOWED", default=["127.0.0.0/8", "::1/128"]
)
