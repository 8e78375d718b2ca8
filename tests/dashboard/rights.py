"""What each kind of person gets at each address, by verb: the table of the rights matrix.

A line says it in the order of ``ROLES``: anonymous, stranger, viewer, decider, manager, admin; the
last one counts for all that follow. ``login`` sends people to sign in. Ids are those of rows that
exist, and what is posted is valid, so that a refusal is for want of rights.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from dashboard.models import WebhookEndpoint, WebhookSecret
from tests.dashboard import hooks
from tests.dashboard.people import iso
from tests.dashboard.world import ADMIN, DECIDER, MANAGER, QUESTION, ROLES, World

type Data = Mapping[str, Any] | Callable[[World], Mapping[str, Any]]

SIGNED_IN = "login 405"
"""Of a page for all who are signed in, which has not the verb."""
RUNS = "login 404 405 404 405"
"""The same, of a page for those who may see executions, or the audit trail."""
HOOKS = "login 404 404 404 405"
"""The same, of a page on webhooks."""


@dataclass(frozen=True)
class Line:
    """An address, and what people get there; HEAD is like GET.

    args: names of the ids in the address. other: all further verbs, unless ``verbs`` says it.
    data: what is sent, as fields or as the test client takes it. has_session: whether a token
    against forged posts is asked for. actors: whom sending it lets change anything, if not all
    whom it answers without an error.
    """

    name: str
    args: tuple[str, ...] = ()
    get: str = "405"
    post: str = "405"
    other: str = "405"
    verbs: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    data: Data = field(default_factory=dict)
    has_session: bool = True
    actors: tuple[str, ...] | None = None

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The verbs that may change something."""
        verbs = ("POST", "PUT", "PATCH", "DELETE")
        return tuple(one for one in verbs if one == "POST" or one in self.verbs)

    def expected(self, verb: str, role: str) -> str:
        """What somebody should get."""
        told = {"GET": self.get, "HEAD": self.get, "POST": self.post, **self.verbs}
        outcomes = told.get(verb, self.other).split()
        return outcomes[min(ROLES.index(role), len(outcomes) - 1)]

    def outcome(self, verb: str, role: str) -> tuple[str, bool]:
        """The same, and whether something is different after somebody has sent it."""
        outcome = self.expected(verb, role)
        is_done = outcome.isdigit() and int(outcome) < 400
        return outcome, is_done and (self.actors is None or role in self.actors)

    def path(self, ids: Mapping[str, Any]) -> str:
        """The address with ids."""
        path = reverse(self.name, args=[ids[name] for name in self.args])
        return f"{path}?{self.query}" if self.query else path

    def sent(self, there: World) -> dict[str, Any]:
        """What the test client is given to send."""
        given = dict(self.data(there) if callable(self.data) else self.data)
        return given if "data" in given else {"data": given}


def line(name: str, *args: str, **more: Any) -> Line:
    """An address of the dashboard."""
    return Line(f"signoff:{name}", args, **more)


def page(name: str, *args: str, of: str = SIGNED_IN, **more: Any) -> Line:
    """A page that is read, or read and posted to."""
    return line(name, *args, **{"post": of, "other": of, **more})


def deed(name: str, *args: str, of: str = SIGNED_IN, **more: Any) -> Line:
    """An address that is only posted to."""
    return line(name, *args, **{"get": of, "other": of, **more})


def call(name: str, *args: str, **more: Any) -> Line:
    """An operation of the API; what is sent is JSON."""
    data = more.pop("data", {})

    def body(there: World) -> dict[str, Any]:
        given = data(there) if callable(data) else data
        return {"data": json.dumps(given), "content_type": "application/json"}

    return Line(f"signoff_api:{name}", args, data=body, **more)


def _secret(_there: World) -> dict[str, Any]:
    return {"newest": WebhookSecret.objects.latest("pk").pk}


def _signed(there: World) -> dict[str, Any]:
    body = hooks.pull_request(8)
    endpoint = WebhookEndpoint.objects.get(pk=there.ids["endpoint"])
    headers = hooks.headers_of(endpoint, body, event="e-2")
    return {"data": body, "content_type": headers.pop("Content-Type"), "headers": headers}


def _absence(_there: World) -> dict[str, Any]:
    return {"deputy": "deputy", "starts": iso(1)[:16], "ends": iso(2)[:16]}


