"""Geometry of the call tree and its timeline. Pure: instants in epoch ms go in, places come out.

Places along the timeline are percentages of its width, written as text: a number in a template
would be written the way the visitor's language writes numbers.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

RUN = "run"
QUEUED = "queued"
LOST = "lost"
HUMAN = "human"
SLEEP = "sleep"
WAIT = "wait"
BUSY = frozenset({RUN, QUEUED, LOST})
"""The looks of bars in which something happens; the rest is idle time, which folds."""

BREAK_WIDTH = 6.0
MIN_BREAK_MS = 60_000
MIN_BREAK_SHARE = 0.05
MAX_BREAKS = 20
STRIP_CELLS = 60

_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
TICK_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1 * _S, 2 * _S, 5 * _S, 10 * _S, 15 * _S, 30 * _S),
    *(1 * _MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 15 * _MIN, 30 * _MIN),
    *(1 * _H, 2 * _H, 3 * _H, 6 * _H, 12 * _H),
    *(1 * _D, 2 * _D, 7 * _D, 14 * _D, 30 * _D, 90 * _D, 365 * _D),
)
_EXACTNESS = ((_S, 1), (10 * _S, 100), (_H, _S), (_D, _MIN), (math.inf, _H))
MAX_TICKS = 6
MIN_TICK_GAP = 18.0
LAST_TICK = 84.0


class Bar(NamedTuple):
    """A stretch of time; it has no end while it lasts."""

    start: int
    end: int | None
    look: str


class Segment(NamedTuple):
    """A bar in its place."""

    x: str
    width: str
    end: str
    look: str
    is_open: bool


class Tick(NamedTuple):
    """A mark on the axis; ``offset`` is its distance from the beginning, in ms."""

    x: str
    offset: int


class Break(NamedTuple):
    """A stretch in which nothing happens: ``number`` counts them, ``length`` is in ms."""

    number: int
    x: str
    width: str
    length: int
    is_folded: bool


class Cell(NamedTuple):
    """A cell of a density strip; ``level`` is 1 to 4."""

    x: str
    width: str
    level: int


class _Piece(NamedTuple):
    start: int
    end: int
    x: float
    width: float


@dataclass(frozen=True)
class Axis:
    """Maps instants to places, with long idle stretches folded to a fixed width."""

    start: int
    end: int
    pieces: tuple[_Piece, ...]
    breaks: tuple[Break, ...]

    @classmethod
    def build(
        cls, start: int, end: int, busy: Iterable[tuple[int, int]], unfolded: Iterable[int] = ()
    ) -> "Axis":
        """Lay out the time from ``start`` to ``end``; ``unfolded`` are numbers of breaks."""
        end = max(end, start + 1)
        gaps = find_gaps(start, end, busy)
        kept = set(unfolded)
        folded = [gap for number, gap in enumerate(gaps) if number not in kept]
        shown = end - start - sum(stop - begin for begin, stop in folded)
        scale = (100 - BREAK_WIDTH * len(folded)) / max(shown, 1)
        pieces = []
        x = 0.0
        cursor = start
        for begin, stop in [*folded, (end, end)]:
            if begin > cursor:
                width = (begin - cursor) * scale
                pieces.append(_Piece(cursor, begin, x, width))
                x += width
            if stop > begin:
                pieces.append(_Piece(begin, stop, x, BREAK_WIDTH))
                x += BREAK_WIDTH
            cursor = stop
        axis = cls(start, end, tuple(pieces), ())
        breaks = tuple(
            axis._break(number, gap, is_folded=number not in kept)
            for number, gap in enumerate(gaps)
        )
        return cls(start, end, tuple(pieces), breaks)

    def _break(self, number: int, gap: tuple[int, int], *, is_folded: bool) -> Break:
        begin, stop = gap
        left, right = self.place(begin), self.place(stop)
        return Break(number, percent(left), percent(right - left), stop - begin, is_folded)

    def place(self, instant: int) -> float:
        """Return where an instant is, in percent; what lies outside is at the edge."""
        instant = min(max(instant, self.start), self.end)
        index = bisect_right(self.pieces, instant, key=lambda piece: piece.start) - 1
        piece = self.pieces[max(index, 0)]
        share = (instant - piece.start) / (piece.end - piece.start)
        return piece.x + piece.width * min(share, 1.0)

    def segments(self, bars: Iterable[Bar]) -> list[Segment]:
        """Put bars in their places; an open one reaches the end of the axis."""
        placed = []
        for bar in bars:
            left = self.place(bar.start)
            right = self.place(self.end if bar.end is None else bar.end)
            placed.append(
                Segment(
                    percent(left),
                    percent(max(right - left, 0)),
                    percent(right),
                    bar.look,
                    bar.end is None,
                )
            )
        return placed

    def ticks(self) -> list[Tick]:
        """Return marks at round distances from the beginning, outside what is folded."""
        folded = {(piece.start, piece.end) for piece in self.pieces if piece.width == BREAK_WIDTH}
        open_pieces = [piece for piece in self.pieces if (piece.start, piece.end) not in folded]
        shown = sum(piece.end - piece.start for piece in open_pieces)
        step = next((one for one in TICK_STEPS if shown / one <= MAX_TICKS), TICK_STEPS[-1])
        ticks: list[Tick] = []
        last = -MIN_TICK_GAP
        for piece in open_pieces:
            for offset in _marks(piece.start - self.start, piece.end - self.start, step):
                place = self.place(self.start + offset)
                is_new = not ticks or _as_said(offset) != _as_said(ticks[-1].offset)
                if is_new and place - last >= MIN_TICK_GAP and place <= LAST_TICK:
                    ticks.append(Tick(percent(place), offset))
                    last = place
        return ticks

    def strip(self, counts: Mapping[int, int]) -> list[Cell]:
        """Return the cells of a density strip; ``counts`` is by cell, see ``cell_of``."""
        most = max(counts.values(), default=0)
        length = self.end - self.start
        cells = []
        for cell, count in sorted(counts.items()):
            left = self.place(self.start + length * cell // STRIP_CELLS)
            right = self.place(self.start + length * (cell + 1) // STRIP_CELLS)
            level = 1 + (4 * count - 1) // most if most else 1
            cells.append(Cell(percent(left), percent(max(right - left, 0.3)), min(level, 4)))
        return cells

    def cell_of(self, instant: int) -> int:
        """Return the number of the cell that an instant falls into."""
        length = self.end - self.start
        return min(max((instant - self.start) * STRIP_CELLS // length, 0), STRIP_CELLS - 1)


def _marks(begin: int, end: int, step: int) -> Sequence[int]:
    """Return the offsets in a piece that words say exactly; where there are none, round ones."""
    rounded = range(-(-begin // step) * step, end + 1, step)
    return [one for one in rounded if _as_said(one) == one] or [begin, *rounded]


def _as_said(offset: int) -> int:
    """Return an offset as exactly as words say it, which have two units at most."""
    exactness = next(unit for limit, unit in _EXACTNESS if offset < limit)
    return offset - offset % exactness


def percent(value: float) -> str:
    """Write a share of the width as SVG wants it."""
    return f"{value:.3f}%"


def find_gaps(start: int, end: int, busy: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the stretches without anything busy that would take up a good part of the axis.

    The longest first: once it is folded, a shorter one may be a good part of what remains.
    """
    gaps = []
    cursor = start
    for begin, stop in [*sorted(busy), (end, end)]:
        if min(begin, end) > cursor:
            gaps.append((cursor, min(begin, end)))
        cursor = max(cursor, stop)
    remaining = end - start
    folded = []
    for gap in sorted(gaps, key=lambda gap: gap[0] - gap[1])[:MAX_BREAKS]:
        length = gap[1] - gap[0]
        least = max(MIN_BREAK_MS, remaining * MIN_BREAK_SHARE)
        if least < length < remaining:
            folded.append(gap)
            remaining -= length
    return sorted(folded)


def busy_stretches(bars: Iterable[Bar], end: int) -> list[tuple[int, int]]:
    """Return when something happened, for ``Axis.build``."""
    return [(bar.start, end if bar.end is None else bar.end) for bar in bars if bar.look in BUSY]


def nest(order: Sequence[str], parents: Mapping[str, str], root: str) -> dict[str, list[str]]:
    """Return children by parent, in the order given.

    Everything hangs below ``root`` in the end: a promise whose parent is missing is its child, and
    so is one of every circle, which tags made by hand can draw.
    """
    children: dict[str, list[str]] = {root: []}
    known = {root, *order}
    for one in order:
        parent = parents.get(one, root)
        children.setdefault(parent if parent in known and parent != one else root, []).append(one)
    seen = _descend(root, children)
    for one in order:
        if one not in seen:
            for siblings in children.values():
                if one in siblings:
                    siblings.remove(one)
            children[root].append(one)
            seen |= _descend(one, children)
    return children


def _descend(start: str, children: Mapping[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    stack = [start]
    while stack:
        one = stack.pop()
        if one not in seen:
            seen.add(one)
            stack.extend(children.get(one, ()))
    return seen
