"""Payloads, errors, ids, times and retry policies, each alone."""

import base64
import dataclasses
import enum
import itertools
import json
import math
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.protocol.records import EMPTY, PromiseRecord, Value
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import codec, decisions, failures, ids, instants, results
from durable.workflow.decisions import Decision
from durable.workflow.errors import (
    ApplicationError,
    DecodingError,
    EncodingError,
    InvalidFunctionError,
    PromiseCanceledError,
    PromiseTimeoutError,
)
from durable.workflow.functions import Style, describe, shapes_of, traits_of
from durable.workflow.retry import Constant, Exponential, Linear


def raw(text: bytes) -> Value:
    return Value(data=base64.b64encode(text).decode())


def stored(document: Any) -> Value:
    return raw(json.dumps(document).encode())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_json_survives(value):
    assert codec.decode(codec.encode(value, "it"), "it") == value


def test_none_is_an_empty_value():
    assert codec.encode(None, "it") is EMPTY
    assert codec.decode(EMPTY, "it") is None
    assert codec.decode(Value(data=""), "it") is None
    assert codec.decode(Value(headers={}, data=""), "it", int) is None
    assert codec.decode(stored(""), "it") == ""


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    at: datetime | None = None


class Box(msgspec.Struct):
    points: list[Point]


class Model:
    """What of pydantic is used."""

    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Model) and self.n == other.n

    __hash__ = None

    def model_dump(self, mode):
        assert mode == "json"
        return {"n": self.n}

    @classmethod
    def model_validate(cls, value):
        if not isinstance(value["n"], int):
            raise ValueError("n")
        return cls(value["n"])


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shape", "plain"),
    [
        (Decimal("1.20"), Decimal, "1.20"),
        (UUID(int=1), UUID, str(UUID(int=1))),
        (NOW, datetime, "2026-11-25T12:00:00Z"),
        (timedelta(seconds=90), timedelta, "PT90S"),
        (b"\x00\xff", bytes, "AP8="),
        ({1: (2, 3)}, dict[int, tuple[int, int]], {"1": [2, 3]}),
        ({3}, set[int], [3]),
        (Colour.RED, Colour, "red"),
        (Point(1, NOW), Point, {"x": 1, "at": "2026-11-25T12:00:00Z"}),
        (Box([Point(2)]), Box, {"points": [{"x": 2, "at": None}]}),
        ([Model(1)], list[Model], [{"n": 1}]),
        (None, Point | None, None),
    ],
    ids=itertools.count(),
)
def test_declared_types_come_back(value, shape, plain):
    encoded = codec.encode(value, "it")
    assert codec.decode(encoded, "it") == plain
    assert codec.decode(encoded, "it", shape) == value
    assert codec.reshape(plain, shape) == value


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("x", int),
        ({"x": "one"}, Point),
        ([{"n": "one"}], list[Model]),
        ("x", "a string"),
        ("x", str | Decimal),
        ({"a": 1}, Colour),
        ("x", Iterator[int]),
        ("x", object()),
        ("x", [int]),
    ],
    ids=itertools.count(),
)
def test_what_does_not_fit_its_declared_type_comes_back_as_it_is(value, shape):
    assert codec.decode(codec.encode(value, "it"), "it", shape) == value
    assert codec.reshape(value, shape) == value


def circle():
    value: list[Any] = []
    value.append({"me": value})
    return value


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (object(), "$", "a object, which has no JSON form"),
        ({"a": [{"b": {1, math.inf}}]}, "$.a[0].b", "inf, which JSON cannot hold"),
        (Box([Point(test_json_survives)]), "$.points[0].x", "a function, which has no JSON form"),
        (circle(), "$[0].me", "a reference to a value that contains it"),
        ({(1, 2): 3}, "$", "a key that is a tuple; keys are texts or numbers"),
        ("\ud800", "$", "'utf-8' codec can't encode character '\\ud800' in position 0"),
    ],
    ids=["object", "infinity", "struct", "circle", "keys", "surrogate"],
)
def test_what_has_no_json_form_is_named_with_its_path(value, path, problem):
    with pytest.raises(EncodingError) as caught:
        codec.encode(value, "the price")
    text = str(caught.value)
    assert text.startswith(f"the price cannot be stored as JSON: at {path.split('[1]')[0]}")
    assert problem in text


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (Value(data="%"), "its data is not base64"),
        (Value(data="eyJ"), "its data is not base64"),
        (Value(data="ja, klar"), "its data is not base64"),
        (raw(b"{"), "its data is base64, but not of JSON"),
        (raw(b"\xff"), "its data is base64, but not of JSON"),
    ],
)
def test_what_cannot_be_read_says_why_and_not_what(value, problem):
    for shape in (Any, int):
        with pytest.raises(DecodingError) as caught:
            codec.decode(value, "the answer", shape)
        assert str(caught.value) == f"the answer cannot be read: {problem}"


