"""A thread that looks at objects of the API server again and again, and goes on whatever happens."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from certs.cluster import Cluster, ClusterError, Kind, Reason, Watched
from certs.rotate import Phase

TICK: Final = 1.0  # seconds in which it looks even when nothing has changed
QUIET: Final = 15.0  # seconds after a complaint in which there is no other one: an API server that comes back says many things

_log = logging.getLogger("dpdk-webhook")


@dataclass(frozen=True, slots=True)
class Report:
    """How things stand."""

    problem: str  # why nobody can call this replica, in one line; empty: everybody can
    matches: bool | None  # whether every caBundle stands for what is served; None: nobody calls, or it isn't known
    phase: Phase | None = None
    why: str = ""  # it is in that phase
    until: datetime | None = None  # when the served leaf ends
    skew: float | None = None  # seconds by which this machine's clock is ahead of the API server's


class Loop(ABC):
    """Its watches have threads of their own.

    `tell` takes how things stand after each look, and `failed` what went wrong: each time, so that what lasts can be told from
    what is over.
    """

    def __init__(
        self, cluster: Cluster, kinds: Sequence[Kind], tell: Callable[[Report], object], failed: Callable[[Reason], object]
    ) -> None:
        self._cluster, self._tell, self._failed = cluster, tell, failed
        self._changed, self._resigning, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._watched = {kind: Watched(cluster, kind, self._changed.set) for kind in kinds}
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)
        self._complaint, self._complained = "", -QUIET

    def start(self) -> None:
        for watched in self._watched.values():
            watched.start()
        self._thread.start()

    def resign(self) -> None:
        """Go on as before, but leave to others what others can do as well."""
        self._resigning.set()
        self._changed.set()

    def stop(self, seconds: float) -> None:
        """End; wait so long for that."""
        self._ending.set()
        self._changed.set()
        self._thread.join(seconds)

    @abstractmethod
    def _look(self) -> bool:
        """True when something was done, so that there may be more to do."""

    def _leave(self) -> None:  # noqa: B027 - not everybody has something to leave
        """The last thing that is done."""

    def _error(self) -> ClusterError | None:
        """Why an object may have changed without our seeing it."""
        return next((watched.error for watched in self._watched.values() if watched.error), None)

    def _knows(self) -> bool:
        """Whether each object was read; that is good until it is read again."""
        return all(watched.known for watched in self._watched.values())

    def _run(self) -> None:
        while not self._ending.is_set():
            self._changed.clear()
            try:
                worked = self._look()
                if error := self._error():
                    raise error
                self._complaint = ""
            except ClusterError as error:
                self._complain(error.reason, str(error))
                worked = False
            except Exception as error:  # noqa: BLE001 - our own bug: what is served stays, and so does this thread
                self._complain("other", f"{type(error).__name__}: {error}", error)
                worked = False
            if not worked:
                self._changed.wait(TICK)
        self._leave()

    def _complain(self, reason: Reason, text: str, bug: Exception | None = None) -> None:
        self._failed(reason)
        now = time.monotonic()
        if reason == "conflict":  # somebody else was faster: seen at the next look
            return
        if text != self._complaint and now - self._complained >= QUIET:
            self._complaint, self._complained = text, now
            _log.error("certificates: %s", text, exc_info=bug)
