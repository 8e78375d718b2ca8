from itertools import pairwise

import pytest

from dashboard import graph
from dashboard.clocks import length_text
from dashboard.graph import Axis, Bar

S, MIN, H, D = 1000, 60_000, 3_600_000, 86_400_000


def places(axis, *instants):
    return [round(axis.place(instant), 1) for instant in instants]


def test_without_idle_time_the_axis_is_straight():
    axis = Axis.build(1000, 5000, [(1000, 5000)])

    assert places(axis, 0, 1000, 2000, 5000, 9000) == [0, 0, 25, 100, 100]
    assert axis.breaks == ()


def test_idle_time_folds_to_a_fixed_width():
    axis = Axis.build(0, D, [(0, 10 * S), (D - 10 * S, D)])

    [fold] = axis.breaks
    assert fold.length == D - 20 * S
    assert fold.is_folded
    assert places(axis, 10 * S, D - 10 * S) == [47, 53]


def test_a_fold_can_be_undone():
    axis = Axis.build(0, D, [(0, 10 * S), (D - 10 * S, D)], unfolded=[0])

    assert not axis.breaks[0].is_folded
    assert places(axis, D // 2) == [50]


def test_short_gaps_do_not_fold():
    assert graph.find_gaps(0, 10 * MIN, [(0, MIN), (2 * MIN - 1, 10 * MIN)]) == []


def test_what_is_a_good_part_of_the_rest_folds_too():
    busy = [(0, 10 * S), (3 * MIN, 3 * MIN + 10 * S)]

    assert graph.find_gaps(0, D, busy) == [(10 * S, 3 * MIN), (3 * MIN + 10 * S, D)]


def test_busy_time_outside_of_the_axis_does_no_harm():
    axis = Axis.build(0, H, [(-D, -H), (2 * H, 3 * H)])

    assert axis.place(H) == 100


def test_no_time_at_all():
    axis = Axis.build(5, 5, [])

    assert axis.segments([Bar(5, 5, graph.RUN)])[0].width == "0.000%"
    assert axis.ticks()[0].offset == 0


@pytest.mark.parametrize("length", [7, 900, 12 * S, 95 * S, 40 * MIN, 3 * H, 2 * D, 400 * D])
def test_ticks_are_few_round_and_apart(length):
    ticks = Axis.build(0, length, [(0, length)]).ticks()

    assert 1 <= len(ticks) <= graph.MAX_TICKS
    offsets = [tick.offset for tick in ticks]
    assert offsets[0] == 0
    marks = [float(tick.x.rstrip("%")) for tick in ticks]
    assert all(b - a >= graph.MIN_TICK_GAP for a, b in pairwise(marks))


def test_no_tick_is_inside_a_fold():
    axis = Axis.build(0, D, [(0, 10 * S), (D - 10 * S, D)])

    assert all(tick.offset <= 10 * S or tick.offset >= D - 10 * S for tick in axis.ticks())


@pytest.mark.parametrize(
    "busy",
    [
        [(0, 10 * S), (3 * H + 5 * S, 3 * H + 50 * S)],
        [(0, 20 * MIN), (D + 10 * MIN, D + 40 * MIN)],
        [(0, 2 * S), (2 * D - 4 * MIN, 2 * D + 9 * MIN)],
    ],
)
def test_ticks_after_a_fold_are_told_apart(busy):
    end = busy[-1][1]
    axis = Axis.build(0, end, busy)

    said = [length_text(tick.offset) for tick in axis.ticks()]
    assert len(said) == len(set(said))
    assert axis.ticks()[-1].offset >= busy[1][0]


def test_open_bar_reaches_the_end():
    axis = Axis.build(0, 1000, [(0, 1000)])

    [segment] = axis.segments([Bar(500, None, graph.HUMAN)])
    assert (segment.x, segment.width, segment.end) == ("50.000%", "50.000%", "100.000%")
    assert segment.is_open


def test_strip_shows_where_many_are():
    axis = Axis.build(0, 60 * S, [(0, 60 * S)])

    cells = axis.strip({0: 100, 30: 50, 59: 1})
    assert [cell.level for cell in cells] == [4, 2, 1]
    assert cells[1].x == "50.000%"
    assert axis.cell_of(30_500) == 30
    assert axis.cell_of(60 * S) == 59


def test_nesting_keeps_the_order():
    children = graph.nest(["a", "b", "a1"], {"a": "r", "b": "r", "a1": "a"}, "r")

    assert children["r"] == ["a", "b"]
    assert children["a"] == ["a1"]


def test_orphans_and_circles_hang_below_the_root():
    parents = {"a": "gone", "b": "c", "c": "b", "d": "d"}
    children = graph.nest(["a", "b", "c", "d"], parents, "r")

    found, stack = set(), ["r"]
    while stack:
        one = stack.pop()
        assert one not in found
        found.add(one)
        stack += children.get(one, [])
    assert found == {"r", "a", "b", "c", "d"}
