"""The engine's settings, each read in one place (``settings.DURABLE_*``)."""

from django.conf import settings

from durable.machine.state import Config
from durable.protocol.profiles import PROFILES


def database_alias() -> str:
    """Alias of the database that holds the tables."""
    alias: str = getattr(settings, "DURABLE_DATABASE", "default")
    return alias


def machine_config() -> Config:
    """Profile and retry timeout of the machine."""
    return Config(
        profile=PROFILES[getattr(settings, "DURABLE_PROFILE", "compat")],
        retry_timeout=getattr(settings, "DURABLE_RETRY_TIMEOUT_MS", 5000),
    )


def lease_ms() -> int:
    """How long a worker may be silent before its tasks are handed on, in ms."""
    lease: int = getattr(settings, "DURABLE_LEASE_MS", 15_000)
    return lease


def heartbeat_ms() -> int:
    """Time between two heartbeats of a worker, in ms."""
    heartbeat: int = getattr(settings, "DURABLE_HEARTBEAT_MS", 3_000)
    return heartbeat


# -- gateway -----------------------------------------------------------------------------------


def is_gateway_on() -> bool:
    """Whether this process answers the Resonate protocol."""
    value: object = getattr(settings, "DURABLE_GATEWAY", "on")
    return value is True or value == "on"


def is_debug_surface_on() -> bool:
    """Whether ``debug.*`` and times given by requests are honoured."""
    return bool(getattr(settings, "DURABLE_DEBUG_SURFACE", False))


def max_body_bytes() -> int:
    """The longest request body."""
    limit: int = getattr(settings, "DURABLE_MAX_BODY_BYTES", 10 * 1024 * 1024)
    return limit


def auth_public_keys() -> list[str]:
    """Public keys that check signed tokens: PEM texts, or paths of files with PEM texts."""
    keys: list[str] = list(getattr(settings, "DURABLE_AUTH_PUBLIC_KEYS", []))
    return keys


def is_auth_required() -> bool:
    """Whether every request needs a token: in production always, else when there are keys."""
    default = not settings.DEBUG or bool(auth_public_keys())
    return bool(getattr(settings, "DURABLE_AUTH_REQUIRED", default))


def auth_issuer() -> str:
    """What the ``iss`` claim of a signed token must be; empty: anything."""
    issuer: str = getattr(settings, "DURABLE_AUTH_ISSUER", "")
    return issuer


def auth_audience() -> str:
    """What the ``aud`` claim of a signed token must be or contain; empty: anything."""
    audience: str = getattr(settings, "DURABLE_AUTH_AUDIENCE", "")
    return audience


def cors_origins() -> list[str]:
    """Origins whose pages may call the gateway; ``*`` means all of them."""
    origins: list[str] = list(getattr(settings, "DURABLE_CORS_ORIGINS", []))
    return origins


def allowed_hosts() -> list[str]:
    """Names that this server may be called by, as Django checks them for pages."""
    hosts: list[str] = list(settings.ALLOWED_HOSTS)
    if not hosts and settings.DEBUG:
        return [".localhost", "127.0.0.1", "[::1]"]
    return hosts


# -- delivery ----------------------------------------------------------------------------------


def sse_rotation_seconds() -> float:
    """After how long an event stream ends cleanly; below 300, where Python SDKs go deaf."""
    seconds: float = getattr(settings, "DURABLE_SSE_ROTATION_SECONDS", 240)
    return seconds


def sse_max_streams() -> int:
    """How many event streams of workers one process holds."""
    streams: int = getattr(settings, "DURABLE_SSE_MAX_STREAMS", 10_000)
    return streams


def sse_buffer() -> int:
    """How many messages wait for one slow stream before it is closed."""
    messages: int = getattr(settings, "DURABLE_SSE_BUFFER", 100)
    return messages


def unblock_keep_ms() -> int:
    """How long a message to a listener that is away is kept, in ms."""
    keep: int = getattr(settings, "DURABLE_UNBLOCK_KEEP_MS", 24 * 3600 * 1000)
    return keep


def server_url() -> str:
    """URL by which workers reach this server: in execute messages. Empty: workers know it."""
    url: str = getattr(settings, "DURABLE_SERVER_URL", "")
    return url


def deliverers() -> dict[str, str]:
    """Dotted paths of further deliverers, by the scheme of their addresses."""
    paths: dict[str, str] = getattr(settings, "DURABLE_DELIVERERS", {})
    return paths


def push_allowed_hosts() -> list[str]:
    """Hosts that messages may be posted to: names, ``*.example.com``, ``host:port`` or networks.

    With none listed every public address is allowed; private ones always have to be listed.
    """
    hosts: list[str] = list(getattr(settings, "DURABLE_PUSH_ALLOWED_HOSTS", []))
    return hosts


def push_auth() -> str:
    """How a push shows who it is: ``none``, ``bearer`` or ``oidc``."""
    mode: str = getattr(settings, "DURABLE_PUSH_AUTH", "none")
    return mode


def push_token() -> str:
    """The static token of ``bearer``."""
    token: str = getattr(settings, "DURABLE_PUSH_TOKEN", "")
    return token


def push_oidc_url() -> str:
    """Where identity tokens come from; ``?audience=`` is added."""
    url: str = getattr(
        settings,
        "DURABLE_PUSH_OIDC_URL",
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity",
    )
    return url


def push_audience() -> str:
    """Audience of the identity tokens; empty: the URL that is posted to."""
    audience: str = getattr(settings, "DURABLE_PUSH_AUDIENCE", "")
    return audience


def metrics_token() -> str:
    """Bearer token that may read ``/metrics``; empty: none may."""
    token: str = getattr(settings, "DURABLE_METRICS_TOKEN", "")
    return token


def metrics_allowed() -> list[str]:
    """Addresses and networks that may read ``/metrics`` without a token."""
    networks: list[str] = list(
        getattr(settings, "DURABLE_METRICS_ALLOWED", ["127.0.0.0/8", "::1/128"])
    )
    return networks
