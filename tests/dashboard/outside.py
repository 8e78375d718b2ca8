"""The world that messages go to: a mail server, and a web server that plays Slack or a receiver."""

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class MailServer:
    """Takes mails over SMTP; keeps what it took. ``before_reply`` runs when a mail is in."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refused: dict[str, int] = {}
        self.before_reply: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say(b"220 tests")
                while line := self.rfile.readline():
                    verb, _, rest = line.decode().strip().partition(" ")
                    match verb.upper():
                        case "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP":
                            self._say(b"250 ok")
                        case "RCPT":
                            address = rest.partition("<")[2].rstrip(">")
                            code = outer.refused.get(address, 250)
                            self._say(f"{code} {address}".encode())
                        case "DATA":
                            self._say(b"354 go on")
                            outer.take(self._data())
                            self._say(b"250 taken")
                        case "QUIT":
                            self._say(b"221 bye")
                            return
                        case _:
                            self._say(b"500 what")

            def _data(self) -> bytes:
                lines = []
                while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                return b"".join(lines)

            def _say(self, text: bytes) -> None:
                self.wfile.write(text + b"\r\n")

        return Handler

    def take(self, data: bytes) -> None:
        mail = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()
        if self.before_reply is not None:
            self.before_reply()

    def wait_for(self, number: int, seconds: float = 15) -> list[EmailMessage]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.mails) >= number, seconds), self.mails
        return self.mails

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]


def mailers_of(server: MailServer) -> dict[str, Any]:
    """Return the setting with which Django sends its mail to a server."""
    options = {"host": "127.0.0.1", "port": server.port, "timeout": 10}
    backend = "django.core.mail.backends.smtp.EmailBackend"
    return {"default": {"BACKEND": backend, "OPTIONS": options}}


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    with _serving(server._server):
        yield server


class Call(NamedTuple):
    """One request that the web server got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class WebServer:
    """Takes POSTs. ``answers`` has status and body by path; else it answers as Slack does."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = outer.take(Call(self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler

    def take(self, call: Call) -> tuple[int, bytes]:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            number = len(self.calls)
        if call.path in self.answers:
            return self.answers[call.path]
        return 200, json.dumps({"ok": True, "channel": "C0FIN", "ts": f"17.{number}"}).encode()

    def wait_for(self, path: str, number: int = 1, seconds: float = 15) -> list[Call]:
        with self._changed:
            is_there = self._changed.wait_for(lambda: len(self.to(path)) >= number, seconds)
        assert is_there, [call.path for call in self.calls]
        return self.to(path)

    def to(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]


@contextmanager
def web_server() -> Iterator[WebServer]:
    server = WebServer()
    with _serving(server._server):
        yield server


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
