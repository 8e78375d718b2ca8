"""Who calls: a token, or without authentication at least a program that runs on this machine.

Without tokens any web page could settle promises on a developer's machine: browsers send requests
to any address, and names can be pointed to one (DNS rebinding). Both show in headers.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

from durable import conf
from durable.gateway import cors
from durable.gateway.executor import executor
from durable.gateway.grants import OPEN, Grant
from durable.gateway.tokens import (
    MAX_TOKEN_LENGTH,
    InvalidKeyError,
    KeyRing,
    TokenTable,
    VerifyingKey,
    is_opaque,
    read_keys,
)

_BEARER = "bearer "
_PEM = "-----BEGIN "
_REMEMBERED_HOSTS = 100


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The request ends here, with a status and a text of protocol.md 1.4."""

    def __init__(self, status: int, text: str) -> None:
        """``text`` becomes the ``data`` of the answer."""
        super().__init__(text)
        self.status = status
        self.text = text


def unauthorized() -> Refused:
    """There is no token, or none that is good."""
    return Refused(401, "Unauthorized")


def forbidden() -> Refused:
    """The caller may not do this."""
    return Refused(403, "Forbidden")


class Caller(NamedTuple):
    """What a transport knows of who calls: the headers of the same names, and the address."""

    authorization: str | None = None
    origin: str | None = None
    host: str | None = None
    address: str = ""

    @property
    def bearer(self) -> str | None:
        """The token of the header, if there is one."""
        given = self.authorization
        if given is None or given[: len(_BEARER)].lower() != _BEARER:
            return None
        return given[len(_BEARER) :].strip()


class Access:
    """Turns a caller into what it may do."""

    def __init__(
        self,
        *,
        is_required: bool,
        keys: KeyRing,
        tokens: TokenTable,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        """``origins`` of web pages and ``hosts`` of this server count while nothing is required."""
        self.is_required = is_required
        self._keys = keys
        self._tokens = tokens
        self._origins = origins
        self._hosts = list(hosts)
        self._good_hosts: set[str] = set()

    async def authenticate(self, caller: Caller, token: object = None) -> Grant:
        """Return what the caller may do; raises ``Refused``.

        ``token`` is the one of the envelope, which comes before the header's.
        """
        if not self.is_required:
            self._require_local(caller)
            return OPEN
        given = token if isinstance(token, str) and token else caller.bearer
        if not given or len(given) > MAX_TOKEN_LENGTH:
            raise unauthorized()
        grant = await self._find(given)
        if grant is None or grant.is_expired():
            raise unauthorized()
        if grant.is_empty:
            raise forbidden()
        return grant

    async def _find(self, token: str) -> Grant | None:
        if not is_opaque(token):
            return self._keys.verify(token)
        if known := self._tokens.recall(token):
            return known[0]
        return await executor.run(self._tokens.look_up, token)

    def _require_local(self, caller: Caller) -> None:
        if caller.host not in self._good_hosts:
            self._require_host(caller.host or "")
        if caller.origin is None or cors.is_allowed(caller.origin, self._origins):
            return
        if _host_of(caller.origin) != (caller.host or "").lower():
            raise Refused(403, "Forbidden: a web page of another origin")

    def _require_host(self, host: str) -> None:
        domain, _ = split_domain_port(host)
        if not domain or not validate_host(domain, self._hosts):
            raise Refused(403, "Forbidden: this server has no such name")
        if len(self._good_hosts) < _REMEMBERED_HOSTS:
            self._good_hosts.add(host)


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def load_keys() -> list[VerifyingKey]:
    """Read the keys of ``DURABLE_AUTH_PUBLIC_KEYS``; raises ``InvalidKeyError``."""
    return [key for given in conf.auth_public_keys() for key in read_keys(_pem_text(given))]


def _pem_text(given: str) -> str:
    if given.lstrip().startswith(_PEM):
        return given
    try:
        return Path(given).read_text()
    except (OSError, ValueError) as error:
        reason = f"the file {given} cannot be read"
        raise InvalidKeyError(reason) from error


@cache
def get_access() -> Access:
    """Return the process's own, made from the settings."""
    return Access(
        is_required=conf.is_auth_required(),
        keys=KeyRing(load_keys(), issuer=conf.auth_issuer(), audience=conf.auth_audience()),
        tokens=TokenTable(conf.database_alias()),
        origins=conf.cors_origins(),
        hosts=conf.allowed_hosts(),
    )
