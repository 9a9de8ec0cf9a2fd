"""What may take long, in a process of its own: admission needs the event loop and the GIL of this one.

A plain child on a socket, one pickle each way: concurrent.futures can't end a single call, and multiprocessing would run the
server's `__main__` again in the child and keep a second process beside it.
"""

import asyncio
import os
import pickle
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

LONGEST: Final = 30  # seconds for one call; what the largest manifest takes is a third of it
IDLE: Final = 60  # seconds after which a worker that nobody needs gives its memory back
MEMORY: Final = 256  # MiB that a worker may write to; two of them and the server stay within the container's limit
_HEAD: Final = 8  # bytes that say how long a message is
_NOTHING: Final = bytes(_HEAD)  # instead of an answer: there is no memory for one

_T = TypeVar("_T")


class Busy(Exception):
    """As many calls as may wait are waiting."""


class WorkerLost(Exception):
    """The worker ended before it answered, or took too long and was ended; the next call gets a new one."""


class OutOfMemory(Exception):
    """The work needs more memory than a worker may have."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket


class Aside:
    """One worker process for one call at a time, started when the first one comes."""

    def __init__(self, *, waiting: int) -> None:
        """`waiting` calls may stand in line behind the one that runs."""
        self._room = 1 + waiting
        self._turn = asyncio.Lock()
        self._worker: _Worker | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """What `work(*args)` returns or raises, done by the worker. All of it must pickle: `work` by its name in a module, an
        exception by its attributes. A caller that is cancelled takes its call along, worker and all. Raises Busy, WorkerLost
        and OutOfMemory."""
        if not self._room:
            raise Busy("too many are waiting for an answer of this kind")
        self._room -= 1
        try:
            async with self._turn:
                value, raised = pickle.loads(await self._call(pickle.dumps((work, args))))  # noqa: S301 - by our own child
        finally:
            self._room += 1
        if raised is None:
            return value  # type: ignore[no-any-return]
        kind, arguments, attributes = raised
        error = kind.__new__(kind, *arguments)
        error.__dict__.update(attributes)
        raise error

    async def close(self) -> None:
        """End the worker, and with WorkerLost whoever still waits for it."""
        self._is_closed = True
        if self._worker is not None:
            self._worker.process.kill()  # which is what a call that runs notices
        async with self._turn:
            self._end()

    async def _call(self, call: bytes) -> bytearray:
        if self._is_closed:
            raise WorkerLost("the server is ending")
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        answer = bytearray()
        try:
            async with asyncio.timeout(LONGEST):
                if self._worker is None or self._worker.process.poll() is not None:
                    self._end()
                    self._worker = _start()
                channel = self._worker.channel
                await loop.sock_sendall(channel, len(call).to_bytes(_HEAD))
                await loop.sock_sendall(channel, call)
                answer = await _receive(channel, int.from_bytes(await _receive(channel, _HEAD)))
        except TimeoutError as error:
            raise WorkerLost(f"no answer within {LONGEST} seconds") from error
        except (EOFError, OSError) as error:
            raise WorkerLost("the process that works on it ended") from error
        finally:
            if not answer:
                self._end()
        if not answer:
            raise OutOfMemory(f"this takes more than {MEMORY} MiB of memory to answer")
        self._idle = loop.call_later(IDLE, self._end)
        return answer

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.channel.close()
            worker.process.kill()
            asyncio.get_running_loop().run_in_executor(None, worker.process.wait)  # so that none stays a zombie


def _start() -> _Worker:
    # not by the loop: uvloop leaves the child whatever can be inherited
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    command = [sys.executable, "-c", program]
    try:
        with theirs:
            return _Worker(subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL), ours)  # noqa: S603
    except OSError:
        ours.close()
        raise


async def _receive(channel: socket.socket, size: int) -> bytearray:
    received = bytearray(size)
    view = memoryview(received)
    while view:
        count = await asyncio.get_running_loop().sock_recv_into(channel, view)
        if not count:
            raise EOFError
        view = view[count:]
    return received


def main() -> NoReturn:
    """The worker: answers on its standard input, a socket, until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to whole process groups, and a drain still needs the worker
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY << 20, MEMORY << 20))
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(calls,), daemon=True).start()
    with open(0, "wb", closefd=False) as channel:
        while True:
            try:
                answer = _answer(calls.get())
            except MemoryError:
                os.write(0, _NOTHING)  # which takes no memory
                os._exit(0)
            channel.write(len(answer).to_bytes(_HEAD))
            channel.write(answer)
            channel.flush()


def _read(calls: "queue.SimpleQueue[bytes]") -> None:
    """Every call into the queue; without a server, however it ended, there is nobody to work for."""
    try:
        with open(0, "rb", closefd=False) as channel:
            while head := channel.read(_HEAD):
                calls.put(channel.read(int.from_bytes(head)))
    finally:
        os._exit(0)


def _answer(call: bytes) -> bytes:
    try:
        work, args = pickle.loads(call)  # noqa: S301 - by our own parent
        return pickle.dumps((work(*args), None))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - raised again over there
        error.add_note("".join(traceback.format_exception(error)))
        # not the exception itself: it would be made anew by its __init__, which may take other things than its args
        return pickle.dumps((None, (type(error), error.args, error.__dict__)))
