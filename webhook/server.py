"""The process: its sockets, its signals, and an orderly end."""

import asyncio
import contextlib
import ctypes
import gc
import itertools
import logging
import resource
import signal
import socket
from collections.abc import Callable
from typing import Final

import uvloop
from starlette.types import ASGIApp

from webhook.app import create_app
from webhook.health import Readiness, create_health_app
from webhook.journal import Journal, configure
from webhook.listener import Listener
from webhook.metrics import Metrics
from webhook.settings import Settings
from webhook.tls import Certificates, Unusable
from webhook.trust import NoClusterError, Trust

_log = logging.getLogger("dpdk-webhook")

TICK: Final = 0.5  # seconds between two looks at the connections; every second time the certificates' files are read too
HEALTH_CONNECTIONS: Final = 64
MINUTE: Final = 120  # ticks
HORDE: Final = 256  # connections
OTHER_FILES: Final = 128  # descriptors beside the connections': files, pipes, the workers' sockets


class ServeError(Exception):
    """The server can't start; one line says why and what to do."""


def serve(
    settings: Settings,
    app: ASGIApp | None = None,
    trusting: Callable[[Settings, Certificates, Readiness, Metrics], Trust] = Trust,
) -> None:
    """Serve until SIGTERM (drain, then end) or SIGINT (end now); another app than ours is served exactly as ours is."""
    if settings.certificates != "self" and not settings.tls_cert:
        raise ServeError(f"certificates is {settings.certificates} and tls_cert is not set; set tls_cert and tls_key")
    with (
        listen(settings.host, settings.tls_port, "tls_port") as https,
        listen(settings.host, settings.health_port, "health_port") as health,
        configure() as journal,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        metrics = Metrics(lambda: journal.dropped)
        try:
            certificates = Certificates(settings, metrics)
        except Unusable as error:
            raise ServeError(str(error)) from error
        try:
            runner.run(_serve(settings, app, metrics, journal, certificates, https, health, trusting))
        except NoClusterError as error:
            raise ServeError(str(error)) from error


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; ServeError, with the setting to change, when the port can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        variable = f"DPDK_WEBHOOK_{setting.upper()}"
        raise ServeError(f"port {port} on {host} can't be used: {error.strerror}; choose another with {variable}") from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener


async def _serve(
    settings: Settings,
    app: ASGIApp | None,
    metrics: Metrics,
    journal: Journal,
    certificates: Certificates,
    https: socket.socket,
    health: socket.socket,
    trusting: Callable[[Settings, Certificates, Readiness, Metrics], Trust],
) -> None:
    readiness = Readiness()
    trust = trusting(settings, certificates, readiness, metrics)
    ours = create_app(settings, metrics, journal, readiness)
    main = Listener(app or ours, https, _connections(settings.max_connections), metrics, certificates)
    beside = Listener(create_health_app(readiness, metrics), health, HEALTH_CONNECTIONS, metrics)
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    async def serve_to_the_end() -> None:
        await told.wait()
        readiness.state = "draining"
        metrics.set_draining(True)
        main.drain()
        trust.drain()
        await asyncio.sleep(settings.drain_seconds)
        await main.finish()

    memory = _Memory()
    ticks = itertools.count(1)

    def tick() -> None:
        loop.call_later(TICK, tick)  # first: should the rest fail one day, it is tried again
        number = next(ticks)
        if number % 2 == 0:
            certificates.look()
        for listener in (main, beside):
            listener.sweep(loop.time())
        memory.give_back(number, main.ended)

    serving = loop.create_task(serve_to_the_end())
    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGINT, serving.cancel)
    loop.call_later(TICK, tick)
    gc.collect()
    gc.freeze()  # what is here now stays: a full collection need not look at it, while a review waits
    readiness.state = "ok"
    trust.start()
    _log.info("serving on https://%s:%d, health on http://%s:%d", *https.getsockname()[:2], *health.getsockname()[:2])
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    main.abort()
    await trust.stop()
    # health answers to the very end: a probe that fails while we drain would have the kubelet kill what is in flight
    beside.abort()
    await ours.aclose()


class _Memory:
    """What is free goes back to the system, now and then and after a horde. By itself glibc keeps it, in pieces with something
    between them: each thousand connections that come at once would leave some ten MiB more."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        self._tick = self._ended = 0

    def give_back(self, tick: int, ended: int) -> None:
        """`ended`: connections until now. It takes 1 ms, or 3."""
        if self._trim is not None and (ended - self._ended >= HORDE or tick - self._tick >= MINUTE):
            self._tick, self._ended = tick, ended
            self._trim(0)


def _connections(wanted: int) -> int:
    """How many the process may have, after asking for as many descriptors as they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < needed:
        _log.warning("max_connections %d is %d here: the process may open %d files", wanted, soft - OTHER_FILES, soft)
    return min(wanted, max(soft - OTHER_FILES, 1))
