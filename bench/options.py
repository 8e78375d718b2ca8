"""The command line of ``python -m bench``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from bench.figures import QUICK, Sizes

SCENARIOS = (
    "latency",
    "throughput",
    "fanout",
    "signals",
    "recovery",
    "statements",
    "idle",
    "parked",
    "pages",
    "inbox",
    "gateway",
)
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Options:
    """What is run. ``session`` is set in the process of one scenario: where its figures go."""

    scenarios: tuple[str, ...]
    databases: tuple[str, ...]
    rounds: int
    sizes: Sizes
    session: Path | None
    arguments: tuple[str, ...]


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line; ends the process with a message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", type=_names(SCENARIOS), default=SCENARIOS, help=f"of {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--database", type=_names(DATABASES), default=DATABASES, help=" or ".join(DATABASES)
    )
    parser.add_argument("--rounds", type=int, default=1, help="times that everything is done")
    parser.add_argument("--quick", action="store_true", help="small sizes: see that it works")
    parser.add_argument("--session", type=Path, help=argparse.SUPPRESS)
    for field in fields(Sizes):
        kind = type(getattr(QUICK, field.name))
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=kind, help=f"default {field.default}")
    given = parser.parse_args(arguments)
    chosen = {
        field.name: value
        for field in fields(Sizes)
        if (value := getattr(given, field.name)) is not None
    }
    return Options(
        scenarios=given.only,
        databases=given.database,
        rounds=given.rounds,
        sizes=replace(QUICK if given.quick else Sizes(), **chosen),
        session=given.session,
        arguments=tuple(arguments),
    )


class _names:  # noqa: N801 - a function to argparse
    """Reads a comma-separated list of known names."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(self._known):
            message = f"unknown: {', '.join(sorted(unknown))}"
            raise argparse.ArgumentTypeError(message)
        return names
