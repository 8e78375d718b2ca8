"""A serve process of a scenario, and the token with which its gateway is asked."""

import socket
from collections.abc import Mapping
from typing import NamedTuple

from bench.load import new_key
from bench.processes import Process
from bench.session import Session


class Server(NamedTuple):
    """A serve process that is ready."""

    process: Process
    port: int
    token: str


def start_server(session: Session, extra: Mapping[str, str] | None = None) -> Server:
    """Start one on a free port; ``extra`` goes into its environment."""
    name = new_key("serve")
    token = _issue_token(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    log = session.folder / f"{name}.log"
    process = Process(log, "serve", "--port", str(port), extra=extra)
    process.wait_for("Serving")
    return Server(process, port, token)


def _issue_token(name: str) -> str:
    """Issue one for every id: without any, a process like in production refuses to start."""
    from durable import conf  # noqa: PLC0415 - needs Django
    from durable.gateway import tokens  # noqa: PLC0415

    using = conf.database_alias()
    return tokens.issue(name, prefix="", role="admin", groups=[], expires_at=None, using=using)
