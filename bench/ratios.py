"""The issue's targets, as ratios of one run to the peers in it."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import Figure
from bench.report import number_of, text_of

OURS, DBOS, ABSURD, RESTATE = "ours", "dbos-pg-queue", "absurd", "restate"
PEERS = (OURS, DBOS, ABSURD, RESTATE)

type Figures = dict[str, Figure]


class Target(NamedTuple):
    """Ours divided by a peer's: at least, or at most, a number; a stretch is not asked for."""

    peer: str
    ratio: float
    is_stretch: bool = False


class Row(NamedTuple):
    """One measure of the table."""

    name: str
    find: Callable[[Figures], Figure | None]
    is_more_better: bool
    targets: tuple[Target, ...]


def _metric(name: str, unit: str) -> Callable[[Figures], Figure | None]:
    def find(figures: Figures) -> Figure | None:
        found = figures.get(name)
        return None if found is None else Figure(found.name, unit, found.values)

    return find


def _steps(figures: Figures) -> Figure | None:
    found = figures.get("thr_wf10_per_s")
    return found and Figure("steps", "/s", tuple(value * 10 for value in found.values))


def _extra_step(figures: Figures) -> Figure | None:
    last, first = figures.get("lat_wf10_body_ms"), figures.get("lat_wf10_begin_ms")
    if last is None or first is None:
        return None
    return Figure("extra step", "ms", ((last.median - first.median) / 10,))


ROWS = (
    Row(
        "steps/s of ten-step workflows",
        _steps,
        True,
        (Target(DBOS, 10), Target(ABSURD, 4), Target(RESTATE, 1.5, is_stretch=True)),
    ),
    Row(
        "one-step workflows/s",
        _metric("thr_wf1_per_s", "/s"),
        True,
        (Target(DBOS, 4), Target(ABSURD, 2.4), Target(RESTATE, 1.4, is_stretch=True)),
    ),
    Row("start to first line, ms", _metric("lat_wf1_begin_ms", "ms"), False, (Target(DBOS, 0.2),)),
    Row("extra step, ms", _extra_step, False, (Target(ABSURD, 0.8),)),
    Row(
        "settle to next line, ms",
        _metric("sig_ms", "ms"),
        False,
        (Target(DBOS, 1 / 3), Target(RESTATE, 1, is_stretch=True)),
    ),
    Row("1,000 parallel steps, ms", _metric("fan1000_ms", "ms"), False, (Target(DBOS, 0.25),)),
    Row("1,000 children, ms", _metric("fanwf1000_ms", "ms"), False, (Target(DBOS, 1 / 6),)),
    Row("start to last line, ms", _metric("lat_wf1_body_ms", "ms"), False, ()),
    Row("start to result, ms", _metric("lat_wf1_client_ms", "ms"), False, ()),
    Row("recovery, s", _metric("recovery_s", "s"), False, ()),
)


def read(paths: Iterable[Path]) -> dict[str, Figures]:
    """Read the harness's result lines, by peer and metric; repeated ones are taken together."""
    found: dict[str, Figures] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            values = _values(row)
            figures = found.setdefault(row["peer"], {})
            earlier = figures.get(row["metric"])
            if values:
                values = (*(earlier.values if earlier else ()), *values)
                figures[row["metric"]] = Figure(row["metric"], "", values)
    return found


def _values(row: dict[str, Any]) -> tuple[float, ...]:
    if "values" in row:
        return tuple(row["values"])
    summary = [row[name] for name in ("min", "median", "max")]
    return () if None in summary else tuple(summary)


def table(found: dict[str, Figures]) -> str:
    """Return measures by peer, and how ours stands to the targets."""
    names = [name for name in (*PEERS, *found) if name in found]
    names = list(dict.fromkeys(names))
    lines = [_line(["measure", *names, "ours to"]), "|" + " --- |" * (len(names) + 2)]
    for row in ROWS:
        figures = {name: row.find(found[name]) for name in names}
        if any(figures.values()):
            cells = [text_of(figures[name]) for name in names]
            lines.append(_line([row.name, *cells, "; ".join(_verdicts(row, figures))]))
    return "\n".join(lines)


def _verdicts(row: Row, figures: dict[str, Figure | None]) -> Iterable[str]:
    ours = figures.get(OURS)
    for target in row.targets:
        theirs = figures.get(target.peer)
        if ours is None or theirs is None:
            continue
        ratio = ours.median / theirs.median
        is_reached = ratio >= target.ratio if row.is_more_better else ratio <= target.ratio
        verdict = "reached" if is_reached else "MISSED"
        if target.is_stretch:
            verdict = f"stretch {verdict.lower()}"
        sign = "≥" if row.is_more_better else "≤"
        peer = target.peer.partition("-")[0]
        yield f"{peer} {number_of(ratio)} ({sign} {number_of(target.ratio)}: {verdict})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
