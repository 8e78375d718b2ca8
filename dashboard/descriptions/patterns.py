"""Regular expressions of schemas, matched in time that grows only with text times pattern. Pure.

Python's own engine may backtrack for hours on a pattern that somebody else chose. This one runs all
ways through the pattern side by side. It knows what JSON Schema recommends of ECMA-262: classes,
groups, repeats and anchors, but neither back-references nor looking around.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, NoReturn

MAX_PATTERN = 500
MAX_PROGRAM = 600
MAX_NESTING = 20

_END_OF_LINE = "\n\r\u2028\u2029"
_DIGITS = (("0", "9"),)
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACE = (("\t", "\r"), (" ", " "), ("\xa0", "\xa0"), ("\u2028", "\u2029"), ("\ufeff", "\ufeff"))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_SYNTAX = "^$\\.*+?()[]{}|/-"
_HEX_LENGTHS = {"x": 2, "u": 4}

type _Ranges = tuple[tuple[str, str], ...]


class PatternError(ValueError):
    """The pattern is wrong, or asks for more than this engine knows."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters."""

    ranges: _Ranges
    is_negated: bool = False

    def __contains__(self, character: object) -> bool:
        """Say whether a character is one of them."""
        text = str(character)
        found = any(first <= text <= last for first, last in self.ranges)
        return found is not self.is_negated


class _Step(NamedTuple):
    """One instruction: take a character, go on at one of several places, or look where we are."""

    takes: Characters | None = None
    to: tuple[int, ...] = ()
    at: str = ""


class Pattern:
    """A compiled regular expression."""

    def __init__(self, text: str) -> None:
        """Compile; raises ``PatternError``."""
        if len(text) > MAX_PATTERN:
            msg = f"is longer than {MAX_PATTERN} characters"
            raise PatternError(msg)
        self.text = text
        self._steps = _Compiler().compile(_Parser(text).parse())

    def search(self, text: str) -> bool:
        """Say whether it matches anywhere in a text."""
        waiting: set[int] = set()
        for place in range(len(text) + 1):
            ready = self._follow(waiting | {0}, text, place)
            if len(self._steps) in ready:
                return True
            if place == len(text):
                break
            waiting = {
                number + 1
                for number in ready
                if (takes := self._steps[number].takes) and text[place] in takes
            }
        return False

    def cost(self, text: str) -> int:
        """Return how much work a search may be."""
        return len(self._steps) * (len(text) + 1)

    def _follow(self, start: Iterable[int], text: str, place: int) -> set[int]:
        """Return the steps that can be reached without taking a character."""
        stack, seen = list(start), set(start)
        while stack:
            number = stack.pop()
            if number == len(self._steps):
                continue
            step = self._steps[number]
            if step.takes is not None or (step.at and not _holds(step.at, text, place)):
                continue
            following = step.to if not step.at else (number + 1,)
            new = [one for one in following if one not in seen]
            seen.update(new)
            stack += new
        return seen


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """Compile, once; raises ``PatternError``."""
    return Pattern(text)


def _holds(assertion: str, text: str, place: int) -> bool:
    if assertion == "^":
        return place == 0
    if assertion == "$":
        return place == len(text)
    word = Characters(_WORD)
    before = place > 0 and text[place - 1] in word
    after = place < len(text) and text[place] in word
    return (before != after) is (assertion == "b")


