"""What goes wrong, as a problem document (RFC 9457)."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NoReturn

import msgspec
from django.http import HttpResponse

from dashboard.answer_forms.questions import Fault

CONTENT_TYPE = "application/problem+json"
_INDEX = re.compile(r"\.(\d+)(?=[.\[]|\Z)")


class Wrong(msgspec.Struct):
    """One thing that is wrong with what was sent: where, and why."""

    path: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request was not carried out; ``errors`` are all that is wrong with its values."""

    title: str
    status: int
    detail: str = ""
    errors: list[Wrong] = []


class ProblemError(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        detail: Any = "",
        errors: Iterable[Wrong] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``detail`` is a sentence for whoever reads the answer."""
        super().__init__(f"{status} {detail}")
        self.problem = Problem(HTTPStatus(status).phrase, status, str(detail), list(errors))
        self.headers = dict(headers or {})

    def to_response(self) -> HttpResponse:
        """Return the answer."""
        return HttpResponse(
            msgspec.json.encode(self.problem),
            status=self.problem.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def not_found() -> ProblemError:
    """Say that there is nothing, or nothing for whoever asks."""
    return ProblemError(404)


def refuse(path: str, message: Any) -> NoReturn:
    """End a request since one value is wrong."""
    raise ProblemError(422, errors=[Wrong(path, str(message))])


def wrong_answer(faults: Iterable[Fault]) -> ProblemError:
    """Say everything that is wrong with an answer."""
    return ProblemError(422, errors=[Wrong(_path_of(one.name), str(one.message)) for one in faults])


def of_struct(error: msgspec.ValidationError) -> ProblemError:
    """Say what is wrong with a body or a query string that does not have the declared shape."""
    message, _separator, path = str(error).partition(" - at `")
    found = path.removesuffix("`").removeprefix("$").lstrip(".")
    return ProblemError(422, errors=[Wrong(found, message)])


def _path_of(name: str) -> str:
    """Return a JSON pointer as descriptions write paths: ``values.lines[0].price``."""
    keys = [key.replace("~1", "/").replace("~0", "~") for key in name.split("/")]
    return _INDEX.sub(r"[\1]", ".".join(keys))
