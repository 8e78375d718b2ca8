"""POST over HTTP from code that waits for the answer."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from yarl import URL

from dashboard.channels.base import ChannelError
from durable.delivery.hosts import AllowedHosts, parse_address
from durable.delivery.http_push import GuardedResolver, RefusedHostError

SECONDS = 15
MAX_ANSWER = 1024 * 1024
_GONE = 410
_REFUSED = "the host is not allowed"


class HttpError(Exception):
    """No answer came; ``is_final`` when none ever will."""

    def __init__(self, url: str, problem: str, *, is_final: bool = False) -> None:
        """Name the host alone: the rest of an address may be a secret."""
        host = _host_of(url)
        super().__init__(f"{host}: {problem}" if host else problem)
        self.is_final = is_final


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allowed: AllowedHosts | None = None
) -> Answer:
    """Post, and return the answer whatever it is; raises ``HttpError``.

    ``allowed`` are the hosts that may be reached; without it the address is of our own choosing.
    """
    try:
        return asyncio.run(_post(url, body, headers, allowed))
    except aiohttp.ClientConnectorDNSError as error:
        if isinstance(error.os_error, RefusedHostError):
            raise HttpError(url, _REFUSED, is_final=True) from error
        raise HttpError(url, str(error)) from error
    except ValueError as error:  # it would name all of the address
        raise HttpError(url, "the address is wrong", is_final=True) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise HttpError(url, f"{type(error).__name__}: {error}") from error


def deliver(
    channel: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allowed: AllowedHosts | None = None,
) -> None:
    """Post to whom any 2xx has taken it, and 410 wants no more; raises ``ChannelError``."""
    try:
        answer = post(url, body, headers, allowed=allowed)
    except HttpError as error:
        raise ChannelError(channel, str(error), is_final=error.is_final) from error
    if not 200 <= answer.status < 300:
        problem = f"it answered {answer.status}"
        raise ChannelError(channel, problem, is_final=answer.status == _GONE)


async def _post(
    url: str, body: bytes, headers: Mapping[str, str], allowed: AllowedHosts | None
) -> Answer:
    resolver = None
    if allowed is not None:
        _check(url, allowed)
        resolver = GuardedResolver(allowed)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session,
        session.post(URL(url), data=body, headers=headers, allow_redirects=False) as response,
    ):
        return Answer(response.status, await response.content.read(MAX_ANSWER))


def _host_of(url: str) -> str:
    try:
        return URL(url).host or ""
    except ValueError:
        return ""


def _check(url: str, allowed: AllowedHosts) -> None:
    """Refuse a host that is not allowed; an address is not resolved, so nobody else looks."""
    host, port = URL(url).host or "", URL(url).port or 0
    if parse_address(host) is not None:
        is_allowed = allowed.may_connect(host, port, host)
    else:
        is_allowed = bool(host) and allowed.may_ask(host, port)
    if not is_allowed:
        raise HttpError(url, _REFUSED, is_final=True)
