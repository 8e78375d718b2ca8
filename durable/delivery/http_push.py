"""Messages posted to ``http://`` and ``https://`` addresses (protocol.md 6.7)."""

import asyncio
import base64
import time
from typing import Any, override

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from msgspec import Struct, json
from yarl import URL

from durable import conf
from durable.delivery.hosts import AllowedHosts, parse_address
from durable.delivery.registry import DeliveryError, register

CONNECT_SECONDS = 10
TOTAL_SECONDS = 180
CONCURRENCY = 256
_IDENTITY_SECONDS = 10
_IDENTITY_SPARE = 60
_HEADERS = {"Content-Type": "application/json"}


class RefusedHostError(OSError):
    """A host is none that messages may be posted to."""


class GuardedResolver(AbstractResolver):
    """Resolves names, and keeps to itself what may not be connected to.

    The very addresses that are returned are connected to: a name cannot change its mind.
    """

    def __init__(self, allowed: AllowedHosts) -> None:
        """``allowed`` decides."""
        self._allowed = allowed
        self._resolver = ThreadedResolver()

    @override
    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        kept = [one for one in found if self._allowed.may_connect(host, port, one["host"])]
        if not kept:
            message = f"{host} is not allowed"
            raise RefusedHostError(message)
        return kept

    @override
    async def close(self) -> None:
        await self._resolver.close()


class Identity:
    """Identity tokens of the machine for an audience, from where the cloud gives them."""

    def __init__(self) -> None:
        """Start without any."""
        self._tokens: dict[str, tuple[float, str]] = {}

    async def token(self, audience: str) -> str:
        """Return a token that is valid for a while yet."""
        until, token = self._tokens.get(audience, (0.0, ""))
        if until - _IDENTITY_SPARE > time.time():
            return token
        timeout = aiohttp.ClientTimeout(total=_IDENTITY_SECONDS)
        url = URL(conf.push_oidc_url()).update_query(audience=audience)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers={"Metadata-Flavor": "Google"}) as response,
        ):
            response.raise_for_status()
            token = (await response.text()).strip()
        self._tokens[audience] = (expiry_of(token), token)
        return token


class _Claims(Struct):
    exp: float


def expiry_of(token: str) -> float:
    """Return when a token ends, unverified; 0 when it does not say."""
    try:
        payload = token.split(".")[1]
        return json.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims
        ).exp
    except (IndexError, ValueError):
        return 0.0


class HttpPush:
    """Posts messages; a 2xx has taken it, whatever it says; a redirect has not."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._allowed = AllowedHosts(conf.push_allowed_hosts())
        self._identity = Identity()
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, address: str, message: bytes) -> None:
        """Post one message; raises ``DeliveryError``."""
        try:
            await self._post(address, message)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise DeliveryError(address, f"{type(error).__name__}: {error}") from error

    async def _post(self, address: str, message: bytes) -> None:
        url = URL(address)
        host, port = url.host or "", url.port or 0
        if not self._may_post(host, port):
            raise DeliveryError(address, "the host is not allowed")
        headers = {**_HEADERS, **await self._authorization(url, host, port)}
        async with self._open().post(
            url, data=message, headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                raise DeliveryError(address, f"it answered {response.status}")

    def _may_post(self, host: str, port: int) -> bool:
        if parse_address(host) is not None:  # an address is not resolved: nobody else looks
            return self._allowed.may_connect(host, port, host)
        return bool(host) and self._allowed.may_ask(host, port)

    async def _authorization(self, url: URL, host: str, port: int) -> dict[str, str]:
        """Return the header that says who we are; a host that nobody listed gets none."""
        mode = conf.push_auth()
        if mode == "none" or not self._allowed.is_listed(host, port):
            return {}
        if mode == "oidc":
            token = await self._identity.token(conf.push_audience() or str(url))
        else:
            token = conf.push_token()
        return {"Authorization": f"Bearer {token}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONCURRENCY, resolver=GuardedResolver(self._allowed), use_dns_cache=False
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)


register("http", HttpPush)
register("https", HttpPush)
