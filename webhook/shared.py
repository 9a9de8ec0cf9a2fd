"""What all connections of a listener have in common; what was wrong with them, for the log."""

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from uvicorn.server import ServerState

from webhook.metrics import Metrics

if TYPE_CHECKING:
    from webhook.connection import Connection

EVERY: Final = 60.0  # seconds between two lines

_log = logging.getLogger("dpdk-webhook")


class Complaints:
    """A bounded number of lines: the first at once, then a sum each minute."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._told = float("-inf")
        self._last = ""

    def add(self, problem: str, peer: str, now: float) -> None:
        """`problem` is one of few."""
        self._counts[problem] += 1
        self._last = peer
        self.tell(now)

    def tell(self, now: float) -> None:
        """Log what has come together, when it is time."""
        if self._counts and now - self._told >= EVERY:
            problems = ", ".join(f"{problem} ({count} times)" for problem, count in sorted(self._counts.items()))
            _log.warning("bad clients, the last one from %s: %s", self._last, problems)
            self._counts.clear()
            self._told = now


class Shared(ServerState):
    """What all connections of a listener have in common."""

    connections: "set[Connection]"  # type: ignore[assignment]

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self.metrics = metrics
        self.is_draining = False
        self.turn: float | None = None  # when the first request came that is answered in this turn of the loop
        self.ended = 0  # connections
        self.complaints = Complaints()
        self.unproven: dict[Connection, None] = {}  # those that never sent a whole request, the oldest first

    def end_turn(self) -> None:
        """What comes now waited for nobody."""
        self.turn = None

    def forget(self, connection: "Connection") -> None:
        """It is over."""
        self.ended += 1
        self.connections.discard(connection)
        self.unproven.pop(connection, None)