@pytest.mark.parametrize(
    "param", [EMPTY, raw(b"["), Value(data="%"), stored([]), stored({"func": 1}), stored("x")]
)
def test_no_function_in_a_param(param):
    assert codec.function_in(param) is None
    with pytest.raises(DecodingError):
        codec.decode_invocation(param, "the param")


def test_headers_are_never_looked_at():
    value = Value(headers={"resonate:format-py": "pickled"}, data=stored(1).data)
    assert codec.decode(value, "it") == 1


class StrictError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.a = a
        self.b = b


class SpokenError(Exception):
    def __init__(self, parts):
        self.parts = parts

    def __str__(self):
        return ", ".join(self.parts)


class UnbuildableError(Exception):
    def __new__(cls, one):
        return super().__new__(cls, one)


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("cannot speak")


def rebuilt(error: BaseException) -> Exception:
    return failures.decode_error(failures.encode_error(error), "the error")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        KeyError("a"),
        ValueError(),
        ValueError("a", 1),
        StrictError("x", 2),
        PromiseTimeoutError("p", "noon"),
        PromiseCanceledError("p", "why"),
        ZeroDivisionError("division by zero"),
        OSError(2, "No such file"),
    ],
    ids=repr,
)
def test_a_known_class_is_rebuilt_without_its_constructor(error):
    again = rebuilt(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_arguments_are_kept_where_they_say_more_than_the_message():
    assert rebuilt(KeyError("a")).args == ("a",)
    assert rebuilt(ValueError("a", 1)).args == ("a", 1)
    assert rebuilt(ValueError(object())).args[0].startswith("<object")


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (SpokenError(["a", "b"]), "SpokenError", "a, b"),
        (UnbuildableError("a"), "UnbuildableError", "a"),
        (MuteError(), "MuteError", "MuteError without a readable message"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt("x"), "KeyboardInterrupt", "x"),
    ],
)
def test_a_class_that_cannot_say_the_same_becomes_an_application_error(error, name, message):
    again = rebuilt(error)
    assert isinstance(again, ApplicationError)
    assert (again.name, again.message, str(again)) == (name, message, message)


def test_an_application_error_goes_on_as_it_came():
    document = {"__type": "error", "name": "TypeError", "message": "x", "stack": "at", "code": 5}
    error = failures.decode_error(stored(document), "it")
    assert failures.error_object(error) == document
    assert failures.error_object(ApplicationError("Odd", "x")) == {
        "__type": "error",
        "name": "Odd",
        "message": "x",
    }


@pytest.mark.parametrize(
    ("value", "name", "message"),
    [
        (stored({"__type": "error", "name": "Error", "message": "why"}), "Error", "why"),
        (stored({"__type": "error", "message": "why"}), "Error", "why"),
        (stored({"message": "why", "code": 1}), "Error", "why"),
        (stored({"code": 1}), "Error", 'unknown error: {"code":1}'),
        (stored({"message": 5}), "Error", 'unknown error: {"message":5}'),
        (stored("why"), "Error", 'unknown error: "why"'),
        (stored([1]), "Error", "unknown error: [1]"),
        (EMPTY, "Error", "unknown error: null"),
        (Value(data=""), "Error", "unknown error: null"),
        (
            stored({"__type": "aggregate_error", "name": "AggregateError", "message": "all"}),
            "AggregateError",
            "all",
        ),
        (stored({"message": "m", "name": "E", "type": "no.such.module.Error"}), "E", "m"),
        (stored({"message": "m", "name": "E", "type": "json.JSONDecodeError"}), None, "m"),
        (stored({"message": "m", "name": "E", "type": "json.loads"}), "E", "m"),
        (stored({"message": "m", "name": "E", "type": "builtins.SystemExit"}), "E", "m"),
        (stored({"message": "m", "name": "E", "type": "builtins"}), "E", "m"),
        (stored({"message": "m", "name": "E", "type": "json.decoder.scanner.x.y"}), "E", "m"),
        (stored({"message": "m", "name": "E", "type": 5}), "E", "m"),
    ],
)
def test_errors_of_any_origin(value, name, message):
    error = failures.decode_error(value, "it")
    assert str(error) == message
    if name is not None:
        assert isinstance(error, ApplicationError)
        assert error.name == name