def _order(_there: World) -> dict[str, Any]:
    order = {
        "order_id": "o-1",
        "item": "Desk",
        "supplier": "Acme",
        "amount": "120.00",
        "currency": "EUR",
        "requester": "jon",
    }
    return {"data": json.dumps(order), "content_type": "application/json"}


def _chat(there: World) -> dict[str, Any]:
    return {"token": there.ids["chat"]}


_ENDPOINT = {
    "name": "Reviews",
    "slug": "others",
    "event_id": "{header:X-GitHub-Delivery}",
    "mapping": json.dumps(hooks.SETTLE),
    "networks": "",
    "max_bytes": "100000",
    "secret": "sixteen letters and more",
    "is_active": "on",
}
_QUIET = {"channel": "mail", "mail-way": "none"}
_REQUEST = {"headers": "X-GitHub-Event: x", "body": "{}"}
_TICKED = {"task": [QUESTION]}

PLACES = [
    line("home", get="302"),
    line("live", get="204"),
    line("theme", post="303", data={"theme": "dark"}, actors=()),
    line("language", get="302", post="302", other="302", data={"language": "de"}, actors=()),
    page("search", get="login 404 302 404 302", query="q=flow/42", of=RUNS),
    Line("durable_observability:metrics", get="200"),
    Line("examples:orders", post="201", data=_order, has_session=False),
]
INBOX = [
    page("inbox", get="login 200"),
    page("inbox_badge", get="login 200"),
    page("inbox_changes", get="login 200"),
    page("task", "question", get="login 404 200"),
    page("task_state", "question", get="login 404 204"),
    page("find_task", "question", get="login 404 302"),
    page("bulk", "job", get="login 404 404 200 404", post="login 404 404 303 404",
         data={"answer": "approve"}),
    page("download_bulk", "job", get="login 404 404 200 404"),
    page("away", get="login 200", post="login 303", data=_absence),
    page("notifications", get="login 200", post="login 303", data=_QUIET),
    page("preferences", get="login 200", post="login 303"),
    page("tokens", get="login 200", post="login 201", data={"name": "desk", "days": "30"}),
    page("views", get="login 200"),
    page("save_view", get="login 200", post="login 303", query="place=inbox&query=due%3Dtoday",
         data={"name": "Soon"}),
    page("view", "view", get="login 404 404 200 404", post="login 404 404 303 404",
         data={"name": "Other"}),
]  # fmt: skip
DEEDS = [
    deed("decide", "question", post="login 404 403 303", data={"answer": "approve"}),
    deed("claim", "question", post="login 404 403 303"),
    deed("release", "question", post="login 404 403"),
    deed("hand_over", "question", post="login 404 403 303", data={"to": DECIDER}),
    deed("comment", "question", post="login 404 303", data={"kind": "remark", "text": "Hm."}),
    deed("make_link", "question", post="login 404 404 404 303", data={"to": DECIDER}),
    deed("revoke_links", "question", post="login 404 404 404 303"),
    deed("reveal", "question", post="login 404 404 404 200"),
    deed("draft", "question", post="login 404 200", data={"comment": "Well"}),
    deed("take_back", "held", post="login 404 409 303 409"),
    deed("snooze", "question", post="login 404 303", data={"pause": "tomorrow"}),
    deed("wake", "snoozed", post="login 404 303", actors=(DECIDER,)),
    deed("first_view", "view", post="login 404 404 303 404"),
    deed("delete_view", "view", post="login 404 404 303 404"),
    deed("revoke_token", "token", post="login 404 404 303 404 303"),
    deed("claim_ticked", post="login 303", data=_TICKED, actors=(DECIDER, MANAGER, ADMIN)),
    deed("choose_bulk", post="login 303", data=_TICKED, actors=(DECIDER, MANAGER, ADMIN)),
    deed("stop_bulk", "job", post="login 404 404 303 404"),
    deed("end_away", "delegation", post="login 404 404 303"),
]
LINKS = [
    line("link", "link", get="200 403 403 200 403", post="303 403 403 303 403",
         data={"answer": "approve"}),
    line("mute", "mute", get="200", post="200", has_session=False),
    line("slack_interactions", post="401", data={"payload": "{}"}, has_session=False),
    page("slack_account", get="login 200", post="login 302", data=_chat),
]  # fmt: skip
RUN_PAGES = [
    page("executions", get="login 404 200 404 200", of=RUNS),
    page("execution", "run", get="login 404 200 404 200", of=RUNS),
    page("find_execution", "run", get="login 404 302 404 302", of=RUNS),
    page("cancel", "run", get="login 404 404 404 200", post="login 404 404 404 303",
         of=RUNS, data={"reason": "a mistake"}),
    page("audit", get="login 404 200 404 200", of=RUNS),
    page("audit_download", "form", get="login 404 200 404 200", of=RUNS),
]  # fmt: skip
HOOK_PAGES = [
    line("hook", "slug", post="200", data=_signed, has_session=False),
    page("webhooks", get="login 404 404 404 200", of=HOOKS),
    page("new_webhook", get="login 404 404 404 200", post="login 404 404 404 201", of=HOOKS,
         query="preset=github&action=settle", data=_ENDPOINT),
    page("webhook", "slug", get="login 404 404 404 200", of=HOOKS),
    page("edit_webhook", "slug", get="login 404 404 404 200", post="login 404 404 404 303",
         of=HOOKS, data=_ENDPOINT),
    page("test_webhook", "slug", get="login 404 404 404 200", post="login 404 404 404 200",
         of=HOOKS, data=_REQUEST, actors=()),
    deed("rotate_webhook", "slug", post="login 404 404 404 201", of=HOOKS, data=_secret),
    deed("retire_webhook_secret", "slug", "secret", post="login 404 404 404 303", of=HOOKS),
    page("webhook_delivery", "slug", "delivery", get="login 404 404 404 200", of=HOOKS),
    deed("deliver_webhook_again", "slug", "delivery", post="login 404 404 404 303", of=HOOKS),
]  # fmt: skip

