"""A listening socket of ours: it accepts, shakes hands, counts what fails, and ends without losing a call.

An accept loop instead of loop.create_server: that one says nothing of a failed handshake, has one TLS context for as long as it
lives, and takes as many connections as there are descriptors.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from webhook.connection import BUFFER, UNREAD, Connection
from webhook.metrics import Metrics
from webhook.shared import Shared
from webhook.tls import Certificates, Served

HANDSHAKE: Final = 5.0  # seconds
AT_ONCE: Final = 8  # handshakes that may begin in one turn of the loop
FINISH: Final = 10.0  # seconds for what is in flight at the end
GOODBYE: Final = 0.1  # seconds for the last answers to leave
PAUSE: Final = 0.05  # seconds; what can't be accepted is not tried again at once
NEW: Final = 1.0  # seconds in which somebody who has connected sends his first request

# by the end of OpenSSL's name for it; alerts are what the client says about our certificate, the others what we say about his
_REASONS: Final = (
    ("certificate_required", ("PEER_DID_NOT_RETURN_A_CERTIFICATE",)),
    ("unknown_ca", ("ALERT_UNKNOWN_CA",)),
    ("certificate_expired", ("ALERT_CERTIFICATE_EXPIRED",)),
    ("bad_certificate", ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE")),
    (
        "no_shared_protocol",
        ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "NO_SHARED_CIPHER", "NO_SUITABLE_KEY_SHARE"),
    ),
    (
        "not_tls",
        ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "RECORD_TYPE", "_LENGTH"),
    ),
)
_VERIFY: Final = {10: "certificate_expired", 18: "unknown_ca", 19: "unknown_ca", 20: "unknown_ca", 21: "unknown_ca"}


def reason(error: OSError) -> str:
    """Why a handshake failed, as one of few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, "bad_certificate")
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        return next((word for word, ends in _REASONS if name.endswith(ends)), "other")
    # when time is up uvloop says so by an error of another kind, without a number
    is_late = isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and error.errno is None)
    return "timeout" if is_late else "reset"


def config(app: ASGIApp) -> uvicorn.Config:
    """What uvicorn's protocol wants to know."""
    made = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    made.load()
    return made


def _tell(spoken: asyncio.Future[None]) -> None:
    if not spoken.done():  # it may be cancelled, and the reader not be gone yet
        spoken.set_result(None)


