"""Errors that callers see. Each takes data and makes its own sentence."""


class DurableError(Exception):
    """Base of all errors of the engine."""


class PromiseNotFoundError(DurableError):
    """No promise has this id."""

    def __init__(self, promise_id: str) -> None:
        """``promise_id`` is the id that was asked for."""
        super().__init__(f"there is no promise {promise_id!r}")
        self.promise_id = promise_id


class WaitInTransactionError(DurableError):
    """A wait inside ``transaction.atomic()`` would wait for the commit that it holds back."""

    def __init__(self, promise_id: str) -> None:
        """``promise_id`` is the promise that would be waited for."""
        super().__init__(
            f"cannot wait for {promise_id!r} inside transaction.atomic(): nothing that happens "
            "there can be seen by others before the block ends; wait after it"
        )
        self.promise_id = promise_id


class RequestRefusedError(DurableError):
    """The engine refused a request; ``status`` as in protocol.md 1.4."""

    def __init__(self, kind: str, status: int, text: str) -> None:
        """``kind`` of the request, ``status`` and ``text`` of the reply."""
        super().__init__(f"{kind} refused ({status}): {text}")
        self.kind = kind
        self.status = status
        self.text = text
