"""The loop of the modes in which others keep the certificate: read the caBundle back, and tell whether it fits."""

import logging
import threading
from collections.abc import Callable

from certs.cluster import CONFIGURATIONS, Cluster, Reason, Watched
from certs.keeper import TICK, Report

_log = logging.getLogger("dpdk-webhook")


class Onlooker:
    """The other modes: nothing is written, and nothing but the configurations is read.

    `distrust` says why whoever trusts a caBundle refuses what is served, "" when he doesn't.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        distrust: Callable[[bytes], str],
        tell: Callable[[Report], object],
        failed: Callable[[Reason], object] = lambda _: None,
    ) -> None:
        self._cluster, self._distrust, self._tell, self._failed = cluster, distrust, tell, failed
        self._changed, self._ending = threading.Event(), threading.Event()
        self._watched = {kind: Watched(cluster, kind, self._changed.set) for kind in CONFIGURATIONS}
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)
        self._complaint = ""

    def start(self) -> None:
        for watched in self._watched.values():
            watched.start()
        self._thread.start()

    def resign(self) -> None:
        """It never does anything."""

    def stop(self, seconds: float) -> None:
        """End the thread; wait so long for it."""
        self._ending.set()
        self._changed.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._changed.clear()
            try:
                self._look()
            except Exception:  # noqa: BLE001 - our own bug: this thread stays, and what is served too
                self._failed("other")
                _log.exception("the caBundle can't be judged")
            self._changed.wait(TICK)

    def _look(self) -> None:
        error = next((watched.error for watched in self._watched.values() if watched.error), None)
        if error:
            self._failed(error.reason)
        if error and str(error) != self._complaint:
            _log.warning("the caBundle can't be read back: %s", error)
        self._complaint = str(error or "")
        if not all(watched.known for watched in self._watched.values()):
            # no right to read it is no reason to turn work away: without a token nobody would look either
            self._tell(Report("", None, skew=self._cluster.clock.skew))
            return
        bundles = self._cluster.entries({kind: watched.found for kind, watched in self._watched.items()})
        whys = {pem: self._distrust(pem) for pem in set(bundles.values())}
        wrong = [
            f"the caBundle of {entry} does not stand for it: {whys[pem]}" for (_, entry), pem in bundles.items() if whys[pem]
        ]
        problem = f"the served certificate is not trusted: {wrong[0]}" if wrong else ""
        self._tell(Report(problem, not wrong if bundles else None, skew=self._cluster.clock.skew))