class Listener:
    """Serves an app on a socket that listens already; without certificates, over plain HTTP."""

    def __init__(
        self, app: ASGIApp, listening: socket.socket, limit: int, metrics: Metrics, certificates: Certificates | None = None
    ) -> None:
        self._config = config(app)
        self._socket = listening
        self._limit = limit
        self._metrics = metrics
        self._certificates = certificates
        self._shared = Shared(metrics)
        self._connecting: dict[Connection, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._loop = asyncio.get_running_loop()
        # what one client can make the kernel hold (by itself it grows to 4 MiB and more), and us read at once; accepted sockets
        # have these options too
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER // 2)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # an answer that fits into the kernel's buffers, and that nobody acknowledges
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD * 1000))
        self._accepting = self._loop.create_task(self._accept())

    @property
    def connections(self) -> set[Connection]:
        """From accept to the end, those that still shake hands too."""
        return self._shared.connections

    @property
    def ended(self) -> int:
        """Connections that were."""
        return self._shared.ended

    async def _accept(self) -> None:
        while True:
            try:
                accepted, address = await self._loop.sock_accept(self._socket)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._make_room()
                await asyncio.sleep(PAUSE)
            else:
                self._admit(accepted, address[0])

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        if len(self.connections) >= self._limit and not self._make_room():
            accepted.close()
            return
        connection = Connection(self._config, self._shared, self._certificates.served if self._certificates else None)
        self._connecting[connection] = self._loop.create_task(self._connect(connection, accepted, peer))

    def _make_room(self) -> bool:
        """End a connection, so that whoever comes now can have one; False when all of them are at work.

        To refuse the newcomer would be the end of admission: a horde that has taken every place and says nothing keeps the API
        server out for as long as it likes. So it is the horde that gives way.

        First whoever never sent a whole request, and of those the oldest: silent, half through a handshake or dribbling, it is
        all the same. The API server's own connection is through with that some milliseconds after it came, and a horde would
        have to open thousands in those to push it out.

        Then whoever is idle for the longest time. A horde that has asked for something once is no better than one that has not,
        and a call lost because it crosses the closing on its way is rarer than one that is refused, which is lost for certain.
        """
        self._metrics.shed("connections")
        for connection in self._shared.unproven:
            self._cut(connection)
            return True
        idle = min((each for each in self.connections if each.is_idle), key=lambda each: each.since, default=None)
        if idle is not None:
            self._cut(idle)
        return idle is not None

    def _cut(self, connection: Connection) -> None:
        self._shared.forget(connection)
        if connection in self._connecting:
            self._connecting[connection].cancel()
        else:
            connection.transport.abort()

    async def _connect(self, connection: Connection, accepted: socket.socket, peer: str) -> None:
        try:
            if connection.served is None:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                await self._shake_hands(connection, connection.served, accepted)
        except OSError as error:
            if connection.served is not None:
                why = reason(error)
                self._metrics.handshake_failed(why)
                self._shared.complaints.add(f"a handshake that failed: {why}", peer, self._loop.time())
        finally:
            del self._connecting[connection]
            if not connection.is_open:
                self._shared.forget(connection)

    async def _shake_hands(self, connection: Connection, served: Served, accepted: socket.socket) -> None:
        """A few at a time, in between of which everybody else has his turn: a handshake takes ten times the time of a review.

        Whoever says nothing is not in that line. Time counts from the turn on: where CPU is scarce, a client who thinks himself
        connected would lose a call.
        """
        spoken = self._loop.create_future()
        try:
            self._loop.add_reader(accepted, _tell, spoken)
            try:
                async with asyncio.timeout(HANDSHAKE):
                    await spoken
            finally:
                self._loop.remove_reader(accepted)
            async with self._turn:
                await asyncio.sleep(0)
        except BaseException:
            accepted.close()
            raise
        await self._loop.connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=served.context,
            ssl_handshake_timeout=HANDSHAKE,
            ssl_shutdown_timeout=UNREAD,
        )

    def sweep(self, now: float) -> None:
        """Twice a second: end what has lasted too long."""
        for connection in list(self.connections):
            if not connection.is_open:
                continue
            if self._certificates is not None:
                connection.verify(self._certificates.served)
            connection.look(now)
        self._shared.complaints.tell(now)

    def drain(self) -> None:
        """From now on every answer is the last one of its connection."""
        self._shared.is_draining = True
        for connection in self.connections:
            connection.last()

    async def finish(self) -> None:
        """Serve those who have come, accept no more, and end the connections once nothing is in flight on any."""
        self._accepting.cancel()
        # those that the kernel has let in would be reset
        with contextlib.suppress(OSError):
            while True:
                accepted, address = self._socket.accept()
                self._admit(accepted, address[0])
                await asyncio.sleep(0)  # its task takes the socket
        self._socket.close()
        deadline = self._loop.time() + FINISH
        while self.connections and (now := self._loop.time()) < deadline:
            if not any(self._is_busy(connection, now) for connection in self.connections):
                for connection in list(self.connections):
                    connection.end()
            await asyncio.sleep(0.02)
        # time is up for those who are still at work; the others are told as they would have been
        for connection in list(self.connections):
            if connection.is_open:
                connection.end()
        await asyncio.sleep(GOODBYE)
        self.abort()

    def _is_busy(self, connection: Connection, now: float) -> bool:
        if not connection.is_open:
            return True
        return not connection.is_idle or (connection in self._shared.unproven and now - connection.since < NEW)

    def abort(self) -> None:
        """End everything now."""
        self._accepting.cancel()
        self._socket.close()
        for connection in list(self.connections):
            self._cut(connection)
