"""Which deliverer serves which scheme; others can add theirs.

``register("gcps", PubSub)`` in an app's ``ready``, or the dotted path in ``DURABLE_DELIVERERS``: a
callable without arguments that makes a ``Deliverer``. ``poll`` is served by event streams.
"""

from collections.abc import Callable
from typing import Protocol

from django.utils.module_loading import import_string

from durable import conf
from durable.exceptions import DurableError


class DeliveryError(DurableError):
    """A message was not taken; it is tried again later."""

    def __init__(self, address: str, problem: str) -> None:
        """``problem`` says why, without anything of the message."""
        super().__init__(f"{address} did not take a message: {problem}")


class Deliverer(Protocol):
    """Hands messages to the addresses of one scheme; lives on one event loop."""

    async def deliver(self, address: str, message: bytes) -> None:
        """Hand over a message, JSON in ASCII; raise ``DeliveryError`` when it was not taken."""

    async def close(self) -> None:
        """Release what is open."""


type Factory = Callable[[], Deliverer]

_factories: dict[str, Factory] = {}


def register(scheme: str, factory: Factory) -> None:
    """Serve a scheme; the last word counts."""
    _factories[scheme] = factory


def find_factories() -> dict[str, Factory]:
    """Return the factory of every scheme: what was registered, and what the settings name."""
    named = {scheme: import_string(path) for scheme, path in conf.deliverers().items()}
    return {**_factories, **named}


def scheme_of(address: str) -> str:
    """Return the scheme of an address; empty for a bare name."""
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator else ""