# --- The API, for a session ---

_NOTHING = "401 404"
"""Of what is not there for anybody signed in."""
_MANAGERS = "401 404 404 404 200"
_VIEWERS = "401 404 200 404 200"
_OWN = "401 404 404 200 404"

_VIEW = {"place": "inbox", "query": "due=today", "name": "Soon"}
_HOOK = {
    "preset": "github",
    "action": "settle",
    "name": "Others",
    "slug": "others",
    "secret": "sixteen letters and more",
    "mapping": hooks.SETTLE,
}
_AWAY = {"deputy": "deputy", "starts_at": iso(1), "ends_at": iso(2)}

API = [
    call("read_openapi", get="200"),
    call("read_human_task_schema", get="200"),
    call("read_policy_schema", get="200"),
    call("list_tasks", get="401 200"),
    call("read_task", "question", get="401 404 200", verbs={"PUT": "401 404 403 403 403 409"}),
    call("reveal_task", "question", post=_MANAGERS),
    call("answer_task", "question", post="401 404 403 200", data={"answer": "approve"}),
    call("take_back_answer", "held", post="401 404 409 200 409"),
    call("claim_task", "question", post="401 404 403 200"),
    call("claim_tasks", post="401 200", data={"ids": [QUESTION]},
         actors=(DECIDER, MANAGER, ADMIN)),
    call("release_task", "question", post="401 404 403"),
    call("hand_over_task", "question", post="401 404 403 200", data={"to": DECIDER}),
    call("snooze_task", "question", post="401 404 200", data={"until": iso(2)}),
    call("wake_task", "snoozed", post="401 404 200", actors=(DECIDER,)),
    call("list_comments", "question", get="401 404 200", post="401 404 201",
         data={"text": "Hm."}),
    call("read_draft", "question", get="401 404 404 200 404",
         verbs={"PUT": "401 404 200", "DELETE": "401 404 404 204 404"},
         data={"fields": {"comment": ["W"]}}),
    call("list_delegations", get="401 200", post="401 201", data=_AWAY),
    call("end_delegation", "delegation", post="401 404 404 200"),
    call("gather_tasks", post="401 403 403 201", data={"ids": [QUESTION]}),
    call("read_bulk_answer", "job", get=_OWN),
    call("start_bulk_answer", "job", post=_OWN, data={"answer": "approve"}),
    call("stop_bulk_answer", "job", post=_OWN),
    call("list_bulk_results", "job", get=_OWN),
    call("list_links", "question", get=_MANAGERS, post="401 404 404 404 201",
         data={"to": DECIDER}),
    call("revoke_links", "question", post=_MANAGERS),
    call("list_views", get="401 200", post="401 201", data=_VIEW),
    call("name_view", "view", data={"name": "Other"},
         verbs={"PATCH": _OWN, "DELETE": "401 404 404 204 404"}),
    call("begin_with_view", "view", post=_OWN, verbs={"DELETE": _NOTHING}),
    call("read_preferences", get="401 200", verbs={"PATCH": "401 200"},
         data={"is_compact": True}),
    call("read_looks", get="401 200", verbs={"PATCH": "401 200"}, data={"theme": "dark"},
         actors=()),
    call("list_chat_accounts", get="401 200", post="401 201", data=_chat),
    call("unlink_chat_account", "account", verbs={"DELETE": "401 404 404 204 404"}),
    call("list_notifications", get="401 200"),
    call("change_notifications", "channel", verbs={"PUT": "401 200"}, data={"way": "none"}),
    call("list_tokens", get="401 200", post="401 201", data={"name": "desk"}),
    call("revoke_token", "token", post="401 404 404 200 404 200"),
    call("list_all_executions", get=_VIEWERS),
    call("read_execution", "run", get=_VIEWERS),
    call("read_call_tree", "run", get=_VIEWERS),
    call("read_step", "run", "question", get=_VIEWERS),
    call("list_history", "run", get=_VIEWERS),
    call("foresee_cancellation", "run", get=_MANAGERS),
    call("cancel_execution", "run", post=_MANAGERS, data={"reason": "a mistake"}),
    call("list_audit_entries", get=_VIEWERS),
    call("export_audit_entries", get=_VIEWERS),
    call("list_webhooks", get=_MANAGERS, post="401 404 404 404 201", data=_HOOK),
    call("read_webhook", "slug", get=_MANAGERS, verbs={"PATCH": _MANAGERS},
         data={"name": "Other"}),
    call("rotate_webhook_secret", "slug", post="401 404 404 404 201", data=_secret),
    call("retire_webhook_secret", "slug", "secret", post=_MANAGERS),
    call("rehearse_webhook", "slug", post=_MANAGERS, data={"body": "{}"}, actors=()),
    call("list_deliveries", "slug", get=_MANAGERS),
    call("read_delivery", "slug", "delivery", get=_MANAGERS),
    call("deliver_again", "slug", "delivery", post="401 404 404 404 201"),
]  # fmt: skip

