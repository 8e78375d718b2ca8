"""The mail server as a URL."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_SMTP = "django.core.mail.backends.smtp.EmailBackend"
_CONSOLE = "django.core.mail.backends.console.EmailBackend"
_TIMEOUT_SECONDS = 30
_ON = {"1", "true", "yes", "on"}


def mailer_from_url(url: str) -> dict[str, Any]:
    """Return an entry of MAILERS: ``console://``, ``smtp://host?tls=1`` or ``smtps://host``."""
    parts = urlsplit(url)
    if parts.scheme == "console":
        return {"BACKEND": _CONSOLE}
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        msg = "EMAIL_URL names no mail server: use smtp://host:port, smtps://host or console://."
        raise ImproperlyConfigured(msg)
    is_ssl = parts.scheme == "smtps"
    use_tls = parse_qs(parts.query).get("tls", ["0"])[0].lower() in _ON
    return {
        "BACKEND": _SMTP,
        "OPTIONS": {
            "host": parts.hostname,
            "port": parts.port or (465 if is_ssl else 587 if use_tls else 25),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_tls": use_tls,
            "use_ssl": is_ssl,
            "timeout": _TIMEOUT_SECONDS,
        },
    }
