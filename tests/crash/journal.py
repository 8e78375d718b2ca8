"""A journal outside the database: what ran, when, and survives kill -9 of the writer."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from durable.clock import now_ms


class Run(NamedTuple):
    """One start of a step."""

    execution: str
    step: str
    at: int


def path() -> Path:
    return Path(os.environ["CRASH_JOURNAL"])


def write(execution: str, step: str) -> None:
    line = json.dumps([execution, step, now_ms()]) + "\n"
    descriptor = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read() -> list[Run]:
    if not path().exists():
        return []
    return [Run(*json.loads(line)) for line in path().read_text().splitlines()]
