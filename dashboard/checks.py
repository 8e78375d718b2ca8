"""System checks of the pages: the message states the problem, the hint the fix."""

import math
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import (
    CheckMessage,
    Error,
    Tags,
    Warning,  # noqa: A004
    register,
)
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, resolve
from django.utils.module_loading import import_string
from django_htmx.middleware import HtmxMiddleware

from dashboard.channels.checks import is_origin
from dashboard.links import BOUND, LOGIN, mode


@register()
def check_links(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check how personal links work."""
    if mode() is None:
        return []
    problems: list[CheckMessage] = []
    if mode() not in {LOGIN, BOUND}:
        problems.append(
            Error(
                f"SIGNOFF_LINKS is {mode()!r}, which is no way for links to work.",
                hint=f"Set it to {LOGIN!r} or {BOUND!r}, or leave it out.",
                id="signoff.E060",
            )
        )
    if not is_origin(getattr(settings, "SIGNOFF_BASE_URL", "")):
        problems.append(
            Error(
                "SIGNOFF_LINKS is set, and SIGNOFF_BASE_URL is no address that links can lead to.",
                hint="Set SIGNOFF_BASE_URL to where people reach this site: https://signoff.example.com",
                id="signoff.E061",
            )
        )
    hours: Any = getattr(settings, "SIGNOFF_LINK_HOURS", 1)
    if type(hours) not in {int, float} or not 0 < hours < math.inf:
        problems.append(
            Error(
                f"SIGNOFF_LINK_HOURS is {hours!r}, which is no length of time.",
                hint="Set it to a number of hours greater than 0.",
                id="signoff.E062",
            )
        )
    return problems


@register(Tags.urls)
def check_login(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that whoever has to sign in finds a page for it."""
    try:
        address = resolve_url(settings.LOGIN_URL)
        if address.startswith("/") and not address.startswith("//"):
            resolve(address.partition("?")[0])
    except (NoReverseMatch, Resolver404):
        return [
            Warning(
                f"LOGIN_URL is {str(settings.LOGIN_URL)!r}, and no page of this project is there: "
                "nobody can sign in.",
                hint='Add path("accounts/", include("django.contrib.auth.urls")) to the URLs, or '
                'set LOGIN_URL to a page that there is, such as "admin:login".',
                id="signoff.W030",
            )
        ]
    return []


@register()
def check_middleware(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that the pages are told which requests are for parts of them."""
    if any(_is_htmx(import_string(path)) for path in settings.MIDDLEWARE):
        return []
    return [
        Error(
            "MIDDLEWARE lacks django_htmx's: parts of pages would be answered with whole ones.",
            hint='Add "django_htmx.middleware.HtmxMiddleware" to MIDDLEWARE.',
            id="signoff.E030",
        )
    ]


def _is_htmx(middleware: Any) -> bool:
    return isinstance(middleware, type) and issubclass(middleware, HtmxMiddleware)
