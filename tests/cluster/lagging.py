"""`python -m tests.cluster.lagging LISTEN TARGET SECONDS`: a TCP proxy through which answers come late.

LISTEN and TARGET are ports of 127.0.0.1. Nothing is delayed until SIGUSR1; from then on every byte from the target reaches the
client so many seconds later. What clients say is passed on at once: a round trip takes SECONDS, and not twice as long.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence

CHUNK = 1 << 16  # bytes
END = b""


class Proxy:
    """Passes on what both sides of every connection say."""

    def __init__(self, target: int, seconds: float) -> None:
        self._target = target
        self._seconds = seconds
        self._lag = 0.0

    def begin(self) -> None:
        """From now on the target's side is late, on open connections as well."""
        self._lag = self._seconds

    async def meet(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one connection until both sides have ended it, or one has broken it off."""
        try:
            target, to_target = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(client, to_target, lambda: 0.0))
                    group.create_task(_pass_on(target, to_client, lambda: self._lag))
            finally:
                to_target.close()
        except* OSError:  # not always a ConnectionError: the end can't be passed on to somebody who is gone (ENOTCONN)
            pass
        finally:
            to_client.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, lag: Callable[[], float]) -> None:
    """Pass on each chunk, and the end, `lag` seconds after it came; what comes meanwhile waits no longer than that."""
    clock = asyncio.get_running_loop().time
    # Without a limit: one would make a busy target slower, and not only late.
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def listen() -> None:
        while data := await source.read(CHUNK):
            waiting.put_nowait((clock() + lag(), data))
        waiting.put_nowait((clock() + lag(), END))

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - clock())
            if data == END:
                break
            sink.write(data)
            await sink.drain()
    sink.write_eof()


async def serve(listen: int, target: int, seconds: float) -> None:
    proxy = Proxy(target, seconds)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, proxy.begin)
    async with await asyncio.start_server(proxy.meet, "127.0.0.1", listen) as server:
        await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    listen, target, seconds = arguments
    asyncio.run(serve(int(listen), int(target), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
