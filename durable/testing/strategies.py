"""Hypothesis strategies for requests and internal steps, over few ids so that they meet.

They know a store only by its ``Scene``: draw each request with the scene it will be sent in. Now
and then a request is spoilt so that a door must refuse it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from durable.machine import internal
from durable.protocol import requests, tags
from durable.protocol.records import EMPTY, Value
from durable.protocol.requests import Request
from durable.protocol.states import SETTLEABLE, PromiseState
from durable.protocol.validation import MAX_INSTANT

PROMISE_IDS = ("a", "b", "c", "d", "e", "f")
SCHEDULE_IDS = ("s", "t")
PROCESS_IDS = ("p", "q")
TARGETS = ("poll://any@g", "poll://any@h/p", "w1")
ADDRESSES = ("poll://uni@g/p", "poll://any@g", "https://example.org/hook", "gcps://project/topic")

START = 1_700_000_000_000
"""A clock reading to start from, in epoch ms: a whole second, and a whole minute plus 20 s."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The clock (epoch ms), and what a request may know of the store it is sent to.

    versions: of the tasks there are; a request about a task mostly carries the one in force.
    promise_ids: what the requests are about, hence also what they collide on.
    """

    now: int = START
    versions: Mapping[str, int] = field(default_factory=dict)
    promise_ids: Sequence[str] = PROMISE_IDS


type FromScene[T] = Callable[[Scene], st.SearchStrategy[T]]

_values = st.sampled_from(
    (
        EMPTY,
        Value(data="eyJ4IjoxfQ=="),
        Value(data=""),
        Value(headers={}, data="IjEi"),
        Value(headers={"trace": "1"}),
    )
)
_process_ids = st.sampled_from(PROCESS_IDS)
_addresses = st.sampled_from(ADDRESSES)
_targets = st.sampled_from(TARGETS)
_schedule_ids = st.sampled_from(SCHEDULE_IDS)
_settle_states = st.sampled_from(sorted(SETTLEABLE))
_ttls = st.sampled_from((60_000, 1000, 5000, 1))
_deadlines = st.sampled_from((100_000, 1_000_000, 200_000, 50_000, 20_000, 3000, 500, 1, 0, -1000))
_delays = st.sampled_from((0, 1000, 7000, -1000))
_booleans = st.booleans()
_rarely = st.integers(0, 15).map(lambda n: n == 15)

clock_advances = st.sampled_from((1, 0, 400, 1000, 1000, 5000, 5000, 20_000, 61_000))
"""How far (ms) a clock moves between two steps."""


@st.composite
def deadlines(draw: st.DrawFn, scene: Scene) -> int:
    """Instants around the clock, and now and then no practical deadline at all."""
    if draw(_rarely):
        return MAX_INSTANT
    return max(0, scene.now + draw(_deadlines))


@st.composite
def promise_tags(draw: st.DrawFn, scene: Scene) -> dict[str, str]:
    """Tags of every class of promise: internal, latent, timer, targeted, delayed."""
    chosen = draw(st.sampled_from(_TAG_CLASSES))
    found = dict(chosen)
    if tags.TARGET in found:
        found[tags.TARGET] = draw(_targets)
        if draw(_rarely):
            found[tags.DELAY] = str(max(0, scene.now + draw(_delays)))
    if draw(_booleans):
        found[tags.BRANCH] = draw(st.sampled_from(scene.promise_ids))
    return found


_TARGETED = {tags.TARGET: TARGETS[0]}
_TAG_CLASSES: tuple[dict[str, str], ...] = (
    _TARGETED,
    _TARGETED,
    _TARGETED | {tags.SCOPE: tags.SCOPE_GLOBAL},
    {tags.EXTERNAL: tags.TRUE},
    {tags.TIMER: tags.TRUE},
    {tags.SCOPE: tags.SCOPE_GLOBAL},
    {tags.SCOPE: tags.SCOPE_LOCAL},
    {tags.TIMER: "false", tags.EXTERNAL: "no"},
    {tags.TIMER: tags.TRUE} | _TARGETED,
    {},
)


@st.composite
def promise_get(draw: st.DrawFn, scene: Scene) -> requests.PromiseGet:
    return _spoilt_now_and_then(draw, requests.PromiseGet(_promise_id(draw, scene)))


@st.composite
def promise_create(draw: st.DrawFn, scene: Scene) -> requests.PromiseCreate:
    request = requests.PromiseCreate(
        _promise_id(draw, scene),
        timeout_at=draw(deadlines(scene)),
        param=draw(_values),
        tags=draw(promise_tags(scene)),
    )
    return _spoilt_now_and_then(draw, request)


@st.composite
def promise_settle(draw: st.DrawFn, scene: Scene) -> requests.PromiseSettle:
    request = requests.PromiseSettle(_promise_id(draw, scene), draw(_settle_states), draw(_values))
    return _spoilt_now_and_then(draw, request)


@st.composite
def promise_register_callback(draw: st.DrawFn, scene: Scene) -> requests.PromiseRegisterCallback:
    awaited, awaiter = _promise_id(draw, scene), _promise_id(draw, scene)
    return _spoilt_now_and_then(draw, requests.PromiseRegisterCallback(awaited, awaiter))


@st.composite
def promise_register_listener(draw: st.DrawFn, scene: Scene) -> requests.PromiseRegisterListener:
    request = requests.PromiseRegisterListener(_promise_id(draw, scene), draw(_addresses))
    return _spoilt_now_and_then(draw, request)


@st.composite
def task_get(draw: st.DrawFn, scene: Scene) -> requests.TaskGet:
    return _spoilt_now_and_then(draw, requests.TaskGet(_task_id(draw, scene)))


@st.composite
def task_create(draw: st.DrawFn, scene: Scene) -> requests.TaskCreate:
    action = requests.PromiseCreate(
        _promise_id(draw, scene),
        timeout_at=draw(deadlines(scene)),
        param=draw(_values),
        tags={tags.TARGET: draw(_targets), tags.SCOPE: tags.SCOPE_GLOBAL},
    )
    request = requests.TaskCreate(
        draw(_process_ids), draw(_ttls), _spoilt_now_and_then(draw, action)
    )
    return _spoilt_now_and_then(draw, request)


@st.composite
def task_acquire(draw: st.DrawFn, scene: Scene) -> requests.TaskAcquire:
    task_id, version = _task(draw, scene)
    request = requests.TaskAcquire(task_id, version, draw(_process_ids), draw(_ttls))
    return _spoilt_now_and_then(draw, request)


@st.composite
def task_fence(draw: st.DrawFn, scene: Scene) -> requests.TaskFence:
    task_id, version = _task(draw, scene)
    action: requests.PromiseCreate | requests.PromiseSettle = (
        draw(promise_settle(scene)) if draw(_booleans) else draw(promise_create(scene))
    )
    return _spoilt_now_and_then(draw, requests.TaskFence(task_id, version, action))


@st.composite
def task_heartbeat(draw: st.DrawFn, scene: Scene) -> requests.TaskHeartbeat:
    held = [requests.TaskRef(*_task(draw, scene)) for _ in range(draw(st.integers(0, 3)))]
    request = requests.TaskHeartbeat(draw(_process_ids), tuple(held))
    return _spoilt_now_and_then(draw, request)


@st.composite
def task_suspend(draw: st.DrawFn, scene: Scene) -> requests.TaskSuspend:
    task_id, version = _task(draw, scene)
    others = [other for other in scene.promise_ids if other != task_id]
    awaited = draw(
        st.lists(st.sampled_from(others or scene.promise_ids), min_size=1, max_size=3, unique=True)
    )
    actions = tuple(requests.PromiseRegisterCallback(one, task_id) for one in awaited)
    return _spoilt_now_and_then(draw, requests.TaskSuspend(task_id, version, actions))


@st.composite
def task_fulfill(draw: st.DrawFn, scene: Scene) -> requests.TaskFulfill:
    task_id, version = _task(draw, scene)
    action = requests.PromiseSettle(task_id, draw(_settle_states), draw(_values))
    request = requests.TaskFulfill(task_id, version, _spoilt_now_and_then(draw, action))
    return _spoilt_now_and_then(draw, request)


@st.composite
def task_release(draw: st.DrawFn, scene: Scene) -> requests.TaskRelease:
    return _spoilt_now_and_then(draw, requests.TaskRelease(*_task(draw, scene)))


@st.composite
def task_halt(draw: st.DrawFn, scene: Scene) -> requests.TaskHalt:
    return _spoilt_now_and_then(draw, requests.TaskHalt(_task_id(draw, scene)))


@st.composite
def task_continue(draw: st.DrawFn, scene: Scene) -> requests.TaskContinue:
    return _spoilt_now_and_then(draw, requests.TaskContinue(_task_id(draw, scene)))


@st.composite
def schedule_get(draw: st.DrawFn, _scene: Scene) -> requests.ScheduleGet:
    return _spoilt_now_and_then(draw, requests.ScheduleGet(draw(_schedule_ids)))


@st.composite
def schedule_create(draw: st.DrawFn, scene: Scene) -> requests.ScheduleCreate:
    template_tags = draw(promise_tags(scene))
    template_tags.pop(tags.DELAY, None)
    if tags.is_timer(template_tags):
        template_tags.pop(tags.TARGET, None)
    request = requests.ScheduleCreate(
        draw(_schedule_ids),
        cron=draw(st.sampled_from(_CRONS)),
        promise_id=draw(st.sampled_from((*_TEMPLATES, *scene.promise_ids[:1]))),
        promise_timeout=draw(st.sampled_from((60_000, 5000, 1, 0, MAX_INSTANT))),
        promise_param=draw(_values),
        promise_tags=template_tags,
    )
    return _spoilt_now_and_then(draw, request)


_CRONS = ("* * * * *", "*/20 * * * * *", "*/30 * * * * *", "0 0 * * sun", "0 0 0 1 1 * 2024")
_TEMPLATES = ("{{.id}}-{{.timestamp}}", "{{.id}}-{{.timestamp}}", "{{.timestamp}}", "{{.id}}")


@st.composite
def schedule_delete(draw: st.DrawFn, _scene: Scene) -> requests.ScheduleDelete:
    return _spoilt_now_and_then(draw, requests.ScheduleDelete(draw(_schedule_ids)))


REQUESTS: dict[str, FromScene[Request]] = {
    "promise.get": promise_get,
    "promise.create": promise_create,
    "promise.settle": promise_settle,
    "promise.register_callback": promise_register_callback,
    "promise.register_listener": promise_register_listener,
    "task.get": task_get,
    "task.create": task_create,
    "task.acquire": task_acquire,
    "task.fence": task_fence,
    "task.heartbeat": task_heartbeat,
    "task.suspend": task_suspend,
    "task.fulfill": task_fulfill,
    "task.release": task_release,
    "task.halt": task_halt,
    "task.continue": task_continue,
    "schedule.get": schedule_get,
    "schedule.create": schedule_create,
    "schedule.delete": schedule_delete,
}
"""A strategy for each kind of request."""


def any_request(scene: Scene) -> st.SearchStrategy[Request]:
    """Requests of all kinds."""
    return st.one_of([strategy(scene) for strategy in REQUESTS.values()])


@st.composite
def any_internal_step(draw: st.DrawFn, scene: Scene) -> internal.InternalStep:
    """Internal steps that may be due, early, late or about nothing that exists."""
    one, other = _promise_id(draw, scene), _promise_id(draw, scene)
    steps: tuple[internal.InternalStep, ...] = (
        internal.PromiseTimeout(one),
        internal.ListenerDrain(one, draw(_addresses)),
        internal.CallbackDrain(one, other),
        internal.LeaseExpiry(one),
        internal.RetryDispatch(one),
        internal.ScheduleFire(draw(_schedule_ids)),
    )
    return draw(st.sampled_from(steps))


def _promise_id(draw: st.DrawFn, scene: Scene) -> str:
    return draw(st.sampled_from(scene.promise_ids))


def _task_id(draw: st.DrawFn, scene: Scene) -> str:
    if scene.versions and not draw(_rarely):
        return draw(st.sampled_from(sorted(scene.versions)))
    return _promise_id(draw, scene)


def _task(draw: st.DrawFn, scene: Scene) -> tuple[str, int]:
    task_id = _task_id(draw, scene)
    if task_id in scene.versions and not draw(_rarely):
        return task_id, scene.versions[task_id]
    return task_id, draw(st.integers(0, 3))


def _spoilt_now_and_then[R: Request](draw: st.DrawFn, request: R) -> R:
    if not draw(_rarely):
        return request
    changes = draw(st.sampled_from([c for c in _SPOILERS if c.keys() <= _fields(request)]))
    return replace(request, **changes)


def _fields(request: Request) -> set[str]:
    return set(request.__struct_fields__)


_SELF = requests.PromiseRegisterCallback("a", "a")
_BY_A = requests.PromiseRegisterCallback("b", "a")
_BY_B = requests.PromiseRegisterCallback("a", "b")
_SPOILERS: tuple[dict[str, Any], ...] = (
    {"id": ""},
    {"id": "a\0"},
    {"id": "a" * 1025},
    {"version": -1},
    {"ttl": 0},
    {"ttl": MAX_INSTANT + 1},
    {"pid": ""},
    {"timeout_at": -1},
    {"timeout_at": MAX_INSTANT + 1},
    {"tags": {tags.TARGET: ""}},
    {"tags": {"text": "\0"}},
    {"tags": {tags.TARGET: "w1", tags.DELAY: "soon"}},
    {"tags": {tags.TARGET: "w1", tags.DELAY: str(2**60)}},
    {"tags": {tags.DELAY: "1"}},
    {"tags": {tags.TARGET: "w1", tags.TIMER: tags.TRUE}},
    {"value": Value(data="\0")},
    {"state": PromiseState.PENDING},
    {"state": PromiseState.REJECTED_TIMEDOUT},
    {"awaited": "a", "awaiter": "a"},
    {"awaiter": ""},
    {"address": "nowhere"},
    {"address": ""},
    {"actions": ()},
    {"actions": (_SELF,)},
    {"actions": (_BY_A, _BY_A)},
    {"actions": (_BY_A, _BY_B)},
    {"cron": "every day"},
    {"cron": "0 0 31 2 *"},
    {"promise_id": ""},
    {"promise_timeout": -1},
    {"promise_tags": {tags.TARGET: "w1", tags.TIMER: tags.TRUE}},
    {"promise_tags": {tags.TARGET: ""}},
    {"promise_tags": {tags.TARGET: "w1", tags.DELAY: "1"}},
    {"tasks": (requests.TaskRef("", 1),)},
    {"tasks": (requests.TaskRef("a", -1),)},
)