DASHBOARD = [*PLACES, *INBOX, *DEEDS, *LINKS, *RUN_PAGES, *HOOK_PAGES, *API]

# --- Signing in, and Django's admin, which only the last of the roles may enter ---

_CREDENTIALS = {"username": DECIDER, "password": DECIDER}
_ONLY_ADMIN = "login login login login login "


def staff(name: str, *args: str, **outcomes: Any) -> Line:
    """An address of Django's admin: what the admin gets by verb."""
    told = {"get": "200", "post": "200", **outcomes}
    told.setdefault("other", told["get"])
    shown = {
        key: _ONLY_ADMIN + value if key in {"get", "post", "other"} else value
        for key, value in told.items()
    }
    return Line(f"admin:{name}", args, **{"actors": (), **shown})


READ_ONLY = {
    "humantask": "question",
    "auditentry": "entry",
    "auditlink": "position",
    "webhookendpoint": "endpoint",
    "webhookdelivery": "delivery",
    "message": "message",
}
"""Models that the admin shows and changes in no way, with the name of an id."""

SIGN_IN = [
    Line("login", get="200 302", post="302", other="200 302", data=_CREDENTIALS,
         verbs={"PATCH": "405 302", "DELETE": "405 302", "OPTIONS": "200 302"},
         actors=("anonymous",)),
    Line("logout", post="302", verbs={"OPTIONS": "200"}, actors=()),
]  # fmt: skip
ADMIN_PAGES = [
    line
    for model, key in READ_ONLY.items()
    for line in (
        staff(f"signoff_{model}_changelist"),
        staff(f"signoff_{model}_add", get="403", post="403"),
        staff(f"signoff_{model}_history", key),
        staff(f"signoff_{model}_delete", key, get="403", post="403", data={"post": "yes"}),
        staff(f"signoff_{model}_change", key, post="403"),
    )
]

AREAS = {
    "places": [*PLACES, *SIGN_IN],
    "inbox": INBOX,
    "deeds": DEEDS,
    "links": LINKS,
    "runs": RUN_PAGES,
    "hooks": HOOK_PAGES,
    "api": API,
    "admin": ADMIN_PAGES,
}
PARTS = {
    f"{area} {number // 4}": lines[number : number + 4]
    for area, lines in AREAS.items()
    for number in range(0, len(lines), 4)
}
"""The same in small parts, a test each."""
ALL = [line for lines in AREAS.values() for line in lines]
