"""A memory store that holds every single step against the catalogue of properties."""

from copy import copy

from durable.machine.internal import InternalStep
from durable.machine.memory import MemoryStore
from durable.machine.properties import check_state, check_transition
from durable.machine.state import Config, ServerState
from durable.protocol.profiles import COMPAT, Profile
from durable.protocol.requests import Reply, Request


class CheckedStore(MemoryStore):
    """Fails at the step that breaks a property, whatever the test was about.

    ``effective`` are the kinds of internal steps that changed something.
    """

    def __init__(self, profile: Profile = COMPAT) -> None:
        super().__init__(Config(profile=profile))
        self.effective: set[type[InternalStep]] = set()

    @property
    def profile(self) -> Profile:
        return self.state.config.profile

    def run(self, *requests: Request, now: int) -> list[Reply]:
        replies = []
        for request in requests:
            before = copied(self.state)
            replies += super().run(request, now=now)
            self._check(before, now, internal=False)
        return replies

    def fire(self, step: InternalStep, *, now: int) -> None:
        before = copied(self.state)
        super().fire(step, now=now)
        if self.state != before:
            self.effective.add(type(step))
        self._check(before, now, internal=True)

    def ask(self, request: Request, now: int) -> Reply:
        """Run one request."""
        [reply] = self.run(request, now=now)
        return reply

    def _check(self, before: ServerState, now: int, *, internal: bool) -> None:
        found = check_state(self.state, now)
        found += check_transition(before, self.state, now, internal=internal)
        assert not found, "\n".join(map(str, found))


def copied(state: ServerState) -> ServerState:
    """A state that keeps what is in it now; the values are frozen."""
    return ServerState(
        state.config,
        copy(state.promises),
        copy(state.tasks),
        copy(state.schedules),
        copy(state.outbox),
    )
