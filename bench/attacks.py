"""What hostile clients do to a server, each with a bounded number of connections for a bounded time.

`python -m bench.attacks NAME PORT SECONDS` makes one attack on 127.0.0.1, in a process of its own so that it takes little from
whoever measures meanwhile: it prints a line when it begins, and at the end what became of it as JSON.
"""

import asyncio
import json
import random
import re
import resource
import ssl
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Final, TypeAlias

import orjson
import uvloop

from scripts.review import admission_review

MUTATE: Final = b"POST /mutate HTTP/1.1\r\nHost: x\r\n"
CHUNKED: Final = MUTATE + b"Transfer-Encoding: chunked\r\n\r\n"
LIVE: Final = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LOT: Final = 16 * 1024  # bytes at a time, where there is no end
AGAIN: Final = 0.2  # seconds until the next connection takes the place of one that was closed
WATCHED: Final = 11.0  # seconds; then it is clear that the server doesn't close it
OTHER_FILES: Final = 64
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


@dataclass(slots=True)
class Outcome:
    """What became of an attack."""

    opened: int = 0
    failed: int = 0  # connections that could not be had at all
    closed: int = 0  # by the server
    longest: float = 0.0  # seconds that a connection was open, whoever closed it
    statuses: dict[str, int] = field(default_factory=dict)  # how often each was answered


class Peer:
    """One connection of an attacker."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, outcome: Outcome) -> None:
        self.reader = reader
        self.writer = writer
        self._outcome = outcome

    async def say(self, data: bytes) -> None:
        """Send, and wait until it is sent."""
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> bytes:
        """What the server says; ConnectionResetError at the end."""
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionResetError
        for status in _STATUS.findall(data):
            told = self._outcome.statuses
            told[status.decode()] = told.get(status.decode(), 0) + 1
        return data

    async def hear_all(self) -> None:
        """To the end."""
        while True:
            await self.hear()

    async def repeat(self, data: bytes, pause: float = 0.0) -> None:
        """Say it again and again until the server has enough, and hear what it says."""
        hearing = asyncio.ensure_future(self.hear_all())
        try:
            while not hearing.done():
                await self.say(data)
                await asyncio.wait([hearing], timeout=pause)
            await hearing
        finally:
            hearing.cancel()

    async def ask(self, request: bytes, answers: int = 1) -> None:
        """Ask for ever, and wait for each answer (to so many requests at once)."""
        while True:
            await self.say(request)
            due = sum(self._outcome.statuses.values()) + answers
            while sum(self._outcome.statuses.values()) < due:
                await self.hear()


Act: TypeAlias = Callable[[Peer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Attack:
    """So many connections at a time, and a new one for each that the server closes, for so many seconds.

    `act` ends with an OSError when the server closes; without TLS it begins with the handshake. `is_closed`: the server must
    close each of them within 10 s, and is given the time.
    """

    name: str
    connections: int
    act: Act
    seconds: float = 3.0
    tls: bool = True
    is_closed: bool = True


def with_length(body: bytes) -> bytes:
    """A review, or something else, for /mutate."""
    return MUTATE + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _again(first: bytes, then: bytes, pause: float = 0.0) -> Act:
    async def act(peer: Peer) -> None:
        await peer.say(first)
        await peer.repeat(then, pause)

    return act


def _once(data: bytes) -> Act:
    async def act(peer: Peer) -> None:
        await peer.say(data)
        await peer.hear_all()

    return act


def _asking(request: bytes, answers: int = 1) -> Act:
    async def act(peer: Peer) -> None:
        await peer.ask(request, answers)

    return act


async def _never_reads(peer: Peer) -> None:
    """Asks for more than fits between the two, and takes no answer."""
    transport = peer.writer.transport
    transport.set_read_buffer_limits(high=LOT)  # type: ignore[attr-defined]
    transport.pause_reading()  # type: ignore[attr-defined]
    while not transport.is_closing():
        if transport.get_write_buffer_size() < LOT:
            transport.write(b"GET /rules HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        await asyncio.sleep(0.05)
    raise ConnectionResetError


def _hello() -> bytes:
    """The first words of a handshake."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake can't be over before there was an answer")