class _Parser:
    """Reads a pattern into nested tuples: the kind, then what belongs to it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._nesting = 0

    def parse(self) -> Any:
        found = self._alternatives()
        if self._place < len(self._text):
            self._fail(f"has an unexpected {self._next!r}")
        return found

    @property
    def _next(self) -> str:
        return self._text[self._place : self._place + 1]

    def _take(self, count: int = 1) -> str:
        taken = self._text[self._place : self._place + count]
        if len(taken) < count:
            self._fail("ends too early")
        self._place += count
        return taken

    def _skip(self, text: str) -> bool:
        if not self._text.startswith(text, self._place):
            return False
        self._place += len(text)
        return True

    def _fail(self, problem: str) -> NoReturn:
        raise PatternError(problem)

    def _alternatives(self) -> Any:
        ways = [self._sequence()]
        while self._skip("|"):
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else ("or", ways)

    def _sequence(self) -> Any:
        parts = []
        while self._next and self._next not in "|)":
            parts.append(self._repeated())
        return ("all", parts)

    def _repeated(self) -> Any:
        atom = self._atom()
        if self._next not in {"*", "+", "?", "{"}:
            return atom
        least, most = self._count()
        self._skip("?")  # lazy or not: the same texts match
        if atom[0] == "at":
            self._fail("repeats a place that takes no character")
        if self._next in {"*", "+", "?", "{"}:
            self._fail("repeats a repeat")
        return ("repeat", atom, least, most)

    def _count(self) -> tuple[int, int | None]:
        if (sign := self._take()) != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        inside, brace, _rest = self._text[self._place :].partition("}")
        least, comma, most = inside.partition(",")
        if not brace or not _is_count(least) or (most and not _is_count(most)):
            self._fail("has a { that counts nothing; write \\{ for the character")
        self._place += len(inside) + 1
        low = int(least)
        high = int(most) if most else (None if comma else low)
        if high is not None and high < low:
            self._fail("counts backwards")
        return low, high

    def _atom(self) -> Any:
        match character := self._take():
            case "(":
                return self._group()
            case "[":
                return ("take", self._class())
            case ".":
                return ("take", Characters(tuple((one, one) for one in _END_OF_LINE), True))
            case "^" | "$":
                return ("at", character)
            case "\\":
                return self._escaped()
            case "*" | "+" | "?" | "{" | "}" | "]":
                self._fail(f"has an unexpected {character!r}")
        return ("take", _only(character))

    def _group(self) -> Any:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._fail(f"is nested more than {MAX_NESTING} deep")
        if not self._skip("?:") and self._next == "?":
            self._fail("looks around or sets options, which is not supported")
        inside = self._alternatives()
        if not self._skip(")"):
            self._fail("has a group that does not end")
        self._nesting -= 1
        return inside

    def _escaped(self) -> Any:
        if self._next in {"b", "B"}:
            return ("at", self._take())
        found = self._escape()
        return ("take", found if isinstance(found, Characters) else _only(found))

    def _escape(self) -> Characters | str:
        """Read what follows a backslash: a class, or one character."""
        letter = self._take()
        if letter.lower() in _CLASSES:
            return Characters(_CLASSES[letter.lower()], letter.isupper())
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter in _HEX_LENGTHS:
            digits = self._take(_HEX_LENGTHS[letter])
            if not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                self._fail(f"has a \\{letter} without digits")
            return chr(int(digits, 16))
        if letter not in _SYNTAX:
            self._fail(f"has a \\{letter}, which is not supported")
        return letter

    def _class(self) -> Characters:
        is_negated = self._skip("^")
        ranges: list[tuple[str, str]] = []
        while not self._skip("]"):
            first = self._member()
            if isinstance(first, Characters):
                ranges += _complement(first.ranges) if first.is_negated else first.ranges
            elif self._next == "-" and not self._text.startswith("-]", self._place):
                self._take()
                last = self._member()
                if isinstance(last, Characters) or last < first:
                    self._fail("has a range that runs backwards")
                ranges.append((first, str(last)))
            else:
                ranges.append((first, first))
        return Characters(tuple(ranges), is_negated)

    def _member(self) -> Characters | str:
        if self._skip("\\"):
            return "\b" if self._skip("b") else self._escape()
        return self._take()


class _Compiler:
    """Lays nested tuples out as steps; the place after the last one is the match."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def compile(self, node: Any) -> tuple[_Step, ...]:
        self._lay(node)
        return tuple(self._steps)

    def _add(self, step: _Step) -> int:
        if len(self._steps) >= MAX_PROGRAM:
            msg = "is too large"
            raise PatternError(msg)
        self._steps.append(step)
        return len(self._steps) - 1

    def _lay(self, node: Any) -> None:
        match node:
            case ("take", characters):
                self._add(_Step(takes=characters))
            case ("at", assertion):
                self._add(_Step(at=assertion))
            case ("all", parts):
                for part in parts:
                    self._lay(part)
            case ("or", ways):
                self._fork([partial(self._lay, way) for way in ways])
            case ("repeat", inside, least, most):
                self._repeat(inside, least, most)

    def _repeat(self, inside: Any, least: int, most: int | None) -> None:
        for _ in range(least):
            self._lay(inside)
        if most is None:
            fork = self._add(_Step())
            self._lay(inside)
            self._add(_Step(to=(fork,)))
            self._steps[fork] = _Step(to=(fork + 1, len(self._steps)))
            return
        forks = []
        for _ in range(most - least):
            forks.append(self._add(_Step()))
            self._lay(inside)
        for fork in forks:
            self._steps[fork] = _Step(to=(fork + 1, len(self._steps)))

    def _fork(self, ways: list[Callable[[], None]]) -> None:
        fork = self._add(_Step())
        starts, ends = [], []
        for lay in ways:
            starts.append(len(self._steps))
            lay()
            ends.append(self._add(_Step()))
        self._steps[fork] = _Step(to=tuple(starts))
        for end in ends:
            self._steps[end] = _Step(to=(len(self._steps),))


def _only(character: str) -> Characters:
    return Characters(((character, character),))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _complement(ranges: _Ranges) -> Iterable[tuple[str, str]]:
    start = 0
    for first, last in sorted(ranges):
        if ord(first) > start:
            yield chr(start), chr(ord(first) - 1)
        start = ord(last) + 1
    yield chr(start), chr(0x10FFFF)
