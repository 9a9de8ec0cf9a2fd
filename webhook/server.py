"""uvicorn: the sockets, TLS, and an orderly end."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn
import uvloop

from webhook.app import Readiness, add_health, create_app, create_health_app
from webhook.settings import Settings

_log = logging.getLogger("dpdk-webhook")

KEEP_ALIVE = 130  # seconds; the API server drops idle connections after 90 and never retries one that we closed first
DRAIN = 5  # seconds in which endpoints forget a replica that said it is not ready
FINISH = 10  # seconds for what is in flight then


class ServeError(Exception):
    """The server can't start; one line says why and what to do."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM (drain, then end) or SIGINT (end now)."""
    if not settings.tls_cert:
        raise ServeError(
            "tls_cert and tls_key are not set; write DPDK_WEBHOOK_TLS_CERT and DPDK_WEBHOOK_TLS_KEY "
            "(`python -m certs issue` makes a pair)"
        )
    context = tls_context(settings)
    with (
        listen(settings.host, settings.tls_port, "tls_port") as https,
        listen(settings.host, settings.health_port, "health_port") as health,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, context, https, health))


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or newer with the configured pair; HTTP/1.1 only, as the API server spreads no load over HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # without a function OpenSSL would ask a terminal for the passphrase, and wait
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_passphrase)
    except ssl.SSLError as error:
        problem = (error.reason or "no PEM in one of them").replace("_", " ").lower()
        raise ServeError(f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key} are not a pair: {problem}") from error
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise ServeError(f"tls_cert {settings.tls_cert} or tls_key {settings.tls_key} can't be read: {problem}") from error
    return context


def _no_passphrase() -> str:
    raise ServeError("tls_key is encrypted; give a key without a passphrase")


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


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: two of them share this process."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: Settings, context: ssl.SSLContext, https: socket.socket, health: socket.socket) -> None:
    readiness = Readiness()
    app = create_app(settings)
    add_health(app, readiness)
    ended = asyncio.Event()

    def ready() -> None:
        readiness.state = "ok"
        _log.info("serving on https://%s:%d, health on http://%s:%d", *https.getsockname()[:2], *health.getsockname()[:2])

    def end() -> None:
        ended.set()
        main.should_exit = True

    def end_now() -> None:
        end()
        # closing one waits for the peer to close too, for as long as FINISH: an idle client that doesn't read keeps us here
        for connection in list(main.server_state.connections):
            connection.transport.abort()

    async def drain() -> None:
        readiness.state = "draining"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), DRAIN)
        end()

    main = _Server(config(app, context), ready)
    beside = _Server(config(create_health_app(readiness), None))
    loop = asyncio.get_running_loop()
    draining: list[asyncio.Task[None]] = []
    loop.add_signal_handler(signal.SIGTERM, lambda: draining.append(loop.create_task(drain())))
    loop.add_signal_handler(signal.SIGINT, end_now)
    side = loop.create_task(beside.serve([health]))
    await main.serve([https])
    ended.set()
    # health answers to the very end: a probe that fails while we drain would have the kubelet kill what is in flight
    beside.should_exit = True
    await asyncio.gather(side, *draining)


def config(app: object, context: ssl.SSLContext | None) -> uvicorn.Config:
    """How uvicorn serves any app of ours."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=FINISH,
        ssl_context_factory=(lambda config, default: context) if context else None,
    )
