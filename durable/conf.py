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
