"""Whether the API servers trust what is served, and in mode `self` the loop that sees to it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from webhook.health import Readiness
from webhook.metrics import Metrics
from webhook.settings import Settings
from webhook.tls import Certificates, trusts

if TYPE_CHECKING:  # the Kubernetes client takes 35 MiB: only for those who ask an API server
    from certs.cluster import Clock, Names
    from certs.issue import Pair
    from certs.loop import Report
    from certs.rotate import Step

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SWAP: Final = 5.0  # seconds in which the loop takes a new certificate
GOODBYE: Final = 2.0  # seconds to give up the Lease

_log = logging.getLogger("dpdk-webhook")


class NoClusterError(Exception):
    """The settings ask for an API server that can't be found; one line says why and what to do."""


class Watching(Protocol):
    """Something with a thread of its own."""

    def start(self) -> None: ...
    def resign(self) -> None: ...
    def stop(self, seconds: float) -> None: ...


class Trust:
    """Between the event loop and the thread that watches the certificates. Made and used in the loop.

    `clock` stands for the API server's; `did` is told of each step of a rotation that was done here, and `saw` how things stand
    after each look.
    """

    def __init__(
        self,
        settings: Settings,
        certificates: Certificates,
        readiness: Readiness,
        metrics: Metrics,
        *,
        clock: "Clock | None" = None,
        did: "Callable[[Step], object]" = lambda _: None,
        saw: "Callable[[Report], object]" = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._certificates, self._readiness, self._metrics = certificates, readiness, metrics
        self._saw = saw
        self._unread = "there is no service account's token"  # why nothing is watched, when nothing is
        self._watching = self._made(settings, clock, did)
        if settings.certificates == "self":
            readiness.problem = "there is no certificate to serve yet"

    def start(self) -> None:
        if self._watching is not None:
            self._watching.start()
        else:
            _log.info("the caBundle is not read back: %s", self._unread)

    def drain(self) -> None:
        """This replica is about to end."""
        if self._watching is not None:
            self._watching.resign()

    async def stop(self) -> None:
        if self._watching is not None:
            await asyncio.to_thread(self._watching.stop, GOODBYE)

    def _made(self, settings: Settings, clock: "Clock | None", did: "Callable[[Step], object]") -> Watching | None:
        is_asked = settings.certificates == "self" or bool(settings.kubeconfig)
        if not is_asked and not (ACCOUNT / "token").exists():
            return None
        from certs.cluster import Clock, ClusterError, connect
        from certs.keeper import Keeper
        from certs.onlooker import Onlooker

        try:
            cluster = connect(names(settings), clock or Clock(), kubeconfig=settings.kubeconfig)
        except (ClusterError, NoClusterError) as error:
            if not is_asked:  # a token that happens to be there is no reason not to serve
                self._unread = str(error)
                return None
            own = settings.certificates == "self"
            hint = "; outside of a cluster write certificates=files, tls_cert and tls_key" if own else ""
            raise NoClusterError(f"certificates is {settings.certificates}: {error}{hint}") from error
        tell = self._in_loop(self._tell)
        failed = self._in_loop(self._metrics.certificate_error)
        if settings.certificates == "self":
            me = settings.replica or socket.gethostname()
            return Keeper(cluster, me, serve=self._serve, tell=tell, failed=failed, did=self._counted(did))
        return Onlooker(cluster, distrust=self._distrust(cluster.names.dns), tell=tell, failed=failed)

    def _in_loop(self, function: Callable[[Any], object]) -> Callable[[Any], object]:
        """To be called in any thread, and at the end of the loop too, when it does nothing any more."""

        def call(argument: object) -> None:
            with contextlib.suppress(RuntimeError):  # it is closed; to ask first would leave a moment in between
                self._loop.call_soon_threadsafe(function, argument)

        return call

    def _counted(self, did: "Callable[[Step], object]") -> "Callable[[Step], object]":
        count = self._in_loop(self._metrics.rotation_step)

        def counted(step: "Step") -> None:
            count(step.phase)
            did(step)

        return counted

    def _serve(self, pair: "Pair") -> bool:
        """In the other thread: put the pair onto the listener, and come back when that is done."""
        done: Future[bool] = Future()

        self._in_loop(lambda _: done.set_result(self._certificates.give(pair)))(None)
        try:
            return done.result(SWAP)
        except TimeoutError:
            return False  # should it be served later after all, the next time says so

    def _distrust(self, name: str) -> Callable[[bytes], str]:
        def distrust(bundle: bytes) -> str:
            pair = self._certificates.pair
            return trusts(bundle, pair.certificate, pair.key, name) if pair else "there is none"

        return distrust

    def _tell(self, report: "Report") -> None:
        self._saw(report)
        self._readiness.problem = report.problem
        self._readiness.notes = notes(report)
        self._metrics.set_ca_bundle_matches(report.matches)
        self._metrics.set_rotation_phase(report.phase)
        self._metrics.set_clock_skew(report.skew)


def notes(report: "Report") -> tuple[str, ...]:
    """What /readyz says beside yes or no."""
    lines = []
    if report.until is not None:
        days = (report.until - datetime.now(UTC)) // timedelta(days=1)
        lines.append(f"certificate: {days} days left, until {report.until:%Y-%m-%d}")
    if report.matches is not None:
        lines.append(f"caBundle: {'trusts' if report.matches else 'does not trust'} what is served")
    if report.phase is not None:
        lines.append(f"phase: {report.phase}: {report.why}")
    return tuple(lines)


def names(settings: Settings) -> "Names":
    """What our objects are called; NoClusterError when nobody says in which namespace."""
    from certs.cluster import Names

    try:
        namespace = settings.namespace or (ACCOUNT / "namespace").read_text().strip()
    except OSError as error:
        raise NoClusterError("namespace is not set, and this is no pod that has one; write DPDK_WEBHOOK_NAMESPACE") from error
    return Names(namespace, settings.service, settings.tls_secret, settings.lease, settings.webhook_configuration)
