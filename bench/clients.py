"""``python -m bench.clients``: many clients of a gateway at once, in a process of its own.

Each has one connection and sends its next request when the last one was answered. Requests are
bytes with a hole for the id, so that little of what is measured is the clients' own work.
"""

import argparse
import asyncio
import gc
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import uvloop

from bench import wire
from bench.processes import ROOT

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_OK = b"HTTP/1.1 200 "
_LONGEST = 300


@dataclass(slots=True)
class Load:
    """What clients did: seconds of each request, and ids whose creation was answered."""

    seconds: float = 0.0
    busy: float = 0.0
    broken: int = 0
    times: list[float] = field(default_factory=list)
    created: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds


class Running:
    """Clients in their process."""

    def __init__(
        self, port: int, token: str, *, clients: int, seconds: float, mixed: bool, prefix: str
    ) -> None:
        """``prefix`` is of ids that nobody used; ``mixed`` reads each promise once."""
        options = [f"--port={port}", f"--token={token}", f"--clients={clients}"]
        options += [f"--seconds={seconds}", f"--prefix={prefix}", *(["--mixed"] if mixed else [])]
        command = [sys.executable, "-m", "bench.clients", *options]
        # no pipe: where PYTHONUNBUFFERED is set, the rest of a write that was cut short is lost
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the result
        self._popen = subprocess.Popen(command, cwd=ROOT, stdout=self._output)

    def result(self) -> Load:
        """Wait for the end; clients that lost their connection are counted as broken."""
        try:
            code = self._popen.wait(_LONGEST)
        finally:
            self._popen.kill()
        if code:
            message = f"the clients ended with {code}"
            raise RuntimeError(message)
        with self._output as output:
            output.seek(0)
            return Load(**json.load(output))


class _Mould(NamedTuple):
    """A request with a hole for an id of a fixed length."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, body: bytes, hole: str, options: argparse.Namespace) -> "_Mould":
        head, _, tail = wire.post(body, options.port, options.token).partition(hole.encode())
        return cls(head, tail)

    def fill(self, key: str) -> bytes:
        return self.head + key.encode() + self.tail


class _Client:
    """One connection, and the ids that it makes."""

    def __init__(self, options: argparse.Namespace, number: int, load: Load) -> None:
        self._options = options
        self._number = number
        self._load = load
        hole = self._key(0)
        self._create = _Mould.of(wire.create(hole), hole, options)
        self._get = _Mould.of(wire.get(hole), hole, options)

    def _key(self, place: int) -> str:
        return f"{self._options.prefix}-{self._number:04}-{place:07}"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(wire.HOST, self._options.port)

    async def run(self, end: float) -> None:
        place = 0
        try:
            while time.monotonic() < end:
                key = self._key(place := place + 1)
                await self._ask(self._create.fill(key))
                self._load.created.append(key)
                if self._options.mixed:
                    await self._ask(self._get.fill(key))
        except (ConnectionError, asyncio.IncompleteReadError):
            self._load.broken += 1
        finally:
            self._writer.close()

    async def _ask(self, request: bytes) -> None:
        asked_at = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await self._reader.readexactly(int(length[1]) if length else 0)
        self._load.times.append(time.perf_counter() - asked_at)
        if not head.startswith(_OK):
            message = f"{head.decode()}{body.decode()}"
            raise RuntimeError(message)


def main() -> None:
    """Run the clients of a command line, and print what they did as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--mixed", action="store_true", help="read each promise once")
    gc.disable()
    load = uvloop.run(_run(parser.parse_args()))
    print(json.dumps(asdict(load)))


async def _run(options: argparse.Namespace) -> Load:
    load = Load()
    clients = [_Client(options, number, load) for number in range(options.clients)]
    for client in clients:
        await client.open()
    began_at, used = time.monotonic(), time.process_time()
    await asyncio.gather(*(client.run(began_at + options.seconds) for client in clients))
    load.seconds = time.monotonic() - began_at
    load.busy = (time.process_time() - used) / load.seconds
    return load


if __name__ == "__main__":
    main()
