"""``GET /poll/{group}/{id}``: the event stream of one worker (protocol.md 6.3 and 6.4)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, override
from urllib.parse import unquote

from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from durable import conf
from durable.delivery.dispatcher import get_dispatcher
from durable.delivery.streams import Stream, hub
from durable.gateway import cors
from durable.gateway.auth import Caller, Refused, forbidden, get_access
from durable.protocol.messages import KEEPALIVE
from durable.protocol.validation import find_text_error

KEEPALIVE_SECONDS = 15.0

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

logger = logging.getLogger(__name__)


class PollConsumer(AsyncHttpConsumer):
    """Answers in its first message's turn, and listens for the client's leaving by itself."""

    _receive: Callable[[], Awaitable[dict[str, Any]]]

    @override
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._receive = receive
        await super().__call__(scope, receive, send)

    @override
    async def http_request(self, message: Any) -> None:
        if message.get("more_body"):
            return
        await self.handle(b"")
        raise StopConsumer

    @override
    async def http_disconnect(self, message: Any) -> None:
        raise StopConsumer

    @override
    async def handle(self, body: bytes) -> None:
        names = parse_path(self.scope)
        if names is None:
            await self._refuse(Refused(404, "Not found"))
        elif self.scope["method"] == "OPTIONS":
            await self._answer_preflight()
        elif self.scope["method"] != "GET":
            await self._refuse(Refused(405, "Method not allowed"))
        else:
            try:
                await self._admit(names[0])
            except Refused as refused:
                await self._refuse(refused)
            else:
                await self._stream(*names)

    async def _refuse(self, refused: Refused) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *self._cors_headers()]
        await self.send_response(refused.status, refused.text.encode(), headers=headers)

    async def _admit(self, group: str) -> None:
        """Raise ``Refused`` for who may not take this group's messages, and when there is no room.

        Any valid token would do otherwise: messages to listeners carry results.
        """
        caller = Caller(
            authorization=self._header(b"authorization"),
            origin=self._header(b"origin"),
            host=self._header(b"host"),
        )
        grant = await get_access().authenticate(caller)
        if not grant.allows_group(group):
            raise forbidden()
        if hub.is_stopped or len(hub) >= conf.sse_max_streams():
            raise Refused(503, "Poll registration at capacity")

    def _header(self, name: bytes) -> str | None:
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    def _cors_headers(self) -> list[tuple[bytes, bytes]]:
        found = cors.response_headers(self._header(b"origin"), conf.cors_origins())
        return [(name.encode(), value.encode("latin-1")) for name, value in found]

    async def _answer_preflight(self) -> None:
        is_private = self._header(b"access-control-request-private-network") == "true"
        found = cors.preflight_headers(
            self._header(b"origin"), conf.cors_origins(), is_private=is_private
        )
        headers = [(name.encode(), value.encode("latin-1")) for name, value in found]
        await self.send_response(204, b"", headers=headers)

    async def _stream(self, group: str, worker: str) -> None:
        get_dispatcher().start()  # runs already under ``manage.py serve``
        await self.send_headers(headers=[*_HEADERS, *self._cors_headers()])
        leaving = asyncio.create_task(self._watch(asyncio.current_task()))
        stream = Stream(group, worker, size=conf.sse_buffer(), on_room=hub.on_change)
        hub.add(stream)
        is_clean = False
        try:
            await self._follow(stream)
            is_clean = True
            await self.send_body(b"")
        except asyncio.CancelledError:
            logger.debug("a stream was cut", extra={"action": "stream"})
        finally:
            hub.remove(stream, is_clean=is_clean)
            leaving.cancel()

    async def _watch(self, streaming: asyncio.Task[Any] | None) -> None:
        """Cut the stream when the client leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if streaming is not None:
            streaming.cancel()

    async def _follow(self, stream: Stream) -> None:
        """Write events until the process stops, the client leaves or the stream is old."""
        clock = asyncio.get_running_loop().time
        end = clock() + conf.sse_rotation_seconds()
        await self.send_body(KEEPALIVE, more_body=True)
        spoke_at = clock()
        while True:
            if clock() >= end:
                stream.end()
            is_last = stream.is_ending
            if events := stream.take():
                await self.send_body(b"".join(one.data for one in events), more_body=True)
                stream.note_written(events)
                spoke_at = clock()
            elif is_last:
                return
            elif clock() >= spoke_at + KEEPALIVE_SECONDS:
                await self.send_body(KEEPALIVE, more_body=True)
                spoke_at = clock()
            else:
                await stream.wait(min(end, spoke_at + KEEPALIVE_SECONDS) - clock())


def parse_path(scope: Any) -> tuple[str, str] | None:
    """Return group and id of ``/poll/{group}/{id}``, percent-decoded; None for another path.

    A slash inside a name is one that was encoded, so the raw path is looked at. A server URL with a
    slash at its end makes two at the beginning.
    """
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1").removeprefix(scope.get("root_path", ""))
    parts = path.lstrip("/").split("/")
    if len(parts) != 3 or parts[0] != "poll":
        return None
    with suppress(UnicodeDecodeError):
        group, worker = (unquote(part, errors="strict") for part in parts[1:])
        if _is_name(group) and _is_name(worker):
            return group, worker
    return None


def _is_name(text: str) -> bool:
    """Whether a row of ours can hold it, and its index, which has both."""
    return bool(text) and find_text_error("Name", text) is None
