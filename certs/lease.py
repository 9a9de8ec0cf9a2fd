"""Who of the replicas writes: whoever holds the Lease.

It only keeps them from doing everything three times: each write names the resourceVersion that it was made for, and two writers
at once can do no harm.
"""

import time
from datetime import datetime
from typing import Any, Final

from certs.cluster import Object

DURATION: Final = 6  # seconds after which one that isn't renewed is free
RENEW: Final = 2.0  # seconds


class Election:
    """What this replica, `me`, makes of the Lease as it sees it. Time is measured here, and not believed of the Lease."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._seen: Any = None
        self._since = time.monotonic()
        self._renewed = -float(DURATION)

    def holds(self) -> bool:
        """Whether this replica is the one."""
        return time.monotonic() - self._renewed < DURATION

    def bid(self, lease: Object | None, now: datetime) -> Object | None:
        """The spec to write in order to hold the Lease, or to go on holding it; None: it is somebody's, or renewed already."""
        spec = (lease or {}).get("spec") or {}
        if spec != self._seen:
            self._seen, self._since = spec, time.monotonic()
        holder = spec.get("holderIdentity") or ""
        if holder != self._me:
            self.lost()
        if time.monotonic() - self._renewed < RENEW:
            return None
        if holder not in ("", self._me) and time.monotonic() - self._since < DURATION:
            return None
        time_now = f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"
        bid = {"holderIdentity": self._me, "leaseDurationSeconds": DURATION, "renewTime": time_now}
        if holder != self._me:
            bid |= {"acquireTime": time_now, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        return bid

    def won(self) -> None:
        """The bid was written."""
        self._renewed = time.monotonic()

    def lost(self) -> None:
        """Somebody else holds it, or it was given up."""
        self._renewed = -float(DURATION)