def test_pickles_are_never_looked_at():
    document = {"__type": "error", "message": "x", "__py_pickle": base64.b64encode(b"cos").decode()}
    error = failures.decode_error(stored(document), "it")
    assert error.data == {"__type": "error", "message": "x"}


def test_modules_are_never_imported():
    import sys

    sys.modules.pop("this", None)
    failures.decode_error(stored({"message": "m", "type": "this.Error"}), "it")
    assert "this" not in sys.modules


def test_an_unreadable_error():
    with pytest.raises(DecodingError, match=r"^the error cannot be read: its data is not base64$"):
        failures.decode_error(Value(data="%"), "the error")


def settled(state: PromiseState, value: Value = EMPTY) -> PromiseRecord:
    return PromiseRecord(
        id="p",
        state=state,
        param=EMPTY,
        value=value,
        tags={},
        timeout_at=1_800_000_000_000,
        created_at=0,
        settled_at=1_799_999_999_999,
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (EMPTY, "'p' was canceled"),
        (Value(data="%"), "'p' was canceled"),
        (stored({"message": "why"}), "'p' was canceled: why"),
        (stored({"message": "Promise canceled", "reason": ""}), "'p' was canceled"),
        (stored("why"), "'p' was canceled: why"),
        (stored(5), "'p' was canceled"),
    ],
)
def test_cancelled(value, message):
    error = results.read(settled(PromiseState.REJECTED_CANCELED, value)).error
    assert isinstance(error, PromiseCanceledError)
    assert str(error) == message


AT = datetime(2027, 1, 15, 7, 59, 59, 999000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "value", "decision"),
    [
        (
            "resolved",
            stored(
                {
                    "approved": True,
                    "answer": "ship",
                    "values": {"n": 1},
                    "comment": "ok",
                    "by": "mia",
                }
            ),
            Decision("resolved", True, "ship", {"n": 1}, "ok", "mia", AT),
        ),
        ("resolved", EMPTY, Decision("resolved", True, at=AT)),
        ("resolved", stored(True), Decision("resolved", True, at=AT)),
        ("resolved", stored(False), Decision("resolved", False, at=AT)),
        ("resolved", stored("later"), Decision("resolved", True, "later", at=AT)),
        ("resolved", stored(5), Decision("resolved", True, at=AT)),
        ("resolved", stored({"approved": False}), Decision("resolved", False, at=AT)),
        ("resolved", stored({"values": 1, "by": 2}), Decision("resolved", True, at=AT)),
        (
            "rejected",
            stored(
                {
                    "__type": "error",
                    "name": "Error",
                    "message": "m",
                    "approved": False,
                    "comment": "too dear",
                    "by": "jon",
                }
            ),
            Decision("rejected", False, comment="too dear", by="jon", at=AT),
        ),
        ("rejected", stored({"message": "m"}), Decision("rejected", False, comment="m", at=AT)),
        ("rejected", stored({"approved": True}), Decision("rejected", False, at=AT)),
        ("rejected", stored(True), Decision("rejected", False, at=AT)),
        ("rejected", stored("no"), Decision("rejected", False, comment="no", at=AT)),
        ("rejected", EMPTY, Decision("rejected", False, at=AT)),
    ],
)
def test_decisions(state, value, decision):
    assert decisions.read(settled(PromiseState(state), value)).value == decision


def test_a_decision_that_did_not_come():
    error = decisions.read(settled(PromiseState.REJECTED_TIMEDOUT)).error
    assert isinstance(error, PromiseTimeoutError)
    error = decisions.read(settled(PromiseState.REJECTED_CANCELED, stored("why"))).error
    assert isinstance(error, PromiseCanceledError)


def test_ids():
    assert ids.child_id("order", 1) == "order:1"
    assert ids.child_id("order.1", 1) == "order.1:1"
    assert ids.child_id("order:1", 2) == "order:1.2"
    assert ids.child_id("order:1.2", 3) == "order:1.2.3"
    assert ids.retry_id("order:1", 4) == "order:1.r4"
    assert ids.origin_of("order:1.2") == "order"
    assert ids.origin_of("order") == "order"


def test_detached_ids():
    one = ids.detached_id("order", "order:1", 2)
    assert one == ids.detached_id("order", "order:1", 2)
    others = [("order", 2), ("order:1", 3), ("order:12", 2)]
    assert one not in [ids.detached_id("order", *place) for place in others]
    assert ids.is_detached("order", one)
    assert ids.is_detached("order", "order:d0123456789abcd")
    assert ids.is_detached("order", f"{one}.1.2")
    for other in ("order:d12", "order:1", f"x{one}", f"{one}x", "ordex:d0123456789abcdef"):
        assert not ids.is_detached("order", other)
    assert ids.is_detached_call("order", one)
    assert ids.is_detached_call("order.1", "order.1:d0123456789abcd")
    assert not ids.is_detached_call("order", f"{one}.1")


