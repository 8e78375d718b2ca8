"""What can be done, each declared once: the same words route, check and describe a request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.api.authentication import SAFE, sender_of
from dashboard.api.problems import ProblemError, not_found, of_struct, refuse, wrong_answer
from dashboard.descriptions.reading import DescriptionError, check_shape
from dashboard.forms import WrongAnswerError
from dashboard.permissions import has
from dashboard.rights import RefusedError

MAX_BODY = 2 * 1024 * 1024
JSON = "application/json"
_BODY = "body"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was checked: who sends it, and what it says."""

    request: HttpRequest
    actor: Actor
    query: Any = None
    body: Any = None

    @property
    def user(self) -> Any:
        """Who acts."""
        return self.actor.user


@dataclass(frozen=True, slots=True)
class Reply:
    """A result with a status other than the usual one."""

    result: Any
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be done.

    path: below the root of the API, with the names of its parameters in braces.
    files: content types of answers that are files, made by ``perform`` itself.
    query, body, result: their types; a ``body`` of ``Any`` is checked by who gets it, and
    described by ``body_schema``.
    statuses: of success, the usual one first.
    refusals: further statuses that it may end with.
    permission: without it there is nothing here.
    """

    perform: Callable[..., Any]
    method: str
    path: str
    result: Any
    query: Any = None
    body: Any = None
    body_schema: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    refusals: tuple[int, ...] = ()
    permission: str = ""
    is_public: bool = False

    @property
    def name(self) -> str:
        """Name for programs."""
        return self.perform.__name__

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return (self.perform.__doc__ or "").strip().partition("\n")[0]

    @property
    def all_refusals(self) -> frozenset[int]:
        """The statuses with which it may end without being carried out."""
        found = set(self.refusals)
        if not self.is_public:
            found |= {401}
            found |= set() if self.is_safe else {403}
            found |= {404} if self.permission or "{" in self.path else set()
        if self.query is not None or self.body is not None:
            found |= {422}
        if self.body is not None:
            found |= {400, 413, 415}
        return frozenset(found)

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing."""
        return self.method in SAFE

    def run(self, request: HttpRequest, parts: Mapping[str, Any]) -> HttpResponseBase:
        """Carry a request out; raises ``ProblemError``."""
        if self.is_public:
            return respond(self.perform(), self.statuses[0])
        sender = sender_of(request)
        if sender.is_read_only and not self.is_safe:
            raise ProblemError(403, _("This token is for reading only."))
        if self.permission and not has(sender.actor.user, self.permission):
            raise not_found()
        if any("\0" in str(one) for one in parts.values()):
            raise not_found()
        query = None if self.query is None else _read_query(request, self.query)
        body = None if self.body is None else _read_body(request, self.body)
        call = Call(request, sender.actor, query, body)
        return respond(_carry_out(self.perform, call, parts), self.statuses[0])


def operation(method: str, path: str, **more: Any) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a function as an operation; see there."""

    def declare(perform: Callable[..., Any]) -> Operation:
        return Operation(perform=perform, method=method, path=path, **more)

    return declare


def view_of(operations: Mapping[str, Operation]) -> Callable[..., HttpResponseBase]:
    """Return the view of one path, with its operations by method."""
    allowed = sorted({*operations, *(("HEAD",) if "GET" in operations else ())})

    def _chosen(method: str) -> Operation:
        if method not in operations:
            raise ProblemError(405, headers={"Allow": ", ".join(allowed)})
        return operations[method]

    @csrf_exempt  # a session is checked by ``sender_of``, a token needs no check
    @never_cache
    def view(request: HttpRequest, **parts: Any) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method or ""
        response: HttpResponseBase
        try:
            response = _chosen(method).run(request, parts)
        except ProblemError as error:
            response = error.to_response()
        patch_vary_headers(response, ["Authorization", "Cookie"])
        return response

    return view


@csrf_exempt
@never_cache
def nothing_here(_request: HttpRequest, **_parts: Any) -> HttpResponse:
    """Answer for what is no path of the API."""
    return not_found().to_response()


def _carry_out(perform: Callable[..., Any], call: Call, parts: Mapping[str, Any]) -> Any:
    try:
        return perform(call, **parts)
    except (NoSuchQuestionError, Http404):
        raise not_found() from None
    except RefusedError as error:
        raise ProblemError(403, error.sentence) from None
    except WrongAnswerError as error:
        raise wrong_answer(error.faults) from None
    except DescriptionError as error:
        refuse(error.path, error.problem)


def respond(result: Any, status: int) -> HttpResponseBase:
    """Return a result as an answer, to which an operation may add cookies."""
    if isinstance(result, HttpResponseBase):
        return result
    if isinstance(result, Reply):
        result, status = result.result, result.status
    content = b"" if result is None else msgspec.json.encode(result)
    return HttpResponse(content, status=status, content_type=JSON)


def _read_query(request: HttpRequest, kind: Any) -> Any:
    repeated = {one.name for one in msgspec.structs.fields(kind) if _is_list(one.type)}
    given = {
        name: values if name in repeated else values[-1] for name, values in request.GET.lists()
    }
    for name, value in given.items():
        if "\0" in name or any("\0" in one for one in value):
            refuse(name.replace("\0", ""), _("A null character means nothing here."))
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise of_struct(error) from None


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) in {list, tuple}


def _read_body(request: HttpRequest, kind: Any) -> Any:
    if request.content_type != JSON:
        raise ProblemError(415, _("Send JSON, with the content type application/json."))
    raw = _read_bytes(request)
    try:
        value = msgspec.json.decode(raw)
        check_shape(value, _BODY)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError(400, _("This is not JSON: %(problem)s") % {"problem": error}) from None
    except DescriptionError as error:
        path = error.path.removeprefix(_BODY).lstrip(".")
        refuse(path, error.problem)
    if kind is Any:
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise of_struct(error) from None


def _read_bytes(request: HttpRequest) -> bytes:
    too_large = ProblemError(413, _("This is larger than %(limit)d bytes.") % {"limit": MAX_BODY})
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > MAX_BODY:
        raise too_large
    try:
        raw = request.body
    except RequestDataTooBig:
        raise too_large from None
    if len(raw) > MAX_BODY:
        raise too_large
    return raw
