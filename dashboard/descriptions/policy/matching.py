"""Gives people parts in one way to fulfil a policy, each person one. Pure.

The largest number of parts is found by augmenting paths: someone new takes a part, whoever had it
moves on to another, or the part is given up for another of the same pick.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dashboard.descriptions.policy.tree import Unit, Way

type Part = tuple[int, int]
"""Numbers of a leaf and of the person who fills it."""
type Helpers = Mapping[int, Sequence[int]]
"""Numbers of the people who can fill each leaf, by the leaf's number; the first are preferred."""


class Matching:
    """As many parts as can be filled at once."""

    def __init__(self, way: Way, helpers: Helpers, *, given: Iterable[Part] = ()) -> None:
        """``helpers`` may lack leaves that nobody can fill. What is given stays filled."""
        self.needed = sum(pick.needed for pick in way)
        self._helpers = helpers
        self._units: list[Unit] = []
        self._picks: list[range] = []  # the units of each pick
        self._pick_of: list[int] = []
        for number, pick in enumerate(way):
            start = len(self._units)
            self._units += pick.units
            self._picks.append(range(start, len(self._units)))
            self._pick_of += [number] * len(pick.units)
        self._people = [
            [person for leaf in unit for person in helpers.get(leaf, ())] for unit in self._units
        ]
        self._person_of: list[int | None] = [None] * len(self._units)
        self._unit_of: dict[int, int] = {}
        left = [pick.needed for pick in way]
        for leaf, person in given:
            unit = self._free_unit(leaf)
            self._person_of[unit], self._unit_of[person] = person, unit
            left[self._pick_of[unit]] -= 1
        # Those for which nobody is found once will not find anybody later either.
        self._lacking = [
            number for number, count in enumerate(left) if not self._fill(number, count)
        ]

    @property
    def filled(self) -> int:
        """How many parts have somebody."""
        return len(self._unit_of)

    @property
    def missing(self) -> int:
        """How many parts have nobody."""
        return self.needed - self.filled

    def parts(self) -> Iterator[Part]:
        """Return who fills what; a leaf may come repeatedly, a person only once."""
        for person, unit in self._unit_of.items():
            leaf = next(one for one in self._units[unit] if person in self._helpers.get(one, ()))
            yield leaf, person

    def open_leaves(self) -> set[int]:
        """Return the leaves by which somebody new could bring this way forward."""
        reached = self._search(self._lacking)[1]
        return {leaf for unit in reached for leaf in self._units[unit]}

    def _free_unit(self, leaf: int) -> int:
        return next(
            number
            for number, unit in enumerate(self._units)
            if leaf in unit and self._person_of[number] is None
        )

    def _fill(self, pick: int, count: int) -> bool:
        """Find so many people for a pick; return whether they are all found."""
        return all(self._augment(pick) for _ in range(count))

    def _augment(self, pick: int) -> bool:
        person, entries, came_from = self._search([pick])
        if person is None:
            return False
        while True:
            unit = came_from[person]
            self._person_of[unit] = person
            displaced = entries[unit]
            previous = None if displaced is None else self._unit_of[displaced]
            self._unit_of[person] = unit
            if displaced is None or previous is None:
                return True
            if previous != unit:
                self._person_of[previous] = None
            person = displaced

    def _search(
        self, picks: Sequence[int]
    ) -> tuple[int | None, dict[int, int | None], dict[int, int]]:
        """Look for somebody without a part by whom one of the picks gets one more.

        Returns them, if found; the units reached, each with the person who would have to move for
        it; and the unit by which each person was reached.
        """
        entries: dict[int, int | None] = {}
        came_from: dict[int, int] = {}
        seen_picks = set(picks)
        queue: list[int] = []

        def enter(units: Sequence[int], displaced: int | None) -> None:
            for unit in units:
                held_by = self._person_of[unit]
                if unit not in entries and (held_by is None or held_by == displaced):
                    entries[unit] = displaced
                    queue.append(unit)

        for pick in picks:
            enter(self._picks[pick], None)
        for unit in queue:  # grows on the way
            for person in self._people[unit]:
                if person in came_from:
                    continue
                came_from[person] = unit
                held = self._unit_of.get(person)
                if held is None:
                    return person, entries, came_from
                enter([held], person)
                if (pick := self._pick_of[held]) not in seen_picks:
                    seen_picks.add(pick)
                    enter(self._picks[pick], person)
        return None, entries, came_from
