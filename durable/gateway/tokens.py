"""Tokens: signed ones, checked with public keys, and opaque ones that an operator issued."""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from durable import clock
from durable.exceptions import DurableError
from durable.gateway.grants import Grant
from durable.models import Token

LEEWAY_SECONDS = 30
"""How far the clocks of whoever signs tokens and of this server may be apart."""

MAX_TOKEN_LENGTH = 16_384
_OPAQUE = "durable_"
_SECRET_BYTES = 32
_MIN_RSA_BITS = 2048
_MS = 1000
_REMEMBERED = 4096
_LOOK_AGAIN_SECONDS = 5.0

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC = {"secp256r1": ("ES256",), "secp384r1": ("ES384",)}
_EDDSA = ("EdDSA",)

type PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class InvalidKeyError(DurableError):
    """A text is no public key that tokens can be checked with."""

    def __init__(self, reason: str) -> None:
        """``reason`` never holds any of the text: it may be a secret."""
        super().__init__(reason)


class VerifyingKey(NamedTuple):
    """A public key, and the only algorithms that a signature checked with it may name."""

    key: PublicKey
    algorithms: tuple[str, ...]


def read_keys(text: str) -> list[VerifyingKey]:
    """Read all public keys of a PEM text; raises ``InvalidKeyError``."""
    found = list(_PEM.finditer(text))
    if not found:
        reason = "there is no PEM block in it"
        raise InvalidKeyError(reason)
    return [_read_key(block.group(1), block.group(0).encode()) for block in found]


def _read_key(label: str, pem: bytes) -> VerifyingKey:
    if "PRIVATE" in label:
        reason = "it is a private key, which does not belong here; give the public one"
        raise InvalidKeyError(reason)
    try:
        if label == "CERTIFICATE":
            key: Any = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        reason = f"its block {label} cannot be read"
        raise InvalidKeyError(reason) from error
    algorithms: tuple[str, ...] = ()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        algorithms = _RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        algorithms = _EC.get(key.curve.name, ())
    elif isinstance(key, ed25519.Ed25519PublicKey):
        algorithms = _EDDSA
    if not algorithms:
        reason = "it is none of RSA with 2048 bits or more, EC on P-256 or P-384, Ed25519"
        raise InvalidKeyError(reason)
    return VerifyingKey(key, algorithms)


class KeyRing:
    """Checks signed tokens with any of several keys, so that keys can be exchanged."""

    def __init__(
        self, keys: Sequence[VerifyingKey], *, issuer: str = "", audience: str = ""
    ) -> None:
        """``issuer`` and ``audience`` are required of every token when given."""
        self._keys = tuple(keys)
        self._issuer = issuer or None
        self._audience = audience or None
        self._options: Any = {
            "require": ["exp", *(["iss"] if issuer else []), *(["aud"] if audience else [])],
            "verify_aud": bool(audience),
            "verify_iat": False,  # it says nothing about whether the token is good now
        }
        self._remembered: dict[str, Grant] = {}

    def verify(self, token: str) -> Grant | None:
        """Return what a signed token grants; None for one that is forged, expired or not for us."""
        if grant := self._remembered.get(token):
            return grant
        claims = self._claims(token)
        if claims is None:
            return None
        grant = _to_grant(claims)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[token] = grant
        return grant

    def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
        except Exception:  # noqa: BLE001 - whatever it is, it is no token
            return None
        for key, algorithms in self._keys:
            if algorithm in algorithms:
                try:
                    return jwt.decode(
                        token,
                        key,
                        algorithms=algorithms,
                        issuer=self._issuer,
                        audience=self._audience,
                        leeway=LEEWAY_SECONDS,
                        options=self._options,
                    )
                except Exception:  # noqa: BLE001, S112 - the next key may fit
                    continue
        return None


def _to_grant(claims: dict[str, Any]) -> Grant:
    prefix, role, name = (claims.get(claim) for claim in ("prefix", "role", "sub"))
    groups = claims.get("groups")
    return Grant(
        prefix=prefix if isinstance(prefix, str) else None,
        role=role.lower() if isinstance(role, str) else "",
        name=name if isinstance(name, str) else "",
        groups=frozenset(one for one in groups if isinstance(one, str))
        if isinstance(groups, list)
        else frozenset(),
        expires_at=(int(claims["exp"]) + LEEWAY_SECONDS) * _MS,
    )


def is_opaque(token: str) -> bool:
    """Whether it looks like one that an operator issued."""
    return token.startswith(_OPAQUE)


def make_secret() -> str:
    """Return a new opaque token."""
    return _OPAQUE + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(token: str) -> str:
    """Return what is stored of a token: it is long and random, so a plain hash is enough."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class TokenTable:
    """The tokens that were issued, each remembered for a few seconds.

    So long one that is revoked may still be used.
    """

    def __init__(self, alias: str) -> None:
        """``alias`` names the database."""
        self._alias = alias
        self._lock = threading.Lock()
        self._remembered: dict[str, tuple[Grant | None, float]] = {}

    def recall(self, token: str) -> tuple[Grant | None] | None:
        """Return what is remembered of a token, in a tuple; None when it has to be looked up."""
        found = self._remembered.get(digest_of(token))
        if found is None or found[1] < time.monotonic():
            return None
        return (found[0],)

    def look_up(self, token: str) -> Grant | None:
        """Read what a token grants; None for one that was never issued, or revoked. Blocks."""
        digest = digest_of(token)
        row = Token.objects.using(self._alias).filter(digest=digest, revoked_at=None).first()
        grant = None if row is None else grant_of(row)
        with self._lock:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = grant, time.monotonic() + _LOOK_AGAIN_SECONDS
        return grant


def grant_of(token: Token) -> Grant:
    """Return what a token grants."""
    return Grant(
        prefix=token.prefix,
        role=token.role,
        name=token.name,
        groups=frozenset(token.groups),
        expires_at=token.expires_at,
    )


def issue(
    name: str,
    *,
    prefix: str,
    role: str,
    groups: Iterable[str],
    expires_at: int | None,
    using: str,
) -> str:
    """Store a new token and return its secret, which nobody can read again."""
    secret = make_secret()
    Token.objects.using(using).create(
        name=name,
        digest=digest_of(secret),
        prefix=prefix,
        role=role,
        groups=sorted(groups),
        created_at=clock.now_ms(),
        expires_at=expires_at,
    )
    return secret


def revoke(name: str, *, using: str) -> bool:
    """Revoke the token of this name; return whether there was one."""
    found = Token.objects.using(using).filter(name=name, revoked_at=None)
    return bool(found.update(revoked_at=clock.now_ms()))
