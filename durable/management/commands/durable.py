"""``manage.py durable``: promises, tasks and schedules from the shell, as the reference's CLI."""

import functools
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from msgspec import json

from durable import clock
from durable.management import arguments
from durable.management.call_tree import draw, fetch_tree
from durable.management.servers import AskError, LocalServer, RemoteServer, Server
from durable.protocol import tags
from durable.protocol.addresses import POLL_ANY
from durable.store import close_store

_DEFAULT_TARGET = f"{POLL_ANY}default"
_HOUR = 3_600_000

type Options = dict[str, Any]
type Ask = Callable[[Options], tuple[str, dict[str, Any]]]


class Command(BaseCommand):
    """Each order is one request of the protocol; ``tree`` asks for pages."""

    help = (
        "Invoke functions and work on promises, tasks and schedules, in this project's database or "
        "on a server. Values are JSON."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the orders."""
        orders = parser.add_subparsers(dest="order", required=True, metavar="ORDER")
        _add_invoke(orders)
        _add_promises(orders)
        _add_tasks(orders)
        _add_schedules(orders)
        tree = _leaf(orders, "tree", None, "show the call tree of an execution")
        tree.add_argument("id")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Carry out an order, and print what was answered."""
        server = _server(options)
        try:
            if options["order"] == "tree":
                root = server.ask("promise.get", {"id": options["id"]})["promise"]
                for line in draw(root, fetch_tree(server, options["id"])):
                    self.stdout.write(line)
                return
            kind, data = options["ask"](options)
            answer = server.ask(kind, data)
        except AskError as error:
            self.stderr.write(f"Error: {error}")
            raise SystemExit(1) from error
        finally:
            if isinstance(server, LocalServer):
                close_store()
        self.stdout.write(json.format(json.encode(answer), indent=2).decode())


def _server(options: Options) -> Server:
    if options["server"]:
        return RemoteServer(options["server"], options["token"])
    return LocalServer()


def _leaf(orders: Any, name: str, ask: Ask | None, text: str) -> ArgumentParser:
    parser: ArgumentParser = orders.add_parser(name, help=text)
    parser.add_argument(
        "-S", "--server", default="", metavar="URL", help="a server; default: this database"
    )
    parser.add_argument("-T", "--token", default="", help="token for the server")
    parser.set_defaults(ask=ask)
    return parser


def _group(orders: Any, name: str, text: str) -> Any:
    parser = orders.add_parser(name, help=text)
    return parser.add_subparsers(dest="what", required=True, metavar="WHAT")


def _given(**fields: Any) -> dict[str, Any]:
    """Leave out what was not given."""
    return {name: value for name, value in fields.items() if value is not None}


# -- invoke ------------------------------------------------------------------------------------


def _add_invoke(orders: Any) -> None:
    parser = _leaf(orders, "invoke", _invoke, "have a function called")
    parser.add_argument("id")
    parser.add_argument("-f", "--func", required=True)
    parser.add_argument("--arg", action="append", default=[], type=arguments.json_or_text)
    parser.add_argument("--json-args", type=arguments.json_array)
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("-t", "--timeout", type=arguments.duration, default=_HOUR)
    parser.add_argument("--target", default=_DEFAULT_TARGET)
    parser.add_argument("--delay", type=arguments.duration)


def _invoke(options: Options) -> tuple[str, dict[str, Any]]:
    now, delay = clock.now_ms(), options["delay"] or 0
    args = options["arg"] if options["json_args"] is None else options["json_args"]
    call = {"func": options["func"], "args": args, "version": options["version"]}
    given = {tags.TARGET: options["target"]}
    if delay:
        given[tags.DELAY] = str(now + delay)
    return "promise.create", {
        "id": options["id"],
        "timeoutAt": now + options["timeout"] + delay,
        "param": {"headers": {}, "data": arguments.encode(call)},
        "tags": given,
    }


# -- promises ----------------------------------------------------------------------------------


def _add_promises(orders: Any) -> None:
    group = _group(orders, "promises", "get, create, settle, search, register")
    _leaf(group, "get", _by_id("promise.get"), "show one").add_argument("id")
    create = _leaf(group, "create", _create_promise, "create one that anybody can settle")
    create.add_argument("id")
    create.add_argument("--timeout", type=arguments.duration, required=True)
    create.add_argument("--param", type=arguments.json_value)
    create.add_argument("--tags", type=arguments.json_object)
    for name, state in (
        ("resolve", "resolved"),
        ("reject", "rejected"),
        ("cancel", "rejected_canceled"),
    ):
        settle = _leaf(group, name, functools.partial(_settle, state), f"{name} one")
        settle.add_argument("id")
        settle.add_argument("--value", type=arguments.json_value)
    search = _leaf(group, "search", _search("promise.search", "state", "tags"), "search")
    search.add_argument("--state")
    search.add_argument("--tags", type=arguments.json_object)
    _add_page(search, 100)
    callback = _leaf(
        group, "register-callback", _register_callback, "resume a task when it settles"
    )
    callback.add_argument("awaited")
    callback.add_argument("awaiter")
    listener = _leaf(group, "register-listener", _register_listener, "tell an address")
    listener.add_argument("awaited")
    listener.add_argument("address")


def _by_id(kind: str) -> Ask:
    return lambda options: (kind, {"id": options["id"]})


def _create_promise(options: Options) -> tuple[str, dict[str, Any]]:
    return "promise.create", {
        "id": options["id"],
        "timeoutAt": clock.now_ms() + options["timeout"],
        "param": arguments.encoded_value(options["param"]),
        "tags": arguments.awaitable_tags(options["tags"]),
    }


def _settle(state: str, options: Options) -> tuple[str, dict[str, Any]]:
    value = arguments.encoded_value(options["value"])
    return "promise.settle", {"id": options["id"], "state": state, "value": value}


def _register_callback(options: Options) -> tuple[str, dict[str, Any]]:
    data = {"awaited": options["awaited"], "awaiter": options["awaiter"]}
    return "promise.register_callback", data


def _register_listener(options: Options) -> tuple[str, dict[str, Any]]:
    data = {"awaited": options["awaited"], "address": options["address"]}
    return "promise.register_listener", data


def _search(kind: str, *filters: str) -> Ask:
    names = (*filters, "limit", "cursor")
    return lambda options: (kind, _given(**{name: options[name] for name in names}))


def _add_page(parser: ArgumentParser, limit: int) -> None:
    parser.add_argument("--limit", type=int, default=limit)
    parser.add_argument("--cursor")


# -- tasks -------------------------------------------------------------------------------------


def _add_tasks(orders: Any) -> None:
    group = _group(orders, "tasks", "get, create, claim, fence, heartbeat, suspend, complete, …")
    for name in ("get", "halt", "continue"):
        _leaf(group, name, _by_id(f"task.{name}"), f"{name} one").add_argument("id")
    create = _leaf(group, "create", _create_task, "create one and hold it")
    create.add_argument("id")
    create.add_argument("--pid", required=True)
    create.add_argument("--ttl", type=arguments.duration, required=True)
    create.add_argument("--timeout", type=arguments.duration, required=True)
    create.add_argument("--param", type=arguments.json_object)
    create.add_argument("--tags", type=arguments.json_object)
    claim = _leaf(group, "claim", _claim, "acquire one")
    _add_held(claim)
    claim.add_argument("--pid", required=True)
    claim.add_argument("--ttl", type=arguments.duration, required=True)
    fence = _leaf(group, "fence", _act("task.fence", "action"), "act under its lease")
    _add_held(fence)
    fence.add_argument("--action", type=arguments.json_object, required=True)
    beat = _leaf(group, "heartbeat", _heartbeat, "extend leases")
    beat.add_argument("--pid", required=True)
    beat.add_argument("--tasks", type=arguments.json_array, required=True)
    suspend = _leaf(group, "suspend", _act("task.suspend", "actions"), "park one")
    _add_held(suspend)
    suspend.add_argument("--actions", type=arguments.json_array, required=True)
    complete = _leaf(group, "complete", _act("task.fulfill", "action"), "fulfil one")
    _add_held(complete)
    complete.add_argument("--action", type=arguments.json_object, required=True)
    _add_held(_leaf(group, "release", _act("task.release"), "give one back"))
    search = _leaf(group, "search", _search("task.search", "state"), "search")
    search.add_argument("--state")
    _add_page(search, 100)


def _add_held(parser: ArgumentParser) -> None:
    parser.add_argument("id")
    parser.add_argument("--version", type=int, required=True)


def _create_task(options: Options) -> tuple[str, dict[str, Any]]:
    create = {
        "id": options["id"],
        "timeoutAt": clock.now_ms() + options["timeout"],
        "param": options["param"] or {},
        "tags": {tags.TARGET: _DEFAULT_TARGET, **(options["tags"] or {})},
    }
    action = {"kind": "promise.create", "head": {}, "data": create}
    return "task.create", {"pid": options["pid"], "ttl": options["ttl"], "action": action}


def _claim(options: Options) -> tuple[str, dict[str, Any]]:
    return "task.acquire", {name: options[name] for name in ("id", "version", "pid", "ttl")}


def _act(kind: str, *names: str) -> Ask:
    return lambda options: (kind, {name: options[name] for name in ("id", "version", *names)})


def _heartbeat(options: Options) -> tuple[str, dict[str, Any]]:
    return "task.heartbeat", {"pid": options["pid"], "tasks": options["tasks"]}


# -- schedules ---------------------------------------------------------------------------------


def _add_schedules(orders: Any) -> None:
    group = _group(orders, "schedules", "get, create, delete, search")
    for name in ("get", "delete"):
        _leaf(group, name, _by_id(f"schedule.{name}"), f"{name} one").add_argument("id")
    create = _leaf(group, "create", _create_schedule, "create one")
    create.add_argument("id")
    create.add_argument("--cron", required=True)
    create.add_argument("--promise-id", required=True)
    create.add_argument("--promise-timeout", type=arguments.duration, required=True)
    create.add_argument("--promise-param", type=arguments.json_value)
    create.add_argument("--promise-tags", type=arguments.json_object)
    search = _leaf(group, "search", _search("schedule.search", "tags"), "search")
    search.add_argument("--tags", type=arguments.json_object)
    _add_page(search, 10)


def _create_schedule(options: Options) -> tuple[str, dict[str, Any]]:
    return "schedule.create", {
        "id": options["id"],
        "cron": options["cron"],
        "promiseId": options["promise_id"],
        "promiseTimeout": options["promise_timeout"],
        "promiseParam": arguments.encoded_value(options["promise_param"]),
        "promiseTags": options["promise_tags"] or {},
    }
