"""Key pairs, and tokens signed with them."""

import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

HOUR = 3600


@cache
def private_key(kind: str) -> Any:
    """One key of a kind; the same every time it is asked for."""
    match kind.partition("-")[0]:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "small":
            return rsa.generate_private_key(65537, 1024)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "k1":
            return ec.generate_private_key(ec.SECP256K1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ValueError(kind)


def public_pem(kind: str) -> str:
    """The public half as PEM."""
    return (
        private_key(kind)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(kind: str) -> str:
    """The secret half as PEM."""
    return (
        private_key(kind)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token with changes; ``...`` leaves one out."""
    whole = {"exp": int(time.time()) + HOUR, "prefix": "mine/"} | changes
    return {name: value for name, value in whole.items() if value is not ...}


def signed(kind: str = "ed25519", algorithm: str = "EdDSA", **changes: Any) -> str:
    """A token signed with the key of a kind."""
    return jwt.encode(claims(**changes), private_key(kind), algorithm=algorithm)