def _cpu_bomb(quantity: str) -> bytes:
    container = {"name": "app", "resources": {"limits": {"cpu": quantity, "memory": "1Gi"}}}
    return orjson.dumps(admission_review({"metadata": {"annotations": {"dpdk": "true"}}, "spec": {"containers": [container]}}))


def _garbage(size: int) -> bytes:
    return random.Random(1).randbytes(size)  # noqa: S311 - the same garbage each time


ATTACKS: Final = (
    Attack("1,000 slowloris sockets", 1000, _again(b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x", 1.0), 5.0),
    Attack("silence instead of a handshake", 200, Peer.hear_all, 5.0, tls=False),
    Attack("half a handshake", 200, _once(_hello()), 5.0, tls=False),
    Attack("garbage instead of a handshake", 200, _once(_garbage(512)), tls=False),
    Attack("HTTP instead of a handshake", 200, _once(LIVE), tls=False),
    Attack("garbage after a handshake", 50, _once(_garbage(512))),
    Attack("a header without end", 20, _again(MUTATE + b"X: ", b"x" * LOT)),
    Attack("headers without end", 20, _again(MUTATE, b"a: b\r\n" * 1000)),
    Attack("a chunked body without end", 6, _again(CHUNKED, b"4000\r\n" + b" " * LOT + b"\r\n")),
    Attack("chunks of one byte without end", 8, _again(CHUNKED, b"1\r\nx\r\n" * 2000)),
    Attack("a chunk's extension without end", 8, _again(CHUNKED + b"1;a=", b"x" * LOT)),
    Attack("trailers without end", 8, _again(CHUNKED + b"0\r\n", b"a: b\r\n" * 1000)),
    Attack("a body of 64 MiB", 8, _again(MUTATE + b"Content-Length: 67108864\r\n\r\n", b" " * LOT)),
    Attack("a slow body", 200, _again(MUTATE + b"Content-Length: 1000\r\n\r\n", b" ", 1.0), 5.0),
    Attack("a slow chunked body", 200, _again(CHUNKED, b"1\r\n \r\n", 1.0), 5.0),
    Attack("deep nesting", 2, _asking(with_length(b'{"request":' + b"[" * 1_000_000)), is_closed=False),
    Attack("a number of a million digits", 2, _asking(with_length(_cpu_bomb("1" * 1_000_000))), is_closed=False),
    Attack("pipelining, 200 at once", 4, _asking(LIVE * 200, 200), is_closed=False),
    Attack("a wrong method", 4, _asking(b"DELETE /mutate HTTP/1.1\r\nHost: x\r\n\r\n"), is_closed=False),
    Attack("a wrong path", 4, _asking(b"GET /mutate/nothing HTTP/1.1\r\nHost: x\r\n\r\n"), is_closed=False),
    Attack("answers that nobody reads", 20, _never_reads, 5.0),
)
BY_NAME: Final = {attack.name: attack for attack in ATTACKS}


async def run(attack: Attack, port: int, seconds: float) -> Outcome:
    """Attack 127.0.0.1:port for so long."""
    outcome = Outcome()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    turn = asyncio.Semaphore(50)  # handshakes at once
    end = time.monotonic() + seconds

    async def one() -> None:
        try:
            async with turn:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context if attack.tls else None)
        except OSError:
            outcome.failed += 1
            return
        outcome.opened += 1
        began = time.monotonic()
        try:
            left = WATCHED if attack.is_closed else end - began
            await asyncio.wait_for(attack.act(Peer(reader, writer, outcome)), left)
        except TimeoutError:
            pass
        except OSError:
            outcome.closed += 1
        finally:
            outcome.longest = max(outcome.longest, time.monotonic() - began)
            writer.transport.abort()

    async def one_after_the_other() -> None:
        while time.monotonic() < end:
            await one()
            await asyncio.sleep(AGAIN)

    await asyncio.gather(*(one_after_the_other() for _ in range(attack.connections)))
    return outcome


def main(name: str, port: str, seconds: str) -> None:
    """Raise the limit of open files as far as this machine lets it, and attack."""
    attack = BY_NAME[name]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = attack.connections + OTHER_FILES
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            sys.exit(f"{name} takes {needed} open files, and this machine allows {hard} (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print("attacking", flush=True)
        print(json.dumps(asdict(runner.run(run(attack, int(port), float(seconds))))))


if __name__ == "__main__":
    main(*sys.argv[1:])
