"""Errors of workflows and of those who start them; each says what happened and to which promise."""

from collections.abc import Collection, Iterable

from durable.exceptions import DurableError


class Suspended(BaseException):
    """Thrown into a function whose pass is over, at the line where it waits. Never catch it."""


class DuplicateFunctionError(DurableError):
    """Two functions want the same name and version."""

    def __init__(self, name: str, version: int, first: str, second: str) -> None:
        """``first`` and ``second`` are the dotted paths of the functions."""
        super().__init__(
            f"two functions are registered as {name!r} version {version}: {first} and {second}; "
            "give one of them another name= or version="
        )


class InvalidFunctionError(DurableError):
    """A callable cannot be a durable function."""

    def __init__(self, described: str, problem: str) -> None:
        """``described`` names the callable, ``problem`` says what is wrong and what to do."""
        super().__init__(f"{described} cannot be a durable function: {problem}")


class UnknownFunctionError(DurableError):
    """No function of this name and version is registered here."""

    def __init__(
        self, name: str, version: int | None, versions: Iterable[int], names: Collection[str]
    ) -> None:
        """``versions`` are those registered under the name, ``names`` all registered names."""
        asked = f"{name!r}" if version is None else f"{name!r} version {version}"
        if have := ", ".join(str(known) for known in sorted(versions)):
            known = f"{name!r} is registered with version {have}"
        elif names:
            known = f"registered are {', '.join(sorted(names))}"
        else:
            known = "nothing is registered; functions are found in the workflows.py of each app"
        super().__init__(f"no function {asked} is registered here: {known}")
        self.name = name
        self.version = version


class NonDeterminismError(DurableError):
    """The code no longer asks for what was recorded: the function was changed under a running call.

    Its task stays as it is and goes on when the code fits again.
    """

    def __init__(self, promise_id: str, recorded: str, asked: str) -> None:
        """``recorded`` and ``asked`` describe the two sides."""
        super().__init__(
            f"the code does not fit what is recorded at {promise_id!r}: "
            f"recorded is {recorded}, the code asks for {asked}"
        )
        self.promise_id = promise_id
        self.recorded = recorded
        self.asked = asked


class MisplacedCommandError(DurableError):
    """A command was awaited where no function of its pass runs."""

    def __init__(self, described: str) -> None:
        """``described`` is the command."""
        super().__init__(
            f"{described} was awaited outside the function that its context belongs to: give a "
            "function that makes durable calls a first parameter named ctx of its own, and use "
            "ctx.all() in place of tasks of asyncio"
        )


class PerformedTwiceError(DurableError):
    """A command was awaited a second time."""

    def __init__(self, described: str) -> None:
        """``described`` is the command."""
        super().__init__(
            f"{described} was performed before: build a new command for a new call, or keep the "
            "future of a begin_ call, which may be awaited again"
        )


class EncodingError(DurableError):
    """A value has no JSON form."""

    def __init__(self, what: str, path: str, problem: str) -> None:
        """``what`` names the value, ``path`` where in it (``$`` is all of it) the problem is."""
        super().__init__(f"{what} cannot be stored as JSON: at {path} is {problem}")
        self.path = path


class DecodingError(DurableError):
    """A stored value is not base64 of JSON."""

    def __init__(self, what: str, problem: str) -> None:
        """``what`` names the value; ``problem`` never shows the value itself."""
        super().__init__(f"{what} cannot be read: {problem}")


class DeadlineError(DurableError):
    """A wait would outlive the call that waits."""

    def __init__(self, what: str, wanted: str, owner: str, deadline: str) -> None:
        """``wanted`` and ``deadline`` are instants as text; ``owner`` is the id of the call."""
        super().__init__(
            f"{what} until {wanted} is longer than {owner!r} may take, whose deadline is "
            f"{deadline}; start that with a longer timeout"
        )


class ApplicationError(DurableError):
    """A function failed with an error whose class is not known here."""

    def __init__(self, name: str, message: str, data: object = None) -> None:
        """``name`` is the class's, in its own language; ``data`` the whole rejection, decoded."""
        super().__init__(message)
        self.name = name
        self.message = message
        self.data = data


class PromiseTimeoutError(DurableError, TimeoutError):
    """A promise was not settled before its deadline."""

    def __init__(self, promise_id: str, deadline: str) -> None:
        """``deadline`` is the instant as text."""
        super().__init__(f"{promise_id!r} was not settled before its deadline, {deadline}")
        self.promise_id = promise_id


class PromiseCanceledError(DurableError):
    """A promise was cancelled."""

    def __init__(self, promise_id: str, reason: str = "") -> None:
        """``reason`` is what the one who cancelled said."""
        super().__init__(f"{promise_id!r} was canceled" + (f": {reason}" if reason else ""))
        self.promise_id = promise_id
        self.reason = reason


class ResultTimeoutError(DurableError, TimeoutError):
    """A caller stopped waiting for a result; the call itself goes on."""

    def __init__(self, promise_id: str, seconds: float) -> None:
        """``seconds`` is how long was waited."""
        super().__init__(f"{promise_id!r} is still pending after {seconds:g} s; it goes on")
        self.promise_id = promise_id


class RootIdError(DurableError):
    """An id cannot be the root of an execution."""

    def __init__(self, promise_id: str) -> None:
        """``promise_id`` is the id."""
        problem = "is empty" if not promise_id else "contains ':', which separates calls below it"
        super().__init__(f"{promise_id!r} cannot be the id of an execution: it {problem}")


class IdTakenError(DurableError):
    """The id stands for another call."""

    def __init__(self, promise_id: str, recorded: str, asked: str) -> None:
        """``recorded`` and ``asked`` describe the two calls."""
        super().__init__(
            f"{promise_id!r} exists and is {recorded}; it cannot become {asked}: choose another id"
        )
        self.promise_id = promise_id
