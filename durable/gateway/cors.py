"""Which web pages may call the gateway (protocol.md 1.1): an allow-list of origins."""

from collections.abc import Collection

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS = "origin, content-length, content-type, authorization, accept, cache-control, resonate"
_KEPT_SECONDS = "600"
ANY = "*"


def is_allowed(origin: str, origins: Collection[str]) -> bool:
    """Whether an origin is on the list."""
    return ANY in origins or origin in origins


def response_headers(origin: str | None, origins: Collection[str]) -> list[tuple[str, str]]:
    """Return the headers that let the page at ``origin`` read an answer; none for strangers."""
    if not origins:
        return []
    headers = [("vary", "Origin")]
    if origin is not None and is_allowed(origin, origins):
        headers.append(("access-control-allow-origin", ANY if ANY in origins else origin))
    return headers


def preflight_headers(
    origin: str | None, origins: Collection[str], *, is_private: bool = False
) -> list[tuple[str, str]]:
    """Return the answer to a browser's question what the page at ``origin`` may send.

    ``is_private`` says that the browser asked whether a public page may call a private network.
    """
    headers = response_headers(origin, origins)
    if len(headers) > 1:
        headers += [
            ("access-control-allow-methods", METHODS),
            ("access-control-allow-headers", HEADERS),
            ("access-control-max-age", _KEPT_SECONDS),
        ]
        if is_private:
            headers.append(("access-control-allow-private-network", "true"))
    return headers
