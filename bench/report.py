"""The table on stdout and the JSON file of a run."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.processes import ROOT

RESULTS = ROOT / "bench" / "results"
_MANY = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A figure of one scenario on one database."""

    database: str
    scenario: str
    figure: Figure

    @classmethod
    def decode(cls, database: str, scenario: str, line: str) -> "Found":
        """Read what ``encode`` wrote."""
        document = json.loads(line)
        values = tuple(document["values"])
        figure = Figure(document["name"], document["unit"], values, document["more"])
        return cls(database, scenario, figure)


def encode(figure: Figure) -> str:
    """Return a figure as a line of JSON."""
    return json.dumps(
        {
            "name": figure.name,
            "unit": figure.unit,
            "values": figure.values,
            "more": figure.more,
        }
    )


@dataclass(slots=True)
class Run:
    """All that a run found, and where."""

    about: dict[str, Any]
    found: list[Found] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def figures(self) -> dict[tuple[str, str], dict[str, Figure]]:
        """Return figures by scenario and name, then database; rounds are taken together."""
        together: dict[tuple[str, str], dict[str, Figure]] = {}
        for one in self.found:
            by_database = together.setdefault((one.scenario, one.figure.name), {})
            earlier = by_database.get(one.database)
            values = (*(earlier.values if earlier else ()), *one.figure.values)
            by_database[one.database] = Figure(
                one.figure.name, one.figure.unit, values, one.figure.more
            )
        return together

    def save(self, folder: Path = RESULTS) -> Path:
        """Write the run as JSON and return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.about['at'].replace(':', '')}.json"
        document = {
            **self.about,
            "failures": self.failures,
            "figures": [
                {"database": database, "scenario": scenario, **_document(figure)}
                for (scenario, _), by_database in self.figures().items()
                for database, figure in by_database.items()
            ],
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        return path

    def table(self) -> str:
        """Return the figures as a table, databases side by side: median (lowest-highest)."""
        databases = list(dict.fromkeys(one.database for one in self.found))
        lines = []
        shown = None
        for (scenario, name), by_database in self.figures().items():
            if scenario != shown:
                shown = scenario
                lines += ["", f"### {scenario}", "", *_head(["", "unit", *databases])]
            cells = [text_of(by_database.get(database)) for database in databases]
            unit = next(iter(by_database.values())).unit
            lines.append(_line([name, unit, *cells]))
        return "\n".join(lines)


def _document(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "n": len(figure.values),
        "median": figure.median,
        "low": figure.low,
        "high": figure.high,
        "p95": figure.percentile(95),
        "values": [round(value, 4) for value in figure.values],
        **({"more": figure.more} if figure.more else {}),
    }


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + " --- |" * len(cells)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def text_of(figure: Figure | None) -> str:
    """Return median and range."""
    if figure is None:
        return "-"
    if len(figure.values) == 1:
        return number_of(figure.median)
    return f"{number_of(figure.median)} ({number_of(figure.low)}-{number_of(figure.high)})"


def number_of(value: float) -> str:
    """Return a number with about three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _MANY else f"{value:.2f}"


def about(versions: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    """Return where and of what a run is."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "is_changed": bool(_git("status", "--porcelain")),
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "databases": versions,
        "sizes": sizes,
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
