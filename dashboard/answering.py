"""What goes into a decision and what comes out: who answers, what they say, what became of it."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from dashboard.models import SignIn
from dashboard.people import name_of

MAX_USER_AGENT = 300


class NoSuchQuestionError(LookupError):
    """There is no such question, or not for this person; which of the two is nobody's business."""


class Verdict(StrEnum):
    """What became of an answer.

    SETTLED: it decided the question. VOTED: it counts, and others have to answer too.
    REPEATED: it had been given before. LATE: the question was over. HELD: it can be taken back yet.
    """

    SETTLED = "settled"
    VOTED = "voted"
    REPEATED = "repeated"
    LATE = "late"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, and where a request of theirs came from.

    ``link`` and ``token`` are the keys of the link or the token of the API that it came with.
    """

    user: AbstractBaseUser
    sign_in: SignIn = SignIn.SESSION
    ip: str | None = None
    user_agent: str = ""
    link: str = ""
    token: int | None = None

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return who sent a request of a signed-in session."""
        user = request.user
        if not user.is_authenticated:
            raise PermissionDenied
        return cls.at(request, user, SignIn.SESSION)

    @classmethod
    def at(
        cls,
        request: HttpRequest,
        user: AbstractBaseUser,
        sign_in: SignIn,
        *,
        link: str = "",
        token: int | None = None,
    ) -> Self:
        """Return who sent a request that proves in another way who they are."""
        return cls(
            user=user,
            sign_in=sign_in,
            ip=_ip_address(request.META.get("REMOTE_ADDR", "")),
            user_agent=request.headers.get("User-Agent", "").replace("\0", "")[:MAX_USER_AGENT],
            link=link,
            token=token,
        )

    @classmethod
    def restored(cls, user: AbstractBaseUser, kept: Mapping[str, Any]) -> Self:
        """Return a person as they were signed in when ``kept`` was written, but for the link."""
        sign_in = SignIn(kept["sign_in"])
        return cls(user, sign_in, kept["ip"], kept["user_agent"], token=kept.get("token"))

    @property
    def kept(self) -> dict[str, Any]:
        """How they are signed in, as JSON."""
        kept = {"sign_in": self.sign_in, "ip": self.ip, "user_agent": self.user_agent}
        return kept if self.token is None else kept | {"token": self.token}

    @property
    def username(self) -> str:
        """What the workflow gets to know of the person."""
        return self.user.get_username()

    @property
    def name(self) -> str:
        """What people call the person."""
        return name_of(self.user)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person chose: the name of one of the question's answers, and what goes with it.

    ``request_key`` is made with the form, so that a double click or a retry is the same answer.
    ``given`` stands in for the usual value; only for undescribed waits. ``confirmation`` is what
    was typed for questions that ask for it, see ``dashboard.confirming``; it is kept nowhere.
    ``asked_at`` is that of the question which was read, see ``HumanTask``: one that asks something
    else since then is not answered by it. None answers whatever it asks by now.
    """

    name: str
    comment: str = ""
    request_key: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    given: Any = msgspec.UNSET
    confirmation: str = field(default="", repr=False)
    asked_at: int | None = None


def _ip_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
