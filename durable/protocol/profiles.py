"""The two profiles of protocol.md 0.2: one machine, switches where texts and clients differ."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Switches of the machine: ``COMPAT`` serves the published SDKs, ``STRICT`` is the standard.

    timer_target_dropped: accept timer+target on promise.create, storing no target (else 400).
    scope_global_is_external: count ``resonate:scope=global`` as external.
    any_listener_scheme: accept any ``scheme://rest`` as a listener's address.
    schedule_tags_injected: add schedule, origin, branch and parent to promises a schedule fires.
    searches: answer the three searches (else 501).
    """

    name: str
    timer_target_dropped: bool
    scope_global_is_external: bool
    any_listener_scheme: bool
    schedule_tags_injected: bool
    searches: bool


COMPAT = Profile(
    name="compat",
    timer_target_dropped=True,
    scope_global_is_external=True,
    any_listener_scheme=True,
    schedule_tags_injected=True,
    searches=True,
)
STRICT = Profile(
    name="strict",
    timer_target_dropped=False,
    scope_global_is_external=False,
    any_listener_scheme=False,
    schedule_tags_injected=False,
    searches=False,
)
PROFILES = {profile.name: profile for profile in (COMPAT, STRICT)}
