"""Durable functions for Django: write them, start them, settle what they wait for.

Attributes are loaded when they are first used, so ``import durable`` works before Django's apps
are ready and imports no models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable.exceptions import (
        DurableError,
        PromiseNotFoundError,
        RequestRefusedError,
        WaitInTransactionError,
    )
    from durable.workflow import promises
    from durable.workflow.commands import Command, Future
    from durable.workflow.context import Context, Info
    from durable.workflow.decisions import Decision
    from durable.workflow.ending import acancel, aget, cancel, get
    from durable.workflow.errors import (
        ApplicationError,
        DeadlineError,
        DecodingError,
        DuplicateFunctionError,
        EncodingError,
        IdTakenError,
        InvalidFunctionError,
        MisplacedCommandError,
        NonDeterminismError,
        PerformedTwiceError,
        PromiseCanceledError,
        PromiseTimeoutError,
        ResultTimeoutError,
        RootIdError,
        UnknownFunctionError,
    )
    from durable.workflow.handle import Handle
    from durable.workflow.promises import Settlement
    from durable.workflow.registry import Registry, function, registry
    from durable.workflow.retry import Constant, Exponential, Linear, Never, RetryPolicy
    from durable.workflow.starting import Starter, acall, astart, call, options, start

_HOMES = {
    "durable.exceptions": (
        "DurableError",
        "PromiseNotFoundError",
        "RequestRefusedError",
        "WaitInTransactionError",
    ),
    "durable.workflow": ("promises",),
    "durable.workflow.commands": ("Command", "Future"),
    "durable.workflow.context": ("Context", "Info"),
    "durable.workflow.decisions": ("Decision",),
    "durable.workflow.ending": ("acancel", "aget", "cancel", "get"),
    "durable.workflow.errors": (
        "ApplicationError",
        "DeadlineError",
        "DecodingError",
        "DuplicateFunctionError",
        "EncodingError",
        "IdTakenError",
        "InvalidFunctionError",
        "MisplacedCommandError",
        "NonDeterminismError",
        "PerformedTwiceError",
        "PromiseCanceledError",
        "PromiseTimeoutError",
        "ResultTimeoutError",
        "RootIdError",
        "UnknownFunctionError",
    ),
    "durable.workflow.handle": ("Handle",),
    "durable.workflow.promises": ("Settlement",),
    "durable.workflow.registry": ("Registry", "function", "registry"),
    "durable.workflow.retry": ("Constant", "Exponential", "Linear", "Never", "RetryPolicy"),
    "durable.workflow.starting": ("Starter", "acall", "astart", "call", "options", "start"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ApplicationError",
    "Command",
    "Constant",
    "Context",
    "DeadlineError",
    "Decision",
    "DecodingError",
    "DuplicateFunctionError",
    "DurableError",
    "EncodingError",
    "Exponential",
    "Future",
    "Handle",
    "IdTakenError",
    "Info",
    "InvalidFunctionError",
    "Linear",
    "MisplacedCommandError",
    "Never",
    "NonDeterminismError",
    "PerformedTwiceError",
    "PromiseCanceledError",
    "PromiseNotFoundError",
    "PromiseTimeoutError",
    "Registry",
    "RequestRefusedError",
    "ResultTimeoutError",
    "RetryPolicy",
    "RootIdError",
    "Settlement",
    "Starter",
    "UnknownFunctionError",
    "WaitInTransactionError",
    "acall",
    "acancel",
    "aget",
    "astart",
    "call",
    "cancel",
    "function",
    "get",
    "options",
    "promises",
    "registry",
    "start",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        message = f"module 'durable' has no attribute {name!r}"
        raise AttributeError(message)
    if name == "promises":
        return import_module(f"{home}.{name}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
