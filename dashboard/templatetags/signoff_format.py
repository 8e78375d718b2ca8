"""Times, lengths, states, icons and payloads as every page shows them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django import template
from django.conf import settings
from django.template.context import RequestContext
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.clocks import day_text, length_text, local, whole_text
from dashboard.languages import choices
from dashboard.looks import theme_of
from dashboard.payloads import Payload, characters
from dashboard.states import Status
from durable.clock import now_ms

register = template.Library()

FOREVER_MS = 2**53 - 1
"""The deadline of promises that have none."""
DISTANT_MS = 200 * 365 * 86_400_000

LONG_STRING = 2000
MAX_VALUES = 2000
MAX_DEPTH = 12

_SECONDS = ":%S"
_MARKS = "dashboard/marks.svg"
_ICONS = "dashboard/icons.svg"
# Pages that are read from right to left show these mirrored.
_DIRECTED = frozenset({"chevron-right", "corner-up-left", "list-checks", "list-tree", "log-out"})
_OWN_MARKS = frozenset({status.mark for status in Status} | {"logo", "system", "alert", "latent"})


@register.filter
def duration(length_ms: float | None) -> str:
    """Return a length in two units at most: ``12 ms``, ``1.2 s``, ``3 min 20 s``, ``1 d 3 h``."""
    return "" if length_ms is None else length_text(length_ms)


@register.filter
def since(instant_ms: int, start_ms: int) -> int:
    """Return the length from one instant to another."""
    return instant_ms - start_ms


@register.simple_tag
def moment(instant_ms: int | None, now: int | None = None) -> str:
    """Return an instant relative to now, with the absolute time in its tooltip."""
    if instant_ms is None:
        return ""
    if is_never(instant_ms):
        return _("never")
    return _time(instant_ms, relative(instant_ms, now_ms() if now is None else now), "relative")


@register.simple_tag
def elapsed(start_ms: int, now: int) -> SafeString:
    """Return the length since an instant, which is in its tooltip."""
    return _time(start_ms, duration(now - start_ms), "elapsed")


@register.simple_tag
def clock(instant_ms: int | None, precision: str = "minute") -> str:
    """Return an instant as date and time, with seconds and zone in its tooltip."""
    if instant_ms is None:
        return ""
    if is_never(instant_ms):
        return _("never")
    text = wall_clock(instant_ms)
    if precision == "second":
        text += f"{local(instant_ms):{_SECONDS}}"
    return _time(instant_ms, text, "absolute")


def relative(instant_ms: int, now: int) -> str:
    """Return ``3 min ago``, ``in 2 h`` or ``just now``."""
    seconds = abs(instant_ms - now) // 1000
    if seconds < 5:
        return _("just now")
    text = _("%(length)s ago") if instant_ms <= now else _("in %(length)s")
    return text % {"length": whole_text(seconds)}


def wall_clock(instant_ms: int) -> str:
    """Return date and time to the minute, and the year where it is not this one."""
    return day_text(local(instant_ms), timezone.localdate())


@register.filter
def is_never(instant_ms: int) -> bool:
    """Whether a deadline is so far away that it is none."""
    return instant_ms >= min(FOREVER_MS, now_ms() + DISTANT_MS)


def _time(instant_ms: int, text: str, form: str) -> SafeString:
    at = local(instant_ms)
    return format_html(
        '<time datetime="{}" title="{}" data-form="{}">{}</time>',
        at.isoformat(timespec="milliseconds"),
        f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".rstrip(),
        form,
        text,
    )


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Return an icon of one of the sprites; with a label it is an image, without decoration."""
    sprite = static(_MARKS if name in _OWN_MARKS else _ICONS)
    kind = "icon is-directed" if name in _DIRECTED else "icon"
    if label:
        return format_html(
            '<svg class="{}" role="img" aria-label="{}"><use href="{}#{}"></use></svg>',
            kind,
            label,
            sprite,
            name,
        )
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"></use></svg>', kind, sprite, name
    )


@register.simple_tag
def chip(status: Status, label: str = "") -> SafeString:
    """Return the state as mark and word; colour only repeats what they say."""
    return format_html(
        '<span class="chip hue-{}">{}<span>{}</span></span>',
        status.hue,
        icon(status.mark),
        label or status.label,
    )


@register.filter
def cut_middle(text: str, length: int = 32) -> str:
    """Return a long id with its middle cut out: both ends tell ids apart."""
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


@register.simple_tag
def payload(content: Payload, label: str = "") -> SafeString:
    """Return a payload as a tree of ``<details>``, which needs no script to fold."""
    if content.is_empty:
        return format_html('<p class="empty-value">{}</p>', _("nothing"))
    if not content.is_json:
        return format_html('<pre class="raw">{}</pre>', _shorten(content.text))
    budget = iter(range(MAX_VALUES))
    return format_html(
        '<div class="json" aria-label="{}">{}</div>',
        label or _("value"),
        _json(content.value, 0, budget),
    )


def _json(value: Any, depth: int, budget: Iterator[int]) -> SafeString:
    if next(budget, None) is None:
        return mark_safe("…")
    match value:
        case dict() if value and depth < MAX_DEPTH:
            entries = ((format_html("<b>{}</b>: ", key), one) for key, one in value.items())
            return _branch(entries, _keys(len(value)), depth, budget)
        case list() if value and depth < MAX_DEPTH:
            entries = ((format_html("<i>{}</i>: ", place), one) for place, one in enumerate(value))
            return _branch(entries, _items(len(value)), depth, budget)
        case str():
            return format_html('<span class="json-text">{}</span>', json_text(value))
        case dict() | list():
            return format_html('<span class="json-atom">{}</span>', _shorten(json_text(value)))
        case _:
            return format_html('<span class="json-atom">{}</span>', json_text(value))


def json_text(value: object) -> str:
    """Return a value as JSON in one line; long strings are cut."""
    if isinstance(value, str):
        value = _shorten(value)
    return json.dumps(value, ensure_ascii=False)


def _branch(
    entries: Iterable[tuple[SafeString, Any]], summary: str, depth: int, budget: Iterator[int]
) -> SafeString:
    items = format_html_join(
        "", "<li>{}{}</li>", ((name, _json(one, depth + 1, budget)) for name, one in entries)
    )
    is_open = mark_safe(" open") if depth < 2 else ""
    return format_html(
        "<details{}><summary>{}</summary><ul>{}</ul></details>", is_open, summary, items
    )


def _keys(number: int) -> str:
    return ngettext("%(count)d key", "%(count)d keys", number) % {"count": number}


def _items(number: int) -> str:
    return ngettext("%(count)d item", "%(count)d items", number) % {"count": number}


def _shorten(text: str) -> str:
    if len(text) <= LONG_STRING:
        return text
    return f"{text[:LONG_STRING]}… {characters(len(text))}"


@register.simple_tag
def environment() -> str:
    """Return what this installation is called: production, staging; empty when it has no name."""
    name: str = getattr(settings, "SIGNOFF_ENVIRONMENT", "")
    return name


@register.simple_tag
def languages() -> list[tuple[str, str]]:
    """Return the languages to choose from: code and own name."""
    return choices()


@register.simple_tag(takes_context=True)
def theme(context: RequestContext) -> str:
    """Return the theme the visitor chose; empty to follow the system."""
    request = context.get("request")
    return "" if request is None else theme_of(request)


@register.simple_tag(name="now_ms")
def now_in_ms() -> int:
    """Return the time, for the stream to know how old the page is."""
    return now_ms()