@given(st.text("ab.:", min_size=1), st.integers(1, 10**6))
def test_numbers_are_read_back(parent, number):
    assert ids.number_below(parent, ids.child_id(parent, number)) == number
    assert ids.attempt_below(parent, ids.retry_id(parent, number)) == number
    assert ids.number_below(parent, ids.retry_id(parent, number)) is None
    assert ids.attempt_below(parent, ids.child_id(parent, number)) is None


@pytest.mark.parametrize(
    ("when", "instant"),
    [
        (1, 1100),
        (0.0001, 101),
        (0, 100),
        (-5, 100),
        (timedelta(seconds=2), 2100),
        (timedelta(microseconds=1), 101),
        (timedelta(days=-1), 100),
        (math.inf, MAX_INSTANT),
        (1e30, MAX_INSTANT),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000),
        (datetime(1960, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 1),
    ],
)
def test_instants(when, instant):
    assert instants.to_instant(when, 100) == instant


@pytest.mark.parametrize("when", ["1", None, True, math.nan, [1]])
def test_no_instants(when):
    with pytest.raises(TypeError) as caught:
        instants.to_instant(when, 0)
    assert (
        str(caught.value) == f"{when!r} is no time; use seconds, a timedelta or an aware datetime"
    )


def test_instants_as_text():
    assert instants.to_text(0) == "1970-01-01T00:00:00Z"
    assert instants.to_text(1500) == "1970-01-01T00:00:01.500Z"
    assert instants.to_text(MAX_INSTANT) == "never"
    assert instants.to_datetime(MAX_INSTANT) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Exponential(delay=-1),
        lambda: Exponential(max_delay=timedelta(-1)),
        lambda: Linear(math.nan),
        lambda: Constant(-1),
    ],
)
def test_delays_below_zero_are_refused(build):
    with pytest.raises(ValueError, match="a delay must be 0 or more, not"):
        build()


def test_policies_without_end_and_without_sense():
    policy = Exponential(max_attempts=None, max_delay=30)
    assert policy.delay_after(10**6, ValueError()) == 30
    assert Linear(2, max_attempts=None).delay_after(10**6, ValueError()) == 2 * 10**6
    with pytest.raises(ValueError, match=r"max_attempts must be 1 or more, or None"):
        Constant(max_attempts=0)
    with pytest.raises(ValueError, match=r"factor must be 1 or more, not 0\.5"):
        Exponential(factor=0.5)


def test_traits():
    def generator(ctx, a: "Missing", b: int) -> Generator[Any, Any, Point]: ...  # noqa: F821

    async def coroutine(a, ctx) -> "Point": ...

    class Odd:
        __name__ = "odd"

        def __call__(self, ctx): ...

    def really_generates(ctx) -> Generator[Any, Any, Point]:
        yield

    assert shapes_of(generator).parameters == {"b": int}
    assert traits_of(really_generates)[:2] == (Style.GENERATOR, True)
    assert shapes_of(really_generates).result is Point
    assert traits_of(coroutine)[:2] == (Style.ASYNC, False)
    assert shapes_of(coroutine).result is Point
    assert traits_of(Odd())[:2] == (Style.PLAIN, True)
    assert traits_of(dict.fromkeys).signature is not None
    assert traits_of(vars).signature is None


def declares_early(late: "Late") -> "Late": ...


_early = traits_of(declares_early)


class Late: ...


def test_types_may_be_defined_after_the_function():
    assert shapes_of(declares_early) == ({"late": Late}, Late)


async def fetch(): ...


async def stream():
    yield


def produce():
    yield


class Nameless:
    def __call__(self): ...


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            fetch,
            (
                "fetch cannot be a durable function: "
                "it is a call already made; pass the function and its arguments apart"
            ),
        ),
        (
            produce,
            (
                "produce cannot be a durable function: "
                "it is a call already made; pass the function and its arguments apart"
            ),
        ),
        (lambda: 5, "5 cannot be a durable function: it has no name; pass a function made by def"),
        (
            lambda: stream,
            (
                "tests.workflow.test_codec.stream cannot be a durable function: it is an async "
                "generator; await its durable calls and return a value"
            ),
        ),
    ],
)
def test_what_cannot_be_called(build, text):
    with pytest.raises(InvalidFunctionError) as caught:
        describe(build())
    assert str(caught.value).startswith(text)


def test_a_callable_without_a_name():
    with pytest.raises(InvalidFunctionError, match="it has no name; pass a function made by def"):
        describe(Nameless())
