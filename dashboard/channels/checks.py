"""System checks of the channels: the message states the problem, the hint the fix."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from dashboard.channels.base import Channel, ChannelSettingError, read_entry

_COMMON = frozenset({"channel", "name"})


@register()
def check_channels(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check ``SIGNOFF_CHANNELS`` and what the channels need."""
    entries = getattr(settings, "SIGNOFF_CHANNELS", ())
    if not isinstance(entries, list | tuple):
        return [
            Error(
                f"SIGNOFF_CHANNELS is of the type {type(entries).__name__}, and no list.",
                hint='Set it to a list of dictionaries, as in [{"channel": "mail"}].',
                id="signoff.E040",
            )
        ]
    return list(_problems(entries))


def _problems(entries: Sequence[Any]) -> Iterator[CheckMessage]:
    found: list[Channel] = []
    for entry in entries:
        try:
            found.append(read_entry(entry))
        except ChannelSettingError as error:
            yield Error(str(error), hint=error.hint, id="signoff.E041")
    for channel in found:
        yield from _option_problems(channel)
    names = [channel.name for channel in found]
    for name in sorted({one for one in names if names.count(one) > 1}):
        yield Error(
            f"SIGNOFF_CHANNELS has more than one channel named {name!r}.",
            hint='Give each a "name" of its own.',
            id="signoff.E043",
        )
    if found and not is_origin(getattr(settings, "SIGNOFF_BASE_URL", "")):
        yield Error(
            "SIGNOFF_CHANNELS is set, and SIGNOFF_BASE_URL is no address that links can lead to.",
            hint="Set SIGNOFF_BASE_URL to where people reach this site: https://signoff.example.com",
            id="signoff.E044",
        )


def _option_problems(channel: Channel) -> Iterator[CheckMessage]:
    if missing := [name for name in channel.required if not channel.options.get(name)]:
        yield Error(
            f"The channel {channel.name!r} of SIGNOFF_CHANNELS lacks {', '.join(missing)}.",
            hint="Without it the channel is closed: nobody hears of anything there.",
            id="signoff.E042",
        )
    known = {*_COMMON, *channel.required, *channel.optional}
    # A class of somebody else's may take options that it does not list.
    if channel.kind and (unknown := sorted(set(channel.options) - known)):
        yield Warning(
            f"The channel {channel.name!r} of SIGNOFF_CHANNELS has options that mean nothing: "
            f"{', '.join(unknown)}.",
            hint=f"It knows {', '.join(sorted(known))}.",
            id="signoff.W040",
        )


def is_origin(url: str) -> bool:
    """Whether an address can stand before the paths of a site."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.netloc)
